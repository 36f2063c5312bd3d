//! Who leads, and what only a leader does: give out, make due, give up, forget.

pub mod dispatcher;
pub mod election;
pub mod janitor;
pub mod monitor;
pub mod run;
pub mod scheduler;

use std::time::Duration;

use orx_store::StoreError;
use tokio_util::sync::CancellationToken;

use crate::health::is_the_end;

/// The term is over, or the store is of no use any more: nothing is to be tried again.
fn is_over(error: &StoreError) -> bool {
    is_the_end(error) || matches!(error, StoreError::Deposed)
}

/// For so long, or until the term is over.
async fn pause(over: &CancellationToken, wait: Duration) {
    tokio::select! {
        biased;
        () = over.cancelled() => {}
        () = tokio::time::sleep(wait) => {}
    }
}
