//! The arguments of `orx`: names and help texts of its commands and flags.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use orx_model::Name;
use orx_model::time::{TimeStyle, parse_duration};
use orx_schedule::Zone;

use crate::ui::{ColorChoice, Format};
use crate::{commands, config, daemon, zones};

/// Job orchestrator: accepts jobs, keeps them safe, runs them, and shows their output and outcome
#[derive(Debug, Parser)]
#[command(name = "orx", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(
    after_help = "`orx help TOPIC` explains: exit-codes filters environment formats accessibility"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<TopLevelCommand>,
}

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Context in the configuration file to use
    #[arg(short = 'c', long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Server to connect to
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Output format
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
    /// Print only these columns or JSON fields
    #[arg(long, global = true, value_delimiter = ',', value_name = "A,B")]
    pub(crate) fields: Option<Vec<String>>,
    /// Do not print the names of columns
    #[arg(long, global = true)]
    pub(crate) no_header: bool,
    /// When to print colours
    #[arg(long, global = true, value_enum, value_name = "WHEN")]
    pub(crate) color: Option<ColorChoice>,
    /// Print only data and errors
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// Print more details
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// How to print times: relative, local, utc or unix
    #[arg(long, global = true, value_name = "STYLE")]
    pub(crate) time: Option<TimeStyle>,
    /// Time zone for times that you type and that orx prints
    #[arg(long, global = true, value_name = "ZONE")]
    #[arg(value_parser = zones::typed)]
    pub(crate) tz: Option<Zone>,
    /// Never ask for confirmation
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    /// Do not start a server if none runs
    #[arg(long, global = true)]
    pub(crate) no_start: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopLevelCommand {
    Enqueue(Box<commands::enqueue::EnqueueArgs>),
    Run(Box<commands::run::RunArgs>),
    Jobs(commands::jobs::JobsArgs),
    Show(commands::show::ShowArgs),
    Result(commands::show::ResultArgs),
    Logs(commands::logs::LogsArgs),
    Wait(commands::wait::WaitArgs),
    Cancel(commands::change::CancelArgs),
    Retry(commands::change::RetryArgs),
    Rm(commands::change::RmArgs),
    #[command(subcommand)]
    Operation(commands::operation::OperationSubcommand),
    #[command(subcommand)]
    Schedule(commands::schedule::ScheduleSubcommand),
    /// List, show, pause and resume queues
    #[command(subcommand)]
    Queue(commands::queue::QueueSubcommand),
    Audit(commands::audit::AuditArgs),
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
    /// Run a server, coordinator or worker; show or stop the local server
    #[command(subcommand)]
    Daemon(DaemonSubcommand),
    #[command(subcommand)]
    Store(commands::store::StoreSubcommand),
    /// Check or print the configuration
    #[command(subcommand)]
    Config(ConfigSubcommand),
    Top(Box<commands::top::TopArgs>),
    Bench(commands::bench::BenchArgs),
    /// Print a completion script
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Print the man page, or write all man pages into a folder
    Man {
        /// Folder to write to
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// Explain a command or a topic
    Help {
        /// Command with its subcommand, or a topic
        #[arg(value_name = "COMMAND|TOPIC")]
        words: Vec<String>,
    },
    /// Kills the child processes of a killed worker; started by workers
    #[command(name = "__guard", hide = true)]
    Guard {
        worker: String,
    },
    /// Writes the generated files that are checked in
    #[command(name = "__generate", hide = true)]
    Generate {
        folder: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DaemonSubcommand {
    /// Run a complete server in one process: coordinator, API and worker, on an SQLite file
    #[command(after_long_help = commands::help::SERVER)]
    Server {
        /// Address to listen on; port 0 picks a free port. Beyond loopback it needs TLS
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
        #[command(flatten)]
        net: daemon::net::NetArgs,
        /// State folder
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
        /// End after this long without jobs and requests
        #[arg(long, value_name = "D", value_parser = duration)]
        exit_when_idle: Option<Duration>,
        /// Run commands that are given with jobs: true, false or auto (only on loopback)
        #[arg(long, value_name = "BOOL")]
        commands: Option<config::Commands>,
        /// A command started this server in the background
        #[arg(long, hide = true)]
        background: bool,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Run a coordinator: it accepts jobs, dispatches them to workers, and records outcomes
    #[command(after_long_help = commands::help::COORDINATOR)]
    Coordinator {
        /// Address to listen on; port 0 picks a free port. Beyond loopback it needs TLS
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
    /// Show whether a server runs on the state folder; exits with 3 if none does
    #[command(after_long_help = commands::help::DAEMON_STATUS)]
    Status {
        /// State folder
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
    },
    /// Stop the server on the state folder, and wait until it has ended
    ///
    /// Running jobs get `[worker] stop_grace` to end. The server stops the rest; they run again on the
    /// next server. If no server runs, the command does nothing.
    #[command(after_long_help = commands::help::DAEMON_STOP)]
    Stop {
        /// State folder
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
        /// Stop waiting after this time; the server still stops
        #[arg(long, value_name = "D", value_parser = duration)]
        timeout: Option<Duration>,
    },
    /// Run a worker: it receives jobs from coordinators and runs them
    #[command(after_long_help = commands::help::WORKER_DAEMON)]
    Worker {
        /// Coordinator to connect to; repeatable, tried in this order
        #[arg(long = "coordinator", value_name = "URL")]
        coordinators: Vec<String>,
        /// File with the token for the coordinators
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// Name for people
        #[arg(long, value_name = "NAME")]
        name: Option<Name>,
        /// Number of attempts that run at the same time
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        slots: Option<u32>,
        /// Queues to serve, separated by commas; default: all
        #[arg(long, value_name = "QUEUES", value_delimiter = ',')]
        queues: Vec<Name>,
        /// Label that jobs may require; repeatable
        #[arg(long = "label", value_name = "NAME=VALUE")]
        labels: Vec<String>,
        /// Run commands that are given with jobs: true, false or auto (only on loopback)
        #[arg(long, value_name = "BOOL")]
        commands: Option<config::Commands>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct NodeArgs {
    /// Name for people
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<Name>,
    /// URL at which other nodes and workers reach this one
    #[arg(long, value_name = "URL")]
    pub(crate) advertise: Option<String>,
    /// Serve a store that is marked as moved, or is a copy: from now on it is the home of its jobs
    #[arg(long)]
    pub(crate) force_source: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigSubcommand {
    /// Check the configuration file and report errors
    Check,
    /// Print the effective configuration
    Show {
        /// Print where each value comes from
        #[arg(long)]
        origin: bool,
        /// Print the settings in force at the server, with their origins
        #[arg(long)]
        server: bool,
    },
}

/// Parses a duration on the command line.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }
}
