//! A coordinator that records registrations and answers every heartbeat alike.

use std::sync::Arc;

use async_trait::async_trait;
use orx_model::SecretHash;
use orx_model::message::{HeartbeatAnswer, WorkerHeartbeat, WorkerRegistration, WorkerState};
use orx_store::{Store, WorkerPut, WorkerReport};
use orx_testkit::make::NOW;
use orx_transport::{GatewayError, GatewayServer};

/// Records registrations, and answers every heartbeat alike.
pub(crate) struct Answers {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) answer: HeartbeatAnswer,
}

#[async_trait]
impl GatewayServer for Answers {
    async fn register(
        &self,
        registration: WorkerRegistration,
        secret: SecretHash,
    ) -> Result<HeartbeatAnswer, GatewayError> {
        let report = WorkerReport {
            state: WorkerState::Running,
            capacity: registration.slots,
            heartbeat: 0,
            load: None,
            hosted_by: None,
            node: None,
            registration,
        };
        let put = self.store.put_workers(vec![(secret, report)], NOW).await.expect("stored");
        assert_eq!(put, [WorkerPut::Stored(None)]);
        Ok(HeartbeatAnswer { leader: None, ..self.answer.clone() })
    }

    async fn heartbeat(
        &self,
        _: WorkerHeartbeat,
        _: SecretHash,
    ) -> Result<HeartbeatAnswer, GatewayError> {
        Ok(self.answer.clone())
    }
}
