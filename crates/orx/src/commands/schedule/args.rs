//! Flags that describe a schedule.

use std::collections::BTreeMap;
use std::time::Duration;

use orx_model::job::Json;
use orx_model::policy::OnLost;
use orx_model::schedule::{
    CatchUp, CommandChange, JobChange, Overlap, ScheduleSpec, SpecChange, When,
};
use orx_model::wire::EnqueueRequest;
use orx_model::{Name, Priority};
use orx_schedule::{Cron, CronError, NamedZone, ParseZoneError, SpecProblem};

use super::super::{enqueue, folder, future_time, pair, stdin_base64, variables};
use crate::error::CliError;
use crate::ui::Ui;

/// Flags for the due times of a schedule.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct TimeArgs {
    /// Cron expression: five fields, or six with seconds first, or @daily and the like
    #[arg(long, value_name = "EXPR", value_parser = cron, conflicts_with_all = ["every", "at"])]
    pub(crate) cron: Option<Cron>,
    /// Interval, counted from 1970-01-01 UTC
    #[arg(long, value_name = "D", value_parser = crate::duration, conflicts_with = "at")]
    pub(crate) every: Option<Duration>,
    /// Shift each due time of the interval by this time
    #[arg(long, value_name = "D", value_parser = crate::duration)]
    pub(crate) offset: Option<Duration>,
    /// Run once, at this time
    #[arg(long, value_name = "T")]
    pub(crate) at: Option<String>,
    /// Time zone of the cron expression; default: --tz, else this machine's zone
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    pub(crate) zone: Option<NamedZone>,
    /// Delay each run by up to this; a due time always gets the same delay
    #[arg(long, value_name = "D", value_parser = crate::duration)]
    pub(crate) jitter: Option<Duration>,
    /// No due time before this
    #[arg(long, value_name = "T")]
    pub(crate) start: Option<String>,
    /// No due time after this
    #[arg(long, value_name = "T")]
    pub(crate) end: Option<String>,
}

fn cron(text: &str) -> Result<Cron, String> {
    text.parse().map_err(|error: CronError| error.to_string())
}

fn zone(text: &str) -> Result<NamedZone, String> {
    text.parse().map_err(|error: ParseZoneError| error.to_string())
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl TimeArgs {
    /// The timing that the flags give; `None` if they give none.
    pub(crate) fn timing(&self, ui: &Ui) -> Result<Option<When>, CliError> {
        Ok(match (&self.cron, self.every, &self.at) {
            (Some(cron), _, _) => Some(When::Cron(cron.expr().clone())),
            (_, Some(every), _) => {
                let offset_ms = self.offset.map_or(0, ms);
                Some(When::Interval { every_ms: ms(every), offset_ms })
            }
            (_, _, Some(at)) => Some(When::Once(future_time(at, ui)?)),
            (None, None, None) => None,
        })
    }

    /// `--zone`, else the user's own zone.
    pub(crate) fn zone(&self, ui: &Ui) -> Result<NamedZone, CliError> {
        match &self.zone {
            Some(zone) => Ok(zone.clone()),
            None => local_zone(ui),
        }
    }
}

/// The user's zone: `--tz`, else the machine's.
pub(crate) fn local_zone(ui: &Ui) -> Result<NamedZone, CliError> {
    crate::zones::name_of(ui.zone()?)
}

/// All other flags of a schedule.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct SpecArgs {
    /// Finish the schedule after N runs
    #[arg(long, value_name = "N")]
    max_runs: Option<u64>,
    /// Due times to run that passed while no server ran: none, one, all or all:N. The newest one,
    /// if at most 60 s late, counts as on time and always runs
    #[arg(long, value_name = "POLICY")]
    catch_up: Option<CatchUp>,
    /// Do not catch up due times older than this
    #[arg(long, value_name = "D", value_parser = crate::duration)]
    window: Option<Duration>,
    /// If the previous run has not ended: skip, allow, queue-one or cancel-old
    #[arg(long, value_name = "POLICY")]
    overlap: Option<Overlap>,
    /// Report a due time as missed if nothing is recorded for it for this long
    #[arg(long, value_name = "D", value_parser = crate::duration)]
    tolerance: Option<Duration>,
    /// Enqueue a job of this type when due times were missed, or ran later than the tolerance
    #[arg(long, value_name = "NAME")]
    on_missed: Option<Name>,
    /// Enqueue a job of this type when a run has failed and has no retry left
    #[arg(long, value_name = "NAME")]
    on_failure: Option<Name>,
    /// Queue of its jobs; default: the server's default queue
    #[arg(short, long, value_name = "QUEUE")]
    queue: Option<Name>,
    /// low, normal, high or critical
    #[arg(short, long, value_name = "PRIO")]
    priority: Option<Priority>,
    /// Cancel a job that has not started within this time
    #[arg(long, value_name = "D", value_parser = crate::duration)]
    expires: Option<Duration>,
    /// Longest time for one attempt; 0 means no limit
    #[arg(long, value_name = "D", value_parser = crate::duration)]
    job_timeout: Option<Duration>,
    /// Number of retries after failures
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// If the job's worker or server dies or stops: run the job again, or let it fail
    #[arg(long, value_name = "retry|fail", value_parser = on_lost)]
    on_lost: Option<OnLost>,
    /// Label that the worker must have; repeatable
    #[arg(long, value_name = "LABEL=V")]
    require: Vec<String>,
    /// Tag; repeatable
    #[arg(short = 't', long = "tag", value_name = "K=V")]
    tags: Vec<String>,
    /// Correlation id, passed on to the handler
    #[arg(long = "corr", value_name = "ID")]
    correlation_id: Option<String>,
    /// Folder for the command; default: the one it has, else the caller's
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Variable for the command; without a value, the caller's value; repeatable
    #[arg(long, value_name = "K[=V]")]
    env: Vec<String>,
    /// Pass standard input to the command, up to 256 KiB
    #[arg(long)]
    stdin: bool,
    /// Job type, then its arguments: `k=v`, `k:=json`, `@file`, or `-`
    #[arg(value_name = "NAME [ARG]")]
    job: Vec<String>,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

fn on_lost(text: &str) -> Result<OnLost, String> {
    match text {
        "retry" => Ok(OnLost::Retry),
        "fail" => Ok(OnLost::Fail),
        other => Err(format!("expected `retry` or `fail`, found `{other}`")),
    }
}

fn pairs(all: &[String]) -> Result<orx_model::job::Labels, CliError> {
    all.iter().map(|text| pair(text)).collect()
}

impl SpecArgs {
    /// The specification of a new schedule.
    ///
    /// # Errors
    /// A value is malformed, or the schedule has no job.
    pub(crate) fn spec(
        self,
        id: Name,
        timing: When,
        times: &TimeArgs,
        ui: &Ui,
    ) -> Result<ScheduleSpec, CliError> {
        let mut spec = ScheduleSpec::new(id, timing, EnqueueRequest::default());
        if let When::Cron(_) = spec.timing {
            spec.zone = times.zone(ui)?.name().clone();
        }
        let change = self.change(times, &[], ui)?;
        let usage = |problem: SpecProblem| CliError::usage(problem.to_string());
        let mut spec = change.apply(&spec).map_err(usage)?;
        if spec.job.name.is_none() && spec.job.command.is_none() {
            return Err(CliError::usage("no job is given for the schedule")
                .hint("add a job type, or a command after `--`"));
        }
        spec.job.by = Some(enqueue::user());
        Ok(spec)
    }

    /// The change that the flags describe: fields without a flag stay as they are. `clear` lists
    /// fields to reset.
    ///
    /// # Errors
    /// A value is malformed, or `clear` names an unknown field.
    pub(crate) fn change(
        self,
        times: &TimeArgs,
        clear: &[String],
        ui: &Ui,
    ) -> Result<SpecChange, CliError> {
        let set_command = self.command(ui)?;
        let runs_command = set_command.argv.is_some();
        let mut words = self.job.iter();
        let name = match words.as_slice().first() {
            // `set ID k=v` changes arguments only, not the job type.
            Some(first) if !first.contains('=') && !first.starts_with('@') && first != "-" => {
                words.next();
                let name = first.parse().map_err(|_| {
                    CliError::usage(format!("`{first}` is not a job type")).hint(
                        "a job type consists of letters, digits, `.`, `_` and `-`; a command \
                         follows `--`",
                    )
                })?;
                Some(Some(name))
            }
            _ => None,
        };
        let given: Vec<String> = words.cloned().collect();
        let args: Option<Json> = enqueue::job_args(ui, &given)?;
        if runs_command && (args.is_some() || name.is_some()) {
            return Err(CliError::usage("both a job type or arguments and a command are given")
                .hint("give a job type with arguments, or a command after `--`, not both"));
        }
        // Arguments from a file or standard input replace all arguments; `k=v` sets a single one.
        let whole = given.iter().any(|text| text == "-" || text.starts_with('@'));
        let (args, set_args) = match args {
            Some(args) if !whole => (None, serde_json::from_str(args.get())?),
            args => (args, BTreeMap::new()),
        };
        let mut job = JobChange {
            // A command replaces the job type, and a job type replaces the command.
            name: name.clone().or(runs_command.then_some(None)),
            command: name.is_some().then_some(None),
            set_command,
            args: args.map(Some),
            set_args,
            queue: self.queue.map(Some),
            priority: self.priority.map(Some),
            retries: self.retries.map(Some),
            timeout_ms: self.job_timeout.map(|span| Some(ms(span))),
            expires_ms: self.expires.map(|span| Some(ms(span))),
            on_lost: self.on_lost.map(Some),
            set_require: pairs(&self.require)?,
            set_tags: pairs(&self.tags)?,
            correlation_id: self.correlation_id.map(Some),
            ..JobChange::default()
        };
        let start = times.start.as_deref().map(|text| future_time(text, ui)).transpose()?;
        let end = times.end.as_deref().map(|text| future_time(text, ui)).transpose()?;
        let mut change = SpecChange {
            // The parts of an interval are set one by one, below.
            timing: times.timing(ui)?.filter(|when| !matches!(when, When::Interval { .. })),
            every_ms: times.every.map(ms),
            offset_ms: times.offset.map(ms),
            zone: times.zone.as_ref().map(|zone| zone.name().clone()),
            jitter_ms: times.jitter.map(ms),
            start: start.map(Some),
            end: end.map(Some),
            max_runs: self.max_runs.map(Some),
            catch_up: self.catch_up,
            window_ms: self.window.map(ms),
            overlap: self.overlap,
            tolerance_ms: self.tolerance.map(ms),
            on_missed: self.on_missed.map(Some),
            on_failure: self.on_failure.map(Some),
            job: JobChange::default(),
        };
        for field in clear {
            match field.as_str() {
                "start" => change.start = Some(None),
                "end" => change.end = Some(None),
                "max-runs" => change.max_runs = Some(None),
                "on-missed" => change.on_missed = Some(None),
                "on-failure" => change.on_failure = Some(None),
                "args" => job.args = Some(None),
                "cwd" => job.set_command.cwd = Some(None),
                "env" => job.set_command.env = Some(Default::default()),
                "stdin" => job.set_command.stdin = Some(None),
                "queue" => job.queue = Some(None),
                "priority" => job.priority = Some(None),
                "retries" => job.retries = Some(None),
                "job-timeout" => job.timeout_ms = Some(None),
                "expires" => job.expires_ms = Some(None),
                "on-lost" => job.on_lost = Some(None),
                "require" => job.require = Some(Default::default()),
                "tags" | "tag" => job.tags = Some(Default::default()),
                "corr" => job.correlation_id = Some(None),
                other => {
                    let near = orx_model::text::nearest(other, CLEARABLE);
                    let error = CliError::usage(format!("`--clear` knows no field `{other}`"));
                    return Err(match near {
                        Some(near) => error.hint(format!("did you mean `{near}`?")),
                        None => error.hint(format!("the fields are {}", CLEARABLE.join(", "))),
                    });
                }
            }
        }
        change.job = job;
        Ok(change)
    }

    fn command(&self, ui: &Ui) -> Result<CommandChange, CliError> {
        let argv = (!self.command.is_empty()).then(|| self.command.clone());
        let cwd = self.cwd.as_deref().map(|cwd| folder(Some(cwd))).transpose()?;
        Ok(CommandChange {
            first_cwd: argv.is_some().then(|| folder(None)).transpose()?,
            argv,
            cwd: cwd.map(Some),
            env: None,
            set_env: variables(&self.env)?,
            stdin: self.stdin.then(|| stdin_base64(ui)).transpose()?.map(Some),
        })
    }
}

/// Fields that `--clear` accepts.
const CLEARABLE: [&str; 18] = [
    "start",
    "end",
    "max-runs",
    "on-missed",
    "on-failure",
    "args",
    "cwd",
    "env",
    "stdin",
    "queue",
    "priority",
    "retries",
    "job-timeout",
    "expires",
    "on-lost",
    "require",
    "tags",
    "corr",
];
