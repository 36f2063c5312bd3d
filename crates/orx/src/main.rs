//! The `orx` binary: arguments, commands and output, and one module that builds the daemons.
//!
//! A command is a client of the HTTP API and knows no store; only [`daemon`] links the server.

mod background;
mod commands;
mod config;
mod connect;
mod daemon;
mod error;
mod state;
mod ui;
mod zones;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use orx_client::Client;
use orx_model::Name;
use orx_model::time::{TimeStyle, Zone, parse_duration};

use commands::{Session, interruptible};
use connect::{Locator, Named, Start};
use error::{CliError, Exit};
use state::StateDir;
use ui::{Format, Ui, When};

/// How long `wait` and `follow` look for a server that was found and has never answered, or that
/// cannot be started again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Accept jobs, keep them safe, run them, watch them
#[derive(Debug, Parser)]
#[command(name = "orx", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(
    after_help = "`orx help TOPIC` explains: exit-codes filters environment formats accessibility"
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<TopLevelCommand>,
}

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Context of the configuration
    #[arg(short = 'c', long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// Server to talk to
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Output format
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    /// Only these columns or JSON fields
    #[arg(long, global = true, value_delimiter = ',', value_name = "A,B")]
    fields: Option<Vec<String>>,
    /// Leave out the names of columns
    #[arg(long, global = true)]
    no_header: bool,
    /// Colours
    #[arg(long, global = true, value_enum, value_name = "WHEN")]
    color: Option<When>,
    /// Only data and errors
    #[arg(long, global = true)]
    quiet: bool,
    /// Say more
    #[arg(short, long, global = true)]
    verbose: bool,
    /// How times are shown: relative, local, utc or unix
    #[arg(long, global = true, value_name = "STYLE")]
    time: Option<TimeStyle>,
    /// Time zone of the times you write and read
    #[arg(long, global = true, value_name = "ZONE")]
    #[arg(value_parser = zones::typed)]
    tz: Option<Zone>,
    /// Never ask
    #[arg(long, global = true)]
    no_input: bool,
    /// Start no server where there is none
    #[arg(long, global = true)]
    no_start: bool,
}

#[derive(Debug, Subcommand)]
enum TopLevelCommand {
    Enqueue(Box<commands::enqueue::Args>),
    Run(Box<commands::run::Args>),
    Jobs(commands::jobs::Args),
    Show(commands::show::Args),
    Result(commands::show::ResultArgs),
    Logs(commands::logs::Args),
    Wait(commands::wait::Args),
    Cancel(commands::change::CancelArgs),
    Retry(commands::change::RetryArgs),
    #[command(subcommand)]
    Schedule(commands::schedule::ScheduleSubcommand),
    /// Queues
    #[command(subcommand)]
    Queue(commands::queue::QueueSubcommand),
    #[command(subcommand)]
    Dlq(commands::dlq::DlqSubcommand),
    #[command(subcommand)]
    Worker(commands::worker::WorkerSubcommand),
    #[command(subcommand)]
    Cluster(commands::cluster::ClusterSubcommand),
    #[command(subcommand)]
    Token(commands::token::TokenSubcommand),
    #[command(subcommand)]
    Ctx(commands::ctx::CtxSubcommand),
    /// Run a server
    #[command(subcommand)]
    Daemon(Daemon),
    #[command(subcommand)]
    Store(commands::store::StoreSubcommand),
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    Bench(commands::bench::Args),
    /// Print a completion script
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Print the man page, or write all of them into a folder
    Man {
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// Explain a command or a topic
    Help {
        #[arg(value_name = "COMMAND|TOPIC")]
        words: Vec<String>,
    },
    /// Ends what a killed worker left; started by workers
    #[command(name = "__guard", hide = true)]
    Guard {
        worker: String,
    },
    /// Writes what is made from code and checked in
    #[command(name = "__generate", hide = true)]
    Generate {
        folder: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum Daemon {
    /// Run a whole server in one process: coordinator, API and a worker, on an SQLite file
    #[command(after_long_help = commands::help::SERVER)]
    Server {
        /// Address; port 0 takes a free one. Beyond loopback it needs TLS
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
        #[command(flatten)]
        net: daemon::net::NetArgs,
        /// State folder
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
        /// End after so long without jobs and requests
        #[arg(long, value_name = "D", value_parser = duration)]
        exit_when_idle: Option<Duration>,
        /// Take commands given with jobs: true, false or auto (only on loopback)
        #[arg(long, value_name = "BOOL")]
        commands: Option<config::Commands>,
        /// Started by a command that needed a server
        #[arg(long, hide = true)]
        background: bool,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Run a coordinator: it accepts jobs, gives them out and records them; workers are elsewhere
    #[command(after_long_help = commands::help::COORDINATOR)]
    Coordinator {
        /// Address to listen on; port 0 takes a free one. Beyond loopback it needs TLS
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
        #[command(flatten)]
        net: daemon::net::NetArgs,
        /// State folder
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Say whether a server runs on the state folder; ends with 3 if none does
    #[command(after_long_help = commands::help::DAEMON_STATUS)]
    Status {
        /// State folder
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
    },
    /// End the server on the state folder, and wait for its end
    ///
    /// What it runs has the time of `[worker] stop_grace` to end, and else is stopped and runs again
    /// on the next server. Where none runs there is nothing to do.
    #[command(after_long_help = commands::help::DAEMON_STOP)]
    Stop {
        /// State folder
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
        /// Give up waiting after this time; it ends all the same
        #[arg(long, value_name = "D", value_parser = duration)]
        timeout: Option<Duration>,
    },
    /// Run a worker: it takes jobs from coordinators and runs them
    #[command(after_long_help = commands::help::WORKER_DAEMON)]
    Worker {
        /// Coordinator to work for; again for more, the first is tried first
        #[arg(long = "coordinator", value_name = "URL")]
        coordinators: Vec<String>,
        /// File with the token for them
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// Name for people
        #[arg(long, value_name = "NAME")]
        name: Option<Name>,
        /// Attempts at once
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        slots: Option<u32>,
        /// Queues to serve, separated by commas; every queue without
        #[arg(long, value_name = "QUEUES", value_delimiter = ',')]
        queues: Vec<Name>,
        /// Label that jobs may require; again for more
        #[arg(long = "label", value_name = "NAME=VALUE")]
        labels: Vec<String>,
        /// Take commands given with jobs: true, false or auto (only on loopback)
        #[arg(long, value_name = "BOOL")]
        commands: Option<config::Commands>,
    },
}

#[derive(Debug, clap::Args)]
struct NodeArgs {
    /// Name for people
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// Address by which other nodes and workers reach this one
    #[arg(long, value_name = "URL")]
    advertise: Option<String>,
    /// Serve a store that has moved, or is a copy of one that is still there: it is the home from now on
    #[arg(long)]
    force_source: bool,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Read the configuration and say what is wrong
    Check,
    /// Print the configuration in force
    Show {
        /// Say where each value comes from
        #[arg(long)]
        origin: bool,
    },
}

/// A duration on the command line.
fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

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

/// What clap did not understand, and help and version, which it treats alike.
fn refused(error: &clap::Error, arguments: &[std::ffi::OsString]) -> ExitCode {
    use clap::error::ErrorKind;
    let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if help {
        // A pipe that is closed already is no error.
        let _ = write!(std::io::stdout().lock(), "{}", error.render());
        return ExitCode::from(Exit::Done.code());
    }
    let format = format_said(arguments);
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && !format.is_json() {
        // Nothing was wrong but that too little was said: the help is the answer.
        let _ = write!(std::io::stderr().lock(), "{}", error.render());
    } else {
        Ui::error(format, false, &usage_error(error));
    }
    ExitCode::from(Exit::Usage.code())
}

/// The format of an error about arguments that could not be read.
fn format_said(arguments: &[std::ffi::OsString]) -> Format {
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    let own = words.split(|word| word == "--").next().unwrap_or_default();
    let said = own.iter().enumerate().rev().find_map(|(place, word)| {
        let next = || own.get(place + 1).map(AsRef::as_ref);
        match word.as_ref() {
            "-o" | "--output" => next(),
            word => word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o")),
        }
    });
    let said = said.map(|text| text.trim_start_matches('='));
    let format = said.and_then(|text| <Format as clap::ValueEnum>::from_str(text, true).ok());
    match (format, said) {
        (Some(format), _) => format,
        (None, Some(_)) => Format::Table,
        (None, None) => match std::env::var("ORX_OUTPUT") {
            Ok(text) => <Format as clap::ValueEnum>::from_str(&text, true).unwrap_or(Format::Table),
            Err(_) => Format::Table,
        },
    }
}

/// What clap found, in the words of every other error: values in backticks, the nearest name.
fn usage_error(error: &clap::Error) -> CliError {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let all = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    };
    let one = |kind| all(kind).into_iter().next().unwrap_or_default();
    let quoted = |names: Vec<String>| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    let (argument, value) = (one(ContextKind::InvalidArg), one(ContextKind::InvalidValue));
    let message = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            format!("there is no command `{}`", one(ContextKind::InvalidSubcommand))
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            format!("there is no flag `{argument}`")
        }
        ErrorKind::UnknownArgument => format!("`{argument}` is one argument too many"),
        ErrorKind::InvalidValue if value.is_empty() => format!("`{argument}` needs a value"),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            format!("`{value}` is not right for `{argument}`")
        }
        ErrorKind::MissingRequiredArgument => {
            format!("required: {}", quoted(all(ContextKind::InvalidArg)))
        }
        ErrorKind::ArgumentConflict => {
            let others = quoted(all(ContextKind::PriorArg));
            format!("`{argument}` cannot be used with {others}")
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "a command is missing after this one".to_owned()
        }
        _ => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            first.replace('\'', "`")
        }
    };
    let mut told = CliError::usage(message);
    told.cause = match error.kind() {
        ErrorKind::ValueValidation => std::error::Error::source(error).map(ToString::to_string),
        _ => None,
    };
    let near =
        [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    let near = near.into_iter().map(one).find(|name| !name.is_empty());
    let valid = all(ContextKind::ValidValue);
    told.hint = Some(match near {
        Some(near) => format!("did you mean `{near}`?"),
        None if !valid.is_empty() => format!("there are {}", quoted(valid)),
        None => "`--help` after the command shows what it takes".to_owned(),
    });
    told
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
    if let TopLevelCommand::Config(ConfigCommand::Check) = command {
        return check_config(&global);
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
        TopLevelCommand::Config(ConfigCommand::Show { origin }) => {
            show_config(&loaded, origin, &ui)
        }
        TopLevelCommand::Daemon(Daemon::Status { state }) => {
            commands::daemon::status(&find(state)?, &ui)
        }
        TopLevelCommand::Daemon(Daemon::Stop { state, timeout }) => {
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

fn run_daemon(daemon: Daemon, global: &Global, loaded: config::Loaded) -> Result<(), CliError> {
    // Nor do jobs hold what whoever started their worker had open.
    background::keep_descriptors_here();
    match daemon {
        Daemon::Server { listen, net, state, exit_when_idle, commands, background, node } => {
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
        Daemon::Coordinator { listen, net, state, node } => {
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
        Daemon::Worker { coordinators, token_file, name, slots, queues, labels, commands } => {
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
        Daemon::Status { .. } | Daemon::Stop { .. } => unreachable!("these run nothing"),
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

fn check_config(global: &Global) -> Result<Exit, CliError> {
    let loaded = config::load(global.config.as_deref())?;
    let ui = make_ui(global, &loaded.config)?;
    let file = loaded.file.as_ref().map(|file| file.display().to_string());
    if !ui.format.is_human() {
        let cell = ui::Cell::option(file.as_ref());
        let shown = file.as_deref().unwrap_or_default();
        ui.one(&serde_json::json!({ "file": file }), shown, &[("file", cell)])?;
        return Ok(Exit::Done);
    }
    let said = match file {
        Some(file) => format!("`{file}` is right\n"),
        None => "there is no configuration file: all are defaults\n".to_owned(),
    };
    if !ui.quiet {
        ui.raw(said.as_bytes())?;
    }
    Ok(Exit::Done)
}

fn show_config(loaded: &config::Loaded, origin: bool, ui: &Ui) -> Result<Exit, CliError> {
    if ui.format.is_json() {
        let mut value = serde_json::to_value(&loaded.config)?;
        if let Some(object) = value.as_object_mut() {
            let contexts = serde_json::to_value(&loaded.config.contexts)?;
            object.insert("contexts".to_owned(), contexts);
            let zones = serde_json::to_value(orx_model::zone::source().data())?;
            object.insert("zone_data".to_owned(), zones);
        }
        ui.one(&value, "", &[])?;
        return Ok(Exit::Done);
    }
    let wrong = |error: toml::ser::Error| {
        CliError::new(Exit::Failed, "config", "could not print it").cause(error.to_string())
    };
    let zones = orx_model::zone::source().data();
    let text = toml::to_string(&loaded.config).map_err(wrong)?;
    let text = format!("# time zones: {}, {}\n{text}", zones.source, zones.version_text());
    if !origin {
        ui.raw(text.as_bytes())?;
        return Ok(Exit::Done);
    }
    let file = match &loaded.file {
        Some(path) => std::fs::read_to_string(path)?,
        None => String::new(),
    };
    let said: toml::Table = toml::from_str(&file).unwrap_or_default();
    let from_file = loaded.file.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let mut out = String::new();
    let mut section: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.split('.').map(|part| part.trim_matches('"').to_owned()).collect();
        }
        match line.split_once(" = ") {
            Some((key, _)) => {
                let mut at = Some(&said);
                for part in &section {
                    at = at.and_then(|table| table.get(part)).and_then(toml::Value::as_table);
                }
                let set = at.is_some_and(|table| table.contains_key(key));
                let origin = if set { from_file.as_str() } else { "default" };
                out.push_str(&format!("{line}  # {origin}\n"));
            }
            None => out.push_str(&format!("{line}\n")),
        }
    }
    ui.raw(out.as_bytes())?;
    Ok(Exit::Done)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }
}
