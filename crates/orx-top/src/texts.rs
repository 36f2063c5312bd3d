//! The texts of a job: its args, its result, and why it is as it is.

use std::time::Duration;

use orx_model::lane::Lane;
use orx_model::text::{clean_line, clean_text, escape_json};
use orx_model::time::{TimeStyle, format_duration, format_time};
use orx_model::{Job, JobStatus, Timestamp};

use crate::look::short;
use crate::state::App;
use crate::state::details::{JobPane, JobTab};

/// The lines of the tab that is open, safe to show.
pub(crate) fn lines(app: &App, pane: &JobPane) -> Vec<String> {
    let Some(detail) = &pane.job else { return Vec::new() };
    let job = &detail.job;
    let text = match pane.tab {
        JobTab::Log | JobTab::Attempts => return Vec::new(),
        JobTab::Args => args(job),
        JobTab::Result => match &job.state.result {
            Some(result) => pretty(result.get()),
            None if job.state.status.is_final() => "It returned no result.".to_owned(),
            None => "It has not ended: there is no result yet.".to_owned(),
        },
        JobTab::Events => return crate::events::lines(app, detail, pane),
        JobTab::Why => return why(app, job),
    };
    text.lines().map(str::to_owned).collect()
}

fn args(job: &Job) -> String {
    let mut text = String::new();
    if let Some(command) = &job.spec.command {
        for (place, word) in command.argv.iter().enumerate() {
            let head = if place == 0 { "command  " } else { "         " };
            text.push_str(&format!("{head}{}\n", clean_line(word)));
        }
        if let Some(cwd) = &command.cwd {
            text.push_str(&format!("in       {}\n", clean_line(cwd)));
        }
        for (name, value) in &command.env {
            text.push_str(&format!("env      {}={}\n", clean_line(name), clean_line(value)));
        }
        text.push('\n');
    }
    text.push_str(&pretty(job.spec.args.get()));
    text
}

/// JSON with a line for each value. The text of each value stays as it was sent.
pub(crate) fn pretty(json: &str) -> String {
    let json = escape_json(json);
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth.min(100)));
    };
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        if in_string {
            out.push(c);
            (in_string, escaped) = (escaped || c != '"', !escaped && c == '\\');
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while chars.peek().is_some_and(char::is_ascii_whitespace) {
                    chars.next();
                }
                if matches!(chars.peek(), Some('}' | ']')) {
                    out.extend(chars.next());
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

fn at(app: &App, time: Timestamp) -> String {
    let style = if app.look.time == TimeStyle::Utc { TimeStyle::Utc } else { TimeStyle::Local };
    let now = app.server_now();
    let exact = format_time(time, style, now, &*app.options.zone);
    match time > now {
        true => format!("{exact} ({})", short(now, time)),
        false => format!("{exact} ({} ago)", short(now, time)),
    }
}

/// Why a job waits, or why it ended so, and what helps.
fn why(app: &App, job: &Job) -> Vec<String> {
    let state = &job.state;
    let now = app.server_now();
    let mut lines = Vec::new();
    match state.status {
        JobStatus::Created => lines.push("It waits for other jobs to end.".to_owned()),
        JobStatus::Pending => waits(app, job, &mut lines),
        JobStatus::Scheduled => {
            lines.push(format!("It is due {}.", at(app, state.run_at)));
            if state.attempt > 0 {
                let failed = state.ends.failed;
                let left = u64::from(job.spec.retry.retries).saturating_sub(u64::from(failed));
                lines.push(format!(
                    "Attempt {} did not succeed; {} more after the next.",
                    state.attempt,
                    left.saturating_sub(1)
                ));
            }
        }
        JobStatus::Dispatched => {
            let worker = state.live.as_ref().map(|live| live.worker_name.to_string());
            let worker = worker.unwrap_or_default();
            lines.push(format!("It is on its way to {worker}, or waits there for a free slot."));
        }
        JobStatus::Running => {
            let live = state.live.as_ref();
            let since = live.and_then(|live| live.started_at).unwrap_or(now);
            let worker = live.map(|live| live.worker_name.to_string()).unwrap_or_default();
            lines.push(format!("It has run for {} on {worker}.", short(now, since)));
            if let Some(ms) = job.spec.timeout_ms.filter(|ms| *ms > 0) {
                let end = since.saturating_add(Duration::from_millis(ms));
                lines.push(format!("It is stopped at its timeout, {}.", at(app, end)));
            }
        }
        JobStatus::Completed => lines.push("It succeeded.".to_owned()),
        JobStatus::Failed | JobStatus::TimedOut => {
            let dead = state.dead.map(|dead| dead.as_str().replace('_', " "));
            lines.push(format!(
                "It {} after {} attempts{}.",
                if state.status == JobStatus::Failed { "failed" } else { "timed out" },
                state.attempt,
                dead.map(|dead| format!(": {dead}")).unwrap_or_default(),
            ));
        }
        JobStatus::Cancelled => match &state.cancel {
            Some(cancel) => {
                let by = cancel.by.as_deref().unwrap_or("somebody");
                lines.push(format!("{} cancelled it, {}.", clean_line(by), at(app, cancel.at)));
                if let Some(reason) = &cancel.reason {
                    lines.push(format!("Reason: {}", clean_line(reason)));
                }
            }
            None => lines.push("It was cancelled at its expiry or deadline.".to_owned()),
        },
    }
    if let (Some(cancel), false) = (&state.cancel, state.status.is_final()) {
        lines.push(format!("A cancel was requested {}.", at(app, cancel.at)));
    }
    if let Some(error) = &state.error {
        lines.push(String::new());
        lines.push("The error of its last attempt:".to_owned());
        lines.extend(clean_text(error.as_bytes()).lines().map(|line| format!("  {line}")));
    }
    if let Some(help) = help(job) {
        lines.push(String::new());
        lines.push(help);
    }
    lines
}

/// The command that helps.
fn help(job: &Job) -> Option<String> {
    let id = job.id;
    match job.state.status {
        JobStatus::Failed | JobStatus::TimedOut | JobStatus::Cancelled => {
            Some(format!("`r` runs it again, as `orx retry {id}` does."))
        }
        JobStatus::Created
        | JobStatus::Pending
        | JobStatus::Scheduled
        | JobStatus::Dispatched
        | JobStatus::Running => Some(format!("`c` cancels it, as `orx cancel {id}` does.")),
        JobStatus::Completed => None,
    }
}

/// Why a ready job has not started: who could run it, and how busy they are.
fn waits(app: &App, job: &Job, lines: &mut Vec<String>) {
    let now = app.server_now();
    lines.push(format!(
        "It has been ready for {}.",
        short(now.max(job.state.run_at), job.state.run_at)
    ));
    if app.workers.rows.is_empty() {
        lines.push("No worker is known.".to_owned());
        return;
    }
    let lane = Lane {
        queue: job.spec.queue.clone(),
        handler: job.spec.handler().cloned(),
        require: job.spec.require.clone(),
    };
    let able: Vec<_> = app.workers.rows.iter().filter(|one| one.offer.takes(&lane)).collect();
    let live: Vec<_> = able.iter().filter(|one| one.live && one.order.is_none()).collect();
    if able.is_empty() {
        lines.push("No worker can run it:".to_owned());
        let handler = lane.handler.as_ref().map(|name| format!("a handler `{name}`"));
        let needs = handler.unwrap_or_else(|| "commands".to_owned());
        let labels: Vec<String> =
            lane.require.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!(" and the labels {}", labels.join(" "))
        };
        lines.push(format!("  it needs {needs} for the queue `{}`{labels}.", lane.queue));
        return;
    }
    if live.is_empty() {
        lines.push(format!("{} workers can run it, and all are silent or drained.", able.len()));
        return;
    }
    let (active, slots) =
        live.iter().fold((0, 0), |(active, slots), one| (active + one.active, slots + one.slots));
    lines.push(format!(
        "{} live workers can run it: {active} of their {slots} slots are busy.",
        live.len()
    ));
    let queue = app.queues.rows.iter().find(|queue| queue.queue == job.spec.queue);
    if let Some(queue) = queue {
        let waiting = crate::columns::thousands(queue.counts.pending);
        lines.push(format!("{waiting} jobs are ready in the queue `{}`.", queue.queue));
        if let Some(oldest) = queue.oldest_due {
            let age = format_duration(now.saturating_since(oldest));
            lines.push(format!("The oldest of them has waited for {age}."));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_gets_a_line_for_each_value_and_keeps_its_numbers() {
        let text = pretty(r#"{"a":[1.50,{}],"b":"x, {\"y\"}: \u202e","c":[]}"#);
        assert_eq!(
            text,
            "{\n  \"a\": [\n    1.50,\n    {}\n  ],\n  \"b\": \"x, {\\\"y\\\"}: \\u202e\",\n  \"c\": []\n}"
        );
    }
}
