//! Answers registrations and heartbeats of workers. Heartbeats heal every lost message.

pub mod plan;
pub mod run;
