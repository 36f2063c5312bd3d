//! Gives ready jobs to workers with room.

pub mod plan;
pub mod run;
