//! When schedules are due, and what becomes of due times that nobody was there for. No I/O.
//!
//! Everything here is a function from a schedule and an instant to due times. A due time is called
//! a *slot*: it is a UTC instant, slots of one schedule strictly increase, and none is lost; what is
//! fired for it may be spread by a jitter, the slot itself never moves.
//!
//! Schedules as plain data are in [`orx_model::schedule`]. Here their texts are understood:
//!
//! - [`Schedule`] is a spec whose cron expression and zone are known, with its due times.
//! - [`Cron`] reads a crontab's five fields, or six with seconds first, as crontab means them.
//! - [`Timing`] places them in a time zone: what the clock skips, repeats or shifts is decided there.
//! - [`missed`] decides what to fire and what to record after downtime, and [`overlap`] what a slot does
//!   about the run before it.
//! - [`preview`] and [`lint`] show a person what to expect, days with clock changes above all.
//! - [`apply`] changes what a change names, [`diff`] tells schedules apart, and [`ScheduleFile`] is how
//!   people keep them.
//! - [`crontab::parse`] turns a crontab into specs.
//!
//! Slots are known up to the end of the year 2100. Rules of time zones are those compiled in, until a
//! program hands in a source of its own ([`rules::install`]).

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

pub use self::catch_up::{Firing, MissedRange, Plan, Rule, missed};
pub use self::change::{apply, diff};
pub use self::cron::{Cron, CronError, CronField};
pub use self::file::{FileCommand, FileJob, FileProblem, FileSchedule, ScheduleFile, Span};
pub use self::imported::{Step, There, What, fingerprint, is_edited, reconcile};
pub use self::lint::{Warning, WarningCode, lint};
pub use self::preview::{DayEffect, DayMark, PREVIEW_MAX, Previewed, preview};
pub use self::spec::{Schedule, SpecProblem, SpecProblems};
pub use self::timing::{Pattern, Timing};
pub use self::zone::{NamedZone, ParseZoneError, Zone};
