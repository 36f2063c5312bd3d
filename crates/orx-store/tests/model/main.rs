//! Every store behaves as the reference model. The tests run the same random operations on both and compare
//! every answer, and the whole state after each operation. In between, the store is closed, or dropped as in
//! a crash, and opened again.

mod both;
mod ops;

use orx_testkit::servers::TestDatabase;
use proptest::prelude::*;

use both::{Both, Home};
use ops::{Op, op};

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_behaves_as_the_model(ops in proptest::collection::vec(op(), 1..60)) {
        compare(ops, async || Home::Folder(tempfile::tempdir().expect("a folder")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn postgres_behaves_as_the_model(ops in proptest::collection::vec(op(), 1..60)) {
        compare(ops, async || Home::Database(TestDatabase::new().await));
    }
}

fn compare(ops: Vec<Op>, home: impl AsyncFnOnce() -> Home) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut both = Both::new(home().await).await;
        for op in ops {
            both.apply(op).await;
        }
    });
}
