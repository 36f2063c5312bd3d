//! `orx run`: runs a command as a job, prints its output, and exits with its code.

use std::time::Duration;

use orx_model::JobId;
use orx_model::wire::{ChangeRequest, EnqueueAnswer, EnqueueRequest};

use super::enqueue::{JobArgs, or_removed};
use super::interrupt::Interrupts;
use super::logs::{Sink, follow};
use super::{Session, command, resume_note, whole_environment, with_caller_settings};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Format};

/// Run a command as a job, follow it, and exit with its code
///
/// orx prints the command's standard output and standard error as its own. The command gets the
/// caller's folder, umask, PATH, locale and time zone; other variables only with --env or
/// --env-all.
///
/// A failed command is not retried, unless --retries allows it. If its server dies or stops, the
/// command runs again, unless --on-lost is `fail`; after the third death of the server under it, it
/// becomes a dead letter. A command that runs past its --job-timeout is stopped, and orx exits with
/// 124. Ctrl-C leaves the command running, unless --on-interrupt is `cancel`. If the reader of the
/// output closes it, as `| head` does, orx cancels the command.
///
/// The store keeps the first 16 MiB and the last 256 KiB of an attempt's output, and counts the
/// bytes that are left out.
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::RUN)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Print the id and exit; the job continues
    #[arg(long)]
    detach: bool,
    /// Folder to run in; default: the caller's
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Variable for the command; without a value, the caller's value; repeatable
    #[arg(long, value_name = "K[=V]")]
    env: Vec<String>,
    /// Pass all variables of the caller except ORX_TOKEN
    #[arg(long)]
    env_all: bool,
    /// Pass standard input to the command, up to 256 KiB
    #[arg(long)]
    stdin: bool,
    /// Effect of Ctrl-C, SIGTERM and SIGHUP: the job continues, or is cancelled
    #[arg(long, value_name = "detach|cancel", default_value = "detach",
          value_parser = ["detach", "cancel"])]
    on_interrupt: String,
    /// Stop waiting after this time; the job continues
    #[arg(long, value_name = "D", value_parser = crate::duration)]
    timeout: Option<Duration>,
    /// Job type to show; default: the program's name
    #[arg(long, value_name = "NAME")]
    name: Option<orx_model::Name>,
    /// Print the job's bytes unchanged, control codes included
    #[arg(long)]
    raw: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<std::ffi::OsString>,
}

pub(crate) async fn run(args: RunArgs, session: &Session) -> Result<Exit, CliError> {
    // An error here is one of orx, so its code must differ from the codes of the command.
    run_inner(args, session).await.map_err(|error| match error.exit {
        Exit::Failed | Exit::TryLater => CliError { exit: Exit::RunFailed, ..error },
        _ => error,
    })
}

async fn run_inner(args: RunArgs, session: &Session) -> Result<Exit, CliError> {
    let words = args.command.iter().map(|word| {
        word.to_str()
            .map(str::to_owned)
            .ok_or_else(|| CliError::usage(format!("`{}` is not UTF-8", word.to_string_lossy())))
    });
    let argv: Vec<String> = words.collect::<Result<_, _>>()?;
    let mut command = command(argv, args.cwd.as_deref(), &args.env, args.stdin, &session.ui)?;
    if args.env_all {
        let mut all = whole_environment();
        all.append(&mut command.env);
        command.env = all;
    }
    let command = with_caller_settings(command);
    let mut request =
        EnqueueRequest { name: args.name, command: Some(command), ..EnqueueRequest::default() };
    args.job.apply(&mut request, &session.ui)?;
    let mut interrupts = Interrupts::new()?;
    let (answer, early_signal) = enqueued(session, request, &mut interrupts).await?;
    let Some(answer) = answer else {
        return Ok(Exit::Interrupted(early_signal.unwrap_or_default()));
    };
    session.state.remember_last(answer.id);
    let reference = answer.id.to_string();
    if args.detach {
        match session.ui.format {
            Format::Table | Format::Wide => session.ui.raw(format!("{reference}\n").as_bytes())?,
            _ => session.ui.one(&answer, &reference, &[("id", Cell::new(reference.clone()))])?,
        }
        return Ok(Exit::Success);
    }
    let sink = Sink { raw: args.raw, plain: true, ..Sink::default() };
    let mut followed = Box::pin(follow(session, &reference, sink, args.timeout));
    let signal = match early_signal {
        Some(signal) => signal,
        None => tokio::select! {
            ended = &mut followed => {
                let ended = cancel_if_unread(ended, session, answer.id).await;
                return or_removed(&session.ui, &answer, ended);
            }
            signal = interrupts.next() => signal,
        },
    };
    if args.on_interrupt != "cancel" {
        let jobs = std::slice::from_ref(&reference);
        session.ui.note(&resume_note("logs -f", "follows", jobs, &session.state));
        return Ok(Exit::Interrupted(signal));
    }
    session.ui.note(&format!("cancelling {reference}"));
    cancel(session, answer.id, "interrupted").await?;
    tokio::select! {
        ended = &mut followed => ended,
        signal = interrupts.next() => {
            session.ui.note(&format!("{reference} is being cancelled; no longer waiting for it"));
            Ok(Exit::Interrupted(signal))
        }
    }
}

/// Enqueues the job. Returns the server's answer and the signal that arrived before it. The first
/// signal does not abort the request, because the server may have accepted the job and the caller
/// needs its id; a second one does.
async fn enqueued(
    session: &Session,
    request: EnqueueRequest,
    interrupts: &mut Interrupts,
) -> Result<(Option<EnqueueAnswer>, Option<i32>), CliError> {
    let mut enqueuing = Box::pin(session.client.enqueue(request));
    let signal = tokio::select! {
        answer = &mut enqueuing => return Ok((Some(answer?), None)),
        signal = interrupts.next() => signal,
    };
    session.ui.note(
        "the server may have accepted the job; waiting for its answer (interrupt again to exit)",
    );
    tokio::select! {
        answer = &mut enqueuing => Ok((Some(answer?), Some(signal))),
        signal = interrupts.next() => Ok((None, Some(signal))),
    }
}

/// Cancels the job if the reader of the output has gone: without orx the command would end, too.
async fn cancel_if_unread(
    ended: Result<Exit, CliError>,
    session: &Session,
    job: JobId,
) -> Result<Exit, CliError> {
    if let Err(error) = &ended
        && error.is_closed_pipe()
    {
        cancel(session, job, "the reader of its output has gone").await?;
    }
    ended
}

async fn cancel(session: &Session, job: JobId, reason: &str) -> Result<(), CliError> {
    let request = ChangeRequest {
        ids: vec![job],
        reason: Some(reason.to_owned()),
        ..ChangeRequest::default()
    };
    session.client.cancel(&request).await?;
    Ok(())
}
