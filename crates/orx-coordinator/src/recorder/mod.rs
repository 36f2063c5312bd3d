//! Writes what workers report into the store: starts, progress, output, outcomes.

pub(crate) mod holders;
pub mod plan;
pub mod run;
