//! Writes down what workers tell: starts, progress, output, outcomes.

pub(crate) mod holders;
pub mod plan;
pub mod run;
