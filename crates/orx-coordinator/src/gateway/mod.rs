//! Hears workers: their registrations and heartbeats, in which every lost message heals.

pub mod plan;
pub mod run;
