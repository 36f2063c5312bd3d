//! Computes when schedules are due, and how to handle missed due times. No I/O.
//!
//! Everything here is a function from a schedule and an instant to due times. A due time is called
//! a *slot*: it is a UTC instant, slots of one schedule strictly increase, and none is lost. A jitter
//! may delay the firing of a slot, but not the slot itself.
//!
//! Schedules as plain data are in [`orx_model::schedule`]. This crate parses their texts:
//!
//! - [`Schedule`] is a spec with a parsed cron expression and time zone, and computes its due times.
//! - [`Cron`] parses the five fields of a crontab, or six with seconds first, with crontab's meaning.
//! - [`Timing`] applies them in a time zone, where the clock may skip, repeat or shift times.
//! - [`missed`] decides what to fire and what to record after downtime, and [`overlap`] what a slot does
//!   while the previous run has not ended.
//! - [`preview`] and [`lint`] show people what to expect, especially on days with clock changes.
//! - [`diff`] compares schedules, and [`ScheduleFile`] is their file format.
//! - [`crontab::parse`] turns a crontab into specs.
//!
//! Slots are known up to the end of the year 2100. Time zone rules are compiled in; a program may
//! install another source ([`rules::install`]).

mod catch_up;
mod change;
mod cron;
pub mod crontab;
mod file;
mod imported;
mod lint;
pub mod overlap;
mod preview;
mod program;
pub mod rules;
mod spec;
mod timing;
mod walk;
mod zone;

#[cfg(test)]
mod catch_up_tests;
#[cfg(test)]
mod change_tests;
#[cfg(test)]
mod cron_tests;
#[cfg(test)]
mod crontab_tests;
#[cfg(test)]
mod file_tests;
#[cfg(test)]
mod imported_tests;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod spec_tests;
#[cfg(test)]
mod timing_tests;
#[cfg(test)]
mod zone_tests;

pub use self::catch_up::{CatchUpPlan, CatchUpRule, DueSlot, MissedRange, missed};
pub use self::change::diff;
pub use self::cron::{Cron, CronError, CronField};
pub use self::file::{FileCommand, FileDuration, FileJob, FileProblem, FileSchedule, ScheduleFile};
pub use self::imported::{
    ExistingSchedule, ImportAction, ImportStep, fingerprint, is_edited, reconcile,
};
pub use self::lint::{Warning, WarningCode, lint};
pub use self::preview::{DayEffect, DayMark, PREVIEW_MAX, Previewed, preview};
pub use self::spec::{Schedule, SpecProblems};
pub use self::timing::{DueRule, Timing};
pub use self::zone::{NamedZone, ParseZoneError, Zone};
pub use orx_model::schedule::SpecProblem;
