//! Fires schedules, makes jobs ready at their time, and releases runs that waited for another run.

pub mod clock;
mod clock_state;
pub mod plan;
pub mod run;
