//! Every transport passes the same suite.

mod direct {
    use std::sync::Arc;

    use orx_transport::{Direct, Transport};

    async fn open() -> Arc<dyn Transport> {
        Arc::new(Direct::new())
    }

    orx_testkit::transport_contract!(open);
}
