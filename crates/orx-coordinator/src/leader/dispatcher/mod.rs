//! Claims ready jobs for workers with free slots, and sends them there.

pub mod plan;
pub mod run;
