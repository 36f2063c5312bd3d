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
use orx_model::{Outcome, OutcomeKind, ProcessExit, Timestamp};
use rustix::io::Errno;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::command::{self, Prepared};
use crate::ctx::{CtxMessage, CtxRequest};
use crate::handler::{HANDLER_PANICKED, Handler, HandlerError, JobContext};
use crate::output::Output;
use crate::process::{EXECUTION_VAR, WORKER_VAR, signal_by_environment, signal_group, signal_name};
use crate::progress::ProgressSender;
use crate::runtime::{AttemptContext, at};

/// A service manager that stops a worker may send SIGTERM to the worker's children as well. A child may
/// then end before the worker begins to stop: this long the attempt waits for that.
const STOP_NOTICE: Duration = Duration::from_millis(250);
/// How long the pipes of a process are read after its end. Processes that still hold them are then
/// killed.
const DRAIN: Duration = Duration::from_millis(200);
const READ_BYTES: usize = 16 * 1024;
/// Capacity of a pipe: the most that Linux grants an unprivileged process (pipe(7)).
const PIPE_BYTES: usize = 1024 * 1024;
/// How many of the last bytes of the standard error the error text can contain.
const STDERR_TAIL_BYTES: usize = 1024;

/// Why the worker stops an attempt. The reason decides the outcome, whatever the program or handler does
/// after it was asked to end. An attempt that had ended before keeps its own outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    Cancel,
    /// The attempt is no longer current: its outcome is not reported.
    Abandon,
    Interrupt,
    TimedOut,
}

impl StopReason {
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

/// What an attempt asked for through the side channel about its own outcome.
#[derive(Default)]
struct RequestedEnd {
    result: Option<Json>,
    snooze_ms: Option<u64>,
    fail: Option<(String, bool)>,
}

/// What an attempt reports while it runs.
struct Report {
    output: Output,
    progress: ProgressSender,
    end: RequestedEnd,
}

/// Runs one attempt.
pub(crate) struct AttemptRunner {
    pub(crate) context: Arc<AttemptContext>,
    pub(crate) dispatch: Arc<Dispatch>,
    pub(crate) stop: watch::Receiver<Option<StopReason>>,
}

impl AttemptRunner {
    pub(crate) async fn run_command(mut self, prepared: Result<Prepared, String>) -> Outcome {
        let fatal = OutcomeKind::Failed { retryable: false, retry_after_ms: None };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            // The args or the configuration are wrong: a retry would find the same.
            Err(error) => return self.never_ran(error, None, fatal),
        };
        let secret = self.context.new_secret();
        let (address, requests) = self.context.ctx.register(secret.clone());
        let outcome = self.spawn_and_watch(&prepared, &address, requests).await;
        self.context.ctx.unregister(&secret);
        outcome
    }

    async fn spawn_and_watch(
        &mut self,
        prepared: &Prepared,
        ctx_address: &str,
        mut requests: mpsc::Receiver<CtxMessage>,
    ) -> Outcome {
        self.context.guard.ensure_running().await;
        let before = *self.stop.borrow_and_update();
        if let Some(stop) = before {
            return self.never_ran(stop.why().to_owned(), None, stop.outcome());
        }
        let mut child = match self.spawn(prepared, ctx_address) {
            Ok(child) => child,
            Err((error, exit)) => {
                // The program of a handler can be repaired; a command given with its job stays the same.
                let retryable = !prepared.given;
                let kind = match exit {
                    Some(_) => OutcomeKind::Failed { retryable, retry_after_ms: None },
                    // The worker lacks the resources now: the job did not fail.
                    None => OutcomeKind::Refused,
                };
                return self.never_ran(error, exit, kind);
            }
        };
        // A child has an id until its exit status is collected.
        let group = child.id().unwrap_or(0);
        let mut own_group = ProcessGroup(Some(group));
        self.context.guard.add(group).await;
        let (started_at, began) = (self.context.now(), Instant::now());
        self.context.started(self.dispatch.execution, started_at).await;
        if let Some(mut stdin) = child.stdin.take() {
            let bytes = prepared.stdin.clone();
            // A program need not read its input.
            tokio::spawn(async move { stdin.write_all(&bytes).await });
        }

        let mut report = self.report();
        let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
        let (mut out_bytes, mut err_bytes) = (Vec::new(), Vec::new());
        let mut stderr_tail = Vec::new();
        let mut status: Option<std::io::Result<ExitStatus>> = None;
        let mut stopped: Option<StopReason> = None;
        let mut kill_at: Option<Instant> = None;
        let mut drained_by: Option<Instant> = None;
        let timeout = command::time_left(&self.dispatch, started_at).map(|t| Instant::now() + t);
        loop {
            if status.is_some() && out.is_none() && err.is_none() {
                break;
            }
            // No arm waits for the transport: a full one must not delay a stop.
            let has_space = report.output.has_space();
            tokio::select! {
                biased;
                ended = child.wait(), if status.is_none() => {
                    status = Some(ended);
                    // No process of the attempt outlives it or holds its pipes open.
                    if signal_group(group, Signal::KILL) || stopped.is_some() {
                        self.sweep(Signal::KILL).await;
                    }
                    drained_by = Some(Instant::now() + DRAIN);
                }
                stop = next_stop(&mut self.stop), if status.is_none() && accepts_stop(stopped) => {
                    // A program that has ended, though this loop did not see it yet, keeps its outcome.
                    if overrides(stop, stopped) && is_running(&mut child) {
                        stopped = Some(stop);
                        kill_at = Some(self.terminate(group, stop));
                    }
                }
                () = at(timeout), if stopped.is_none() && status.is_none() => {
                    if is_running(&mut child) {
                        stopped = Some(StopReason::TimedOut);
                        kill_at = Some(self.terminate(group, StopReason::TimedOut));
                    }
                }
                () = at(kill_at) => {
                    kill_at = None;
                    signal_group(group, Signal::KILL);
                    self.sweep(Signal::KILL).await;
                }
                () = at(drained_by) => {
                    // A process that left the group may still hold a pipe, or the output is delayed.
                    self.sweep(Signal::KILL).await;
                    read_rest(out.take(), &mut out_bytes);
                    report.output.push(Stream::Out, &out_bytes);
                    read_rest(err.take(), &mut err_bytes);
                    report.output.push(Stream::Err, &err_bytes);
                    remember(&mut stderr_tail, &err_bytes);
                }
                message = requests.recv(), if has_space => {
                    if let Some(message) = message {
                        self.apply(message, &mut report);
                    }
                }
                read = read(&mut out, &mut out_bytes), if has_space => {
                    if read == 0 {
                        out = None;
                    }
                    report.output.push(Stream::Out, &out_bytes);
                    out_bytes.clear();
                }
                read = read(&mut err, &mut err_bytes), if has_space => {
                    if read == 0 {
                        err = None;
                    }
                    report.output.push(Stream::Err, &err_bytes);
                    remember(&mut stderr_tail, &err_bytes);
                    err_bytes.clear();
                }
                () = report.advance(&self.dispatch) => {}
            }
        }
        // The system may reuse the number of the group from here on.
        own_group.0 = None;
        self.context.guard.remove(group).await;
        while let Ok(message) = requests.try_recv() {
            self.apply(message, &mut report);
        }
        let requested = report.finish(&self.dispatch).await;
        if stopped.is_none()
            && died_by_sigterm(status.as_ref())
            && self.context.stops_within(STOP_NOTICE).await
        {
            stopped = Some(StopReason::Interrupt);
        }
        let (started_at, ended_at) = self.span(began);
        self.outcome(prepared, status, stopped, requested, &stderr_tail, started_at, ended_at)
    }

    fn spawn(
        &self,
        prepared: &Prepared,
        ctx_address: &str,
    ) -> Result<Child, (String, Option<ProcessExit>)> {
        let program = prepared.argv.first().map(String::as_str).unwrap_or_default();
        if let Some(cwd) = &prepared.cwd
            && !std::path::Path::new(cwd).is_dir()
        {
            let error = format!("the working directory `{cwd}` does not exist");
            return Err((error, Some(ProcessExit::Code(126))));
        }
        let mut command = Command::new(program);
        command
            .args(prepared.argv.iter().skip(1))
            .env_clear()
            .envs(self.context.environment.iter().map(|(name, value)| (name, value)))
            .envs(&prepared.caller_env)
            .envs(&prepared.env)
            .envs(command::environment(&self.dispatch))
            .env(WORKER_VAR, &self.context.worker)
            .env(crate::ctx::VARIABLE, ctx_address)
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
                (format!("the command `{program}` was not found"), Some(ProcessExit::Code(127)))
            }
            // The machine lacks descriptors, memory or processes: this is no failure of the job.
            ErrorKind::WouldBlock | ErrorKind::OutOfMemory => {
                (format!("the worker could not start `{program}` now: {error}"), None)
            }
            _ if matches!(error.raw_os_error(), Some(11 | 12 | 23 | 24)) => {
                (format!("the worker could not start `{program}` now: {error}"), None)
            }
            _ => (
                format!("the command `{program}` could not be run: {error}"),
                Some(ProcessExit::Code(126)),
            ),
        })
    }

    /// Asks the group to end. Returns when to kill it.
    fn terminate(&self, group: u32, stop: StopReason) -> Instant {
        if stop != StopReason::Abandon {
            signal_group(group, Signal::TERM);
            // A stopped process handles the signal once it continues.
            signal_group(group, Signal::CONT);
        }
        self.kill_at(stop)
    }

    fn kill_at(&self, stop: StopReason) -> Instant {
        let abandoned = stop == StopReason::Abandon;
        Instant::now() + if abandoned { Duration::ZERO } else { self.context.kill_grace }
    }

    /// Signals the processes of the attempt, whichever group they are in.
    async fn sweep(&self, signal: Signal) {
        let execution = self.dispatch.execution.to_string();
        let sweep = move || signal_by_environment(EXECUTION_VAR, &execution, signal);
        // It fails only by a panic; the guard repeats the sweep when the worker ends.
        let _ = tokio::task::spawn_blocking(sweep).await;
    }

    fn report(&self) -> Report {
        Report {
            output: Output::new(self.context.publisher.clone(), &self.dispatch),
            progress: ProgressSender::new(self.context.publisher.clone()),
            end: RequestedEnd::default(),
        }
    }

    /// Applies a request of the side channel, then confirms it.
    fn apply(&self, message: CtxMessage, report: &mut Report) {
        match message.request {
            CtxRequest::Progress { percent, text } => {
                report.progress.set(Progress { percent, text });
            }
            CtxRequest::Log { level, message } => {
                let line = LogLine { level, message, at: Some(self.context.now()) };
                if let Ok(mut text) = serde_json::to_string(&line) {
                    text.push('\n');
                    report.output.push(Stream::Log, text.as_bytes());
                }
            }
            CtxRequest::Result { value } => {
                report.end.result = serde_json::value::to_raw_value(&value).ok().map(Json::from);
            }
            CtxRequest::Snooze { for_ms } => report.end.snooze_ms = Some(for_ms),
            CtxRequest::Fail { message, retry } => report.end.fail = Some((message, retry)),
        }
        // The sender need not wait for the confirmation.
        let _ = message.applied.send(());
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "everything that decides an outcome, in one call"
    )]
    fn outcome(
        &self,
        prepared: &Prepared,
        status: Option<std::io::Result<ExitStatus>>,
        stopped: Option<StopReason>,
        requested: RequestedEnd,
        stderr_tail: &[u8],
        started_at: Timestamp,
        ended_at: Timestamp,
    ) -> Outcome {
        let exit = exit_of(status.as_ref());
        let failed = |retryable| OutcomeKind::Failed { retryable, retry_after_ms: None };
        let mut error = match (stopped, exit) {
            (Some(stop), _) => stop.why().to_owned(),
            (None, Some(ProcessExit::Code(code))) => format!("exit {code}"),
            (None, Some(ProcessExit::Signal(number))) => {
                format!("signal {number} ({})", signal_name(number))
            }
            (None, None) => "its exit status could not be read".to_owned(),
        };
        let kind = match (stopped, exit) {
            (Some(stop), _) => stop.outcome(),
            (None, Some(ProcessExit::Code(0)))
                if requested.fail.is_none() && requested.snooze_ms.is_none() =>
            {
                OutcomeKind::Succeeded { result: requested.result }
            }
            (None, _) if requested.snooze_ms.is_some() => {
                OutcomeKind::Snoozed { for_ms: requested.snooze_ms.unwrap_or_default() }
            }
            (None, Some(ProcessExit::Code(code))) if prepared.retry_codes.contains(&code) => {
                failed(true)
            }
            (None, Some(ProcessExit::Code(code))) => {
                failed(!prepared.no_retry_codes.contains(&code))
            }
            (None, Some(ProcessExit::Signal(_)) | None) => failed(true),
        };
        let kind = match (kind, requested.fail) {
            (OutcomeKind::Failed { .. }, Some((message, retry))) => {
                error = message;
                failed(retry)
            }
            (kind, _) => kind,
        };
        let succeeded = matches!(kind, OutcomeKind::Succeeded { .. });
        if matches!(kind, OutcomeKind::Failed { .. })
            && let Some(line) = last_line(stderr_tail)
        {
            error = format!("{error}: {line}");
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

    /// The outcome of an attempt that started no process.
    fn never_ran(&self, error: String, exit: Option<ProcessExit>, kind: OutcomeKind) -> Outcome {
        Outcome {
            job: self.dispatch.job,
            execution: self.dispatch.execution,
            kind,
            started_at: None,
            ended_at: self.context.now(),
            error: Some(error),
            exit,
        }
    }

    pub(crate) async fn run_handler(mut self, handler: Arc<dyn Handler>) -> Outcome {
        let (started_at, began) = (self.context.now(), Instant::now());
        self.context.started(self.dispatch.execution, started_at).await;
        let (requests_to, mut requests) = mpsc::channel(64);
        let token = CancellationToken::new();
        let context = JobContext {
            dispatch: Arc::clone(&self.dispatch),
            requests: Some(requests_to),
            stop: token.clone(),
        };
        let dispatch = Arc::clone(&self.dispatch);
        // In a task of its own, so that a panic ends the attempt and not the worker.
        let mut task = tokio::spawn(async move { handler.run(context, &dispatch.args).await });
        let mut report = self.report();
        let mut stopped: Option<StopReason> = None;
        let mut abort_at: Option<Instant> = None;
        let timeout = command::time_left(&self.dispatch, started_at).map(|t| Instant::now() + t);
        let ended = loop {
            let has_space = report.output.has_space();
            tokio::select! {
                biased;
                ended = &mut task => break ended,
                stop = next_stop(&mut self.stop), if !task.is_finished() && accepts_stop(stopped) => {
                    if overrides(stop, stopped) {
                        stopped = Some(stop);
                        token.cancel();
                        abort_at = Some(self.kill_at(stop));
                    }
                }
                () = at(timeout), if stopped.is_none() && !task.is_finished() => {
                    stopped = Some(StopReason::TimedOut);
                    token.cancel();
                    abort_at = Some(self.kill_at(StopReason::TimedOut));
                }
                () = at(abort_at) => {
                    abort_at = None;
                    task.abort();
                }
                Some(message) = requests.recv(), if has_space => self.apply(message, &mut report),
                () = report.advance(&self.dispatch) => {}
            }
        };
        while let Ok(message) = requests.try_recv() {
            self.apply(message, &mut report);
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

    /// Start and end of an attempt that ends now. Their distance is the monotonic duration, even if the
    /// wall clock was set meanwhile.
    fn span(&self, began: Instant) -> (Timestamp, Timestamp) {
        let now = self.context.now();
        (now.saturating_sub(began.elapsed()), now)
    }
}

/// `Abandon` is final.
fn accepts_stop(stopped: Option<StopReason>) -> bool {
    stopped != Some(StopReason::Abandon)
}

/// The first reason decides the outcome. `Abandon` after it only shortens the grace.
fn overrides(stop: StopReason, stopped: Option<StopReason>) -> bool {
    stopped.is_none() || stop == StopReason::Abandon
}

/// Waits for the next reason to stop. If the worker's loop has ended, no outcome can be reported.
async fn next_stop(stop: &mut watch::Receiver<Option<StopReason>>) -> StopReason {
    loop {
        if stop.changed().await.is_err() {
            return StopReason::Abandon;
        }
        let reason = *stop.borrow();
        if let Some(reason) = reason {
            return reason;
        }
    }
}

/// Whether the child has not ended yet.
fn is_running(child: &mut Child) -> bool {
    // A status that cannot be read is no outcome to keep.
    !matches!(child.try_wait(), Ok(Some(_)))
}

/// `None` if the exit status could not be read.
fn exit_of(status: Option<&std::io::Result<ExitStatus>>) -> Option<ProcessExit> {
    let status = status?.as_ref().ok()?;
    status.code().map(ProcessExit::Code).or_else(|| status.signal().map(ProcessExit::Signal))
}

/// Also if a shell reports it about the program that it ran.
fn died_by_sigterm(status: Option<&std::io::Result<ExitStatus>>) -> bool {
    exit_of(status).is_some_and(|exit| exit.shell_code() == ProcessExit::Signal(15).shell_code())
}

/// A process group that is killed when this is dropped.
struct ProcessGroup(Option<u32>);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            signal_group(group, Signal::KILL);
        }
    }
}

impl Report {
    /// Sends what is due. Returns when the output may have space again. Cancelling loses nothing.
    async fn advance(&mut self, of: &Dispatch) {
        tokio::select! {
            () = self.output.advance() => {}
            () = self.progress.advance(of) => {}
        }
    }

    /// Sends the rest, as far as the transport accepts it in time.
    async fn finish(self, of: &Dispatch) -> RequestedEnd {
        self.progress.finish(of);
        self.output.finish().await;
        self.end
    }
}

/// Returns how many bytes it read; 0 at the end. An error counts as the end.
async fn read(from: &mut Option<impl AsyncReadExt + Unpin>, into: &mut Vec<u8>) -> usize {
    match from {
        Some(from) => {
            into.reserve(READ_BYTES);
            from.read_buf(into).await.unwrap_or(0)
        }
        None => std::future::pending().await,
    }
}

/// Reads what is in the pipe, without waiting for more.
fn read_rest(from: Option<impl AsFd>, into: &mut Vec<u8>) {
    let Some(from) = from else { return };
    let mut piece = [0; READ_BYTES];
    while into.len() < PIPE_BYTES {
        match rustix::io::read(&from, &mut piece) {
            // The end of the pipe. Below: it is empty for now, or an error, which counts as the end.
            Ok(0) => return,
            Ok(count) => into.extend_from_slice(&piece[..count]),
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

fn remember(tail: &mut Vec<u8>, bytes: &[u8]) {
    tail.extend_from_slice(bytes);
    let over = tail.len().saturating_sub(STDERR_TAIL_BYTES);
    tail.drain(..over);
}

fn last_line(bytes: &[u8]) -> Option<String> {
    let text = orx_model::text::clean_text(bytes);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(200).collect())
}
