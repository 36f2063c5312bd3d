//! The arguments of `orx`: what each command and flag is called, and its help.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use orx_model::Name;
use orx_model::time::{TimeStyle, parse_duration};
use orx_schedule::Zone;

use crate::ui::{ColorChoice, Format};
use crate::{commands, config, daemon, zones};

/// Accept jobs, keep them safe, run them, watch them
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
    /// Context of the configuration
    #[arg(short = 'c', long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Server to talk to
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Output format
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
    /// Only these columns or JSON fields
    #[arg(long, global = true, value_delimiter = ',', value_name = "A,B")]
    pub(crate) fields: Option<Vec<String>>,
    /// Leave out the names of columns
    #[arg(long, global = true)]
    pub(crate) no_header: bool,
    /// Colours
    #[arg(long, global = true, value_enum, value_name = "WHEN")]
    pub(crate) color: Option<ColorChoice>,
    /// Only data and errors
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// Say more
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// How times are shown: relative, local, utc or unix
    #[arg(long, global = true, value_name = "STYLE")]
    pub(crate) time: Option<TimeStyle>,
    /// Time zone of the times you write and read
    #[arg(long, global = true, value_name = "ZONE")]
    #[arg(value_parser = zones::typed)]
    pub(crate) tz: Option<Zone>,
    /// Never ask
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    /// Start no server where there is none
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
    Daemon(DaemonSubcommand),
    #[command(subcommand)]
    Store(commands::store::StoreSubcommand),
    /// The configuration
    #[command(subcommand)]
    Config(ConfigSubcommand),
    Bench(commands::bench::BenchArgs),
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
pub(crate) enum DaemonSubcommand {
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
pub(crate) struct NodeArgs {
    /// Name for people
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<Name>,
    /// Address by which other nodes and workers reach this one
    #[arg(long, value_name = "URL")]
    pub(crate) advertise: Option<String>,
    /// Serve a store that has moved, or is a copy of one that is still there: it is the home from now on
    #[arg(long)]
    pub(crate) force_source: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigSubcommand {
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
