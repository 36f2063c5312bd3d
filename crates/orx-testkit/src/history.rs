//! The history of a run with faults, and the checker of the product's promises: [`check`].
//!
//! Many processes write facts, the jobs among them, as lines of JSON with the wall time of the one
//! host on which all of them run. The checker compares the facts with the final content of the store.
//! It does not depend on how the run was made, so every test with faults can use it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use orx_model::wire::JobDetail;
use orx_model::{AttemptStatus, ExecutionId, JobEvent, JobId, JobStatus, next};
use serde::{Deserialize, Serialize};

/// Milliseconds: since 1970 for a time, or a duration.
pub type Ms = u64;

/// One observation. `who` is the name of a process: a node, a worker, or the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// An enqueue returned a job.
    Accepted {
        /// The idempotency key of the request.
        key: String,
        /// The job that was returned.
        job: JobId,
    },
    /// An enqueue was rejected, for good.
    Refused {
        /// The idempotency key of the request.
        key: String,
    },
    /// An enqueue got no response: it may have been accepted.
    Unanswered {
        /// The idempotency key of the request.
        key: String,
    },
    /// A cancel took effect at once: the job must not start after this.
    Cancelled {
        /// The cancelled job.
        job: JobId,
    },
    /// A cancel was accepted while an attempt runs: its worker is asked to stop it.
    Cancelling {
        /// The job to be cancelled.
        job: JobId,
    },
    /// The process of a job started; it writes this itself.
    Started {
        /// The job that the process belongs to.
        job: JobId,
        /// The execution id in the environment of the process.
        execution: ExecutionId,
    },
    /// The process of a job ended; the process or an observer writes this, and the first one counts.
    Ended {
        /// The job that the process belonged to.
        job: JobId,
        /// The execution id of the process.
        execution: ExecutionId,
    },
    /// A client read a job.
    Seen {
        /// The job that was read.
        job: JobId,
        /// Its status at that moment.
        status: JobStatus,
        /// The number of its latest attempt; 0 before the first.
        attempt: u32,
    },
    /// `who` reports that it leads.
    Leads {
        /// The node that leads.
        who: String,
        /// The epoch of its term.
        epoch: u64,
    },
    /// A process was killed, stopped, or cut off, until its [`Fact::Back`].
    Away {
        /// The process with the fault.
        who: String,
        /// The kind of fault.
        how: How,
    },
    /// A fault is over.
    Back {
        /// The process that had the fault.
        who: String,
    },
    /// No more faults follow.
    Quiet {},
    /// Every accepted job has a final status.
    Settled {},
    /// SIGTERM was sent.
    Told {
        /// The process that gets the signal.
        who: String,
    },
    /// A process ended after SIGTERM.
    Exited {
        /// The process that ended.
        who: String,
    },
}

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// SIGKILL.
    Killed,
    /// SIGSTOP, until SIGCONT.
    Stopped,
    /// No network connection.
    Cut,
}

/// A fact with its time: one line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Wall time of the observation.
    pub at: Ms,
    /// The observation.
    pub fact: Fact,
}

/// The file to which all processes append. Cheap to clone; each record is one line in one write.
#[derive(Debug, Clone)]
pub struct History {
    path: PathBuf,
}

impl History {
    /// Uses the file at this path, which the first record creates.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a fact with the current time.
    ///
    /// # Panics
    /// Where the file cannot be written.
    pub fn add(&self, fact: Fact) {
        let mut line = serde_json::to_vec(&Record { at: now(), fact }).expect("json");
        line.push(b'\n');
        let file = OpenOptions::new().create(true).append(true).open(&self.path);
        file.and_then(|mut file| file.write_all(&line)).expect("the history is written");
    }

    /// All records, ordered by time; none where there is no file.
    ///
    /// # Panics
    /// Where a line is not a record.
    #[must_use]
    pub fn read(&self) -> Vec<Record> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let mut records: Vec<Record> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
            .collect();
        records.sort_by_key(|record| record.at);
        records
    }
}

/// The wall time now.
///
/// # Panics
/// Where the clock is set to before 1970.
#[must_use]
pub fn now() -> Ms {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("a time")
}

/// The settings of the daemons in the run, and the time limits that the checker applies.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// A worker without a heartbeat for this long is lost.
    pub lease: Ms,
    /// Time between two heartbeats of a worker.
    pub heartbeat: Ms,
    /// Time between two searches for lost workers.
    pub monitor: Ms,
    /// Time from the signal to stop to the kill of a job's process.
    pub kill_grace: Ms,
    /// How long the lease of a leader lasts without renewal.
    pub leader_lease: Ms,
    /// The longest time between two tries of a follower to lead.
    pub follower_poll: Ms,
    /// Limit from the last fault until every job has ended.
    pub settle: Ms,
    /// Limit from SIGTERM until the process ends.
    pub shutdown: Ms,
    /// Tolerance for process scheduling and for writing facts.
    pub margin: Ms,
    /// The processes on which all others depend: coordinators and their database.
    pub shared: Vec<String>,
    /// The database. Its kill may lose recent claims and starts, which no promise covers.
    pub database: String,
    /// The age up to which such a claim may be lost.
    pub unsynced: Ms,
}

/// The time from a fault of a process to its recovery.
#[derive(Debug, Clone)]
struct Trouble {
    who: String,
    how: How,
    from: Ms,
    /// [`Ms::MAX`] where the process never recovered.
    to: Ms,
}

/// One run of a job's process.
#[derive(Debug, Clone)]
struct Run {
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
pub fn check(history: &[Record], jobs: &[JobDetail], bounds: &Bounds) -> Result<(), String> {
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
    history: &'a [Record],
    jobs: BTreeMap<JobId, &'a JobDetail>,
    bounds: &'a Bounds,
    troubles: Vec<Trouble>,
    runs: Vec<Run>,
    broken: Vec<String>,
}

impl<'a> Checker<'a> {
    fn new(history: &'a [Record], jobs: &'a [JobDetail], bounds: &'a Bounds) -> Self {
        let troubles = troubles(history);
        let jobs: BTreeMap<_, _> = jobs.iter().map(|detail| (detail.job.id, detail)).collect();
        let mut checker =
            Self { history, jobs, bounds, troubles, runs: Vec::new(), broken: Vec::new() };
        checker.runs = checker.runs_of();
        checker
    }

    fn broken(&mut self, what: String) {
        self.broken.push(what);
    }

    /// The runs of all processes. One without an end in the history was killed, with its worker or after
    /// the grace time.
    fn runs_of(&self) -> Vec<Run> {
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
            let killed = |trouble: &&Trouble| {
                trouble.how == How::Killed && trouble.who == worker && trouble.from >= record.at
            };
            let killed = self.troubles.iter().find(killed).map(|trouble| trouble.from);
            let term = |r: &&Record| matches!(&r.fact, Fact::Told { who } if *who == worker);
            let exited = self.history.iter().filter(|r| r.at >= record.at).find(term);
            let recorded = attempt.and_then(|attempt| attempt.ended_at);
            let recorded = recorded.and_then(|at| u64::try_from(at.as_millis()).ok());
            let to = ends.get(&execution).copied().or(killed).or(exited.map(|r| r.at));
            let to = to.or(recorded).unwrap_or(Ms::MAX);
            runs.push(Run { job, execution, worker, from: record.at, to });
        }
        runs
    }

    /// The time by which a step that takes `within` is done. A fault of `who` or of a shared process
    /// restarts the step when it is over.
    fn deadline(&self, from: Ms, within: Ms, who: &str) -> Ms {
        let mut deadline = from.saturating_add(within);
        let mut counted = BTreeSet::new();
        loop {
            let holds_up = |(place, trouble): &(usize, &Trouble)| {
                !counted.contains(place)
                    && (trouble.who == who || self.bounds.shared.contains(&trouble.who))
                    && trouble.from <= deadline
                    && trouble.to.saturating_add(self.bounds.margin) >= from
            };
            let Some((place, trouble)) = self.troubles.iter().enumerate().find(holds_up) else {
                return deadline;
            };
            counted.insert(place);
            // A follower waits until the lease of a lost leader expires.
            let recovered = trouble.to.saturating_add(self.bounds.leader_lease);
            let recovered = recovered.saturating_add(self.bounds.follower_poll);
            deadline = deadline.max(recovered.saturating_add(within));
        }
    }

    /// The kill of the database that may have lost a claim seen at this time.
    fn lost_with_the_database(&self, trace: Ms) -> Option<&Trouble> {
        let bounds = self.bounds;
        self.troubles.iter().find(|trouble| {
            trouble.who == bounds.database
                && trouble.how == How::Killed
                && trace <= trouble.from.saturating_add(bounds.margin)
                && trouble.from <= trace.saturating_add(bounds.unsynced + bounds.margin)
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
            Fact::Seen { job, status, attempt } => Some((job, status, attempt, record.at)),
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
        let mut by_job: BTreeMap<JobId, Vec<&Run>> = BTreeMap::new();
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
                    let excused = self.troubles.iter().any(|trouble| {
                        trouble.who == first.worker
                            && matches!(trouble.how, How::Stopped | How::Cut)
                            && trouble.from <= second.from
                            && until <= self.deadline(trouble.to, learn, &first.worker)
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
                    let live =
                        |run: &&Run| run.job == job && run.from <= record.at && run.to > record.at;
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
        for trouble in self.troubles.iter().filter(|trouble| trouble.how == How::Killed) {
            let within = bounds.lease + bounds.monitor + bounds.margin;
            let deadline = self.deadline(trouble.from, within, "");
            for attempt in self.jobs.values().flat_map(|detail| &detail.attempts) {
                let ended = attempt.ended_at.map_or(Ms::MAX, ms);
                let was_its = attempt.worker_name.as_str() == trouble.who
                    && ms(attempt.claimed_at) < trouble.from
                    && ended >= trouble.from;
                if was_its && ended > deadline {
                    let late = ended.saturating_sub(trouble.from);
                    let of = format!("attempt {} of job {}", attempt.number, attempt.job);
                    broken.push(format!("I14: {of} was lost {late} ms after its worker's end"));
                }
            }
            let leads = |record: &&Record| matches!(record.fact, Fact::Leads { .. });
            let before = self.history.iter().filter(leads).rfind(|r| r.at <= trouble.from);
            let Some(Record { fact: Fact::Leads { who, epoch }, .. }) = before else { continue };
            if *who != trouble.who {
                continue;
            }
            let within = bounds.leader_lease + bounds.follower_poll + bounds.margin;
            let deadline = self.deadline_beside(trouble, within);
            let next = self.history.iter().find(
                |record| matches!(&record.fact, Fact::Leads { epoch: later, .. } if later > epoch),
            );
            if next.is_none_or(|next| next.at > deadline) {
                let after = next.map(|next| next.at - trouble.from);
                broken.push(format!("I14: {who} led and was killed, replaced after {after:?} ms"));
            }
        }
        self.broken.extend(broken);
    }

    /// As [`Self::deadline`], without this one fault: with another node to lead, recovery does not wait
    /// for its end.
    fn deadline_beside(&self, one: &Trouble, within: Ms) -> Ms {
        let nodes = self.bounds.shared.iter().filter(|who| who.starts_with('c')).count();
        if nodes < 2 {
            return self.deadline(one.from, within, "");
        }
        let others: Vec<Trouble> = self
            .troubles
            .iter()
            .filter(|other| other.from != one.from || other.who != one.who)
            .cloned()
            .collect();
        let beside = Checker {
            history: self.history,
            jobs: BTreeMap::new(),
            bounds: self.bounds,
            troubles: others,
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
        let settled = at(|fact| matches!(fact, Fact::Settled {}));
        let within = self.bounds.settle;
        if settled.is_none_or(|settled| settled > quiet.saturating_add(within)) {
            self.broken(format!("I17: the jobs did not all end within {within} ms"));
        }
    }

    /// I23: SIGTERM ends a process in time.
    fn shutdown(&mut self) {
        for record in self.history {
            let Fact::Told { who } = &record.fact else { continue };
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

fn troubles(history: &[Record]) -> Vec<Trouble> {
    let mut troubles: Vec<Trouble> = Vec::new();
    for record in history {
        match &record.fact {
            Fact::Away { who, how } => {
                let (who, from) = (who.clone(), record.at);
                troubles.push(Trouble { who, how: *how, from, to: Ms::MAX });
            }
            Fact::Back { who } => {
                for trouble in troubles.iter_mut().filter(|trouble| trouble.who == *who) {
                    trouble.to = trouble.to.min(record.at);
                }
            }
            _ => {}
        }
    }
    troubles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            lease: 3_000,
            heartbeat: 1_000,
            monitor: 500,
            kill_grace: 1_000,
            leader_lease: 3_000,
            follower_poll: 1_000,
            settle: 20_000,
            shutdown: 60_000,
            margin: 500,
            shared: vec!["c1".to_owned(), "c2".to_owned(), "db".to_owned()],
            database: "db".to_owned(),
            unsynced: 1_000,
        }
    }

    fn facts(records: &[(Ms, Fact)]) -> Vec<Record> {
        records.iter().map(|(at, fact)| Record { at: *at, fact: fact.clone() }).collect()
    }

    fn away(who: &str, how: How) -> Fact {
        Fact::Away { who: who.to_owned(), how }
    }

    fn back(who: &str) -> Fact {
        Fact::Back { who: who.to_owned() }
    }

    fn leads(who: &str, epoch: u64) -> Fact {
        Fact::Leads { who: who.to_owned(), epoch }
    }

    fn accepted(key: &str, job: i64) -> Fact {
        Fact::Accepted { key: key.to_owned(), job: JobId(job) }
    }

    fn started(job: i64, execution: u128) -> Fact {
        Fact::Started { job: JobId(job), execution: ExecutionId(execution) }
    }

    fn ended(job: i64, execution: u128) -> Fact {
        Fact::Ended { job: JobId(job), execution: ExecutionId(execution) }
    }

    fn sigterm(who: &str) -> Fact {
        Fact::Told { who: who.to_owned() }
    }

    fn time(at: Ms) -> String {
        orx_model::Timestamp::from_millis(at as i64).to_string()
    }

    /// Execution, worker, status, epoch, from when, to when.
    type Try<'a> = (u128, &'a str, &'a str, u64, Ms, Ms);

    fn job(id: i64, status: &str, tries: &[Try<'_>]) -> JobDetail {
        let attempts: Vec<serde_json::Value> = tries
            .iter()
            .zip(1..)
            .map(|((execution, worker, status, epoch, from, to), number)| {
                serde_json::json!({
                    "job": id, "number": number, "execution": ExecutionId(*execution),
                    "worker": "00000000000000000000000000000001", "worker_name": worker,
                    "epoch": epoch, "status": status, "claimed_at": time(*from),
                    "ended_at": time(*to),
                })
            })
            .collect();
        let detail = serde_json::json!({
            "v": 1, "id": id, "name": "work", "queue": "default", "priority": "normal",
            "status": status, "args": null, "created_at": time(0), "run_at": time(0),
            "attempt": tries.len(), "key": format!("k{id}"),
            "retry": orx_model::RetryPolicy::default(), "attempts": attempts,
        });
        serde_json::from_str(&detail.to_string()).expect("a job")
    }

    fn refused(history: &[(Ms, Fact)], jobs: &[JobDetail]) -> String {
        check(&facts(history), jobs, &bounds()).expect_err("refused")
    }

    /// All promises that a refusal names.
    fn named(history: &[(Ms, Fact)], jobs: &[JobDetail]) -> BTreeSet<String> {
        let text = refused(history, jobs);
        text.lines().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
    }

    fn one(name: &str) -> BTreeSet<String> {
        [name.to_owned()].into()
    }

    #[test]
    fn a_run_without_a_violation_passes() {
        let history = [
            (0, leads("c1", 4)),
            (0, accepted("k1", 1)),
            (10, Fact::Seen { job: JobId(1), status: JobStatus::Pending, attempt: 0 }),
            (100, started(1, 11)),
            (200, accepted("k1", 1)),
            (300, Fact::Unanswered { key: "k9".to_owned() }),
            (1_000, away("w1", How::Cut)),
            (5_000, started(1, 12)),
            (6_000, back("w1")),
            (6_900, ended(1, 11)),
            (7_000, ended(1, 12)),
            (7_100, accepted("k2", 2)),
            (7_200, started(2, 21)),
            (7_300, Fact::Cancelling { job: JobId(2) }),
            (7_900, ended(2, 21)),
            (8_000, away("c1", How::Killed)),
            (9_000, back("c1")),
            (9_100, leads("c1", 5)),
            (10_000, Fact::Quiet {}),
            (11_000, Fact::Settled {}),
            (12_000, sigterm("c1")),
            (13_000, Fact::Exited { who: "c1".to_owned() }),
        ];
        let jobs = [
            job(
                1,
                "completed",
                &[(11, "w1", "lost", 4, 90, 4_500), (12, "w2", "succeeded", 4, 4_900, 7_000)],
            ),
            job(2, "cancelled", &[(21, "w2", "cancelled", 4, 7_150, 7_900)]),
        ];
        assert_eq!(check(&facts(&history), &jobs, &bounds()), Ok(()));
    }

    #[test]
    fn an_accepted_job_that_is_missing_or_has_not_ended_is_found() {
        assert_eq!(named(&[(0, accepted("k1", 1))], &[]), one("I1"));
        assert_eq!(named(&[(0, accepted("k1", 1))], &[job(1, "pending", &[])]), one("I1"));
    }

    #[test]
    fn a_key_of_two_jobs_and_a_refused_job_are_found() {
        let jobs = [job(1, "cancelled", &[]), job(2, "cancelled", &[])];
        assert_eq!(named(&[(0, accepted("a", 1)), (9, accepted("a", 2))], &jobs), one("I2"));
        assert_eq!(named(&[(0, Fact::Refused { key: "k1".to_owned() })], &jobs[..1]), one("I2"));
        let mut twins = jobs;
        twins[1].job.spec.key = Some("k1".into());
        assert_eq!(named(&[], &twins), one("I2"));
    }

    #[test]
    fn a_change_of_a_final_status_is_found() {
        let seen = Fact::Seen { job: JobId(1), status: JobStatus::Cancelled, attempt: 0 };
        let done = job(1, "completed", &[(11, "w1", "succeeded", 1, 10, 20)]);
        assert_eq!(named(&[(0, seen)], &[done]), one("I3"));
        let never_ran = job(1, "completed", &[(11, "w1", "failed", 1, 10, 20)]);
        assert_eq!(named(&[], &[never_ran]), one("I3"));
    }

    #[test]
    fn an_impossible_transition_is_found() {
        let seen = |status, attempt| Fact::Seen { job: JobId(1), status, attempt };
        let done = [job(1, "completed", &[(11, "w1", "succeeded", 1, 10, 20)])];
        let (dispatched, running) = (JobStatus::Dispatched, JobStatus::Running);
        let fine = [(0, seen(JobStatus::Scheduled, 0)), (1, seen(running, 1))];
        assert_eq!(check(&facts(&fine), &done, &bounds()), Ok(()));
        // Running without a claim; and dispatched again without another claim.
        assert_eq!(named(&[(0, seen(running, 0))], &done), one("I3"));
        assert_eq!(named(&[(0, seen(running, 1)), (1, seen(dispatched, 1))], &done), one("I3"));
    }

    #[test]
    fn two_completions_and_two_starts_of_one_execution_are_found() {
        let twice = [(11, "w1", "succeeded", 1, 10, 20), (12, "w1", "succeeded", 1, 30, 40)];
        assert_eq!(named(&[], &[job(1, "completed", &twice)]), one("I4"));
        let once = job(1, "completed", &[(11, "w1", "succeeded", 1, 10, 90)]);
        let history = [(20, started(1, 11)), (30, ended(1, 11)), (31, started(1, 11))];
        assert_eq!(named(&history, &[once]), one("I4"));
    }

    #[test]
    fn an_execution_of_two_jobs_and_one_that_outlives_its_job_are_found() {
        let one_of = |id| job(id, "completed", &[(11, "w1", "succeeded", 1, 10, 90)]);
        assert_eq!(named(&[], &[one_of(1), one_of(2)]), one("I4"));
        let mut open = one_of(1);
        open.attempts[0].ended_at = None;
        assert_eq!(named(&[], &[open]), one("I4"));
    }

    #[test]
    fn a_job_that_was_tried_beyond_its_limits_is_found() {
        let beyond: [fn(&mut JobDetail); 4] = [
            |detail| detail.job.state.ends.failed = detail.job.spec.retry.retries + 2,
            |detail| detail.job.state.ends.lost = 4,
            |detail| detail.job.state.ends.server_lost = 4,
            |detail| detail.job.state.ends.returned = 21,
        ];
        for put in beyond {
            let mut tried = job(1, "completed", &[(11, "w1", "succeeded", 1, 10, 90)]);
            put(&mut tried);
            assert_eq!(named(&[], &[tried]), one("I5"));
        }
    }

    #[test]
    fn gaps_in_attempt_numbers_and_starts_without_an_attempt_are_found() {
        let mut lost = job(1, "completed", &[(11, "w1", "succeeded", 1, 10, 90)]);
        assert_eq!(named(&[(20, started(1, 12)), (30, ended(1, 12))], &[lost.clone()]), one("I5"));
        let seen = Fact::Seen { job: JobId(1), status: JobStatus::Running, attempt: 3 };
        assert_eq!(named(&[(0, seen)], &[lost.clone()]), one("I5"));
        lost.job.state.attempt = 2;
        assert_eq!(named(&[], &[lost]), one("I5"));
    }

    #[test]
    fn a_claim_lost_with_the_database_is_excused_and_any_other_is_not() {
        let seen = Fact::Seen { job: JobId(1), status: JobStatus::Running, attempt: 1 };
        let jobs = [job(1, "completed", &[(12, "w1", "succeeded", 1, 5_000, 9_000)])];
        let run = |kill: Ms, ends: Ms| {
            [
                (1_000, started(1, 11)),
                (1_100, seen.clone()),
                (kill, away("db", How::Killed)),
                (4_000, back("db")),
                (4_500, Fact::Seen { job: JobId(1), status: JobStatus::Pending, attempt: 0 }),
                (5_000, started(1, 12)),
                (ends, ended(1, 11)),
                (90_000, ended(1, 12)),
            ]
        };
        assert_eq!(check(&facts(&run(1_900, 8_000)), &jobs, &bounds()), Ok(()));
        // A claim that was synced long before is not lost.
        assert_eq!(named(&run(3_900, 4_000), &jobs), one("I5"));
        // The process of a lost claim must be ended.
        assert_eq!(named(&run(1_900, 60_000), &jobs), one("I9"));
        // An end is never lost.
        let over = Fact::Seen { job: JobId(1), status: JobStatus::Failed, attempt: 1 };
        let history = [(1_000, over), (1_100, away("db", How::Killed)), (1_200, back("db"))];
        assert_eq!(named(&history, &jobs), one("I3"));
    }

    #[test]
    fn a_claim_by_a_leader_that_was_replaced_is_found() {
        let jobs = [
            job(1, "completed", &[(11, "w1", "succeeded", 5, 10, 90)]),
            job(2, "completed", &[(21, "w1", "succeeded", 4, 20, 90)]),
        ];
        assert_eq!(named(&[], &jobs), one("I6"));
    }

    #[test]
    fn two_live_attempts_of_one_job_are_found() {
        let both = [(11, "w1", "lost", 1, 10, 50), (12, "w2", "succeeded", 1, 40, 90)];
        assert_eq!(named(&[], &[job(1, "completed", &both)]), one("I8"));
    }

    #[test]
    fn two_processes_of_one_job_are_found_where_no_worker_was_cut_off() {
        let tries = [(11, "w1", "lost", 1, 0, 4_000), (12, "w2", "succeeded", 1, 4_000, 9_000)];
        let jobs = [job(1, "completed", &tries)];
        let run = |worker: &str| {
            [
                (10, started(1, 11)),
                (1_000, away(worker, How::Cut)),
                (4_100, started(1, 12)),
                (5_000, back(worker)),
                (8_000, ended(1, 11)),
                (9_000, ended(1, 12)),
            ]
        };
        assert_eq!(check(&facts(&run("w1")), &jobs, &bounds()), Ok(()));
        assert_eq!(named(&run("w2"), &jobs), one("I9"));
        // Back in contact, a worker must end the job that it lost.
        let mut late = run("w1");
        late[4].0 = 30_000;
        late[5].0 = 30_000;
        assert_eq!(named(&late, &jobs), one("I9"));
    }

    #[test]
    fn a_start_after_a_cancel_is_found() {
        let history =
            [(10, Fact::Cancelled { job: JobId(1) }), (20, started(1, 11)), (30, ended(1, 11))];
        let done = job(1, "completed", &[(11, "w1", "succeeded", 1, 15, 30)]);
        assert_eq!(named(&history, &[done]), one("I12"));
        let cancelled = job(1, "cancelled", &[(11, "w1", "cancelled", 1, 15, 30)]);
        assert_eq!(named(&history, &[cancelled]), one("I12"));
        let done = job(1, "completed", &[(11, "w1", "succeeded", 1, 1, 9)]);
        assert_eq!(named(&history[..1], &[done]), one("I12"));
    }

    #[test]
    fn a_cancel_that_does_not_reach_a_worker_in_contact_is_found() {
        let jobs = [job(1, "cancelled", &[(11, "w1", "cancelled", 1, 0, 9_000)])];
        let run = |from: Ms, to: Ms| {
            [
                (10, started(1, 11)),
                (100, Fact::Cancelling { job: JobId(1) }),
                (from, away("c1", How::Stopped)),
                (to, back("c1")),
                (9_000, ended(1, 11)),
            ]
        };
        assert_eq!(check(&facts(&run(500, 5_000)), &jobs, &bounds()), Ok(()));
        assert_eq!(named(&run(8_000, 8_500), &jobs), one("I13"));
        let asked = [(100, Fact::Cancelling { job: JobId(1) })];
        let failed = job(1, "failed", &[(11, "w1", "failed", 1, 0, 9_000)]);
        assert_eq!(named(&asked, &[failed]), one("I13"));
    }

    #[test]
    fn a_dead_worker_and_a_dead_leader_that_are_replaced_late_are_found() {
        let history = [(10, started(1, 11)), (1_000, away("w1", How::Killed)), (1_500, back("w1"))];
        let lost_at = |at| [job(1, "failed", &[(11, "w1", "lost", 1, 0, at)])];
        assert_eq!(check(&facts(&history), &lost_at(4_900), &bounds()), Ok(()));
        assert_eq!(named(&history, &lost_at(9_000)), one("I14"));

        let replaced =
            |at| [(0, leads("c1", 1)), (1_000, away("c1", How::Killed)), (at, leads("c2", 2))];
        assert_eq!(check(&facts(&replaced(5_400)), &[], &bounds()), Ok(()));
        assert_eq!(named(&replaced(9_000), &[]), one("I14"));
    }

    #[test]
    fn a_run_that_does_not_settle_is_found() {
        assert_eq!(named(&[(0, Fact::Quiet {}), (30_000, Fact::Settled {})], &[]), one("I17"));
        assert_eq!(named(&[(0, Fact::Quiet {})], &[]), one("I17"));
    }

    #[test]
    fn a_process_that_does_not_end_after_sigterm_is_found() {
        let exited = Fact::Exited { who: "c1".to_owned() };
        assert_eq!(named(&[(0, sigterm("c1")), (61_000, exited)], &[]), one("I23"));
        assert_eq!(named(&[(0, sigterm("w1"))], &[]), one("I23"));
    }
}
