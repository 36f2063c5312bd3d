//! Opening: the connection options, the checks of the server's settings, the migrations.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::db_error::DbError;
use super::executor::MessageKind;
use super::row::PgColumns;
use super::{PgBudget, PostgresOptions, tls};
use crate::columns::Row as _;
use crate::error::KEPT_STATEMENTS;
use crate::{Durability, Result, StoreError};

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_schedules.sql"),
    include_str!("migrations/0003_zones.sql"),
    include_str!("migrations/0004_worker_secrets.sql"),
    include_str!("migrations/0005_server_lost.sql"),
    include_str!("migrations/0006_home.sql"),
    include_str!("migrations/0007_lists.sql"),
    include_str!("migrations/0008_dependencies.sql"),
    include_str!("migrations/0009_queue_pauses.sql"),
    include_str!("migrations/0010_no_checks.sql"),
    include_str!("migrations/0011_audit.sql"),
    include_str!("migrations/0012_priority_rank.sql"),
    include_str!("migrations/0013_node_drain.sql"),
    include_str!("migrations/0014_operations.sql"),
    include_str!("migrations/0015_causes.sql"),
];
pub(super) const SCHEMA: u32 = MIGRATIONS.len() as u32;

/// The oldest server version that applies `statement_timeout` to each statement of a message.
const OLDEST: i64 = 130_000;
/// Prepared statements cached per session: more than exist, not counting those of filters.
const STATEMENTS: usize = 200;
/// Deadline of a migration, which may rewrite the tables of a large store.
const MIGRATION: Duration = Duration::from_secs(15 * 60);
/// Key of the advisory lock of a migration: `orx` in bytes.
const MIGRATING: i64 = 0x6f_72_78;

pub(super) fn connect_options(options: &PostgresOptions) -> Result<PgConnectOptions> {
    let parsed = PgConnectOptions::from_str(&options.url).map_err(|error| {
        // The URL does not parse, so the password cannot be located and removed.
        StoreError::Open { store: "postgres://…".to_owned(), source: error.into() }
    })?;
    let parsed = parsed
        .application_name(&options.application_name)
        .statement_cache_capacity(STATEMENTS)
        // A proxy rejects a session with an unknown setting.
        .extra_float_digits(None)
        // Statements contain arguments of jobs.
        .disable_statement_logging();
    // As libpq does: `require` with a root certificate verifies the server against it.
    let given = parsed.to_url_lossy();
    let names_authority = given.query_pairs().any(|(key, _)| key == "sslrootcert");
    let parsed = match parsed.get_ssl_mode() {
        PgSslMode::Require if names_authority => parsed.ssl_mode(PgSslMode::VerifyCa),
        _ => parsed,
    };
    if parsed.get_options().is_some() {
        let text = "a proxy would lose `options`: set them with `ALTER ROLE … SET`";
        return Err(StoreError::Open { store: shown(&parsed), source: text.into() });
    }
    Ok(parsed)
}

/// The settings of a session. Behind a proxy that accepts none of them, only row locks time out on the
/// server; for everything else the caller's own deadline applies.
pub(super) fn session_settings(options: &PostgresOptions) -> [(&'static str, String); 4] {
    let deadline = options.read_deadline.max(options.write_deadline);
    [
        ("statement_timeout", deadline.as_millis().to_string()),
        // A statement locks its tables before it can change a setting itself.
        ("lock_timeout", options.lock_deadline.as_millis().to_string()),
        // Otherwise the server would plan a statement again for each call whose values look cheaper, such as
        // an array of one element.
        ("plan_cache_mode", "force_generic_plan".to_owned()),
        // Compiling a statement takes longer than running it.
        ("jit", "off".to_owned()),
    ]
}

/// The URL without the password, for error texts.
pub(super) fn shown(options: &PgConnectOptions) -> String {
    let (user, host, port) = (options.get_username(), options.get_host(), options.get_port());
    let database = options.get_database().unwrap_or(user);
    match options.get_socket() {
        Some(socket) => format!("postgres://{user}@{}/{database}", socket.display()),
        None => format!("postgres://{user}@{host}:{port}/{database}"),
    }
}

/// The error of opening for an error of the database.
pub(super) fn failed(failure: DbError, store: &str) -> StoreError {
    let store = store.to_owned();
    match failure {
        DbError::NotSent(source) | DbError::Lost(source) => {
            // A server that rejects the session was reached: it is not away.
            let refused = source.downcast_ref::<sqlx::Error>();
            if let Some(detail) = refused.and_then(tls::failure) {
                return StoreError::Tls { store, detail };
            }
            let code = refused.and_then(sqlx::Error::as_database_error);
            let code = code.and_then(|error| error.code()).unwrap_or_default();
            if code.starts_with("28") || code.starts_with("3D") {
                StoreError::Open { store, source }
            } else {
                StoreError::Unavailable { store, source }
            }
        }
        DbError::Late | DbError::Busy | DbError::Again => {
            StoreError::Unavailable { store, source: "it did not answer in time".into() }
        }
        DbError::ReadOnly(source) => StoreError::Unavailable { store, source },
        DbError::Unprepared => StoreError::Unsafe {
            store,
            setting: KEPT_STATEMENTS,
            found: "0".to_owned(),
            needed: "above 0 in a proxy that pools transactions (PgBouncer, from 1.21 on)",
        },
        DbError::Full => StoreError::Full,
        DbError::Deposed | DbError::Closed => StoreError::Closed,
        DbError::Command(source) | DbError::Unreadable(source) => {
            StoreError::Open { store, source }
        }
    }
}

/// Checks the settings that keep an accepted job safe.
pub(super) async fn check_settings(inner: &PgBudget) -> Result<()> {
    let opening = |failure| failed(failure, &inner.name);
    let rows =
        inner.rows(MessageKind::Read, include_str!("settings.sql")).await.map_err(opening)?;
    let row = rows.first().ok_or(StoreError::Unknown)?;
    let row = PgColumns(row);
    let found = |column| row.text(column).map_err(opening);
    let refuse = |setting, found, needed| {
        Err(StoreError::Unsafe { store: inner.name.clone(), setting, found, needed })
    };
    if row.int(0).map_err(opening)? < OLDEST {
        return refuse("server_version", found(1)?, "13 or later");
    }
    if found(2)? != "UTF8" {
        return refuse("server_encoding", found(2)?, "`UTF8`");
    }
    if row.bool(3).map_err(opening)? {
        return refuse("pg_is_in_recovery()", "true".to_owned(), "the primary, not a replica");
    }
    if inner.options.durability == Durability::Relaxed {
        return Ok(());
    }
    if found(4)? == "off" {
        return refuse("synchronous_commit", found(4)?, "`on`, or one that waits for a replica");
    }
    if found(5)? != "on" {
        return refuse("fsync", found(5)?, "`on`");
    }
    if found(6)? != "on" {
        return refuse("full_page_writes", found(6)?, "`on`");
    }
    Ok(())
}

/// Detects a transaction-pooling proxy without support for prepared statements: it runs two of the store's
/// sessions on one session of the server, where the second finds the statement of the first.
pub(super) async fn check_proxy(inner: &PgBudget, other: &PgBudget) -> Result<()> {
    for session in [inner, other, inner, other] {
        let answer = session.rows(MessageKind::Read, "select 1").await;
        answer.map_err(|failure| failed(failure, &inner.name))?;
    }
    Ok(())
}

/// Applies the missing migrations, each in one transaction. Of nodes that start at once, one applies a
/// migration and the others wait for it.
pub(super) async fn migrate(inner: &PgBudget) -> Result<()> {
    let opening = |failure| failed(failure, &inner.name);
    loop {
        let found = schema(inner).await.map_err(opening)?;
        if found > SCHEMA {
            return Err(StoreError::NewerSchema {
                store: inner.name.clone(),
                found,
                known: SCHEMA,
            });
        }
        let Some(migration) = MIGRATIONS.get(found as usize) else { return Ok(()) };
        // The script compares the version again under the lock: a division by zero rolls it back if another
        // node was first.
        let begin = include_str!("migrate.sql")
            .replace(":lock", &MIGRATING.to_string())
            .replace(":before", &found.to_string())
            .replace(":after", &(found + 1).to_string());
        match inner.script(MIGRATION, &format!("{begin}\n{migration}")).await {
            Ok(()) => {}
            Err(DbError::Command(error)) if is_raced(&*error) => {}
            Err(failure) => return Err(opening(failure)),
        }
    }
}

/// The version of the schema; 0 if there is none.
async fn schema(inner: &PgBudget) -> super::db_error::DbResult<u32> {
    let exists = "select to_regclass('orx_schema') is not null";
    let rows = inner.rows(MessageKind::Read, exists).await?;
    if rows.first().map(|row| PgColumns(row).bool(0)).transpose()? != Some(true) {
        return Ok(0);
    }
    let rows = inner.rows(MessageKind::Read, "select version from orx_schema").await?;
    let version = rows.first().map(|row| PgColumns(row).int(0)).transpose()?.unwrap_or(0);
    Ok(u32::try_from(version).unwrap_or(u32::MAX))
}

/// Whether another node applied the migration first.
fn is_raced(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let refused = error.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
    refused.and_then(|error| error.code()).is_some_and(|code| code == "22012")
}
