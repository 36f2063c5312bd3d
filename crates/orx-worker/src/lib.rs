//! Runs jobs: commands and Rust functions, with their output, timeouts and outcomes.
//!
//! Depends on `orx-model` and on the traits of `orx-transport`. It must not know stores, databases or
//! HTTP: it reports by messages and heartbeats, and receives messages and heartbeat answers.
//!
//! [`protocol`] decides without I/O; `runtime` owns it and carries out its effects; each attempt is a
//! task that runs a process or a [`Handler`].

mod attempt;
mod command;
pub mod ctx;
pub mod guard;
pub mod handler;
mod inbox;
mod machine;
mod output;
pub mod process;
mod progress;
pub mod protocol;
mod runtime;
mod umask;

pub use command::{CommandHandler, CommandStdin, WhenUnreachable};
pub use handler::{Handler, HandlerError, Handlers, JobContext};
pub use runtime::{Now, Worker, WorkerEnd, WorkerError, WorkerOptions};
