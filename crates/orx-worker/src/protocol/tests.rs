//! The effects of each input.

use orx_model::job::{Labels, json_null};
use orx_model::{Name, Priority};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000);
const AT: Moment = Moment { wall: NOW, mono: Duration::ZERO };

fn later(ms: u64) -> Moment {
    Moment { wall: NOW, mono: Duration::from_millis(ms) }
}

/// Its lease window is longer than any test here takes.
fn core(slots: u32) -> Core {
    let mut core = unregistered(slots);
    core.step(Input::Answered { heartbeat: 0, answer: lease(3_600) }, AT);
    core
}

fn unregistered(slots: u32) -> Core {
    Core::new(CoreOptions {
        incarnation: Incarnation(1),
        slots,
        slot_wait: SLOT_WAIT,
        must_not_overlap: ["alone".parse().expect("a name")].into(),
        registered_at: AT.mono,
    })
}

fn lease(seconds: u64) -> HeartbeatAnswer {
    HeartbeatAnswer { lease_ms: seconds * 1_000, ..HeartbeatAnswer::default() }
}

fn job(id: i64, execution: u128, priority: Priority) -> Dispatch {
    let name: Name = "test".parse().expect("a name");
    Dispatch {
        job: JobId(id),
        attempt: 1,
        execution: ExecutionId(execution),
        name: name.clone(),
        queue: name,
        priority,
        args: json_null(),
        command: None,
        timeout_ms: None,
        deadline: None,
        run_at: NOW,
        retry: 0,
        correlation_id: None,
        tags: Labels::new(),
        schedule: None,
    }
}

fn dispatch(core: &mut Core, jobs: Vec<Dispatch>) -> Vec<Effect> {
    core.step(Input::Message(Message::JobDispatch { jobs, heartbeat_seq: None }), AT)
}

fn starts(effects: &[Effect]) -> Vec<u128> {
    let start = |effect: &Effect| match effect {
        Effect::Start(dispatch) => Some(dispatch.execution.0),
        _ => None,
    };
    effects.iter().filter_map(start).collect()
}

fn outcomes(effects: &[Effect]) -> Vec<(u128, &'static str)> {
    let mut all = Vec::new();
    for effect in effects {
        if let Effect::Publish(Message::JobResult { outcomes }) = effect {
            all.extend(outcomes.iter().map(|o| (o.execution.0, o.kind.status().as_str())));
        }
    }
    all
}

fn succeeded(id: i64, execution: u128) -> Input {
    Input::Ended(Outcome {
        job: JobId(id),
        execution: ExecutionId(execution),
        kind: OutcomeKind::Succeeded { result: None },
        started_at: Some(NOW),
        ended_at: NOW,
        error: None,
        exit: None,
    })
}

fn ack(execution: u128) -> Input {
    Input::Message(Message::JobResultAck { executions: vec![ExecutionId(execution)] })
}

fn cancel(id: i64, execution: u128) -> Input {
    let executions = vec![ExecutionRef { job: JobId(id), execution: ExecutionId(execution) }];
    Input::Message(Message::JobCancel { executions })
}

#[test]
fn a_doubled_dispatch_starts_once_even_long_after_its_end() {
    let mut core = core(1);
    let first = job(1, 7, Priority::Normal);
    assert_eq!(starts(&dispatch(&mut core, vec![first.clone(), first.clone()])), [7]);
    assert_eq!(starts(&dispatch(&mut core, vec![first.clone()])), []);
    core.step(succeeded(1, 7), later(1_000));
    assert_eq!(starts(&dispatch(&mut core, vec![first.clone()])), []);
    core.step(ack(7), AT);
    assert_eq!(starts(&dispatch(&mut core, vec![first])), []);
}

#[test]
fn a_cancel_that_comes_before_its_dispatch_keeps_it_from_starting() {
    let mut core = core(1);
    assert_eq!(outcomes(&core.step(cancel(1, 7), AT)), [(7, "cancelled")]);
    assert_eq!(starts(&dispatch(&mut core, vec![job(1, 7, Priority::Normal)])), []);
}

#[test]
fn an_execution_it_does_not_hold_is_refused_for_ever() {
    let mut core = core(1);
    let asked = vec![ExecutionRef { job: JobId(1), execution: ExecutionId(7) }];
    let answer = HeartbeatAnswer { asked, ..HeartbeatAnswer::default() };
    assert_eq!(outcomes(&answered(&mut core, answer)), [(7, "refused")]);
    assert_eq!(starts(&dispatch(&mut core, vec![job(1, 7, Priority::Normal)])), []);
}

#[test]
fn an_outcome_is_held_until_it_is_acknowledged() {
    let mut core = core(1);
    dispatch(&mut core, vec![job(1, 7, Priority::Normal), job(2, 8, Priority::Normal)]);
    let effects = core.step(succeeded(1, 7), later(60_000));
    assert_eq!(outcomes(&effects), [(7, "succeeded")]);
    // Long jobs: the slot stays taken.
    assert_eq!(starts(&effects), []);
    let beat = core.heartbeat(AT.mono);
    assert_eq!(beat.unacknowledged.len(), 1);
    let resend = HeartbeatAnswer { resend: vec![ExecutionId(7)], ..Default::default() };
    assert_eq!(outcomes(&answered(&mut core, resend)), [(7, "succeeded")]);
    assert_eq!(starts(&core.step(ack(7), AT)), [8]);
    assert!(!core.is_idle());
}

#[test]
fn short_jobs_raise_the_capacity_and_report_it_at_once() {
    let mut core = core(4);
    assert_eq!(core.heartbeat(AT.mono).capacity, 4);
    dispatch(&mut core, vec![job(1, 7, Priority::Normal)]);
    let effects = core.step(succeeded(1, 7), later(1));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::HeartbeatNow)));
    assert_eq!(core.heartbeat(AT.mono).capacity, 16);
}

#[test]
fn a_higher_priority_overtakes_waiting_jobs() {
    let mut core = core(1);
    dispatch(&mut core, vec![job(1, 7, Priority::Normal), job(2, 8, Priority::Normal)]);
    dispatch(&mut core, vec![job(3, 9, Priority::Critical)]);
    core.step(succeeded(1, 7), later(60_000));
    assert_eq!(starts(&core.step(ack(7), AT)), [9]);
}

#[test]
fn stopping_returns_waiting_jobs_and_interrupts_running_ones() {
    let mut core = core(1);
    dispatch(&mut core, vec![job(1, 7, Priority::Normal), job(2, 8, Priority::Normal)]);
    let effects = core.step(Input::Stop, AT);
    assert_eq!(outcomes(&effects), [(8, "interrupted")]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Interrupt(ExecutionId(7)))));
    assert_eq!(core.capacity(), 0);
    let late = dispatch(&mut core, vec![job(3, 9, Priority::Normal)]);
    assert_eq!((starts(&late).len(), outcomes(&late)), (0, vec![(9, "interrupted")]));
}

/// Two run and four wait: the worker prefetched them when its jobs were short.
fn prefetched(core: &mut Core) -> Vec<u128> {
    dispatch(core, vec![job(1, 1, Priority::Normal)]);
    core.step(succeeded(1, 1), AT);
    core.step(ack(1), AT);
    assert_eq!(core.capacity(), 8);
    let jobs = (2..8).map(|id| job(id, id as u128, Priority::Normal)).collect();
    starts(&dispatch(core, jobs))
}

#[test]
fn a_job_without_a_slot_is_handed_back_and_ends_the_prefetch() {
    let mut core = core(2);
    let takes_back = HeartbeatAnswer { takes_back: true, ..HeartbeatAnswer::default() };
    answered(&mut core, takes_back);
    assert_eq!(prefetched(&mut core), [2, 3]);
    assert_eq!(core.hand_back_at(), Some(SLOT_WAIT));
    assert_eq!(outcomes(&core.step(Input::Overdue, later(99))), []);
    // One more starts before the others are handed back.
    assert_eq!(starts(&core.step(succeeded(2, 2), later(99))), [4]);
    let effects = core.step(Input::Overdue, later(100));
    assert_eq!(outcomes(&effects), [(5, "refused"), (6, "refused"), (7, "refused")]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::HeartbeatNow)));
    assert_eq!((core.capacity(), core.hand_back_at()), (2, None));
    assert_eq!(starts(&dispatch(&mut core, vec![job(5, 5, Priority::Normal)])), []);

    // One short attempt does not begin the prefetch again, several do.
    for (id, ends) in (10..40).enumerate() {
        let again = core.capacity() > 2;
        assert!(!again || id > 5, "after {id}");
        if again {
            return;
        }
        core.step(ack(ends), later(101));
        core.running.clear();
        core.unacknowledged.clear();
        dispatch(&mut core, vec![job(ends as i64, ends, Priority::Normal)]);
        core.step(succeeded(ends as i64, ends), AT);
    }
    panic!("never again");
}

#[test]
fn a_coordinator_that_does_not_know_handing_back_receives_an_interruption() {
    let mut core = core(2);
    prefetched(&mut core);
    let effects = core.step(Input::Overdue, later(100));
    assert_eq!(outcomes(&effects)[0], (4, "interrupted"));
}

#[test]
fn slots_with_long_attempts_do_not_count_for_the_prefetch() {
    let mut core = core(2);
    prefetched(&mut core);
    core.step(succeeded(2, 2), later(60));
    // One slot is short: the other has been taken for 60 ms.
    assert_eq!(core.capacity(), 2 + 3);
}

/// Answers its newest heartbeat with a long lease.
fn answered(core: &mut Core, answer: HeartbeatAnswer) -> Vec<Effect> {
    let answer = HeartbeatAnswer { lease_ms: 3_600_000, ..answer };
    let heartbeat = core.heartbeats;
    core.step(Input::Answered { heartbeat, answer }, AT)
}

#[test]
fn a_directive_to_drain_holds_until_an_answer_lacks_it() {
    let mut core = core(1);
    dispatch(&mut core, vec![job(1, 7, Priority::Normal), job(2, 8, Priority::Normal)]);
    let drain = HeartbeatAnswer { drain: true, ..HeartbeatAnswer::default() };
    assert_eq!(outcomes(&answered(&mut core, drain)), [(8, "interrupted")]);
    assert_eq!((core.state(), core.capacity()), (WorkerState::Draining, 0));
    // A coordinator that does not know the worker does not know its directives.
    let unknown = HeartbeatAnswer { register: true, ..HeartbeatAnswer::default() };
    answered(&mut core, unknown);
    assert_eq!(core.state(), WorkerState::Draining);
    let effects = answered(&mut core, HeartbeatAnswer::default());
    assert!(effects.iter().any(|effect| matches!(effect, Effect::HeartbeatNow)));
    assert_eq!((core.state(), core.capacity()), (WorkerState::Running, 1));
}

#[test]
fn a_worker_that_ends_accepts_no_work_again() {
    let mut core = core(1);
    core.step(Input::Drain, AT);
    answered(&mut core, HeartbeatAnswer::default());
    assert_eq!((core.state(), core.capacity()), (WorkerState::Draining, 0));
}

#[test]
fn a_fenced_worker_stops_everything_and_reports_nothing() {
    let mut core = core(1);
    dispatch(&mut core, vec![job(1, 7, Priority::Normal), job(2, 8, Priority::Normal)]);
    let fenced = HeartbeatAnswer { fenced: true, ..HeartbeatAnswer::default() };
    let effects = answered(&mut core, fenced);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Abandon(ExecutionId(7)))));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Fenced)));
    assert_eq!(outcomes(&effects), []);
    assert_eq!(outcomes(&core.step(succeeded(1, 7), later(60_000))), []);
    assert!(core.is_idle() && core.capacity() == 0);
}

#[test]
fn an_execution_that_is_no_longer_current_is_stopped_and_not_reported() {
    let mut core = core(1);
    dispatch(&mut core, vec![job(1, 7, Priority::Normal)]);
    let stop = vec![ExecutionRef { job: JobId(1), execution: ExecutionId(7) }];
    let answer = HeartbeatAnswer { stop, ..HeartbeatAnswer::default() };
    let effects = answered(&mut core, answer);
    assert!(matches!(effects[0], Effect::Abandon(ExecutionId(7))));
    assert_eq!(outcomes(&core.step(succeeded(1, 7), later(60_000))), []);
    assert!(core.is_idle());
}

fn alone(id: i64, execution: u128) -> Dispatch {
    Dispatch { name: "alone".parse().expect("a name"), ..job(id, execution, Priority::Normal) }
}

fn interrupted(effects: &[Effect]) -> Vec<u128> {
    let interrupt = |effect: &Effect| match effect {
        Effect::Interrupt(execution) => Some(execution.0),
        _ => None,
    };
    effects.iter().filter_map(interrupt).collect()
}

#[test]
fn no_job_starts_while_no_heartbeat_is_answered() {
    let mut core = unregistered(2);
    core.step(Input::Answered { heartbeat: 0, answer: lease(30) }, AT);
    let message = |id: i64| {
        let jobs = vec![job(id, id as u128, Priority::Normal)];
        Input::Message(Message::JobDispatch { jobs, heartbeat_seq: None })
    };
    assert_eq!(starts(&core.step(message(7), later(24_999))), [7]);
    let effects = core.step(message(8), later(25_000));
    assert_eq!((starts(&effects).len(), outcomes(&effects)), (0, vec![(8, "interrupted")]));
    // Neither a coordinator that does not know the worker nor a later registration extends the lease.
    let _ = core.heartbeat(later(25_000).mono);
    let unknown = HeartbeatAnswer { register: true, ..lease(30) };
    core.step(Input::Answered { heartbeat: 1, answer: unknown }, later(25_000));
    core.step(Input::Registered(lease(30)), later(25_001));
    core.step(ack(8), later(25_001));
    assert_eq!(starts(&core.step(message(9), later(25_001))), []);
    core.step(ack(9), later(25_001));
    let _ = core.heartbeat(later(25_002).mono);
    core.step(Input::Answered { heartbeat: 2, answer: lease(30) }, later(30_000));
    assert_eq!(starts(&core.step(message(10), later(30_000))), [10]);
}

#[test]
fn a_dispatch_delayed_for_a_lease_is_returned_even_if_the_worker_is_in_contact() {
    let mut core = unregistered(2);
    core.step(Input::Answered { heartbeat: 0, answer: lease(30) }, AT);
    for (number, at) in [(1, 10_000), (2, 34_000)] {
        let _ = core.heartbeat(later(at).mono);
        core.step(Input::Answered { heartbeat: number, answer: lease(30) }, later(at));
    }
    let jobs = vec![job(1, 7, Priority::Normal)];
    let late = Message::JobDispatch { jobs, heartbeat_seq: Some(1) };
    let effects = core.step(Input::Message(late.clone()), later(35_000));
    assert_eq!((starts(&effects).len(), outcomes(&effects)), (0, vec![(7, "interrupted")]));
    // Nor does a copy of it start.
    assert_eq!(starts(&core.step(Input::Message(late), later(35_001))), []);
    let jobs = vec![job(2, 8, Priority::Normal)];
    let timely = Message::JobDispatch { jobs, heartbeat_seq: Some(2) };
    assert_eq!(starts(&core.step(Input::Message(timely), later(35_001))), [8]);
}

#[test]
fn out_of_contact_attempts_that_must_not_overlap_are_interrupted_and_others_go_on() {
    let mut core = unregistered(3);
    core.step(Input::Answered { heartbeat: 0, answer: lease(30) }, AT);
    assert_eq!(core.unreachable_at(), None);
    dispatch(&mut core, vec![job(1, 7, Priority::Normal), alone(2, 8)]);
    assert_eq!(core.unreachable_at(), Some(Duration::from_secs(25)));
    let _ = core.heartbeat(later(10_000).mono);
    core.step(Input::Answered { heartbeat: 1, answer: lease(30) }, later(11_000));
    assert_eq!(interrupted(&core.step(Input::Unreachable, later(25_000))), []);
    assert_eq!(interrupted(&core.step(Input::Unreachable, later(35_000))), [8]);
    // It is interrupted once.
    assert_eq!((core.unreachable_at(), core.running()), (None, 2));
}
