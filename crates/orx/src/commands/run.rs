//! Run a command as a job and be it: its output, its exit code.

use std::time::Duration;

use orx_model::wire::{ChangeRequest, EnqueueRequest};

use super::enqueue::{JobArgs, or_forgotten};
use super::logs::{Sink, follow};
use super::{Session, command};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Format};

/// Run a command as a job, follow it, and end with its code
///
/// The command's standard output and standard error become this one's. It runs in the folder of the
/// caller, with the worker's PATH and only the variables named with --env. It is tried once unless
/// --retries says more; lost with its server it is run again unless --on-lost fail, and given up
/// when its server has died under it three times. Past its --job-timeout it is ended, and this
/// command ends with 124. Of its output the first 16 MiB and the last 256 KiB are kept; what is left
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
    /// Give it this command's standard input, up to 256 KiB
    #[arg(long)]
    stdin: bool,
    /// What Ctrl-C does: leave the job running, or cancel it
    #[arg(long, value_name = "detach|cancel", default_value = "detach",
          value_parser = ["detach", "cancel"])]
    on_interrupt: String,
    /// Give up waiting after this time; the job goes on
    #[arg(long, value_name = "D", value_parser = crate::duration)]
    timeout: Option<Duration>,
    /// Job type to show; the program's name if left out
    #[arg(long, value_name = "NAME")]
    name: Option<orx_model::Name>,
    /// Do not start a server where there is none
    #[arg(long)]
    pub(crate) no_start: bool,
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
    let command = command(argv, args.cwd.as_deref(), &args.env, args.stdin, &session.ui)?;
    let mut request =
        EnqueueRequest { name: args.name, command: Some(command), ..EnqueueRequest::default() };
    args.job.apply(&mut request, &session.ui)?;
    let answer = session.client.enqueue(request).await?;
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
    let cancel = args.on_interrupt == "cancel";
    tokio::select! {
        ended = &mut followed => return or_forgotten(&session.ui, &answer, ended),
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    if !cancel {
        session.ui.note(&format!("{reference} goes on: `orx logs -f {reference}` follows it"));
        return Ok(Exit::Interrupted);
    }
    session.ui.note(&format!("cancelling {reference}"));
    let request = ChangeRequest {
        ids: vec![answer.id],
        reason: Some("interrupted".to_owned()),
        ..ChangeRequest::default()
    };
    session.client.cancel(&request).await?;
    tokio::select! {
        ended = &mut followed => ended,
        again = tokio::signal::ctrl_c() => {
            again?;
            session.ui.note(&format!("{reference} is being cancelled: not waiting for its end"));
            Ok(Exit::Interrupted)
        }
    }
}
