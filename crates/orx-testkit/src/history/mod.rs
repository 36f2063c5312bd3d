//! The history of a run with faults, and the checker of the product's promises: [`check`].
//!
//! Many processes write facts, the jobs among them, as lines of JSON with the wall time of the one
//! host on which all of them run. The checker compares the facts with the final content of the store.
//! It does not depend on how the run was made, so every test with faults can use it.

mod bounds;
mod checker;
mod facts;
#[cfg(test)]
mod tests;

pub use bounds::Bounds;
pub use checker::check;
pub use facts::{Fact, History, HistoryRecord, How, Ms, now};
