//! The life of a job: every transition is an arm of [`next`]. Stores and daemons call it; no other code
//! compares statuses to decide a transition.

use std::str::FromStr;

use crate::names;

names! {
    /// How far a job is.
    #[derive(PartialOrd, Ord, utoipa::ToSchema)]
    pub enum JobStatus {
        /// Accepted, waits for other unfinished jobs.
        Created = "created",
        /// Ready to be claimed.
        Pending = "pending",
        /// Waits for its due time.
        Scheduled = "scheduled",
        /// Claimed for a worker; an attempt exists.
        Dispatched = "dispatched",
        /// The worker reported the start.
        Running = "running",
        /// An attempt succeeded.
        Completed = "completed",
        /// No try is left: a dead letter.
        Failed = "failed",
        /// No try is left, and the last was stopped at its timeout: a dead letter.
        TimedOut = "timed_out",
        /// Cancelled by a request, its expiry or its deadline.
        Cancelled = "cancelled",
    }
}

impl JobStatus {
    /// The name for people: `timed out`.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::TimedOut => "timed out",
            other => other.as_str(),
        }
    }

    /// Whether only a manual retry leads out of this status.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::TimedOut | Self::Cancelled => true,
            Self::Created | Self::Pending | Self::Scheduled | Self::Dispatched | Self::Running => {
                false
            }
        }
    }

    /// Whether a worker has an attempt of the job.
    #[must_use]
    pub fn is_live(self) -> bool {
        match self {
            Self::Dispatched | Self::Running => true,
            Self::Created
            | Self::Pending
            | Self::Scheduled
            | Self::Completed
            | Self::Failed
            | Self::TimedOut
            | Self::Cancelled => false,
        }
    }
}

/// The text is not a status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a status such as `running`, found `{found}`")]
pub struct ParseStatusError {
    /// The text that was found, cut to 80 characters.
    pub found: String,
}

impl FromStr for JobStatus {
    type Err = ParseStatusError;

    /// Also accepts `timedout`, `timed-out` and `canceled`.
    fn from_str(text: &str) -> Result<Self, ParseStatusError> {
        let plain: String = text.to_ascii_lowercase().replace(['-', '_'], "");
        let plain = if plain == "canceled" { "cancelled" } else { &plain };
        Self::ALL
            .into_iter()
            .find(|status| status.as_str().replace('_', "") == plain)
            .ok_or_else(|| ParseStatusError { found: text.chars().take(80).collect() })
    }
}

/// What can happen to a job. Events that end an attempt name the decision of
/// [`crate::outcome::resolve_outcome`], not its cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobEvent {
    /// The jobs that it waited for have ended.
    Admit,
    /// The jobs that it waited for have ended, and it is due later.
    Delay,
    /// Its due time has come.
    Due,
    /// Claimed for a worker.
    Claim,
    /// The worker started it.
    Start,
    /// An attempt succeeded.
    Succeed,
    /// Another try later.
    RetryLater,
    /// Another try now; uses no retry.
    GiveBack,
    /// No try left: failed.
    GiveUp,
    /// No try left: timed out.
    GiveUpTimedOut,
    /// Cancelled while it waits.
    Cancel,
    /// The attempt ended, or was lost, after a cancel request.
    Stopped,
    /// A manual retry.
    Revive,
}

impl JobEvent {
    /// Every event.
    pub const ALL: [Self; 13] = [
        Self::Admit,
        Self::Delay,
        Self::Due,
        Self::Claim,
        Self::Start,
        Self::Succeed,
        Self::RetryLater,
        Self::GiveBack,
        Self::GiveUp,
        Self::GiveUpTimedOut,
        Self::Cancel,
        Self::Stopped,
        Self::Revive,
    ];
}

/// The transition table has no such transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {from} job does not take {event:?}")]
pub struct IllegalMove {
    /// The status that the job is in.
    pub from: JobStatus,
    /// The event that does not apply.
    pub event: JobEvent,
}

/// The status after `event`: the one transition table.
///
/// # Errors
///
/// The table has no such transition.
pub fn next(from: JobStatus, event: JobEvent) -> Result<JobStatus, IllegalMove> {
    use {JobEvent as E, JobStatus as S};
    let to = match (from, event) {
        (S::Created, E::Admit) | (S::Scheduled, E::Due) => S::Pending,
        (S::Created, E::Delay) => S::Scheduled,
        (S::Pending, E::Claim) => S::Dispatched,
        (S::Dispatched, E::Start) => S::Running,
        // A reported start is information, not a condition: the end may arrive first.
        (S::Dispatched | S::Running, E::Succeed) => S::Completed,
        (S::Dispatched | S::Running, E::RetryLater) => S::Scheduled,
        // The worker stopped in good order or never started the job: another gets it, and no retry is used.
        (S::Dispatched | S::Running, E::GiveBack) => S::Pending,
        (S::Dispatched | S::Running, E::GiveUp) => S::Failed,
        (S::Dispatched | S::Running, E::GiveUpTimedOut) => S::TimedOut,
        // A waiting job is cancelled at once; for a live one the request is recorded, and the end of the
        // attempt decides.
        (S::Created | S::Pending | S::Scheduled, E::Cancel) => S::Cancelled,
        (S::Dispatched | S::Running, E::Stopped) => S::Cancelled,
        (S::Completed | S::Failed | S::TimedOut | S::Cancelled, E::Revive) => S::Pending,
        _ => return Err(IllegalMove { from, event }),
    };
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table() {
        let table: Vec<String> = JobStatus::ALL
            .into_iter()
            .map(|from| {
                let moves: Vec<String> = JobEvent::ALL
                    .into_iter()
                    .filter_map(|event| Some(format!("{event:?}>{}", next(from, event).ok()?)))
                    .collect();
                format!("{from}: {}", moves.join(" "))
            })
            .collect();
        insta::assert_snapshot!(table.join("\n"), @r"
        created: Admit>pending Delay>scheduled Cancel>cancelled
        pending: Claim>dispatched Cancel>cancelled
        scheduled: Due>pending Cancel>cancelled
        dispatched: Start>running Succeed>completed RetryLater>scheduled GiveBack>pending GiveUp>failed GiveUpTimedOut>timed_out Stopped>cancelled
        running: Succeed>completed RetryLater>scheduled GiveBack>pending GiveUp>failed GiveUpTimedOut>timed_out Stopped>cancelled
        completed: Revive>pending
        failed: Revive>pending
        timed_out: Revive>pending
        cancelled: Revive>pending
        ");
    }

    #[test]
    fn a_status_reads_as_it_prints_and_in_common_spellings() {
        for status in JobStatus::ALL {
            assert_eq!(status.to_string().parse(), Ok(status));
        }
        assert_eq!("TimedOut".parse(), Ok(JobStatus::TimedOut));
        assert_eq!("canceled".parse(), Ok(JobStatus::Cancelled));
        assert!("done".parse::<JobStatus>().is_err());
    }

    #[test]
    fn only_a_manual_retry_leads_out_of_a_final_status() {
        for from in JobStatus::ALL.into_iter().filter(|status| status.is_final()) {
            for event in JobEvent::ALL {
                assert_eq!(next(from, event).is_ok(), event == JobEvent::Revive);
            }
        }
    }
}
