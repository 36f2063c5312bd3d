//! Runs jobs.
pub mod protocol;
