//! Claims ready jobs for workers with free slots, records their outcomes, and recovers from every loss: of a
//! message, of a worker, of the server itself.
//!
//! Depends on `orx-model` and on the traits of `orx-store` and `orx-transport`. Contains no
//! database, broker or HTTP code. Every status write goes through the store's compare-and-set.
//!
//! A coordinator is a few services under one supervisor ([`run`]), and none waits for another:
//! [`gateway`] answers registrations and heartbeats, [`recorder`] writes what workers report into the
//! store, [`nodes`] exchanges notifications with other coordinators, and [`leader`] renews the lease. While
//! this node leads, its dispatcher, scheduler, monitor and janitor run. A decision of more than a line
//! is in a `plan.rs`, a function from state and input to a decision without I/O; the `run.rs` beside it
//! carries the decision out.

mod context;

pub mod gateway;
mod health;
pub mod leader;
pub mod nodes;
mod outcomes;
mod post;
pub mod recorder;
pub mod run;
mod settings;

pub use context::Context;
pub use run::{Coordinator, CoordinatorError};
pub use settings::Settings;

use std::time::Duration;

use orx_model::Timestamp;

/// Both clocks, read at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The calendar, for people and due times. May jump.
    pub wall: Timestamp,
    /// Time since a fixed moment, for leases and other durations. Never jumps.
    pub mono: Duration,
}

/// Reads the clocks, so that tests can set the time.
pub trait Clock: Send + Sync {
    /// Both clocks, now.
    fn now(&self) -> Now;
}
