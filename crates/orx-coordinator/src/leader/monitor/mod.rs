//! Finds lost and fenced workers and overdue attempts, which no message reports.

pub mod plan;
pub mod run;
