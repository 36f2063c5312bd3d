//! Election, and the duties that only a leader has: claiming jobs, firing schedules, watching leases and
//! timeouts, deleting old data.

pub mod dispatcher;
mod election;
pub mod janitor;
pub mod monitor;
pub mod operations;
pub(crate) mod run;
pub mod scheduler;

use std::time::Duration;

use orx_store::StoreError;
use tokio_util::sync::CancellationToken;

use crate::health::is_the_end;

/// The term is over, or the store can be used no longer: a retry cannot succeed.
fn is_over(error: &StoreError) -> bool {
    is_the_end(error) || matches!(error, StoreError::Deposed)
}

/// Waits for `wait`, or until the term is over.
async fn pause(over: &CancellationToken, wait: Duration) {
    tokio::select! {
        biased;
        () = over.cancelled() => {}
        () = tokio::time::sleep(wait) => {}
    }
}
