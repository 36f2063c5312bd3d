//! The facts of a run, and the file that they are written to.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use orx_model::{ExecutionId, JobId, JobStatus};
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
    Observed {
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
    Down {
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
    AllEnded {},
    /// SIGTERM was sent.
    StopSignal {
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
pub struct HistoryRecord {
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
        let mut line = serde_json::to_vec(&HistoryRecord { at: now(), fact }).expect("json");
        line.push(b'\n');
        let file = OpenOptions::new().create(true).append(true).open(&self.path);
        file.and_then(|mut file| file.write_all(&line)).expect("the history is written");
    }

    /// All records, ordered by time; none where there is no file.
    ///
    /// # Panics
    /// Where a line is not a record.
    #[must_use]
    pub fn read(&self) -> Vec<HistoryRecord> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let mut records: Vec<HistoryRecord> = text
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
