//! The API of a node alone: no worker and no other node reaches it, and its clock stands still.

use std::sync::Arc;

use orx_api::{ApiSettings, RequestTracker};
use orx_testkit::make::NOW;

pub(crate) fn settings() -> ApiSettings {
    ApiSettings {
        hosts: Vec::new(),
        tracker: Arc::new(RequestTracker::default()),
        worker_gateway: None,
        closing: Default::default(),
        now: Arc::new(|| NOW),
    }
}
