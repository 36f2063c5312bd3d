//! Decides who runs what: gives ready jobs to workers with room, records what became of them, and
//! heals every loss: of a message, of a worker, of the server itself.
//!
//! Depends on `orx-model` and on the traits of `orx-store` and `orx-transport`. Knows no database,
//! no broker and no HTTP. Nothing here writes a status but through the store's compare-and-set.
//!
//! Many nodes may run on one store; one of them leads. Deciding and doing are apart: [`election`],
//! [`fleet`] and [`schedules`] go from state and input to decisions and can be read alone; [`engine`] asks the
//! fleet and carries decisions out on a store, which is what the simulation drives; [`run`] adds
//! time and transport.

pub mod clock;
pub mod election;
pub mod engine;
pub mod fleet;
mod holders;
pub mod run;
pub mod schedules;
mod settings;

pub use engine::{Engine, Outbox};
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
