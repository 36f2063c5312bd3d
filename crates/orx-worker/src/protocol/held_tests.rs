//! What a worker does with executions that it knows already: copies of dispatches, cancels, questions.

use orx_model::job::{Labels, json_null};
use orx_model::{Name, Priority};

use super::ended::{EndedExecutions, REMEMBERED};
use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn at(ms: u64) -> Moment {
    Moment { wall: NOW, mono: Duration::from_millis(ms) }
}

/// In contact for longer than any test here takes.
fn core(slots: u32) -> Core {
    let mut core = Core::new(CoreOptions {
        incarnation: Incarnation(1),
        slots,
        slot_wait: SLOT_WAIT,
        must_not_overlap: BTreeSet::new(),
        registered_at: Duration::ZERO,
    });
    answer(&mut core, HeartbeatAnswer::default());
    core
}

fn answer(core: &mut Core, answer: HeartbeatAnswer) -> Vec<Effect> {
    let answer = HeartbeatAnswer { lease_ms: 3_600_000, ..answer };
    let heartbeat = core.heartbeats;
    core.step(Input::Answered { heartbeat, answer }, at(0))
}

fn execution(number: u128) -> ExecutionRef {
    ExecutionRef { job: JobId(number as i64), execution: ExecutionId(number) }
}

fn dispatch(core: &mut Core, numbers: &[u128]) -> Vec<Effect> {
    let name: Name = "test".parse().expect("a name");
    let job = |number: &u128| Dispatch {
        job: JobId(*number as i64),
        attempt: 1,
        execution: ExecutionId(*number),
        name: name.clone(),
        queue: name.clone(),
        priority: Priority::Normal,
        args: json_null(),
        command: None,
        timeout_ms: None,
        deadline: None,
        run_at: NOW,
        retry: 0,
        correlation_id: None,
        tags: Labels::new(),
        schedule: None,
    };
    let jobs = numbers.iter().map(job).collect();
    core.step(Input::Message(Message::JobDispatch { jobs, heartbeat_seq: None }), at(0))
}

fn end(core: &mut Core, number: u128, started_at: Option<Timestamp>, ms: u64) -> Vec<Effect> {
    let of = execution(number);
    let outcome = Outcome {
        job: of.job,
        execution: of.execution,
        kind: OutcomeKind::Succeeded { result: None },
        started_at,
        ended_at: NOW,
        error: None,
        exit: None,
    };
    core.step(Input::Ended(outcome), at(ms))
}

fn acknowledge(core: &mut Core, number: u128) -> Vec<Effect> {
    let executions = vec![ExecutionId(number)];
    core.step(Input::Message(Message::JobResultAck { executions }), at(0))
}

fn cancel(core: &mut Core, number: u128) -> Vec<Effect> {
    let executions = vec![execution(number)];
    core.step(Input::Message(Message::JobCancel { executions }), at(0))
}

/// What the runtime has to do, in short.
fn shown(effects: &[Effect]) -> Vec<String> {
    let mut all = Vec::new();
    for effect in effects {
        match effect {
            Effect::Start(dispatch) => all.push(format!("start {}", dispatch.execution.0)),
            Effect::Cancel(execution) => all.push(format!("cancel {}", execution.0)),
            Effect::Abandon(execution) => all.push(format!("abandon {}", execution.0)),
            Effect::Interrupt(execution) => all.push(format!("interrupt {}", execution.0)),
            Effect::Publish(Message::JobResult { outcomes }) => all.extend(
                outcomes.iter().map(|one| format!("{} {}", one.kind.status(), one.execution.0)),
            ),
            Effect::Publish(Message::JobStatus { started }) => {
                all.extend(started.iter().map(|one| format!("started {}", one.execution.0)));
            }
            Effect::Publish(_) => all.push("other message".to_owned()),
            Effect::HeartbeatNow => all.push("heartbeat".to_owned()),
            Effect::Register => all.push("register".to_owned()),
            Effect::Fenced => all.push("fenced".to_owned()),
        }
    }
    all
}

#[test]
fn a_copy_of_a_dispatch_does_nothing_while_slots_are_free() {
    let mut core = core(9);
    assert_eq!(shown(&dispatch(&mut core, &[7, 7])), ["start 7"]);
    assert!(dispatch(&mut core, &[7]).is_empty(), "it runs");
    end(&mut core, 7, Some(NOW), 60_000);
    assert!(dispatch(&mut core, &[7]).is_empty(), "its outcome is not acknowledged");
    acknowledge(&mut core, 7);
    assert!(dispatch(&mut core, &[7]).is_empty(), "it has ended");
}

#[test]
fn a_copy_of_a_dispatch_that_waits_for_a_slot_starts_once() {
    let mut core = core(1);
    dispatch(&mut core, &[7, 8]);
    dispatch(&mut core, &[8]);
    end(&mut core, 7, Some(NOW), 60_000);
    assert_eq!(shown(&acknowledge(&mut core, 7)), ["start 8"]);
    end(&mut core, 8, Some(NOW), 60_000);
    assert!(acknowledge(&mut core, 8).is_empty());
    assert!(core.is_idle());
}

#[test]
fn a_cancel_ends_the_waiting_job_it_names_and_no_other() {
    let mut core = core(1);
    dispatch(&mut core, &[7, 8, 9]);
    assert_eq!(shown(&cancel(&mut core, 8)), ["cancelled 8"]);
    end(&mut core, 7, Some(NOW), 60_000);
    acknowledge(&mut core, 8);
    assert_eq!(shown(&acknowledge(&mut core, 7)), ["start 9"]);
}

#[test]
fn a_cancel_of_a_running_job_stops_it_and_one_of_an_ended_job_changes_nothing() {
    let mut core = core(1);
    dispatch(&mut core, &[7]);
    assert_eq!(shown(&cancel(&mut core, 7)), ["cancel 7"]);
    end(&mut core, 7, Some(NOW), 60_000);
    assert!(cancel(&mut core, 7).is_empty(), "its outcome is reported");
    acknowledge(&mut core, 7);
    assert!(cancel(&mut core, 7).is_empty(), "its outcome is recorded");
}

#[test]
fn a_waiting_job_that_is_no_longer_current_never_starts_and_others_do() {
    let mut core = core(1);
    dispatch(&mut core, &[7, 8, 9]);
    let stop = vec![execution(8)];
    let effects = answer(&mut core, HeartbeatAnswer { stop, ..HeartbeatAnswer::default() });
    assert!(effects.is_empty());
    end(&mut core, 7, Some(NOW), 60_000);
    assert_eq!(shown(&acknowledge(&mut core, 7)), ["start 9"]);
    assert!(dispatch(&mut core, &[8]).is_empty());
}

#[test]
fn an_outcome_that_is_no_longer_current_is_dropped() {
    let mut core = core(1);
    dispatch(&mut core, &[7]);
    end(&mut core, 7, Some(NOW), 60_000);
    let stop = vec![execution(7)];
    answer(&mut core, HeartbeatAnswer { stop, ..HeartbeatAnswer::default() });
    assert!(core.is_idle());
    assert!(dispatch(&mut core, &[7]).is_empty());
}

#[test]
fn a_question_is_answered_by_what_the_worker_holds() {
    let mut core = core(2);
    dispatch(&mut core, &[6, 7, 8]);
    let asked = |number| HeartbeatAnswer { asked: vec![execution(number)], ..Default::default() };
    assert!(answer(&mut core, asked(7)).is_empty(), "the runtime has not started it yet");
    let started = Input::Started { execution: ExecutionId(7), at: NOW };
    assert_eq!(shown(&core.step(started, at(0))), ["started 7"]);
    assert_eq!(shown(&answer(&mut core, asked(7))), ["started 7"]);
    assert!(answer(&mut core, asked(8)).is_empty(), "it waits for a slot");
    end(&mut core, 7, Some(NOW), 60_000);
    assert_eq!(shown(&answer(&mut core, asked(7))), ["succeeded 7"]);
    assert_eq!(shown(&answer(&mut core, asked(9))), ["refused 9"]);
}

#[test]
fn an_abandoned_attempt_is_reported_nowhere() {
    let mut core = core(2);
    dispatch(&mut core, &[7, 8]);
    let reported = |core: &mut Core| -> Vec<u128> {
        core.heartbeat(Duration::ZERO).running.iter().map(|one| one.execution.0).collect()
    };
    assert_eq!(reported(&mut core), [7, 8]);
    let stop = vec![execution(7)];
    let stop = HeartbeatAnswer { stop, ..HeartbeatAnswer::default() };
    assert_eq!(shown(&answer(&mut core, stop.clone())), ["abandon 7"]);
    assert!(answer(&mut core, stop).is_empty(), "it is abandoned once");
    assert_eq!(reported(&mut core), [8]);
    let started = Input::Started { execution: ExecutionId(7), at: NOW };
    assert!(core.step(started, at(0)).is_empty());
    // Nor do its few milliseconds make the worker prefetch.
    assert!(end(&mut core, 7, Some(NOW), 1).is_empty());
    assert_eq!(core.capacity(), 2);
}

#[test]
fn an_attempt_that_never_started_does_not_make_the_worker_prefetch() {
    let mut core = core(2);
    dispatch(&mut core, &[7]);
    assert_eq!(shown(&end(&mut core, 7, None, 1)), ["succeeded 7"]);
    assert_eq!(core.capacity(), 2);
}

/// The capacity of a worker with four slots after its first attempt took this long.
fn capacity_after(ms: u64) -> u32 {
    let mut core = core(4);
    dispatch(&mut core, &[7]);
    end(&mut core, 7, Some(NOW), ms);
    core.capacity()
}

#[test]
fn the_shorter_the_jobs_the_more_are_prefetched() {
    let capacities = [1, 16, 17, 49, 50].map(capacity_after);
    assert_eq!(capacities, [4 + 12, 4 + 12, 4 + 4, 4 + 4, 4]);
}

#[test]
fn an_attempt_counts_as_long_once_it_takes_more_than_fifty_milliseconds() {
    let capacity = |ms| {
        let mut core = core(2);
        dispatch(&mut core, &[7, 8]);
        end(&mut core, 7, Some(NOW), 1);
        core.step(Input::Overdue, at(ms));
        core.capacity()
    };
    assert_eq!((capacity(50), capacity(51)), (2 + 6, 2 + 3));
}

#[test]
fn a_stop_and_a_first_answer_after_it_are_reported_at_once() {
    let mut core = core(9);
    assert_eq!(shown(&core.step(Input::Drain, at(0))), ["heartbeat"]);
    assert!(core.step(Input::Drain, at(0)).is_empty(), "it is reported once");
}

#[test]
fn the_last_executions_that_ended_are_remembered() {
    let mut ended = EndedExecutions::default();
    let most = REMEMBERED as u128;
    (0..most).for_each(|number| ended.insert(ExecutionId(number)));
    assert!(ended.contains(ExecutionId(0)));
    // One that is remembered already takes no further place.
    ended.insert(ExecutionId(5));
    assert!(ended.contains(ExecutionId(0)));
    ended.insert(ExecutionId(most));
    assert!(!ended.contains(ExecutionId(0)) && ended.contains(ExecutionId(1)));
    assert!(ended.contains(ExecutionId(most)));
}
