//! When schedules are due, and what becomes of due times that nobody was there for.
//!
//! Everything here is a function from a schedule and an instant to due times. A due time is called
//! a *slot*: it is a UTC instant, slots of one schedule strictly increase, and none is lost; what is
//! fired for it may be spread by a jitter, the slot itself never moves.
//!
//! - [`CronExpr`] reads a crontab's five fields, or six with seconds first, as crontab means them.
//! - [`Timing`] places them in a time zone: what the clock skips, repeats or shifts is decided there.
//! - [`missed`] says what to fire and what to record after downtime, and [`Overlap`] what a slot does
//!   about the run before it.
//! - [`preview`] and [`lint`] show a person what to expect, days with clock changes above all.
//! - [`SpecChange`] changes what it names, [`diff`] tells schedules apart, and [`ScheduleFile`] is how
//!   people keep them.
//! - [`crontab::parse`] turns a crontab into [`ScheduleSpec`]s.
//!
//! Slots are known up to the end of the year 2100.

mod catch_up;
mod change;
mod cron;
pub mod crontab;
mod file;
mod imported;
mod ledger;
mod lint;
mod overlap;
mod preview;
mod program;
mod spec;
mod timing;
mod walk;
pub mod wire;
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

pub use catch_up::{CatchUp, Firing, MissedRange, ParseCatchUpError, Plan, Rule, missed};
pub use change::{CommandChange, FieldChange, JobChange, SpecChange, diff};
pub use cron::{CronError, CronExpr, CronField};
pub use file::{FileCommand, FileJob, FileProblem, FileSchedule, ScheduleFile, Span};
pub use imported::{Imported, Step, There, What, reconcile};
pub use ledger::{SkipReason, Slot, SlotOutcome};
pub use lint::{Warning, WarningCode, lint};
pub use overlap::{Before, Decision, Decisions, Overlap, ParseOverlapError};
pub use preview::{DayEffect, DayMark, PREVIEW_MAX, Previewed, preview};
pub use spec::{ScheduleSpec, SpecProblem, SpecProblems};
pub use timing::{Due, Timing, When};
pub use zone::{ParseZoneError, ZoneName};
