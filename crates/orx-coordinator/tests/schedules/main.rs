//! Schedules over days of a virtual clock: the real engine on the reference store. No test sleeps.
//!
//! `days` compares what random nodes did on random days with an oracle that walks the wall clock by
//! itself; `overlaps`, `alerts` and `leaders` each show one sentence of the product's promises.

mod alerts;
mod clocks;
mod days;
mod leaders;
mod oracle;
mod overlaps;
mod shim;
#[path = "../common/stepped.rs"]
mod stepped;
mod world;
