//! Answers registrations and heartbeats of workers. Heartbeats heal every lost message.

pub mod plan;
#[cfg(test)]
mod plan_tests;
pub mod run;
