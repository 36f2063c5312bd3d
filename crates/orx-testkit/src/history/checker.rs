//! The checker, which compares a history and the final jobs with every promise.

use std::collections::{BTreeMap, BTreeSet};

use orx_model::wire::JobDetail;
use orx_model::{AttemptStatus, ExecutionId, JobEvent, JobId, JobStatus, next};

use super::bounds::Bounds;
use super::facts::{Fact, HistoryRecord, How, Ms};

/// The time from a fault of a process to its recovery.
#[derive(Debug, Clone)]
struct FaultSpan {
    who: String,
    how: How,
    from: Ms,
    /// [`Ms::MAX`] where the process never recovered.
    to: Ms,
}

/// One run of a job's process.
#[derive(Debug, Clone)]
struct ProcessRun {
    job: JobId,
    execution: ExecutionId,
    worker: String,
    from: Ms,
    to: Ms,
}

/// Checks the history and the final jobs against every promise.
///
/// # Errors
/// Each violation in a line of its own, which begins with the promise, such as `I4`.
pub fn check(history: &[HistoryRecord], jobs: &[JobDetail], bounds: &Bounds) -> Result<(), String> {
    let mut checker = Checker::new(history, jobs, bounds);
    checker.accepted_and_refused();
    checker.statuses();
    checker.attempts();
    checker.epochs();
    checker.overlaps();
    checker.cancels();
    checker.detection();
    checker.rest();
    checker.shutdown();
    if checker.broken.is_empty() { Ok(()) } else { Err(checker.broken.join("\n")) }
}

struct Checker<'a> {
    history: &'a [HistoryRecord],
    jobs: BTreeMap<JobId, &'a JobDetail>,
    bounds: &'a Bounds,
    faults: Vec<FaultSpan>,
    runs: Vec<ProcessRun>,
    broken: Vec<String>,
}

impl<'a> Checker<'a> {
    fn new(history: &'a [HistoryRecord], jobs: &'a [JobDetail], bounds: &'a Bounds) -> Self {
        let faults = faults(history);
        let jobs: BTreeMap<_, _> = jobs.iter().map(|detail| (detail.job.id, detail)).collect();
        let mut checker =
            Self { history, jobs, bounds, faults, runs: Vec::new(), broken: Vec::new() };
        checker.runs = checker.runs_of();
        checker
    }

    fn broken(&mut self, what: String) {
        self.broken.push(what);
    }

    /// The runs of all processes. One without an end in the history was killed, with its worker or after
    /// the grace time.
    fn runs_of(&self) -> Vec<ProcessRun> {
        let mut ends: BTreeMap<ExecutionId, Ms> = BTreeMap::new();
        for record in self.history {
            if let Fact::Ended { execution, .. } = &record.fact {
                ends.entry(*execution).or_insert(record.at);
            }
        }
        let mut runs = Vec::new();
        for record in self.history {
            let Fact::Started { job, execution } = record.fact else { continue };
            let attempt = self.jobs.get(&job).and_then(|detail| {
                detail.attempts.iter().find(|attempt| attempt.execution == execution)
            });
            let worker = attempt.map_or("", |attempt| attempt.worker_name.as_str()).to_owned();
            let killed = |fault: &&FaultSpan| {
                fault.how == How::Killed && fault.who == worker && fault.from >= record.at
            };
            let killed = self.faults.iter().find(killed).map(|fault| fault.from);
            let term =
                |r: &&HistoryRecord| matches!(&r.fact, Fact::StopSignal { who } if *who == worker);
            let exited = self.history.iter().filter(|r| r.at >= record.at).find(term);
            let recorded = attempt.and_then(|attempt| attempt.ended_at);
            let recorded = recorded.and_then(|at| u64::try_from(at.as_millis()).ok());
            let to = ends.get(&execution).copied().or(killed).or(exited.map(|r| r.at));
            let to = to.or(recorded).unwrap_or(Ms::MAX);
            runs.push(ProcessRun { job, execution, worker, from: record.at, to });
        }
        runs
    }

    /// The time by which a step that takes `within` is done. A fault of `who` or of a shared process
    /// restarts the step when it is over.
    fn deadline(&self, from: Ms, within: Ms, who: &str) -> Ms {
        let mut deadline = from.saturating_add(within);
        let mut counted = BTreeSet::new();
        loop {
            let holds_up = |(place, fault): &(usize, &FaultSpan)| {
                !counted.contains(place)
                    && (fault.who == who || self.bounds.shared.contains(&fault.who))
                    && fault.from <= deadline
                    && fault.to.saturating_add(self.bounds.margin) >= from
            };
            let Some((place, fault)) = self.faults.iter().enumerate().find(holds_up) else {
                return deadline;
            };
            counted.insert(place);
            // A follower waits until the lease of a lost leader expires.
            let recovered = fault.to.saturating_add(self.bounds.leader_lease);
            let recovered = recovered.saturating_add(self.bounds.follower_poll);
            deadline = deadline.max(recovered.saturating_add(within));
        }
    }

    /// The kill of the database that may have lost a claim seen at this time.
    fn lost_with_the_database(&self, trace: Ms) -> Option<&FaultSpan> {
        let bounds = self.bounds;
        self.faults.iter().find(|fault| {
            fault.who == bounds.database
                && fault.how == How::Killed
                && trace <= fault.from.saturating_add(bounds.margin)
                && fault.from <= trace.saturating_add(bounds.unsynced + bounds.margin)
        })
    }

    /// I1 and I2: accepted jobs end, rejected ones do not exist, and a key belongs to one job.
    fn accepted_and_refused(&mut self) {
        let mut by_key: BTreeMap<&str, JobId> = BTreeMap::new();
        let mut broken = Vec::new();
        for record in self.history {
            match &record.fact {
                Fact::Accepted { key, job } => {
                    match self.jobs.get(job) {
                        None => broken.push(format!("I1: job {job} was accepted and is missing")),
                        Some(detail) if !detail.job.state.status.is_final() => {
                            let status = detail.job.state.status;
                            broken
                                .push(format!("I1: job {job} was accepted and is still {status}"));
                        }
                        Some(_) => {}
                    }
                    let first = *by_key.entry(key).or_insert(*job);
                    if first != *job {
                        broken.push(format!("I2: key {key} has jobs {first} and {job}"));
                    }
                }
                Fact::Refused { key } => {
                    let of = |detail: &&&JobDetail| detail.job.spec.key.as_deref() == Some(key);
                    if let Some(detail) = self.jobs.values().find(of) {
                        let id = detail.job.id;
                        broken.push(format!("I2: key {key} was refused and has job {id}"));
                    }
                }
                _ => {}
            }
        }
        let mut keys: BTreeMap<&str, JobId> = BTreeMap::new();
        for detail in self.jobs.values() {
            let Some(key) = detail.job.spec.key.as_deref() else { continue };
            if let Some(other) = keys.insert(key, detail.job.id) {
                broken.push(format!("I2: key {key} has jobs {other} and {}", detail.job.id));
            }
        }
        self.broken.extend(broken);
    }

    /// I3: the observed statuses of a job follow its transitions. These runs have no manual retries, so
    /// a final status is final.
    fn statuses(&mut self) {
        let mut known: BTreeMap<JobId, (JobStatus, u32, Ms)> = BTreeMap::new();
        let mut broken = Vec::new();
        let last = self
            .jobs
            .values()
            .map(|d| (d.job.id, d.job.state.status, d.job.state.attempt, Ms::MAX));
        let seen = self.history.iter().filter_map(|record| match record.fact {
            Fact::Observed { job, status, attempt } => Some((job, status, attempt, record.at)),
            _ => None,
        });
        for (job, status, attempt, at) in seen.chain(last) {
            let before = known.insert(job, (status, attempt, at));
            let (was, tried, then) = before.unwrap_or((JobStatus::Created, 0, 0));
            if was.is_live() && self.lost_with_the_database(then).is_some() {
                continue;
            }
            match attempt.checked_sub(tried) {
                None => {
                    broken
                        .push(format!("I5: job {job} was at attempt {tried} and is at {attempt}"));
                }
                Some(claims) if !leads_to(was, status, claims) => {
                    let is = format!("is {status} at attempt {attempt}");
                    broken.push(format!("I3: job {job} was {was} at attempt {tried} and {is}"));
                }
                Some(_) => {}
            }
        }
        for (id, detail) in &self.jobs {
            let succeeded =
                detail.attempts.iter().filter(|a| a.status == AttemptStatus::Succeeded).count();
            let status = detail.job.state.status;
            if succeeded > 1 {
                broken.push(format!("I4: job {id} succeeded {succeeded} times"));
            }
            if (status == JobStatus::Completed) != (succeeded > 0) {
                broken
                    .push(format!("I3: job {id} is {status}, and {succeeded} attempts succeeded"));
            }
        }
        self.broken.extend(broken);
    }

    /// I4, I5 and I8 in the records of the store; and each process belongs to a recorded attempt.
    fn attempts(&mut self) {
        let mut broken = Vec::new();
        let mut executions: BTreeMap<ExecutionId, JobId> = BTreeMap::new();
        for (id, detail) in &self.jobs {
            let (job, attempts) = (&detail.job, &detail.attempts);
            let numbers: Vec<u32> = attempts.iter().map(|attempt| attempt.number).collect();
            let right: Vec<u32> = (1..=job.state.attempt).collect();
            if numbers != right {
                broken
                    .push(format!("I5: job {id} is at {} and has {numbers:?}", job.state.attempt));
            }
            let ends = job.state.ends;
            let most = [ends.lost <= 3, ends.server_lost <= 3, ends.returned <= 20];
            if ends.failed > job.spec.retry.retries + 1 || most.contains(&false) {
                broken.push(format!("I5: job {id} was tried beyond its limits: {ends:?}"));
            }
            for attempt in attempts {
                if let Some(other) = executions.insert(attempt.execution, *id) {
                    broken.push(format!("I4: {} has jobs {other} and {id}", attempt.execution));
                }
                if job.state.status.is_final() && attempt.ended_at.is_none() {
                    broken.push(format!(
                        "I4: job {id} has ended, its attempt {} not",
                        attempt.number
                    ));
                }
            }
            for pair in attempts.windows(2) {
                // Two were live at once where the first has no end, or one after the claim of the second.
                if pair[0].ended_at.is_none_or(|ended| ended > pair[1].claimed_at) {
                    let (first, second) = (pair[0].number, pair[1].number);
                    broken.push(format!("I8: attempts {first} and {second} of job {id} were live"));
                }
            }
        }
        let mut started: BTreeSet<ExecutionId> = BTreeSet::new();
        for run in &self.runs {
            if !started.insert(run.execution) {
                broken.push(format!("I4: {} of job {} started twice", run.execution, run.job));
            }
            let is_one = executions.get(&run.execution) == Some(&run.job);
            if !is_one && self.lost_with_the_database(run.from).is_none() {
                let of = format!("{} of job {}", run.execution, run.job);
                broken.push(format!("I5: {of} started and is none of its attempts"));
            }
        }
        self.broken.extend(broken);
    }

    /// I6: in the order of claims, epochs never decrease.
    fn epochs(&mut self) {
        let mut claims: Vec<_> = self
            .jobs
            .values()
            .flat_map(|detail| &detail.attempts)
            .map(|attempt| (attempt.claimed_at, attempt.epoch, attempt.job, attempt.number))
            .collect();
        claims.sort_unstable();
        let mut highest = 0;
        for (_, epoch, job, number) in claims {
            if epoch < highest {
                let of = format!("attempt {number} of job {job} by epoch {epoch}");
                self.broken(format!("I6: {of}, after a claim by {highest}"));
            }
            highest = highest.max(epoch);
        }
    }

    /// I9: two processes of one job run at once only while the worker of the first is cut off or
    /// stopped, or has not yet had time to receive the news that it lost the job.
    fn overlaps(&mut self) {
        let mut by_job: BTreeMap<JobId, Vec<&ProcessRun>> = BTreeMap::new();
        for run in &self.runs {
            by_job.entry(run.job).or_default().push(run);
        }
        let mut broken = Vec::new();
        let bounds = self.bounds;
        let learn = bounds.heartbeat * 2 + bounds.kill_grace + bounds.margin;
        for runs in by_job.values() {
            for (place, first) in runs.iter().enumerate() {
                for second in &runs[place + 1..] {
                    let until = first.to.min(second.to);
                    if until <= second.from.saturating_add(bounds.margin) {
                        continue;
                    }
                    // The next coordinator that the worker reaches reports the loss of the job.
                    let claim_lost = first.worker.is_empty()
                        && self
                            .lost_with_the_database(first.from)
                            .is_some_and(|kill| until <= self.deadline(kill.to, learn, ""));
                    let excused = self.faults.iter().any(|fault| {
                        fault.who == first.worker
                            && matches!(fault.how, How::Stopped | How::Cut)
                            && fault.from <= second.from
                            && until <= self.deadline(fault.to, learn, &first.worker)
                    });
                    if !excused && !claim_lost {
                        broken.push(format!(
                            "I9: job {} ran twice for {} ms, at {} and {}",
                            first.job,
                            until - second.from,
                            first.worker,
                            second.worker,
                        ));
                    }
                }
            }
        }
        self.broken.extend(broken);
    }

    /// I12 and I13: a cancelled job never starts, and a cancel stops a running one in time.
    fn cancels(&mut self) {
        let mut broken = Vec::new();
        let bounds = self.bounds;
        let within = 1_000 + bounds.heartbeat * 2 + bounds.kill_grace + bounds.margin;
        for record in self.history {
            match record.fact {
                Fact::Cancelled { job } => {
                    for run in self.runs.iter().filter(|run| run.job == job) {
                        if run.from > record.at {
                            let late = run.from - record.at;
                            broken
                                .push(format!("I12: job {job} started {late} ms after its cancel"));
                        }
                    }
                    let status = self.jobs.get(&job).map(|detail| detail.job.state.status);
                    if status.is_some_and(|status| status != JobStatus::Cancelled) {
                        broken.push(format!("I12: job {job} was cancelled and is {status:?}"));
                    }
                }
                Fact::Cancelling { job } => {
                    let live = |run: &&ProcessRun| {
                        run.job == job && run.from <= record.at && run.to > record.at
                    };
                    for run in self.runs.iter().filter(live) {
                        if run.to > self.deadline(record.at, within, &run.worker) {
                            let ms = run.to - record.at;
                            let worker = &run.worker;
                            broken.push(format!("I13: job {job} at {worker} ran {ms} ms more"));
                        }
                    }
                    // After the request, the job ends cancelled, or completed if it succeeds first.
                    let status = self.jobs.get(&job).map(|detail| detail.job.state.status);
                    let ends = [JobStatus::Cancelled, JobStatus::Completed];
                    if status.is_some_and(|status| status.is_final() && !ends.contains(&status)) {
                        broken
                            .push(format!("I13: job {job} was to be cancelled and is {status:?}"));
                    }
                }
                _ => {}
            }
        }
        self.broken.extend(broken);
    }

    /// I14: after a kill, the attempts of a worker end in time, and a leader is replaced in time.
    fn detection(&mut self) {
        let mut broken = Vec::new();
        let bounds = self.bounds;
        let ms = |at: orx_model::Timestamp| u64::try_from(at.as_millis()).unwrap_or_default();
        for fault in self.faults.iter().filter(|fault| fault.how == How::Killed) {
            let within = bounds.lease + bounds.monitor + bounds.margin;
            let deadline = self.deadline(fault.from, within, "");
            for attempt in self.jobs.values().flat_map(|detail| &detail.attempts) {
                let ended = attempt.ended_at.map_or(Ms::MAX, ms);
                let was_its = attempt.worker_name.as_str() == fault.who
                    && ms(attempt.claimed_at) < fault.from
                    && ended >= fault.from;
                if was_its && ended > deadline {
                    let late = ended.saturating_sub(fault.from);
                    let of = format!("attempt {} of job {}", attempt.number, attempt.job);
                    broken.push(format!("I14: {of} was lost {late} ms after its worker's end"));
                }
            }
            let leads = |record: &&HistoryRecord| matches!(record.fact, Fact::Leads { .. });
            let before = self.history.iter().filter(leads).rfind(|r| r.at <= fault.from);
            let Some(HistoryRecord { fact: Fact::Leads { who, epoch }, .. }) = before else {
                continue;
            };
            if *who != fault.who {
                continue;
            }
            let within = bounds.leader_lease + bounds.follower_poll + bounds.margin;
            let deadline = self.deadline_beside(fault, within);
            let next = self.history.iter().find(
                |record| matches!(&record.fact, Fact::Leads { epoch: later, .. } if later > epoch),
            );
            if next.is_none_or(|next| next.at > deadline) {
                let after = next.map(|next| next.at - fault.from);
                broken.push(format!("I14: {who} led and was killed, replaced after {after:?} ms"));
            }
        }
        self.broken.extend(broken);
    }

    /// As [`Self::deadline`], without this one fault: with another node to lead, recovery does not wait
    /// for its end.
    fn deadline_beside(&self, one: &FaultSpan, within: Ms) -> Ms {
        let nodes = self.bounds.shared.iter().filter(|who| who.starts_with('c')).count();
        if nodes < 2 {
            return self.deadline(one.from, within, "");
        }
        let others: Vec<FaultSpan> = self
            .faults
            .iter()
            .filter(|other| other.from != one.from || other.who != one.who)
            .cloned()
            .collect();
        let beside = Checker {
            history: self.history,
            jobs: BTreeMap::new(),
            bounds: self.bounds,
            faults: others,
            runs: Vec::new(),
            broken: Vec::new(),
        };
        beside.deadline(one.from, within, "")
    }

    /// I17: after the last fault, every job ends in time.
    fn rest(&mut self) {
        let at = |wanted: fn(&Fact) -> bool| {
            self.history.iter().find(|record| wanted(&record.fact)).map(|record| record.at)
        };
        let Some(quiet) = at(|fact| matches!(fact, Fact::Quiet {})) else { return };
        let ended = at(|fact| matches!(fact, Fact::AllEnded {}));
        let within = self.bounds.all_ended;
        if ended.is_none_or(|ended| ended > quiet.saturating_add(within)) {
            self.broken(format!("I17: the jobs did not all end within {within} ms"));
        }
    }

    /// I23: SIGTERM ends a process in time.
    fn shutdown(&mut self) {
        for record in self.history {
            let Fact::StopSignal { who } = &record.fact else { continue };
            let exited = self.history.iter().find(|later| {
                later.at >= record.at && matches!(&later.fact, Fact::Exited { who: w } if w == who)
            });
            let deadline = record.at.saturating_add(self.bounds.shutdown);
            if exited.is_none_or(|exited| exited.at > deadline) {
                let within = self.bounds.shutdown;
                self.broken.push(format!("I23: {who} did not end within {within} ms of SIGTERM"));
            }
        }
    }
}

/// Whether `claims` claims, with any other events but a manual retry, lead from one status to the other.
fn leads_to(from: JobStatus, to: JobStatus, claims: u32) -> bool {
    let (mut open, mut known) = (vec![(from, 0)], BTreeSet::from([(from, 0)]));
    while let Some((status, claimed)) = open.pop() {
        if (status, claimed) == (to, claims) {
            return true;
        }
        for event in JobEvent::ALL {
            let Ok(status) = next(status, event) else { continue };
            let after = (status, claimed + u32::from(event == JobEvent::Claim));
            if event != JobEvent::Revive && after.1 <= claims && known.insert(after) {
                open.push(after);
            }
        }
    }
    false
}

fn faults(history: &[HistoryRecord]) -> Vec<FaultSpan> {
    let mut faults: Vec<FaultSpan> = Vec::new();
    for record in history {
        match &record.fact {
            Fact::Down { who, how } => {
                let (who, from) = (who.clone(), record.at);
                faults.push(FaultSpan { who, how: *how, from, to: Ms::MAX });
            }
            Fact::Back { who } => {
                for fault in faults.iter_mut().filter(|fault| fault.who == *who) {
                    fault.to = fault.to.min(record.at);
                }
            }
            _ => {}
        }
    }
    faults
}
