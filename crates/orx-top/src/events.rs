//! The events of a job, oldest first: what its record, its attempts and the changes by people tell.

use orx_model::text::clean_line;
use orx_model::time::{TimeStyle, format_duration, format_time};
use orx_model::wire::{AuditAction, AuditEntry, JobDetail};
use orx_model::{Attempt, AttemptStatus, JobId, JobStatus, Timestamp};

use crate::state::App;
use crate::state::details::JobPane;
use crate::{columns, look};

/// A change by a person and the state of the job tell of the same cancel if they are this close.
const SAME_MS: u64 = 5_000;

/// Something that happened to a job. Its texts are of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobHappening {
    pub(crate) at: Timestamp,
    /// The worker, person or part of orx that did it.
    pub(crate) who: String,
    pub(crate) what: String,
    pub(crate) why: String,
}

fn event(
    at: Timestamp,
    who: &str,
    what: impl Into<String>,
    why: impl Into<String>,
) -> JobHappening {
    JobHappening { at, who: who.to_owned(), what: what.into(), why: why.into() }
}

/// The events of a job, by time.
pub(crate) fn of(detail: &JobDetail, pane: &JobPane) -> Vec<JobHappening> {
    let (job, state) = (&detail.job, &detail.job.state);
    let mut all = Vec::new();
    let schedule = job.spec.schedule.as_ref().map(|from| format!("schedule {}", from.id));
    let who = schedule.or_else(|| job.spec.by.clone()).unwrap_or_default();
    let queue = format!("queue {}, priority {}", job.spec.queue, job.spec.priority);
    all.push(event(state.created_at, &who, "accepted", queue));
    for attempt in &detail.attempts {
        of_attempt(attempt, &mut all);
    }
    if let Some(cancel) = &state.cancel {
        let (by, reason) = (cancel.by.as_deref(), cancel.reason.as_deref());
        let (by, reason) = (by.unwrap_or_default(), reason.unwrap_or_default());
        all.push(event(cancel.at, by, "cancel requested", reason));
    }
    let near =
        |entry: &AuditEntry, at: Timestamp| entry.at.as_millis().abs_diff(at.as_millis()) < SAME_MS;
    for entry in pane.audit.iter().filter(|entry| names(entry, job.id)) {
        let Some(action) = AuditAction::of_name(&entry.action) else { continue };
        let what = match action {
            AuditAction::CancelJobs | AuditAction::ForceCancelJobs => "cancel requested",
            AuditAction::RetryJobs | AuditAction::RetryDeadLetters => "retried",
            AuditAction::DeleteDeadLetters => "dead letter deleted",
            _ => continue,
        };
        let listed = state.cancel.as_ref().is_some_and(|cancel| near(entry, cancel.at));
        if what == "cancel requested" && listed {
            continue;
        }
        let who = entry.by.as_deref().unwrap_or(&entry.token);
        all.push(event(entry.at, who, what, entry.reason.clone().unwrap_or_default()));
    }
    if let Some(at) = state.finished_at {
        let dead = state.dead.map(|dead| dead.as_str().replace('_', " "));
        let dead = dead.map(|reason| format!("dead letter: {reason}")).unwrap_or_default();
        all.push(event(at, "", format!("job {}", state.status.words()), dead));
    } else if state.status == JobStatus::Scheduled {
        // Not yet, but what comes next.
        let what = if state.attempt == 0 { "due" } else { "next attempt due" };
        all.push(event(state.run_at, "", what, ""));
    }
    all.sort_by_key(|one| one.at);
    all
}

/// Whether a record of a change names a job: `1423, 1424 and 3 others`.
fn names(entry: &AuditEntry, job: JobId) -> bool {
    let id = job.to_string();
    entry.object.split([',', ' ']).any(|word| word == id)
}

fn of_attempt(attempt: &Attempt, all: &mut Vec<JobHappening>) {
    let (number, worker) = (attempt.number, attempt.worker_name.as_str());
    all.push(event(attempt.claimed_at, "leader", format!("attempt {number} dispatched"), worker));
    if let Some(at) = attempt.started_at {
        let waited = format_duration(at.saturating_since(attempt.claimed_at));
        let waited = format!("{waited} after its dispatch");
        all.push(event(at, worker, format!("attempt {number} started"), waited));
    }
    let Some(at) = attempt.ended_at else { return };
    let who = match attempt.status {
        AttemptStatus::Lost => "leader",
        _ => worker,
    };
    let what = match attempt.status {
        AttemptStatus::Lost => format!("attempt {number} lost with {worker}"),
        other => format!("attempt {number} {}", other.as_str().replace('_', " ")),
    };
    let exit = attempt.exit.map(|exit| exit.to_string());
    let error = attempt.error.as_deref().and_then(|text| text.lines().next()).map(str::to_owned);
    let why = match (exit, error) {
        // The error of a process often is its exit alone.
        (Some(exit), Some(error)) if !error.contains(&exit) => format!("{exit}: {error}"),
        (_, Some(error)) => error,
        (Some(exit), None) => exit,
        (None, None) => String::new(),
    };
    all.push(event(at, who, what, why));
}

/// The events as lines, safe to show.
pub(crate) fn lines(app: &App, detail: &JobDetail, pane: &JobPane) -> Vec<String> {
    let now = app.server_now();
    let style = match app.look.time {
        TimeStyle::Utc => TimeStyle::Utc,
        _ => TimeStyle::Local,
    };
    let all = of(detail, pane);
    let who = all.iter().map(|one| orx_model::text::cells(&clean_line(&one.who))).max();
    let who = who.unwrap_or(0).min(20);
    let line = |one: &JobHappening| {
        let time = match app.look.time {
            TimeStyle::Relative => {
                let age = look::short(now, one.at);
                if one.at > now { age } else { format!("{age} ago") }
            }
            _ => format_time(one.at, style, now, &*app.options.zone),
        };
        let by = columns::padded(&clean_line(&one.who), who, app.look.ascii);
        let (what, why) = (clean_line(&one.what), clean_line(&one.why));
        format!("{time:>12}  {by}  {what:<24}  {why}").trim_end().to_owned()
    };
    let mut lines: Vec<String> = all.iter().map(line).collect();
    let refused = app.calls.failed.get(&crate::state::Purpose::Audit(pane.id));
    if let Some(failure) = refused {
        lines.push(String::new());
        let text = format!("Changes by people are not shown: {}", failure.message);
        lines.push(clean_line(&text).into_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_a_job_by_its_whole_id() {
        let entry = |object: &str| AuditEntry {
            id: 1,
            at: Timestamp::default(),
            action: "retry_jobs".to_owned(),
            object: object.to_owned(),
            changed: 1,
            token: "local".to_owned(),
            address: None,
            by: None,
            reason: None,
        };
        assert!(names(&entry("14, 142 and 3 others"), JobId(142)));
        assert!(!names(&entry("1423, 2142 and 142nd"), JobId(142)));
        assert!(!names(&entry("status:failed id>=142"), JobId(142)));
    }
}
