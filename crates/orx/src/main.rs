//! The `orx` binary: arguments, commands and output, and one module that builds the daemons.
//!
//! A command is a client of the HTTP API and knows no store; only [`daemon`] links the server.

mod args;
mod background;
mod clock;
mod commands;
mod config;
mod connect;
mod daemon;
mod error;
mod state;
mod ui;
mod usage;
mod zones;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use orx_client::Client;

use args::{Cli, ConfigSubcommand, DaemonSubcommand, Global, TopLevelCommand, duration};
use commands::{Session, interruptible};
use config::{Config, Environment, Flags};
use connect::{Locator, Start};
use error::{CliError, Exit};
use ui::{Format, Ui};
use usage::refused;

/// How long `wait` and `follow` try to reach a server that has an address and has never answered, or
/// that cannot be started again.
const PATIENCE: Duration = Duration::from_secs(60);

/// `None` when the time is over first.
async fn within<T, E>(
    most: Option<Duration>,
    future: impl Future<Output = Result<T, E>>,
) -> Result<Option<T>, CliError>
where
    CliError: From<E>,
{
    match most {
        None => Ok(Some(future.await?)),
        Some(most) => match tokio::time::timeout(most, future).await {
            Ok(ended) => Ok(Some(ended?)),
            Err(_) => Ok(None),
        },
    }
}

fn main() -> ExitCode {
    // The default implementation of TLS's arithmetic. Only a second call could fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let environment = Environment::of_process();
    zones::install(&environment);
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refused(&error, &arguments, &environment),
    };
    // Of an error about the configuration, which may be one of its format.
    let by_variable = || config::output_variable(&environment).ok().flatten();
    let format = cli.global.output.or_else(by_variable).unwrap_or(Format::Table);
    let verbose = cli.global.verbose;
    let exit = match run(cli, &environment) {
        Ok(exit) => exit,
        Err(error) => {
            if !error.message.is_empty() {
                Ui::error(format, verbose, &error);
            }
            error.exit
        }
    };
    ExitCode::from(exit.code())
}

fn run(cli: Cli, environment: &Environment) -> Result<Exit, CliError> {
    let command = match cli.command {
        // The guard does nothing but guard: no configuration, no runtime.
        Some(TopLevelCommand::Guard { worker }) => {
            orx_worker::guard::run(std::io::stdin(), &worker);
            return Ok(Exit::Success);
        }
        Some(command) => command,
        None => {
            std::io::stdout().lock().write_all(commands::help::DAILY.as_bytes())?;
            return Ok(Exit::Success);
        }
    };
    let global = cli.global;
    let daemon = match &command {
        TopLevelCommand::Daemon(daemon) => Some(daemon),
        _ => None,
    };
    let flags = Flags { global: &global, daemon };
    // What needs no configuration works with a wrong one too.
    let plain = matches!(
        command,
        TopLevelCommand::Help { .. }
            | TopLevelCommand::Man { .. }
            | TopLevelCommand::Completions { .. }
            | TopLevelCommand::Generate { .. }
            | TopLevelCommand::Ctx(_)
    );
    let config = match plain {
        true => config::resolve_without_file(flags, environment)?,
        false => config::resolve(flags, environment)?,
    };
    let ui = make_ui(&global, &config);
    match command {
        TopLevelCommand::Help { words } => commands::help::run(&words, Cli::command(), &ui),
        TopLevelCommand::Man { folder } => commands::completions::man(folder, Cli::command(), &ui),
        TopLevelCommand::Completions { shell } => {
            commands::completions::completions(shell, Cli::command(), &ui)
        }
        TopLevelCommand::Generate { folder } => {
            commands::completions::generate(&folder, Cli::command())
        }
        TopLevelCommand::Ctx(command) => commands::ctx::run(command, &ui),
        TopLevelCommand::Config(ConfigSubcommand::Check) => commands::config::check(&config, &ui),
        TopLevelCommand::Config(ConfigSubcommand::Show { origin, server: false }) => {
            commands::config::show(&config, origin, &ui)
        }
        TopLevelCommand::Daemon(DaemonSubcommand::Status { .. }) => {
            commands::daemon::status(&config.state_dir()?, &ui)
        }
        TopLevelCommand::Daemon(DaemonSubcommand::Stop { timeout, .. }) => {
            commands::daemon::stop(&config.state_dir()?, timeout, &ui)
        }
        TopLevelCommand::Daemon(daemon) => {
            start_log(&config.log);
            run_daemon(daemon, config)?;
            Ok(Exit::Success)
        }
        TopLevelCommand::Top(args) => {
            ui.check_zone()?;
            commands::top::run(*args, global.no_start, &config, environment, &ui)
        }
        TopLevelCommand::Store(command) => commands::store::run(command, config, &ui),
        command => {
            ui.check_zone()?;
            client_command(command, global.no_start, &config, ui)
        }
    }
}

fn run_daemon(daemon: DaemonSubcommand, config: Config) -> Result<(), CliError> {
    // Jobs inherit no descriptor that this daemon has inherited itself.
    background::close_inherited_descriptors_on_exec();
    match daemon {
        DaemonSubcommand::Server { exit_when_idle, background, node, .. } => {
            if background {
                background::detach();
            }
            let options = daemon::NodeOptions {
                with_worker: true,
                exit_when_idle,
                force_source: node.force_source,
                background,
            };
            daemon::node(options, config)
        }
        DaemonSubcommand::Coordinator { node, .. } => {
            let options = daemon::NodeOptions {
                with_worker: false,
                exit_when_idle: None,
                force_source: node.force_source,
                background: false,
            };
            daemon::node(options, config)
        }
        DaemonSubcommand::Worker { .. } => {
            let coordinators =
                Locator::new(&config, Start::Never, None)?.for_worker(&config.worker)?;
            daemon::worker(daemon::WorkerDaemonOptions {
                urls: coordinators.urls,
                token: coordinators.token,
                trust: coordinators.trust,
                config,
            })
        }
        DaemonSubcommand::Status { .. } | DaemonSubcommand::Stop { .. } => {
            unreachable!("these run nothing")
        }
    }
}

fn client_command(
    command: TopLevelCommand,
    no_start: bool,
    config: &Config,
    ui: Ui,
) -> Result<Exit, CliError> {
    if let TopLevelCommand::Schedule(command) = &command
        && let Some(done) = command.offline(&ui)
    {
        return done;
    }
    let state = config.state_dir()?;
    let start = match &command {
        _ if no_start => Start::Never,
        TopLevelCommand::Enqueue(_) | TopLevelCommand::Run(_) => Start::Always,
        // The measurement is of a server in use, not of one started for it.
        TopLevelCommand::Bench(_) => Start::Never,
        _ => Start::WithStore,
    };
    let locator = Locator::new(config, start, Some(ui.clone()))?;
    // One request after the other needs no more than one thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let client = Client::new(Arc::new(locator), PATIENCE)?;
        let session = Session { ui, client, state };
        match command {
            TopLevelCommand::Enqueue(args) => commands::enqueue::run(*args, &session).await,
            TopLevelCommand::Run(args) => commands::run::run(*args, &session).await,
            TopLevelCommand::Config(ConfigSubcommand::Show { server: true, .. }) => {
                commands::config::show_server(&session).await
            }
            TopLevelCommand::Jobs(args) => commands::jobs::run(args, &session).await,
            TopLevelCommand::Show(args) => commands::show::run(args, &session).await,
            TopLevelCommand::Result(args) => commands::show::result(args, &session).await,
            TopLevelCommand::Logs(args) => {
                let resume_note = args.resume_note(&session.state);
                let run = commands::logs::run(args, &session);
                interruptible(&session.ui, resume_note, run).await
            }
            TopLevelCommand::Wait(args) => {
                let resume_note = Some(args.resume_note(&session.state));
                let run = commands::wait::run(args, &session);
                interruptible(&session.ui, resume_note, run).await
            }
            TopLevelCommand::Cancel(args) => commands::change::cancel(args, &session).await,
            TopLevelCommand::Retry(args) => commands::change::retry(args, &session).await,
            TopLevelCommand::Rm(args) => commands::change::rm(args, &session).await,
            TopLevelCommand::Operation(command) => {
                commands::operation::run(command, &session).await
            }
            TopLevelCommand::Schedule(command) => commands::schedule::run(command, &session).await,
            TopLevelCommand::Audit(args) => commands::audit::run(args, &session).await,
            TopLevelCommand::Queue(command) => commands::queue::run(command, &session).await,
            TopLevelCommand::Dlq(command) => commands::dlq::run(command, &session).await,
            TopLevelCommand::Worker(command) => commands::worker::run(command, &session).await,
            TopLevelCommand::Cluster(command) => commands::cluster::run(command, &session).await,
            TopLevelCommand::Token(command) => commands::token::run(command, &session).await,
            TopLevelCommand::Bench(args) => commands::bench::run(args, &session).await,
            TopLevelCommand::Ctx(_)
            | TopLevelCommand::Daemon(_)
            | TopLevelCommand::Top(_)
            | TopLevelCommand::Store(_)
            | TopLevelCommand::Config(_)
            | TopLevelCommand::Completions { .. }
            | TopLevelCommand::Man { .. }
            | TopLevelCommand::Help { .. }
            | TopLevelCommand::Guard { .. }
            | TopLevelCommand::Generate { .. } => {
                unreachable!("these need no server and came before")
            }
        }
    });
    // A read of standard input that is under way does not hold the process.
    runtime.shutdown_background();
    ended
}

fn make_ui(global: &Global, config: &Config) -> Ui {
    let out_tty = std::io::stdout().is_terminal();
    Ui {
        format: *config.output,
        fields: global.fields.clone(),
        header: !global.no_header,
        color: config.wants_color(out_tty),
        ascii: config.terminal.ascii,
        out_tty,
        columns: config.terminal.columns,
        quiet: global.quiet,
        no_input: global.no_input,
        time: global.time,
        zone: global.tz.clone().map_or_else(zones::local, Ok),
    }
}

fn start_log(directives: &str) {
    // What the variable asks for may be no filter.
    let filter = tracing_subscriber::EnvFilter::try_new(directives)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
