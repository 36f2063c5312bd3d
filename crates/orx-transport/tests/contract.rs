//! Every transport passes the same suite.

mod direct {
    use std::sync::Arc;

    use orx_transport::{Direct, Transport};

    async fn open() -> Arc<dyn Transport> {
        Arc::new(Direct::new())
    }

    orx_testkit::transport_contract!(open);
}

mod unreliable {
    use std::sync::Arc;

    use orx_testkit::unreliable::{Faults, Unreliable};
    use orx_transport::Direct;

    async fn open(seed: u64) -> Arc<Unreliable> {
        Arc::new(Unreliable::new(Arc::new(Direct::new()), Faults::MANY, seed))
    }

    orx_testkit::transport_contract!(under_faults open);
    orx_testkit::transport_contract!(under_restarts open);
}
