//! Finds lost and fenced workers and overdue attempts, which no message reports.

pub mod plan;
#[cfg(test)]
mod plan_tests;
pub mod run;
#[cfg(test)]
mod run_tests;
