//! One attempt, from its start to its outcome.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use orx_model::job::{Json, Progress};
use orx_model::log::{LogLine, Stream};
use orx_model::message::Dispatch;
use orx_model::{Exit, Outcome, OutcomeKind, Timestamp};
use rustix::io::Errno;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::command::{self, Prepared};
use crate::ctx::{CtxMessage, Request};
use crate::handler::{HANDLER_PANICKED, Handler, HandlerError, JobContext};
use crate::output::Output;
use crate::process::{EXECUTION_VAR, WORKER_VAR, signal_by_environment, signal_group, signal_name};
use crate::progress::ProgressSender;
use crate::runtime::{Shared, at};

/// A service manager that stops a worker may send SIGTERM to all that the worker started, too, and
/// that may be seen here before the worker is known to stop: for so long it is waited for.
const STOP_NOTICE: Duration = Duration::from_millis(250);
/// After the end of a process its pipes are read so long: what holds them then is killed.
const DRAIN: Duration = Duration::from_millis(200);
const READ_BYTES: usize = 16 * 1024;
/// What a pipe can hold: the most that Linux lets a process without rights ask for (pipe(7)).
const PIPE_BYTES: usize = 1024 * 1024;
/// End of the standard error that is kept for the error text.
const LAST_WORDS: usize = 1024;

/// Why an attempt is stopped before its own end. It decides the outcome, whatever the program or the
/// handler does once it was asked to end: only what had ended before keeps its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Cancel,
    /// Nobody waits for its outcome.
    Abandon,
    Interrupt,
    TimedOut,
}

impl Stop {
    fn outcome(self) -> OutcomeKind {
        match self {
            Self::Cancel | Self::Abandon => OutcomeKind::Cancelled,
            Self::Interrupt => OutcomeKind::Interrupted,
            Self::TimedOut => OutcomeKind::TimedOut,
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::Cancel | Self::Abandon => "cancelled",
            Self::Interrupt => "the worker stopped",
            Self::TimedOut => "ran out of time",
        }
    }
}

/// What an attempt told by the side channel, of how it wants to end.
#[derive(Default)]
struct AttemptReport {
    result: Option<Json>,
    snooze_ms: Option<u64>,
    fail: Option<(String, bool)>,
}

/// What an attempt tells while it runs.
struct Report {
    output: Output,
    progress: ProgressSender,
    said: AttemptReport,
}

pub(crate) struct Attempt {
    pub(crate) shared: Arc<Shared>,
    pub(crate) dispatch: Arc<Dispatch>,
    pub(crate) stop: watch::Receiver<Option<Stop>>,
}

impl Attempt {
    pub(crate) async fn run_command(mut self, prepared: Result<Prepared, String>) -> Outcome {
        let give_up = OutcomeKind::Failed { retryable: false, retry_after_ms: None };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            // The args, or the configuration, are wrong: another try finds them so again.
            Err(error) => return self.never_ran(error, None, give_up),
        };
        let secret = self.shared.new_secret();
        let (place, told) = self.shared.channel.register(secret.clone());
        let outcome = self.spawn_and_watch(&prepared, &place, told).await;
        self.shared.channel.unregister(&secret);
        outcome
    }

    async fn spawn_and_watch(
        &mut self,
        prepared: &Prepared,
        place: &str,
        mut told: mpsc::Receiver<CtxMessage>,
    ) -> Outcome {
        self.shared.guard.stand().await;
        let before = *self.stop.borrow_and_update();
        if let Some(stop) = before {
            return self.never_ran(stop.why().to_owned(), None, stop.outcome());
        }
        let mut child = match self.spawn(prepared, place) {
            Ok(child) => child,
            Err((error, exit)) => {
                // A handler's program may be put right; a command given with its job is as it is.
                let retryable = !prepared.given;
                let kind = match exit {
                    Some(_) => OutcomeKind::Failed { retryable, retry_after_ms: None },
                    // The worker could not, now: nothing was tried.
                    None => OutcomeKind::Refused,
                };
                return self.never_ran(error, exit, kind);
            }
        };
        // A child has an id until it is waited for.
        let group = child.id().unwrap_or(0);
        let mut own_group = Group(Some(group));
        self.shared.guard.add(group).await;
        let (started_at, began) = (self.shared.now(), Instant::now());
        self.shared.started(self.dispatch.execution, started_at).await;
        if let Some(mut stdin) = child.stdin.take() {
            let bytes = prepared.stdin.clone();
            // A program that does not read its input is no error.
            tokio::spawn(async move { stdin.write_all(&bytes).await });
        }

        let mut report = self.report();
        let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
        let (mut out_bytes, mut err_bytes) = (Vec::new(), Vec::new());
        let mut last_words = Vec::new();
        let mut status: Option<std::io::Result<ExitStatus>> = None;
        let mut stopped: Option<Stop> = None;
        let mut kill_at: Option<Instant> = None;
        let mut drained_by: Option<Instant> = None;
        let timeout = command::time_left(&self.dispatch, started_at).map(|t| Instant::now() + t);
        loop {
            if status.is_some() && out.is_none() && err.is_none() {
                break;
            }
            // What is told waits in no arm: a link that takes nothing is no reason to miss a stop.
            let has_room = report.output.has_room();
            tokio::select! {
                biased;
                ended = child.wait(), if status.is_none() => {
                    status = Some(ended);
                    // Nothing of the attempt outlives it, and nothing holds its pipes open.
                    if signal_group(group, Signal::KILL) || stopped.is_some() {
                        self.sweep(Signal::KILL).await;
                    }
                    drained_by = Some(Instant::now() + DRAIN);
                }
                stop = ordered(&mut self.stop), if status.is_none() && hears(stopped) => {
                    // What has ended, though that was not seen yet, keeps its own outcome.
                    if overrides(stop, stopped) && runs(&mut child) {
                        stopped = Some(stop);
                        kill_at = Some(self.terminate(group, stop));
                    }
                }
                () = at(timeout), if stopped.is_none() && status.is_none() => {
                    if runs(&mut child) {
                        stopped = Some(Stop::TimedOut);
                        kill_at = Some(self.terminate(group, Stop::TimedOut));
                    }
                }
                () = at(kill_at) => {
                    kill_at = None;
                    signal_group(group, Signal::KILL);
                    self.sweep(Signal::KILL).await;
                }
                () = at(drained_by) => {
                    // Something that left the group may still hold a pipe; or telling took long.
                    self.sweep(Signal::KILL).await;
                    read_rest(out.take(), &mut out_bytes);
                    report.output.push(Stream::Out, &out_bytes);
                    read_rest(err.take(), &mut err_bytes);
                    report.output.push(Stream::Err, &err_bytes);
                    remember(&mut last_words, &err_bytes);
                }
                told = told.recv(), if has_room => {
                    if let Some(told) = told {
                        self.hear(told, &mut report);
                    }
                }
                read = read(&mut out, &mut out_bytes), if has_room => {
                    if read == 0 {
                        out = None;
                    }
                    report.output.push(Stream::Out, &out_bytes);
                    out_bytes.clear();
                }
                read = read(&mut err, &mut err_bytes), if has_room => {
                    if read == 0 {
                        err = None;
                    }
                    report.output.push(Stream::Err, &err_bytes);
                    remember(&mut last_words, &err_bytes);
                    err_bytes.clear();
                }
                () = report.advance(&self.dispatch) => {}
            }
        }
        // Its number may be another's from here on.
        own_group.0 = None;
        self.shared.guard.remove(group).await;
        while let Ok(told) = told.try_recv() {
            self.hear(told, &mut report);
        }
        let said = report.finish(&self.dispatch).await;
        if stopped.is_none()
            && died_by_sigterm(status.as_ref())
            && self.shared.stops_within(STOP_NOTICE).await
        {
            stopped = Some(Stop::Interrupt);
        }
        let (started_at, ended_at) = self.span(began);
        self.judge(prepared, status, stopped, said, &last_words, started_at, ended_at)
    }

    fn spawn(&self, prepared: &Prepared, place: &str) -> Result<Child, (String, Option<Exit>)> {
        let program = prepared.argv.first().map(String::as_str).unwrap_or_default();
        if let Some(cwd) = &prepared.cwd
            && !std::path::Path::new(cwd).is_dir()
        {
            let error = format!("the working directory `{cwd}` is not there");
            return Err((error, Some(Exit::Code(126))));
        }
        let mut command = Command::new(program);
        command
            .args(prepared.argv.iter().skip(1))
            .env_clear()
            .envs(self.shared.environment.iter().map(|(name, value)| (name, value)))
            .envs(&prepared.caller_env)
            .envs(&prepared.env)
            .envs(command::environment(&self.dispatch))
            .env(WORKER_VAR, &self.shared.worker)
            .env(crate::ctx::VARIABLE, place)
            .stdin(if prepared.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(cwd) = &prepared.cwd {
            command.current_dir(cwd);
        }
        crate::umask::spawn(&mut command, prepared.umask).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                (format!("the command `{program}` was not found"), Some(Exit::Code(127)))
            }
            // No descriptors, no memory, no processes left: the job is not to blame.
            ErrorKind::WouldBlock | ErrorKind::OutOfMemory => {
                (format!("the worker could not start `{program}` now: {error}"), None)
            }
            _ if matches!(error.raw_os_error(), Some(11 | 12 | 23 | 24)) => {
                (format!("the worker could not start `{program}` now: {error}"), None)
            }
            _ => (
                format!("the command `{program}` could not be run: {error}"),
                Some(Exit::Code(126)),
            ),
        })
    }

    /// Asks the group to end; answers when it is to be killed.
    fn terminate(&self, group: u32, stop: Stop) -> Instant {
        if stop != Stop::Abandon {
            signal_group(group, Signal::TERM);
            // A stopped process hears nothing until it goes on.
            signal_group(group, Signal::CONT);
        }
        self.kill_at(stop)
    }

    fn kill_at(&self, stop: Stop) -> Instant {
        let grace = if stop == Stop::Abandon { Duration::ZERO } else { self.shared.kill_grace };
        Instant::now() + grace
    }

    async fn sweep(&self, signal: Signal) {
        let execution = self.dispatch.execution.to_string();
        let sweep = move || signal_by_environment(EXECUTION_VAR, &execution, signal);
        // Only a panic could be lost here, and the sweep is made again at the end of the worker.
        let _ = tokio::task::spawn_blocking(sweep).await;
    }

    fn report(&self) -> Report {
        Report {
            output: Output::new(self.shared.publisher.clone(), &self.dispatch),
            progress: ProgressSender::new(self.shared.publisher.clone()),
            said: AttemptReport::default(),
        }
    }

    fn hear(&self, told: CtxMessage, report: &mut Report) {
        match told.request {
            Request::Progress { percent, text } => report.progress.set(Progress { percent, text }),
            Request::Log { level, message } => {
                let line = LogLine { level, message, at: Some(self.shared.now()) };
                if let Ok(mut text) = serde_json::to_string(&line) {
                    text.push('\n');
                    report.output.push(Stream::Log, text.as_bytes());
                }
            }
            Request::Result { value } => {
                report.said.result = serde_json::value::to_raw_value(&value).ok().map(Json::from);
            }
            Request::Snooze { for_ms } => report.said.snooze_ms = Some(for_ms),
            Request::Fail { message, retry } => report.said.fail = Some((message, retry)),
        }
        // Whoever told may have gone on without waiting.
        let _ = told.taken.send(());
    }

    #[expect(clippy::too_many_arguments, reason = "all that is known of an end, asked once")]
    fn judge(
        &self,
        prepared: &Prepared,
        status: Option<std::io::Result<ExitStatus>>,
        stopped: Option<Stop>,
        said: AttemptReport,
        last_words: &[u8],
        started_at: Timestamp,
        ended_at: Timestamp,
    ) -> Outcome {
        let exit = exit_of(status.as_ref());
        let failed = |retryable| OutcomeKind::Failed { retryable, retry_after_ms: None };
        let mut error = match (stopped, exit) {
            (Some(stop), _) => stop.why().to_owned(),
            (None, Some(Exit::Code(code))) => format!("exit {code}"),
            (None, Some(Exit::Signal(number))) => {
                format!("signal {number} ({})", signal_name(number))
            }
            (None, None) => "its end could not be observed".to_owned(),
        };
        let kind = match (stopped, exit) {
            (Some(stop), _) => stop.outcome(),
            (None, Some(Exit::Code(0))) if said.fail.is_none() && said.snooze_ms.is_none() => {
                OutcomeKind::Succeeded { result: said.result }
            }
            (None, _) if said.snooze_ms.is_some() => {
                OutcomeKind::Snoozed { for_ms: said.snooze_ms.unwrap_or_default() }
            }
            (None, Some(Exit::Code(code))) if prepared.retry_codes.contains(&code) => failed(true),
            (None, Some(Exit::Code(code))) => failed(!prepared.no_retry_codes.contains(&code)),
            (None, Some(Exit::Signal(_)) | None) => failed(true),
        };
        let kind = match (kind, said.fail) {
            (OutcomeKind::Failed { .. }, Some((message, retry))) => {
                error = message;
                failed(retry)
            }
            (kind, _) => kind,
        };
        let succeeded = matches!(kind, OutcomeKind::Succeeded { .. });
        if matches!(kind, OutcomeKind::Failed { .. })
            && let Some(words) = last_line(last_words)
        {
            error = format!("{error}: {words}");
        }
        Outcome {
            job: self.dispatch.job,
            execution: self.dispatch.execution,
            kind,
            started_at: Some(started_at),
            ended_at,
            error: (!succeeded).then_some(error),
            exit,
        }
    }

    /// Nothing was started.
    fn never_ran(&self, error: String, exit: Option<Exit>, kind: OutcomeKind) -> Outcome {
        Outcome {
            job: self.dispatch.job,
            execution: self.dispatch.execution,
            kind,
            started_at: None,
            ended_at: self.shared.now(),
            error: Some(error),
            exit,
        }
    }

    pub(crate) async fn run_handler(mut self, handler: Arc<dyn Handler>) -> Outcome {
        let (started_at, began) = (self.shared.now(), Instant::now());
        self.shared.started(self.dispatch.execution, started_at).await;
        let (tell, mut told) = mpsc::channel(64);
        let token = CancellationToken::new();
        let context = JobContext {
            dispatch: Arc::clone(&self.dispatch),
            tell: Some(tell),
            stop: token.clone(),
        };
        let dispatch = Arc::clone(&self.dispatch);
        // A task of its own: a panic ends the attempt, not the worker.
        let mut task = tokio::spawn(async move { handler.run(context, &dispatch.args).await });
        let mut report = self.report();
        let mut stopped: Option<Stop> = None;
        let mut abort_at: Option<Instant> = None;
        let timeout = command::time_left(&self.dispatch, started_at).map(|t| Instant::now() + t);
        let ended = loop {
            let has_room = report.output.has_room();
            tokio::select! {
                biased;
                ended = &mut task => break ended,
                stop = ordered(&mut self.stop), if !task.is_finished() && hears(stopped) => {
                    if overrides(stop, stopped) {
                        stopped = Some(stop);
                        token.cancel();
                        abort_at = Some(self.kill_at(stop));
                    }
                }
                () = at(timeout), if stopped.is_none() && !task.is_finished() => {
                    stopped = Some(Stop::TimedOut);
                    token.cancel();
                    abort_at = Some(self.kill_at(Stop::TimedOut));
                }
                () = at(abort_at) => {
                    abort_at = None;
                    task.abort();
                }
                Some(told) = told.recv(), if has_room => self.hear(told, &mut report),
                () = report.advance(&self.dispatch) => {}
            }
        };
        while let Ok(told) = told.try_recv() {
            self.hear(told, &mut report);
        }
        report.finish(&self.dispatch).await;
        let ended = ended.unwrap_or_else(|error| {
            let what = if error.is_panic() { HANDLER_PANICKED } else { "stopped" };
            Err(HandlerError::retry(what))
        });
        let (kind, error) = match (ended, stopped) {
            (_, Some(stop)) => (stop.outcome(), Some(stop.why().to_owned())),
            (Ok(result), None) => (OutcomeKind::Succeeded { result }, None),
            (Err(error), None) => {
                let retryable = error.retryable;
                (OutcomeKind::Failed { retryable, retry_after_ms: None }, Some(error.message))
            }
        };
        let (started_at, ended_at) = self.span(began);
        Outcome {
            job: self.dispatch.job,
            execution: self.dispatch.execution,
            kind,
            started_at: Some(started_at),
            ended_at,
            error,
            exit: None,
        }
    }

    /// When it began and ended, now: as long apart as it took, however the clock was set meanwhile.
    fn span(&self, began: Instant) -> (Timestamp, Timestamp) {
        let now = self.shared.now();
        (now.saturating_sub(began.elapsed()), now)
    }
}

/// After the last word there is no other.
fn hears(stopped: Option<Stop>) -> bool {
    stopped != Some(Stop::Abandon)
}

/// The first stop decides. That nobody waits for the outcome any more hastens the end.
fn overrides(stop: Stop, stopped: Option<Stop>) -> bool {
    stopped.is_none() || stop == Stop::Abandon
}

/// The next order to stop. Where the worker's runtime is gone, nobody waits for anything any more.
async fn ordered(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    loop {
        if stop.changed().await.is_err() {
            return Stop::Abandon;
        }
        let ordered = *stop.borrow();
        if let Some(stop) = ordered {
            return stop;
        }
    }
}

/// Not yet ended, whether or not that was seen.
fn runs(child: &mut Child) -> bool {
    // Where its end cannot be observed there is none to keep.
    !matches!(child.try_wait(), Ok(Some(_)))
}

/// `None` where its end could not be observed.
fn exit_of(status: Option<&std::io::Result<ExitStatus>>) -> Option<Exit> {
    let status = status?.as_ref().ok()?;
    status.code().map(Exit::Code).or_else(|| status.signal().map(Exit::Signal))
}

/// Or its shell says so of what it ran.
fn died_by_sigterm(status: Option<&std::io::Result<ExitStatus>>) -> bool {
    exit_of(status).is_some_and(|exit| exit.shell_code() == Exit::Signal(15).shell_code())
}

/// A process group that ends with the attempt, also when the attempt is dropped.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            signal_group(group, Signal::KILL);
        }
    }
}

impl Report {
    /// Sends what is due; returns whenever there may be room again. Cancelling loses nothing.
    async fn advance(&mut self, of: &Dispatch) {
        tokio::select! {
            () = self.output.advance() => {}
            () = self.progress.advance(of) => {}
        }
    }

    /// The end: everything goes out that is taken in time.
    async fn finish(self, of: &Dispatch) -> AttemptReport {
        self.progress.finish(of);
        self.output.finish().await;
        self.said
    }
}

/// Bytes read; 0 at the end, or on an error, which is as good as the end.
async fn read(from: &mut Option<impl AsyncReadExt + Unpin>, into: &mut Vec<u8>) -> usize {
    match from {
        Some(from) => {
            into.reserve(READ_BYTES);
            from.read_buf(into).await.unwrap_or(0)
        }
        None => std::future::pending().await,
    }
}

/// What is in the pipe, without waiting for more.
fn read_rest(from: Option<impl AsFd>, into: &mut Vec<u8>) {
    let Some(from) = from else { return };
    let mut piece = [0; READ_BYTES];
    while into.len() < PIPE_BYTES {
        match rustix::io::read(&from, &mut piece) {
            // The end, or nothing more now, or an error, which is as good as the end.
            Ok(0) => return,
            Ok(count) => into.extend_from_slice(&piece[..count]),
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

fn remember(last_words: &mut Vec<u8>, bytes: &[u8]) {
    last_words.extend_from_slice(bytes);
    let over = last_words.len().saturating_sub(LAST_WORDS);
    last_words.drain(..over);
}

fn last_line(bytes: &[u8]) -> Option<String> {
    let text = orx_model::text::clean_text(bytes);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(200).collect())
}
