//! Runs the contract suites of `orx-testkit` on every store.

mod memory {
    use std::sync::Arc;

    use orx_store::{Memory, Store};

    async fn open() -> (Arc<dyn Store>, ()) {
        (Arc::new(Memory::new()), ())
    }

    orx_testkit::store_contract!(open);
    orx_testkit::schedule_contract!(open);
}

mod sqlite {
    use std::sync::Arc;

    use orx_store::{Sqlite, SqliteOptions, Store};
    use orx_testkit::make::NOW;

    async fn open() -> (Arc<dyn Store>, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let options = SqliteOptions::new(folder.path().join("orx.db"));
        (Arc::new(Sqlite::open(options, NOW).expect("a store")), folder)
    }

    orx_testkit::store_contract!(open);
    orx_testkit::schedule_contract!(open);
}

mod postgres {
    use std::sync::Arc;

    use orx_store::{Postgres, PostgresOptions, Store};
    use orx_testkit::make::NOW;
    use orx_testkit::servers::TestDatabase;

    async fn open() -> (Arc<dyn Store>, TestDatabase) {
        let database = TestDatabase::new().await;
        let options = PostgresOptions::new(database.url());
        (Arc::new(Postgres::open(options, NOW).await.expect("a store")), database)
    }

    orx_testkit::store_contract!(open);
    orx_testkit::schedule_contract!(open);
}

/// Through a transaction-pooling proxy: the store may not rely on the state of a session.
mod pgbouncer {
    use std::sync::Arc;

    use orx_store::{Postgres, PostgresOptions, Store};
    use orx_testkit::make::NOW;
    use orx_testkit::servers::{TestDatabase, bouncer};

    async fn open() -> (Arc<dyn Store>, TestDatabase) {
        let database = TestDatabase::new().await;
        let options = PostgresOptions::new(database.url_by(&bouncer()));
        (Arc::new(Postgres::open(options, NOW).await.expect("a store")), database)
    }

    orx_testkit::store_contract!(open);
    orx_testkit::schedule_contract!(open);
}
