//! Run a command as a job and be it: its output, its exit code.

use std::time::Duration;

use orx_model::JobId;
use orx_model::wire::{ChangeRequest, EnqueueAnswer, EnqueueRequest};

use super::enqueue::{JobArgs, or_forgotten};
use super::interrupt::Interrupts;
use super::logs::{Sink, follow};
use super::{Session, command, of_caller, resume, whole_environment};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Format};

/// Run a command as a job, follow it, and end with its code
///
/// The command's standard output and standard error become this one's. It has the folder, umask, PATH,
/// locale and time zone of the caller, and of other variables only those named with --env, or with
/// --env-all all. It is tried once unless --retries says more; lost with its server, or stopped with
/// it, it is run again unless --on-lost fail, and given up when its server has died under it three times. Past its
/// --job-timeout it is ended, and this command ends with 124. Ctrl-C leaves it running, unless --on-interrupt cancel; where nobody reads its output any more, as with
/// `| head`, it is cancelled. Of its output the first 16 MiB and the last 256 KiB are kept; what is left
/// out is counted.
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::RUN)]
pub(crate) struct Args {
    #[command(flatten)]
    job: JobArgs,
    /// Print the id and end; the job goes on
    #[arg(long)]
    detach: bool,
    /// Folder it runs in; the caller's if left out
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Variable it gets; without a value, the caller's
    #[arg(long, value_name = "K[=V]")]
    env: Vec<String>,
    /// Give it all variables of the caller but ORX_TOKEN
    #[arg(long)]
    env_all: bool,
    /// Give it this command's standard input, up to 256 KiB
    #[arg(long)]
    stdin: bool,
    /// What Ctrl-C, SIGTERM and SIGHUP do: leave the job running, or cancel it
    #[arg(long, value_name = "detach|cancel", default_value = "detach",
          value_parser = ["detach", "cancel"])]
    on_interrupt: String,
    /// Give up waiting after this time; the job goes on
    #[arg(long, value_name = "D", value_parser = crate::duration)]
    timeout: Option<Duration>,
    /// Job type to show; the program's name if left out
    #[arg(long, value_name = "NAME")]
    name: Option<orx_model::Name>,
    /// Pass the bytes of the job to the terminal as they are
    #[arg(long)]
    raw: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<std::ffi::OsString>,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Exit, CliError> {
    // What goes wrong here is ours, not the command's.
    run_inner(args, session).await.map_err(|error| match error.exit {
        Exit::Failed | Exit::TryLater => CliError { exit: Exit::RunFailed, ..error },
        _ => error,
    })
}

async fn run_inner(args: Args, session: &Session) -> Result<Exit, CliError> {
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
    let command = of_caller(command);
    let mut request =
        EnqueueRequest { name: args.name, command: Some(command), ..EnqueueRequest::default() };
    args.job.apply(&mut request, &session.ui)?;
    let mut interrupts = Interrupts::new()?;
    let (answer, early) = accepted(session, request, &mut interrupts).await?;
    let Some(answer) = answer else {
        return Ok(Exit::Interrupted(early.unwrap_or_default()));
    };
    session.state.remember_last(answer.id);
    let reference = answer.id.to_string();
    if args.detach {
        match session.ui.format {
            Format::Table | Format::Wide => session.ui.raw(format!("{reference}\n").as_bytes())?,
            _ => session.ui.one(&answer, &reference, &[("id", Cell::new(reference.clone()))])?,
        }
        return Ok(Exit::Done);
    }
    let sink = Sink { raw: args.raw, plain: true, ..Sink::default() };
    let mut followed = Box::pin(follow(session, &reference, sink, args.timeout));
    let signal = match early {
        Some(signal) => signal,
        None => tokio::select! {
            ended = &mut followed => {
                let ended = ended_or_unread(ended, session, answer.id).await;
                return or_forgotten(&session.ui, &answer, ended);
            }
            signal = interrupts.next() => signal,
        },
    };
    if args.on_interrupt != "cancel" {
        let jobs = std::slice::from_ref(&reference);
        session.ui.note(&resume("logs -f", "follows", jobs, &session.state));
        return Ok(Exit::Interrupted(signal));
    }
    session.ui.note(&format!("cancelling {reference}"));
    cancel(session, answer.id, "interrupted").await?;
    tokio::select! {
        ended = &mut followed => ended,
        signal = interrupts.next() => {
            session.ui.note(&format!("{reference} is being cancelled: not waiting for its end"));
            Ok(Exit::Interrupted(signal))
        }
    }
}

/// The server's answer, and the signal that came before it. A job that may be accepted is not left
/// without anybody who knows its id, unless a second signal says so.
async fn accepted(
    session: &Session,
    request: EnqueueRequest,
    interrupts: &mut Interrupts,
) -> Result<(Option<EnqueueAnswer>, Option<i32>), CliError> {
    let mut enqueued = Box::pin(session.client.enqueue(request));
    let signal = tokio::select! {
        answer = &mut enqueued => return Ok((Some(answer?), None)),
        signal = interrupts.next() => signal,
    };
    session.ui.note("waiting for the server's answer, which may have taken the job; again to end");
    tokio::select! {
        answer = &mut enqueued => Ok((Some(answer?), Some(signal))),
        signal = interrupts.next() => Ok((None, Some(signal))),
    }
}

/// A command whose output nobody reads any more ends, as it would without orx.
async fn ended_or_unread(
    ended: Result<Exit, CliError>,
    session: &Session,
    job: JobId,
) -> Result<Exit, CliError> {
    if let Err(error) = &ended
        && error.is_closed_pipe()
    {
        cancel(session, job, "nobody reads its output any more").await?;
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
