//! Cases of the causes of dead letters.

use std::sync::Arc;

use orx_model::filter::Filter;
use orx_model::job::DeadReason;
use orx_model::time::UtcClock;
use orx_model::{Cause, CauseId, JobId, JobSpec, Outcome, OutcomeKind, RetryPolicy};
use orx_store::{CauseRow, CausesPage, CausesRequest, ListRequest, Memory, Store};

use super::transfer::carry;
use super::{AStore, add, claim};
use crate::make::{NOW, at, failed, job, name, outcome, request};

/// Adds a job, and fails it for good with this error, which the store records at this time.
async fn die(store: &AStore, spec: JobSpec, error: &str, second: i64) -> JobId {
    let id = add(store, JobSpec { retry: RetryPolicy::none(), ..spec }).await;
    let execution = id.0.unsigned_abs().into();
    assert_eq!(claim(store, execution).await, id);
    let outcome = Outcome { error: Some(error.to_owned()), ..outcome(id, execution, failed()) };
    store.record_outcomes(vec![outcome], vec![0.5], at(second)).await.expect("recorded");
    id
}

fn filter(text: &str) -> Filter {
    Filter::parse(text, NOW, &UtcClock).expect("a filter")
}

async fn page(store: &dyn Store, text: &str, after: Option<(u64, CauseId)>) -> CausesPage {
    let request = CausesRequest { filter: filter(text), after, limit: 2 };
    store.causes(request, NOW).await.expect("causes")
}

/// All causes, page by page.
async fn causes(store: &dyn Store, text: &str) -> Vec<CauseRow> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = page(store, text, after).await;
        assert!(page.rows.len() <= 2);
        rows.extend(page.rows);
        after = page.next;
        if after.is_none() {
            return rows;
        }
    }
}

fn counts(rows: &[CauseRow]) -> Vec<(u64, &str)> {
    rows.iter().map(|row| (row.count, row.text.as_str())).collect()
}

fn queue(queue: &str) -> JobSpec {
    JobSpec { queue: name(queue), ..job() }
}

/// Errors that differ only in what varies are one cause of a job type; the counts are exact, with a filter
/// and without.
pub async fn dead_letters_are_grouped_by_their_cause(store: AStore) {
    assert_eq!(causes(&*store, "").await, []);
    let first = die(&store, queue("media"), "exit 1: frame 7 is late", 20).await;
    let other = die(&store, queue("mail"), "exit 1: frame 81 is late", 10).await;
    die(&store, queue("mail"), "exit 2: frame 81 is late", 11).await;
    die(&store, queue("mail"), "no such file: /tmp/91/a", 12).await;
    die(&store, queue("mail"), "no such file: /tmp/17/a", 13).await;
    let last = die(&store, queue("media"), "exit 1: frame 9 is late\nmore", 15).await;
    let rows = causes(&*store, "").await;
    assert_eq!(
        counts(&rows),
        [
            (3, "exit 1: frame # is late"),
            (2, "no such file: /tmp/#/a"),
            (1, "exit 2: frame # is late")
        ]
    );
    let cause = Cause::new(&name("work"), Some("exit 1: frame 0 is late"), DeadReason::Exhausted);
    let expected = CauseRow {
        id: cause.id,
        name: name("work"),
        text: cause.text,
        count: 3,
        queues: [name("mail"), name("media")].into(),
        reasons: [DeadReason::Exhausted].into(),
        first: at(10),
        last: at(20),
        sample: last,
    };
    assert_eq!(rows[0], expected);
    let of_media = causes(&*store, "queue:media").await;
    let expected = CauseRow { count: 2, queues: [name("media")].into(), first: at(15), ..expected };
    assert_eq!(of_media, [expected]);
    let of = format!("cause:{}", rows[1].id);
    assert_eq!(causes(&*store, &of).await, rows[1..2]);
    assert_eq!(causes(&*store, "cause:0000000000000001").await, []);
    let list = |text: String| ListRequest {
        filter: filter(&text),
        oldest_first: true,
        after: None,
        limit: 9,
    };
    let of = format!("cause:{}", rows[0].id);
    let letters = store.dead_letters(list(of.clone()), NOW).await.expect("letters").rows;
    assert_eq!(letters.iter().map(|it| it.job.id).collect::<Vec<_>>(), [first, other, last]);
    let jobs = store.list(list(format!("{of} queue:mail")), NOW).await.expect("jobs").rows;
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [other]);
}

/// Equal counts are in the order of ids, and no page repeats or omits one.
pub async fn equal_counts_of_causes_page_without_loss(store: AStore) {
    for error in ["a", "b", "c", "d", "e", "a", "c"] {
        die(&store, job(), error, 2).await;
    }
    let rows = causes(&*store, "").await;
    let mut expected: Vec<(u64, i64)> =
        rows.iter().map(|row| (u64::MAX - row.count, row.id.to_signed())).collect();
    assert_eq!(expected.len(), 5);
    expected.sort_unstable();
    let found: Vec<(u64, i64)> =
        rows.iter().map(|row| (u64::MAX - row.count, row.id.to_signed())).collect();
    assert_eq!(found, expected);
    assert_eq!(causes(&*store, "queue:default").await, rows);
}

/// A retry, a deletion and an import change the counts in their own transactions.
pub async fn counts_of_causes_follow_every_change(store: AStore) {
    let ids = [
        die(&store, queue("a"), "late by 5 s", 11).await,
        die(&store, queue("b"), "late by 6 s", 12).await,
        die(&store, queue("a"), "late by 7 s", 13).await,
        die(&store, queue("a"), "lost", 14).await,
    ];
    store.retry(vec![ids[2], ids[3], ids[3]], at(15)).await.expect("retry");
    let rows = causes(&*store, "").await;
    assert_eq!(counts(&rows), [(2, "late by # s")]);
    assert_eq!((rows[0].first, rows[0].last, rows[0].sample), (at(11), at(12), ids[1]));
    store.delete_dead_letters(vec![ids[1], ids[1], JobId(999)]).await.expect("deleted");
    let rows = causes(&*store, "").await;
    assert_eq!(counts(&rows), [(1, "late by # s")]);
    assert_eq!(rows[0].queues, [name("a")].into());
    // It fails again, for another reason.
    let claimed = store.claim_ready(vec![request(1, 100, 1)], store.term, at(16)).await;
    let claimed = claimed.expect("claim").claimed[0].dispatch.job;
    let kind = OutcomeKind::Failed { retryable: false, retry_after_ms: None };
    let again = Outcome { error: Some("late by 8 s".into()), ..outcome(claimed, 100, kind) };
    store.record_outcomes(vec![again], vec![0.5], at(17)).await.expect("recorded");
    let rows = causes(&*store, "").await;
    assert_eq!(counts(&rows), [(2, "late by # s")]);
    assert_eq!(rows[0].reasons, [DeadReason::Exhausted, DeadReason::NotRetryable].into());
    let there = AStore::led(Arc::new(Memory::new())).await;
    carry(&store, &there).await;
    assert_eq!(causes(&*there, "").await, rows);
    // A deletion of the whole job counts too.
    let deleted = store.delete_jobs(vec![ids[0]], None).await.expect("deleted");
    assert_eq!(deleted, [orx_store::DeleteAnswer::Deleted]);
    let rows = causes(&*store, "").await;
    assert_eq!(counts(&rows), [(1, "late by # s")]);
    let missing = store.assign_causes(9, store.term).await.expect("assigned");
    assert_eq!(missing, 0, "each dead letter got its cause with its outcome");
    assert_eq!(causes(&*store, "").await, rows);
}

/// Imported dead letters are counted as in the store they came from.
pub async fn imported_dead_letters_are_counted_by_cause(store: AStore) {
    let from = AStore::led(Arc::new(Memory::new())).await;
    for (queue_of, error) in [("a", "row 1"), ("b", "row 2"), ("b", "gone")] {
        die(&from, queue(queue_of), error, 11).await;
    }
    carry(&from, &store).await;
    let rows = causes(&*store, "").await;
    assert_eq!(counts(&rows), [(2, "row #"), (1, "gone")]);
    assert_eq!(rows, causes(&*from, "").await);
}
