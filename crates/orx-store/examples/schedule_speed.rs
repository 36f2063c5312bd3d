//! Measures how fast schedules fire that are all due at once, and prints the figures.
//!
//! `cargo run --release --example schedule_speed [FOLDER | postgres://…]`: a folder selects the disk for
//! SQLite, a URL an empty database.
#![expect(clippy::print_stdout, reason = "an example that prints figures")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orx_model::schedule::{Due, ScheduleSpec, Slot, SlotOutcome, When};
use orx_model::wire::EnqueueRequest;
use orx_model::{Incarnation, JobId, JobSpec, Timestamp};
use orx_schedule::Schedule;
use orx_store::{
    Firing, Lead, LeadRequest, Position, Postgres, PostgresOptions, Run, RunAfter, SchedulePlan,
    ScheduleRecord, Sqlite, SqliteOptions, Store, Templates, Term,
};

type Failed = Box<dyn Error + Send + Sync>;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const HOUR: i64 = 3_600_000;
const SCHEDULES: usize = 10_000;
const BATCH: u32 = 500;
const ROUNDS: i64 = 5;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let folder = match wanted.as_str() {
        url if url.starts_with("postgres") => tempfile::tempdir()?,
        "" => tempfile::tempdir()?,
        folder => tempfile::tempdir_in(folder)?,
    };
    let store = open(&wanted, folder.path()).await?;
    let request = LeadRequest { node: Incarnation(1), ttl: Duration::from_secs(1 << 20), above: 0 };
    let term = match store.lead(request, NOW).await? {
        Lead::Leading(term) | Lead::Following { leader: term, .. } => term,
        Lead::Barred => return Err("this node drains".into()),
    };

    let records = (0..SCHEDULES).map(record).collect::<Result<Vec<_>, Failed>>()?;
    let started = Instant::now();
    for batch in records.chunks(1_000) {
        let batch = batch.iter().map(|record| (record.clone(), Vec::new())).collect();
        store.import_schedules(batch).await?;
    }
    println!("{SCHEDULES} schedules imported: {:.2?}", started.elapsed());
    // Later rounds find ledgers, last runs, and the dead rows of earlier ones.
    for round in 0..ROUNDS {
        let now = Timestamp::from_millis(NOW.as_millis() + round * HOUR);
        let (whole, reading, worst) = fire_all(&*store, term, now).await?;
        println!(
            "round {round}: all fired in {whole:.2?}, {reading:.2?} of it reading; slowest batch \
             of {BATCH}: {worst:.1?}"
        );
    }
    store.close().await?;
    Ok(())
}

async fn open(wanted: &str, folder: &Path) -> Result<Arc<dyn Store>, Failed> {
    if wanted.starts_with("postgres") {
        return Ok(Arc::new(Postgres::open(PostgresOptions::new(wanted), NOW).await?));
    }
    Ok(Arc::new(Sqlite::open(SqliteOptions::new(folder.join("orx.db")), NOW)?))
}

/// Fires all due schedules. Returns the total time, the time spent reading, and the slowest firing.
async fn fire_all(
    store: &dyn Store,
    term: Term,
    now: Timestamp,
) -> Result<(Duration, Duration, Duration), Failed> {
    let started = Instant::now();
    let (mut reading, mut worst, mut fired) = (Duration::ZERO, Duration::ZERO, 0);
    loop {
        let called = Instant::now();
        let due = store.due_schedules(now, BATCH).await?;
        reading += called.elapsed();
        if due.is_empty() {
            break;
        }
        let called = Instant::now();
        let answers = store.fire(due.iter().map(fire).collect(), Some(term), now).await?;
        worst = worst.max(called.elapsed());
        fired += answers.iter().flatten().map(|fired| fired.runs.len()).sum::<usize>();
    }
    if fired != SCHEDULES {
        return Err(format!("{fired} of {SCHEDULES} schedules fired").into());
    }
    Ok((started.elapsed(), reading, worst))
}

fn fire(record: &ScheduleRecord) -> Firing {
    let handled = record.plan.position.next.map_or(NOW, |next| next.slot);
    let next = Timestamp::from_millis(handled.as_millis() + HOUR);
    let outcome = SlotOutcome::Ran { job: JobId(0), late_ms: 3 };
    let row = Slot::of(handled, outcome, handled);
    let run = Run {
        job: record.job_for(Some(handled), handled),
        after: RunAfter::Nothing,
        row: Some(row),
        on_failure: None,
    };
    Firing {
        expected: record.expected(),
        runs: vec![run],
        rows: Vec::new(),
        alerts: Vec::new(),
        to: Some(Position { handled, next: Some(Due { slot: next, fire_at: next }) }),
    }
}

fn record(number: usize) -> Result<ScheduleRecord, Failed> {
    let target = EnqueueRequest { name: Some("report".parse()?), ..EnqueueRequest::default() };
    let id = format!("schedule-{number:05}").parse()?;
    let when = When::Cron("0 * * * *".into());
    let position =
        Position { handled: Timestamp::from_millis(NOW.as_millis() - HOUR), next: due(NOW) };
    Ok(ScheduleRecord {
        unreadable: None,
        plan: SchedulePlan {
            spec: Schedule::new(ScheduleSpec::new(id, when, target))?,
            templates: Templates { job: job()?, on_missed: None, on_failure: None },
            paused: None,
            position,
            by: None,
        },
        version: 1,
        created_at: NOW,
        updated_at: NOW,
        runs: 0,
        last_run: None,
    })
}

fn due(at: Timestamp) -> Option<Due> {
    Some(Due { slot: at, fire_at: at })
}

fn job() -> Result<JobSpec, Failed> {
    Ok(JobSpec {
        args: serde_json::from_str(r#"{"path":"/media/in/0001.mp4","width":1280}"#)?,
        timeout_ms: Some(3_600_000),
        ..JobSpec::new("report".parse()?, "reports".parse()?)
    })
}
