//! The `orx` binary: arguments, commands and output, and one module that builds the daemons.
//!
//! A command is a client of the HTTP API and knows no store; only [`daemon`] links the server.

mod commands;
mod config;
mod connect;
mod daemon;
mod error;
mod state;
mod ui;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use orx_client::Client;
use orx_model::time::{TimeStyle, Zone, parse_duration};

use commands::Session;
use connect::{Locator, Named};
use error::{CliError, Exit};
use state::StateDir;
use ui::{Format, Ui, When};

/// How long `wait` and `follow` look for a server that has gone.
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
    command: Option<Command>,
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
    tz: Option<Zone>,
    /// Never ask
    #[arg(long, global = true)]
    no_input: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Enqueue(Box<commands::enqueue::Args>),
    Run(Box<commands::run::Args>),
    Jobs(commands::jobs::Args),
    Show(commands::show::Args),
    Result(commands::show::ResultArgs),
    Logs(commands::logs::Args),
    Wait(commands::wait::Args),
    Cancel(commands::change::CancelArgs),
    Retry(commands::change::RetryArgs),
    /// Queues
    #[command(subcommand)]
    Queue(commands::queue::Command),
    #[command(subcommand)]
    Dlq(commands::dlq::Command),
    #[command(subcommand)]
    Worker(commands::worker::Command),
    #[command(subcommand)]
    Cluster(commands::cluster::Command),
    #[command(subcommand)]
    Token(commands::token::Command),
    #[command(subcommand)]
    Ctx(commands::ctx::Command),
    /// Run a server
    #[command(subcommand)]
    Daemon(Daemon),
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
        /// Started by a command that needed a server
        #[arg(long, hide = true)]
        background: bool,
    },
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
    let json = arguments.windows(2).any(|pair| {
        (pair[0] == "-o" || pair[0] == "--output") && (pair[1] == "json" || pair[1] == "jsonl")
    });
    let text = error.render().to_string();
    let text = text.trim_end();
    if json {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let message = first.strip_prefix("error: ").unwrap_or(first);
        let mut told = CliError::usage(message);
        let tip = lines.find_map(|line| line.trim().strip_prefix("tip: "));
        told.hint = tip.map(str::to_owned);
        Ui::error(Format::Json, false, &told);
    } else {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
    ExitCode::from(Exit::Usage.code())
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
        Some(Command::Guard { worker }) => {
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
    if let Command::Config(ConfigCommand::Check) = command {
        return check_config(&global);
    }
    // What needs no configuration works with a wrong one too.
    let plain = matches!(
        command,
        Command::Help { .. }
            | Command::Man { .. }
            | Command::Completions { .. }
            | Command::Generate { .. }
            | Command::Ctx(_)
    );
    let loaded = if plain {
        config::Loaded { config: config::Config::default(), file: None }
    } else {
        config::load(global.config.as_deref())?
    };
    let ui = make_ui(&global, &loaded.config)?;
    match command {
        Command::Help { words } => commands::help::run(&words, Cli::command(), &ui),
        Command::Man { folder } => commands::completions::man(folder, Cli::command(), &ui),
        Command::Completions { shell } => {
            commands::completions::completions(shell, Cli::command(), &ui)
        }
        Command::Generate { folder } => commands::completions::generate(&folder, Cli::command()),
        Command::Ctx(command) => commands::ctx::run(command, &ui),
        Command::Config(ConfigCommand::Show { origin }) => show_config(&loaded, origin, &ui),
        Command::Daemon(Daemon::Server { listen, net, state, exit_when_idle, background }) => {
            start_log(global.verbose);
            let state = StateDir::find(state).map_err(CliError::usage)?;
            let options = daemon::ServerOptions { listen, net, state, exit_when_idle, background };
            daemon::server(options, loaded.config)?;
            Ok(Exit::Done)
        }
        command => client_command(command, &global, loaded, ui),
    }
}

fn client_command(
    command: Command,
    global: &Global,
    loaded: config::Loaded,
    ui: Ui,
) -> Result<Exit, CliError> {
    let state = StateDir::find(None).map_err(CliError::usage)?;
    let may_start = match &command {
        Command::Enqueue(args) => !args.no_start,
        Command::Run(args) => !args.no_start,
        _ => false,
    };
    let named = Named { url: global.url.clone(), context: global.context.clone() };
    let locator = Locator::new(&named, &loaded.config, loaded.file, state.clone(), may_start)?;
    // One request after the other needs no more than one thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let client = Client::new(Arc::new(locator), PATIENCE)?;
        let session = Session { ui, client, state };
        match command {
            Command::Enqueue(args) => commands::enqueue::run(*args, &session).await,
            Command::Run(args) => commands::run::run(*args, &session).await,
            Command::Jobs(args) => commands::jobs::run(args, &session).await,
            Command::Show(args) => commands::show::run(args, &session).await,
            Command::Result(args) => commands::show::result(args, &session).await,
            Command::Logs(args) => interruptible(commands::logs::run(args, &session)).await,
            Command::Wait(args) => interruptible(commands::wait::run(args, &session)).await,
            Command::Cancel(args) => commands::change::cancel(args, &session).await,
            Command::Retry(args) => commands::change::retry(args, &session).await,
            Command::Queue(command) => commands::queue::run(command, &session).await,
            Command::Dlq(command) => commands::dlq::run(command, &session).await,
            Command::Worker(command) => commands::worker::run(command, &session).await,
            Command::Cluster(command) => commands::cluster::run(command, &session).await,
            Command::Token(command) => commands::token::run(command, &session).await,
            Command::Bench(args) => commands::bench::run(args, &session).await,
            Command::Ctx(_)
            | Command::Daemon(_)
            | Command::Config(_)
            | Command::Completions { .. }
            | Command::Man { .. }
            | Command::Help { .. }
            | Command::Guard { .. }
            | Command::Generate { .. } => unreachable!("these need no server and came before"),
        }
    });
    // A read of standard input that goes on does not hold the process.
    runtime.shutdown_background();
    ended
}

/// Ctrl-C leaves the jobs as they are.
async fn interruptible(
    command: impl Future<Output = Result<Exit, CliError>>,
) -> Result<Exit, CliError> {
    tokio::select! {
        ended = command => ended,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            Ok(Exit::Interrupted)
        }
    }
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
        zone: global.tz.unwrap_or(Zone::Local),
    })
}

fn check_config(global: &Global) -> Result<Exit, CliError> {
    let loaded = config::load(global.config.as_deref())?;
    let ui = make_ui(global, &loaded.config)?;
    let said = match &loaded.file {
        Some(file) => format!("`{}` is right\n", file.display()),
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
        }
        ui.one(&value, "", &[])?;
        return Ok(Exit::Done);
    }
    let wrong = |error: toml::ser::Error| {
        CliError::new(Exit::Failed, "config", "could not print it").cause(error.to_string())
    };
    let text = toml::to_string(&loaded.config).map_err(wrong)?;
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
