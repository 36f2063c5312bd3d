//! Decides who runs what: claims ready jobs for workers with free slots, records what became of them, and
//! heals every loss: of a message, of a worker, of the server itself.
//!
//! Depends on `orx-model` and on the traits of `orx-store` and `orx-transport`. Knows no database,
//! no broker and no HTTP. Nothing here writes a status but through the store's compare-and-set.
//!
//! A coordinator is a few services under one supervisor ([`run`]), and none waits for another:
//! [`gateway`] hears workers, [`recorder`] writes down what they tell, [`nodes`] speaks with the other
//! coordinators, and [`leader`] holds the lease. While it does, its dispatcher, scheduler, monitor and
//! janitor run. Where deciding is more than a line, it is a `plan.rs`, from state and input to a
//! decision and without I/O; the `run.rs` beside it does what was decided.

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

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For people and due times. May jump.
    pub wall: Timestamp,
    /// For leases. Never jumps; since any fixed moment.
    pub mono: Duration,
}

/// Where time comes from.
pub trait Clock: Send + Sync {
    fn now(&self) -> Now;
}
