//! The output of an attempt arrives as it was printed, within bounds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use orx_model::OutcomeKind;
use orx_model::limits::{LOG_CHUNK_BYTES, LOG_HEAD_BYTES, LOG_TAIL_BYTES};
use orx_model::log::{LogChunk, Stream};
use orx_model::message::Message;

use crate::coordinator::{Logs, Setup, bytes, chunks_in, script};

fn stored(chunks: &[LogChunk]) -> u64 {
    chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum()
}

fn dropped(chunks: &[LogChunk]) -> u64 {
    chunks.iter().map(|chunk| chunk.dropped_bytes).sum()
}

#[tokio::test]
async fn streams_arrive_byte_for_byte_with_nul_and_broken_utf_8() {
    let coordinator = Setup::default().start().await;
    let job = script(r"printf 'a\000\377\376b\r\n\033[2J'; printf 'x\000\200' >&2; printf c");
    coordinator.run(&job).await;
    let chunks = coordinator.chunks(&job);
    assert_eq!(bytes(&chunks, Stream::Out), b"a\0\xff\xfeb\r\n\x1b[2Jc");
    assert_eq!(bytes(&chunks, Stream::Err), b"x\0\x80");
}

#[tokio::test]
async fn chunks_are_numbered_without_gaps_and_each_stream_keeps_its_order() {
    let coordinator = Setup::default().start().await;
    let job = script("i=0; while [ $i -lt 3000 ]; do echo $i; echo $i >&2; i=$((i+1)); done");
    coordinator.run(&job).await;
    let chunks = coordinator.chunks(&job);
    let numbers: Vec<u64> = chunks.iter().map(|chunk| chunk.seq).collect();
    assert_eq!(numbers, (1..=chunks.len() as u64).collect::<Vec<u64>>());
    let lines: String = (0..3000).map(|number| format!("{number}\n")).collect();
    assert_eq!(coordinator.text(&job, Stream::Out), lines);
    assert_eq!(coordinator.text(&job, Stream::Err), lines);
}

#[tokio::test]
async fn output_arrives_while_the_attempt_still_runs() {
    let coordinator = Setup::default().start().await;
    let job = script("echo here; exec sleep 1000");
    coordinator.dispatch(&job).await;
    assert_eq!(coordinator.first_line(&job).await, ["here"]);
    coordinator.cancel(&job).await;
    coordinator.outcome(&job).await;
}

#[tokio::test]
async fn all_log_chunks_come_before_the_outcome() {
    let coordinator = Setup::default().start().await;
    let jobs: Vec<_> = (0..12).map(|_| script("head -c 300000 /dev/zero; echo end >&2")).collect();
    for job in &jobs {
        coordinator.dispatch(job).await;
    }
    for job in &jobs {
        coordinator.outcome(job).await;
        // One read is enough: no chunk comes later.
        let seen = coordinator.seen();
        let is_log = |m: &Message| matches!(m, Message::JobLog { chunks } if chunks[0].execution == job.execution);
        let is_end = |m: &Message| {
            matches!(m, Message::JobResult { outcomes }
                if outcomes.iter().any(|outcome| outcome.execution == job.execution))
        };
        let last_log = seen.iter().rposition(is_log).expect("a log");
        let end = seen.iter().position(is_end).expect("an end");
        assert!(last_log < end);
        assert_eq!(stored(&coordinator.chunks(job)), 300_004);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_neither_block_nor_grow_and_dropped_bytes_are_counted() {
    const TOTAL: u64 = 100_000_000;
    let coordinator = Setup::default().start().await;
    let job = script("head -c 99999990 /dev/zero; printf 0123456789");
    let outcome = coordinator.run(&job).await;
    assert!(matches!(outcome.kind, OutcomeKind::Succeeded { .. }), "{outcome:?}");
    let chunks = coordinator.chunks(&job);
    assert_eq!(stored(&chunks) + dropped(&chunks), TOTAL);
    assert!(stored(&chunks) <= LOG_HEAD_BYTES + LOG_TAIL_BYTES);
    assert!(bytes(&chunks, Stream::Out).ends_with(b"\x000123456789"));
    assert!(chunks.iter().all(|chunk| chunk.bytes.len() <= LOG_CHUNK_BYTES));
    let first_mark = chunks.iter().position(|chunk| chunk.dropped_bytes > 0).expect("a mark");
    assert_eq!(
        stored(&chunks[..first_mark]),
        LOG_HEAD_BYTES,
        "the mark stands where bytes are left out"
    );
    let marks = chunks.iter().filter(|chunk| chunk.dropped_bytes > 0).count();
    assert_eq!(marks, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transport_that_accepts_no_log_delays_no_program() {
    let setup = Setup { logs: Logs::NeverAccepted, ..Setup::default() };
    let coordinator = setup.start().await;
    let job = script("head -c 10000000 /dev/zero");
    let begin = Instant::now();
    let outcome = coordinator.run(&job).await;
    assert!(matches!(outcome.kind, OutcomeKind::Succeeded { .. }), "{outcome:?}");
    // Less than the wait for a mark that is not accepted.
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_transport_drops_no_bytes_uncounted() {
    no_bytes_uncounted(Duration::from_millis(300)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transport_slower_than_the_wait_receives_the_count_of_dropped_bytes_at_last() {
    no_bytes_uncounted(Duration::from_millis(700)).await;
}

/// A transport may have accepted a chunk that it did not confirm in time. A store keeps the first of a
/// number: were another sent with it, its lines would be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_accepted_without_confirmation_costs_no_later_line() {
    let setup = Setup { logs: Logs::FirstUnconfirmed, ..Setup::default() };
    let coordinator = setup.start().await;
    let job = script("echo one; sleep 1; echo two");
    coordinator.run(&job).await;
    let mut stored = BTreeMap::new();
    for chunk in coordinator.chunks(&job) {
        stored.entry(chunk.seq).or_insert(chunk.bytes);
    }
    let text = String::from_utf8(stored.into_values().flatten().collect()).expect("UTF-8");
    assert_eq!(text, "one\ntwo\n");
}

/// Both pipes are still full when the program has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_left_in_the_pipes_are_read_even_if_the_transport_is_slow() {
    let script = "head -c 30000 /dev/zero; head -c 30000 /dev/zero >&2";
    no_bytes_of_a_script_uncounted(Duration::from_millis(300), script).await;
}

async fn no_bytes_uncounted(each: Duration) {
    no_bytes_of_a_script_uncounted(each, "head -c 60000 /dev/zero").await;
}

/// It prints 60,000 bytes.
async fn no_bytes_of_a_script_uncounted(each: Duration, text: &str) {
    let coordinator = Setup { logs: Logs::Slow(each), ..Setup::default() }.start().await;
    let job = script(text);
    coordinator.run(&job).await;
    // An outcome does not wait long for a log: chunks in flight come after it.
    let counted = |messages: &[Message]| {
        let chunks = chunks_in(messages, job.execution);
        let counted = stored(&chunks) + dropped(&chunks);
        assert!(counted <= 60_000, "{counted} bytes of 60,000");
        (counted == 60_000).then_some(())
    };
    coordinator.until("each byte, stored or counted", counted).await;
}
