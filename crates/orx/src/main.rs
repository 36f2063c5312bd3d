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
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use orx_client::Client;

use args::{Cli, ConfigSubcommand, DaemonSubcommand, Global, TopLevelCommand, duration};
use commands::{Session, interruptible};
use connect::{Locator, Named, Start};
use error::{CliError, Exit};
use state::StateDir;
use ui::{Format, Ui};
use usage::refused;

/// How long `wait` and `follow` look for a server that was found and has never answered, or that
/// cannot be started again.
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
    // The one implementation of TLS's arithmetic, for whoever asks for none by name. Only a second
    // call could fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    zones::install();
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refused(&error, &arguments),
    };
    let format = format_of(&cli.global, None).unwrap_or(Format::Table);
    let verbose = cli.global.verbose;
    let exit = match run(cli) {
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

/// Flag, then environment, then configuration.
fn format_of(global: &Global, configured: Option<&str>) -> Result<Format, CliError> {
    if let Some(format) = global.output {
        return Ok(format);
    }
    let variable = std::env::var("ORX_OUTPUT").ok().filter(|text| !text.is_empty());
    let text = variable.as_deref().or(configured).unwrap_or("table");
    <Format as clap::ValueEnum>::from_str(text, true).map_err(|_| {
        CliError::usage(format!("there is no output format `{text}`"))
            .hint("table, wide, json, jsonl, tsv or id")
    })
}

fn run(cli: Cli) -> Result<Exit, CliError> {
    let command = match cli.command {
        // The guard does nothing but guard: no configuration, no runtime.
        Some(TopLevelCommand::Guard { worker }) => {
            orx_worker::guard::run(std::io::stdin(), &worker);
            return Ok(Exit::Done);
        }
        Some(command) => command,
        None => {
            std::io::stdout().lock().write_all(commands::help::DAILY.as_bytes())?;
            return Ok(Exit::Done);
        }
    };
    let global = cli.global;
    if let TopLevelCommand::Config(ConfigSubcommand::Check) = command {
        return commands::config::check(&global);
    }
    // What needs no configuration works with a wrong one too.
    let plain = matches!(
        command,
        TopLevelCommand::Help { .. }
            | TopLevelCommand::Man { .. }
            | TopLevelCommand::Completions { .. }
            | TopLevelCommand::Generate { .. }
            | TopLevelCommand::Ctx(_)
    );
    let loaded = if plain {
        config::Loaded { config: config::Config::default(), file: None }
    } else {
        config::load(global.config.as_deref())?
    };
    let ui = make_ui(&global, &loaded.config)?;
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
        TopLevelCommand::Config(ConfigSubcommand::Show { origin }) => {
            commands::config::show(&loaded, origin, &ui)
        }
        TopLevelCommand::Daemon(DaemonSubcommand::Status { state }) => {
            commands::daemon::status(&find(state)?, &ui)
        }
        TopLevelCommand::Daemon(DaemonSubcommand::Stop { state, timeout }) => {
            commands::daemon::stop(&find(state)?, timeout, &ui)
        }
        TopLevelCommand::Daemon(daemon) => {
            start_log(global.verbose);
            run_daemon(daemon, &global, loaded)?;
            Ok(Exit::Done)
        }
        TopLevelCommand::Store(command) => commands::store::run(command, loaded.config, &ui),
        command => {
            ui.check_zone()?;
            client_command(command, &global, loaded, ui)
        }
    }
}

fn find(state: Option<PathBuf>) -> Result<StateDir, CliError> {
    StateDir::find(state).map_err(CliError::usage)
}

fn run_daemon(
    daemon: DaemonSubcommand,
    global: &Global,
    loaded: config::Loaded,
) -> Result<(), CliError> {
    // Nor do jobs hold what whoever started their worker had open.
    background::keep_descriptors_here();
    match daemon {
        DaemonSubcommand::Server {
            listen,
            net,
            state,
            exit_when_idle,
            commands,
            background,
            node,
        } => {
            if background {
                background::detach();
            }
            let options = daemon::NodeOptions {
                listen,
                net,
                state: find(state)?,
                name: node.name,
                advertise: node.advertise,
                with_worker: true,
                exit_when_idle,
                force_source: node.force_source,
                background,
            };
            let mut config = loaded.config;
            config.worker.commands = commands.unwrap_or(config.worker.commands);
            daemon::node(options, config)
        }
        DaemonSubcommand::Coordinator { listen, net, state, node } => {
            let options = daemon::NodeOptions {
                listen,
                net,
                state: find(state)?,
                name: node.name,
                advertise: node.advertise,
                with_worker: false,
                exit_when_idle: None,
                force_source: node.force_source,
                background: false,
            };
            daemon::node(options, loaded.config)
        }
        DaemonSubcommand::Worker {
            coordinators,
            token_file,
            name,
            slots,
            queues,
            labels,
            commands,
        } => {
            let mut config = loaded.config.clone();
            let own = &mut config.worker;
            if !coordinators.is_empty() {
                own.coordinators = coordinators;
            }
            own.token_file = token_file.unwrap_or_else(|| std::mem::take(&mut own.token_file));
            own.name = name.map_or_else(|| std::mem::take(&mut own.name), |name| name.to_string());
            own.slots = slots.unwrap_or(own.slots);
            if !queues.is_empty() {
                own.queues = queues;
            }
            for label in &labels {
                let (name, value) = commands::pair(label)?;
                own.labels.insert(name, value);
            }
            own.commands = commands.unwrap_or(own.commands);
            let state = find(None)?;
            let named = Named { url: global.url.clone(), context: global.context.clone() };
            let locator =
                Locator::new(&named, &loaded.config, loaded.file, state, Start::Never, None)?;
            let endpoint = locator.for_worker(&config.worker)?;
            daemon::worker(daemon::WorkerDaemonOptions {
                urls: endpoint.urls,
                token: endpoint.token,
                trust: endpoint.trust,
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
    global: &Global,
    loaded: config::Loaded,
    ui: Ui,
) -> Result<Exit, CliError> {
    if let TopLevelCommand::Schedule(command) = &command
        && let Some(done) = command.offline(&ui)
    {
        return done;
    }
    let state = find(None)?;
    let start = match &command {
        _ if global.no_start => Start::Never,
        TopLevelCommand::Enqueue(_) | TopLevelCommand::Run(_) => Start::Always,
        // A server that nobody else uses is not the one to be measured.
        TopLevelCommand::Bench(_) => Start::Never,
        _ => Start::WithStore,
    };
    let named = Named { url: global.url.clone(), context: global.context.clone() };
    let shown = Some(ui.clone());
    let locator = Locator::new(&named, &loaded.config, loaded.file, state.clone(), start, shown)?;
    // One request after the other needs no more than one thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let client = Client::new(Arc::new(locator), PATIENCE)?;
        let session = Session { ui, client, state };
        match command {
            TopLevelCommand::Enqueue(args) => commands::enqueue::run(*args, &session).await,
            TopLevelCommand::Run(args) => commands::run::run(*args, &session).await,
            TopLevelCommand::Jobs(args) => commands::jobs::run(args, &session).await,
            TopLevelCommand::Show(args) => commands::show::run(args, &session).await,
            TopLevelCommand::Result(args) => commands::show::result(args, &session).await,
            TopLevelCommand::Logs(args) => {
                let resume = args.resume(&session.state);
                let run = commands::logs::run(args, &session);
                interruptible(&session.ui, resume, run).await
            }
            TopLevelCommand::Wait(args) => {
                let resume = Some(args.resume(&session.state));
                let run = commands::wait::run(args, &session);
                interruptible(&session.ui, resume, run).await
            }
            TopLevelCommand::Cancel(args) => commands::change::cancel(args, &session).await,
            TopLevelCommand::Retry(args) => commands::change::retry(args, &session).await,
            TopLevelCommand::Schedule(command) => commands::schedule::run(command, &session).await,
            TopLevelCommand::Queue(command) => commands::queue::run(command, &session).await,
            TopLevelCommand::Dlq(command) => commands::dlq::run(command, &session).await,
            TopLevelCommand::Worker(command) => commands::worker::run(command, &session).await,
            TopLevelCommand::Cluster(command) => commands::cluster::run(command, &session).await,
            TopLevelCommand::Token(command) => commands::token::run(command, &session).await,
            TopLevelCommand::Bench(args) => commands::bench::run(args, &session).await,
            TopLevelCommand::Ctx(_)
            | TopLevelCommand::Daemon(_)
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
    // A read of standard input that goes on does not hold the process.
    runtime.shutdown_background();
    ended
}

fn make_ui(global: &Global, config: &config::Config) -> Result<Ui, CliError> {
    let out_tty = std::io::stdout().is_terminal();
    Ok(Ui {
        format: format_of(global, Some(&config.output))?,
        fields: global.fields.clone(),
        header: !global.no_header,
        color: ui::wants_color(global.color, &config.color, out_tty),
        ascii: ui::wants_ascii(),
        out_tty,
        quiet: global.quiet,
        no_input: global.no_input,
        time: global.time,
        zone: global.tz.clone().map_or_else(zones::local, Ok),
    })
}

fn start_log(verbose: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ORX_LOG").unwrap_or_else(|_| {
        tracing_subscriber::EnvFilter::new(if verbose { "debug" } else { "info" })
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
