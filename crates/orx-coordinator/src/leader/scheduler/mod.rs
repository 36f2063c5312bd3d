//! Makes due what has a time: schedules fire, jobs become ready, runs that waited for another go on.

pub mod clock;
pub mod plan;
pub mod run;
