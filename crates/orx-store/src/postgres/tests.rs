//! Tests of the statements and sessions of this store. Tests of its behaviour are in `tests/`.

use orx_testkit::servers::{TestDatabase, bouncer};
use proptest::prelude::*;

use super::db_error::DbError;
use super::executor::MessageKind;
use super::row::PgColumns;
use super::sql::{SqlValue, Statement};
use super::*;
use crate::columns::Row as _;

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_000_000);

pub(super) async fn open(database: &TestDatabase) -> Postgres {
    Postgres::open(PostgresOptions::new(database.url()), NOW).await.expect("a store")
}

#[tokio::test]
async fn a_statement_is_ended_by_the_server_at_its_deadline_and_changes_nothing() {
    let database = TestDatabase::new().await;
    // A busy machine may take longer than the deadlines below to make the tables.
    drop(Postgres::open(PostgresOptions::new(database.url()), NOW).await.expect("a store"));
    let read_deadline = Duration::from_millis(500);
    let write_deadline = Duration::from_millis(500);
    let options =
        PostgresOptions { read_deadline, write_deadline, ..PostgresOptions::new(database.url()) };
    let store = Postgres::open(options, NOW).await.expect("a store");
    for kind in [MessageKind::Read, MessageKind::Durable, MessageKind::Unsynced] {
        let sql = "with touched as (update meta set value = 77 from (:settings) s where key = 'touched') \
                   select pg_sleep(9)";
        let slept = store.inner.rows(kind, sql).await;
        assert!(matches!(slept, Err(DbError::Busy)), "{kind:?}: {slept:?}");
    }
    assert_eq!(database.run("select value from meta where key = 'touched'").await, ["0"]);
    let left = database.run("select count(*) from pg_stat_activity where query ~ 'pg_sleep\\(9'");
    // The query sees itself.
    assert_eq!(left.await, ["1"]);
    let settings = "select current_setting('statement_timeout'), current_setting('lock_timeout'), \
                    current_setting('synchronous_commit')";
    assert_eq!(database.run(settings).await, ["0"]);
}

#[tokio::test]
async fn a_setting_of_a_statement_applies_to_its_own_transaction_only() {
    let database = TestDatabase::new().await;
    // A transaction-pooling proxy accepts no settings of a session.
    for (url, lock_deadline) in [(database.url(), "2s"), (database.url_by(&bouncer()), "0")] {
        settings_apply_to_one_transaction(url, lock_deadline).await;
    }
}

async fn settings_apply_to_one_transaction(url: String, lock_deadline: &str) {
    let options = PostgresOptions { sessions: 2, ..PostgresOptions::new(url) };
    let store = Postgres::open(options, NOW).await.expect("a store");
    let setting = "with l as materialized (:settings) \
                   select current_setting('synchronous_commit'), current_setting('lock_timeout') from l";
    let left = "select current_setting('synchronous_commit'), current_setting('lock_timeout')";
    for (kind, expected) in [
        (MessageKind::Unsynced, "off"),
        (MessageKind::Durable, "on"),
        (MessageKind::Advisory, "off"),
        (MessageKind::Repeatable, "on"),
    ] {
        let rows = store.inner.rows(kind, setting).await.expect("a setting");
        assert_eq!(PgColumns(&rows[0]).str(0).expect("a setting"), expected, "{kind:?}");
        assert_eq!(PgColumns(&rows[0]).str(1).expect("a setting"), "2s", "{kind:?}");
        let rows = store.inner.rows(MessageKind::Read, left).await.expect("a setting");
        assert_eq!(PgColumns(&rows[0]).str(0).expect("a setting"), "on", "after {kind:?}");
        assert_eq!(PgColumns(&rows[0]).str(1).expect("a setting"), lock_deadline, "after {kind:?}");
    }
}

/// Functions that fail as a server may. A rollback does not return ids, so the ids used count the tries.
const FAILURES: &str = "
    create function fail(code text) returns void language plpgsql as $$
    begin raise exception 'no' using errcode = code; end $$;
    create function fail_until(code text, until bigint) returns void language plpgsql as $$
    begin if nextval('job_ids') < until then perform fail(code); end if; end $$;
    create function end_first(code text) returns void language plpgsql as $$
    begin
        if nextval('job_ids') < 2 then
            perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(9);
        end if;
        perform fail(code);
    end $$;
    create function end_it() returns void language plpgsql as $$
    begin
        perform nextval('job_ids'); perform pg_terminate_backend(pg_backend_pid());
        perform pg_sleep(9);
    end $$;";

/// A statement that fails with this code on each try before number `until`.
fn failing(code: &str, until: i64) -> Statement {
    sql::fill(
        "select fail_until(:code, :until) from (:settings) s",
        [("code", sql::text(code)), ("until", sql::int(until))],
    )
}

#[tokio::test]
async fn an_error_of_the_server_is_mapped_to_what_the_caller_can_do() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    database.run(FAILURES).await;
    let inner = &store.inner;
    let tries = async || {
        let last = database.run("select last_value from job_ids").await[0].parse::<u32>();
        database.run("alter sequence job_ids restart").await;
        last.expect("a number")
    };
    // Rolled back because of a conflict: sent again a few times.
    for code in ["40001", "40P01"] {
        inner.rows(MessageKind::Durable, failing(code, 4)).await.expect("done in the end");
        assert_eq!(tries().await, 4);
        let never = inner.rows(MessageKind::Durable, failing(code, 99)).await;
        assert!(matches!(never, Err(DbError::Again)), "{never:?}");
        assert_eq!(tries().await, 6);
    }
    for (code, expected) in [
        ("53100", "the disk of the store is full"),
        ("55P03", "the store is overloaded"),
        ("53200", "the store is overloaded"),
        ("25006", &format!("the store `{}` is unavailable", inner.name)),
        ("57P01", "the store did not answer in time"),
        ("08006", "the store did not answer in time"),
        ("23505", "could not try it"),
    ] {
        let failure =
            inner.rows(MessageKind::Durable, failing(code, 99)).await.expect_err("it fails");
        assert_eq!(inner.map_error(failure, "try it", false).to_string(), *expected, "{code}");
        assert_eq!(tries().await, 1, "{code} is not sent again");
    }
}

#[tokio::test]
async fn only_an_idempotent_statement_is_sent_again() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    // The session ends during the statement, as when the server restarts.
    database.run(FAILURES).await;
    let end = "select end_it() from (:settings) s";
    for (kind, sent) in [
        (MessageKind::Read, 2),
        (MessageKind::Repeatable, 2),
        (MessageKind::Advisory, 2),
        (MessageKind::Durable, 1),
        (MessageKind::Unsynced, 1),
    ] {
        let lost = store.inner.rows(kind, end).await;
        assert!(matches!(lost, Err(DbError::Lost(_))), "{lost:?}");
        let last = database.run("select last_value from job_ids").await;
        assert_eq!(last, [sent.to_string()], "{kind:?}");
        database.run("alter sequence job_ids restart").await;
    }
    let once = "select case when nextval('job_ids') < 2 \
                then pg_terminate_backend(pg_backend_pid()) end";
    store.inner.rows(MessageKind::Read, once).await.expect("read in the end");
}

#[tokio::test]
async fn a_statement_that_fails_the_second_time_may_have_been_committed_the_first() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    let inner = &store.inner;
    // The session ends during the first try; the second one fails.
    database.run(FAILURES).await;
    let refused = |code: &str| {
        let statement = "select end_first(:code) from (:settings) s";
        sql::fill(statement, [("code", sql::text(code))])
    };
    for code in ["55P03", "53100", "23505", "25006", "40001"] {
        for (kind, reads) in [
            (MessageKind::Repeatable, false),
            (MessageKind::Advisory, false),
            (MessageKind::Read, true),
        ] {
            let failure = inner.rows(kind, refused(code)).await.expect_err("it fails");
            let error = inner.map_error(failure, "try it", reads);
            let unknown = matches!(error, StoreError::Unknown);
            assert_eq!(unknown, !reads, "{code}, {kind:?}: {error:?}");
            database.run("alter sequence job_ids restart").await;
        }
    }
}

/// Any character, often one with a meaning in SQL or in an array literal.
fn anything() -> impl Strategy<Value = String> {
    let special = proptest::sample::select(vec![
        '\'', '"', '\\', '$', 'o', '{', '}', ',', ':', ';', '-', '/', '*', '\n', '\r', '\t', '%',
        'N', 'U', 'L', '\u{1}', '\u{7f}', '\u{85}', '\u{2028}', '\u{fffd}', '🦀', ' ',
    ]);
    proptest::collection::vec(prop_oneof![3 => special, 1 => any::<char>()], 0..40)
        .prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Each case has many values, since a session costs more than they do.
    #[test]
    fn any_value_comes_back_as_it_was(
        texts in proptest::collection::vec(proptest::option::weighted(0.9, anything()), 1..200),
        bytes in proptest::collection::vec(any::<u8>(), 0..99),
        ints in proptest::collection::vec(any::<Option<i64>>(), 1..20),
        ids in proptest::collection::vec(any::<u128>(), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let database = TestDatabase::new().await;
            let store = open(&database).await;
            let sent = async |query: &'static str, value: SqlValue| {
                let statement = sql::fill(query, [("value", value)]);
                store.inner.rows(MessageKind::Read, statement).await.expect("rows")
            };
            // A text column cannot store U+0000.
            let expected: Vec<Option<String>> = texts
                .iter()
                .map(|text| text.as_ref().map(|text| text.replace('\0', "\u{fffd}")))
                .collect();
            let rows = sent("select * from unnest(:value::text[])", sql::texts(texts.iter().map(Option::as_deref))).await;
            let found: Vec<Option<String>> =
                rows.iter().map(|row| PgColumns(row).optional_text(0).expect("text")).collect();
            assert_eq!(found, expected);
            for (text, expected) in texts.iter().zip(&expected).take(9) {
                let rows = sent("select :value::text", sql::optional_text(text.as_deref())).await;
                assert_eq!(PgColumns(&rows[0]).optional_text(0).expect("text"), *expected);
            }
            // A nested array is passed as text.
            let elements = sql::elements(expected.iter().flatten().map(String::as_str));
            let rows = sent("select unnest(:value::text[])", sql::text(&elements)).await;
            let found: Vec<String> =
                rows.iter().map(|row| PgColumns(row).text(0).expect("text")).collect();
            assert_eq!(found, expected.iter().flatten().cloned().collect::<Vec<_>>());
            let rows = sent("select * from unnest(:value::bigint[])", sql::ints(ints.iter().copied())).await;
            let found: Vec<Option<i64>> =
                rows.iter().map(|row| PgColumns(row).optional_int(0).expect("a number")).collect();
            assert_eq!(found, ints);
            let rows = sent("select * from unnest(:value::uuid[])", sql::ids(ids.iter().copied())).await;
            let found: Vec<u128> =
                rows.iter().map(|row| PgColumns(row).id(0).expect("an id")).collect();
            assert_eq!(found, ids);
            let rows = sent("select * from unnest(:value::bytea[])", sql::byte_strings([bytes.as_slice(), b"x"])).await;
            assert_eq!(PgColumns(&rows[0]).bytes(0).expect("bytes"), bytes);
            let rows = sent("select :value::bytea", sql::bytes(&bytes)).await;
            assert_eq!(PgColumns(&rows[0]).bytes(0).expect("bytes"), bytes);
        });
    }
}

/// A failure of the server, of a proxy or of the network is never an error of the command: the caller gets
/// an error that says to try again, or that the outcome is unknown.
#[tokio::test]
async fn a_failure_of_the_server_is_never_an_error_of_the_command() {
    let database = TestDatabase::new().await;
    let store = open(&database).await;
    database.run(FAILURES).await;
    let refused = async |kind, statement: Statement| {
        let failure = store.inner.rows(kind, statement).await.expect_err("refused");
        failure.for_caller("try", "s", kind == MessageKind::Read)
    };
    let raised =
        |code| sql::fill("select fail(:code) from (:settings) s", [("code", sql::text(code))]);
    for code in [
        "40001", "40P01", "40003", "53000", "53100", "53200", "53300", "53400", "55P03", "57014",
        "57P01", "57P02", "57P03", "57P04", "57P05", "25006", "58000", "58030", "58P01", "08000",
        "08003", "08006", "08P01",
    ] {
        for kind in [MessageKind::Durable, MessageKind::Repeatable, MessageKind::Read] {
            let error = refused(kind, raised(code)).await;
            let own = matches!(error, StoreError::Backend { .. });
            assert!(!own, "{code} {kind:?}: {error:?}");
        }
    }
    let ends = "select end_it() from (:settings) s";
    assert!(matches!(refused(MessageKind::Durable, ends.into()).await, StoreError::Unknown));
    let own = refused(MessageKind::Durable, raised("23505")).await;
    assert!(matches!(own, StoreError::Backend { .. }), "{own:?}");
}
