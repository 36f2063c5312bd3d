//! Fires schedules, makes scheduled jobs ready when they are due, and releases runs whose dependency ended.

mod clock;
mod clock_state;
pub mod plan;
pub mod run;
