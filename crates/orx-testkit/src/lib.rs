//! What several crates' tests share: the contract suites that every store and every transport must
//! pass, and makers of the values they work on.
//!
//! Depends on `orx-model`, `orx-store`, `orx-transport` and `orx-control`; only tests depend on it.

pub mod history;
pub mod make;
pub mod schedule_contract;
pub mod servers;
pub mod store_contract;
pub mod transport_contract;
pub mod unreliable;
