//! Test helpers that several crates share: the contract suites that every store and every transport must
//! pass, values for tests, real database servers, a faulty transport, and a checker of fault runs.
//!
//! Depends on `orx-model`, `orx-store`, `orx-transport` and `orx-control`; only tests depend on it.

pub mod history;
pub mod make;
pub mod schedule_contract;
pub mod servers;
pub mod store_contract;
pub mod transport_contract;
pub mod unreliable;
