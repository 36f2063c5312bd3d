//! Runs jobs: commands and Rust functions, with their output, time limits and ends.
//!
//! Depends on `orx-model` and on the traits of `orx-transport`. Knows no store and no HTTP: what it
//! tells goes out as messages, what it should do comes in as messages and heartbeat answers.
//!
//! [`protocol`] decides, without I/O; [`runtime`] owns it and carries its effects out; an attempt
//! is a task of its own that [`process`] or a [`handler::Handler`] runs in.

mod attempt;
pub mod command;
pub mod ctx;
pub mod guard;
pub mod handler;
mod inbox;
mod machine;
mod output;
pub mod process;
mod progress;
pub mod protocol;
pub mod runtime;
mod umask;

pub use command::CommandHandler;
pub use handler::{Handler, HandlerError, Handlers, JobContext};
pub use runtime::{Ended, Worker, WorkerError, WorkerOptions};
