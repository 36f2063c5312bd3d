//! Cases of the output of jobs.

use orx_model::log::{LogChunk, LogCursor, Stream};
use orx_model::{ExecutionId, JobId};
use orx_store::{LogRequest, LogsRequest};

use super::{AStore, add, claim, send};
use crate::make::{at, failed, job, outcome};

pub(super) fn chunk(job: JobId, attempt: u32, seq: u64, stream: Stream, text: &str) -> LogChunk {
    LogChunk {
        job,
        attempt,
        execution: ExecutionId(u128::from(attempt)),
        seq,
        stream,
        at: at(1),
        dropped_bytes: seq % 2,
        bytes: text.as_bytes().to_vec(),
    }
}

pub(super) fn whole(job: JobId) -> LogRequest {
    LogRequest {
        job,
        after: LogCursor::default(),
        attempt: None,
        streams: Vec::new(),
        limit_bytes: 1 << 20,
    }
}

/// An attempt sums up the dropped bytes that its log chunks report, without overflow.
pub async fn an_attempt_counts_its_dropped_output_bytes(store: AStore) {
    let id = add(&store, job()).await;
    claim(&store, 1).await;
    let dropped = |attempt, seq, dropped_bytes| LogChunk {
        dropped_bytes,
        ..chunk(id, attempt, seq, Stream::Out, "")
    };
    let all = |numbers: &[u64]| numbers.to_vec();
    let sums = async || {
        let attempts = store.attempts(id).await.expect("read");
        attempts.iter().map(|attempt| attempt.dropped_bytes).collect::<Vec<u64>>()
    };
    store.append_logs(vec![dropped(1, 1, 0)]).await.expect("append");
    assert_eq!(sums().await, all(&[0]));
    store.append_logs(vec![dropped(1, 2, 40), dropped(1, 3, 2)]).await.expect("append");
    assert_eq!(sums().await, all(&[42]), "while it runs");
    let _ = send(&store, outcome(id, 1, failed())).await;
    assert_eq!(sums().await, all(&[42]), "when it has ended");
    // Too large a number from a worker is no error.
    let most = i64::MAX.unsigned_abs();
    store.append_logs(vec![dropped(1, 4, most), dropped(1, 5, most)]).await.expect("append");
    assert!(sums().await[0] >= most - 1024);
}

/// A log chunk is stored once, without a job not at all, and is read by attempt, sequence number
/// and stream.
pub async fn log_chunks_are_stored_once_and_read_by_position(store: AStore) {
    let id = add(&store, job()).await;
    claim(&store, 1).await;
    let odd = LogChunk { bytes: vec![0, 255, 27], ..chunk(id, 1, 2, Stream::Err, "") };
    let chunks = vec![
        odd.clone(),
        chunk(id, 1, 1, Stream::Out, "one\n"),
        chunk(id, 2, 1, Stream::Out, "again\n"),
        chunk(id, 1, 1, Stream::Out, "one\n"),
        chunk(JobId(999), 1, 1, Stream::Out, "nobody's"),
    ];
    store.append_logs(chunks.clone()).await.expect("append");
    store.append_logs(chunks).await.expect("append");
    let read = store.read_logs(whole(id)).await.expect("read");
    let places: Vec<(u32, u64)> = read.iter().map(|chunk| (chunk.attempt, chunk.seq)).collect();
    assert_eq!(places, [(1, 1), (1, 2), (2, 1)]);
    assert_eq!(read[1], odd);
    assert_eq!(store.attempts(id).await.expect("read")[0].dropped_bytes, 1);
    let after = LogCursor { attempt: 1, seq: 1 };
    let errors = LogRequest { after, streams: vec![Stream::Err], ..whole(id) };
    assert_eq!(store.read_logs(errors).await.expect("read").len(), 1);
    let second = LogRequest { attempt: Some(2), ..whole(id) };
    assert_eq!(store.read_logs(second).await.expect("read")[0].bytes, b"again\n");
    let little = LogRequest { limit_bytes: 1, ..whole(id) };
    assert_eq!(store.read_logs(little).await.expect("read").len(), 1);
    assert!(store.read_logs(whole(JobId(999))).await.expect("read").is_empty());
}

/// The tail cursor is the position from which the last lines can be read.
pub async fn the_tail_of_a_log_is_found(store: AStore) {
    let id = add(&store, job()).await;
    let lines = (1..=5).map(|seq| chunk(id, 1, seq, Stream::Out, &format!("{seq}\n")));
    store.append_logs(lines.collect()).await.expect("append");
    let tail = store.log_tail(whole(id), 2).await.expect("tail");
    let read = store.read_logs(LogRequest { after: tail, ..whole(id) }).await.expect("read");
    let text: Vec<u8> = read.into_iter().flat_map(|chunk| chunk.bytes).collect();
    assert!(text.ends_with(b"4\n5\n") && text.len() <= 6, "{text:?}");
    let all = store.log_tail(whole(id), 50).await.expect("tail");
    assert_eq!(all, LogCursor::default());
}

/// The first or the last chunks of several jobs are read at once, in the order of the request, within
/// the bounds.
pub async fn the_logs_of_several_jobs_are_read_at_once(store: AStore) {
    let (one, two) = (add(&store, job()).await, add(&store, job()).await);
    let mut chunks = Vec::new();
    for id in [one, two] {
        chunks.extend((1..=4).map(|seq| chunk(id, 1, seq, Stream::Out, "12345678")));
        chunks.push(chunk(id, 2, 1, Stream::Err, ""));
    }
    store.append_logs(chunks.clone()).await.expect("append");
    let after = LogCursor { attempt: 1, seq: 2 };
    let request = LogsRequest {
        jobs: vec![(two, after), (one, LogCursor::default()), (JobId(999), after)],
        chunks: 2,
        newest: false,
        limit_bytes: 1 << 20,
    };
    let places = async |request: &LogsRequest| {
        let read = store.read_logs_of(request.clone()).await.expect("read");
        assert!(read.iter().all(|chunk| chunks.contains(chunk)));
        let place = |chunk: &LogChunk| (chunk.job, chunk.attempt, chunk.seq);
        read.iter().map(place).collect::<Vec<_>>()
    };
    assert_eq!(places(&request).await, [(two, 1, 3), (two, 1, 4), (one, 1, 1), (one, 1, 2)]);
    let newest = LogsRequest { newest: true, ..request.clone() };
    assert_eq!(places(&newest).await, [(two, 1, 4), (two, 2, 1), (one, 1, 4), (one, 2, 1)]);
    for (limit_bytes, count) in [(0, 1), (1, 1), (8, 1), (9, 2), (16, 2), (17, 3)] {
        let little = LogsRequest { limit_bytes, ..request.clone() };
        assert_eq!(places(&little).await.len(), count, "{limit_bytes}");
    }
    let none = LogsRequest { jobs: Vec::new(), ..request };
    assert!(places(&none).await.is_empty());
}
