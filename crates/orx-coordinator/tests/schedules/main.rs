//! Schedules over days of a virtual clock: the real scheduler on the reference store. No test sleeps.
//!
//! `days` compares what random nodes fired on random days with an oracle that walks the wall clock on its
//! own; each test of `overlaps`, `alerts`, `clocks` and `leaders` shows one promise of the product.

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
