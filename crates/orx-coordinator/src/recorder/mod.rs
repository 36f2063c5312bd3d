//! Writes what workers report into the store: starts, progress, output, outcomes.

pub(crate) mod holders;
pub mod plan;
#[cfg(test)]
mod plan_tests;
pub mod run;
