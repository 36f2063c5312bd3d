//! Claims ready jobs for workers with free slots, and sends them there.

pub mod plan;
#[cfg(test)]
mod plan_tests;
pub mod run;
