//! Schedules as plain data, as clients send and read them. `orx-schedule` parses the texts in them and
//! decides when they are due.

mod catch_up;
mod change;
mod ledger;
mod overlap;
mod spec;
mod when;
pub mod wire;

pub use catch_up::{CatchUp, ParseCatchUpError};
pub use change::{CommandChange, FieldChange, JobChange, SpecChange, SpecProblem};
pub use ledger::{SkipReason, Slot, SlotOutcome};
pub use overlap::{Overlap, ParseOverlapError};
pub use spec::{Imported, ScheduleSpec};
pub use when::{CronExpr, Due, When, ZoneName};
