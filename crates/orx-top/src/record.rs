//! Recordings: the requests and answers of a session, one JSON object a line. A bug report, a demo and a
//! test are one file.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::time::Duration;

use async_trait::async_trait;
use orx_model::filter::Filter;
use orx_model::time::UtcClock;
use orx_model::wire::{Count, JobPage, ListQuery};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::Instant;

use crate::api::{
    Answer, Failure, FailureKind, LiveNews, LogNews, LogRequest, NEWS_MOST, Request,
    ServerCommands, Topic,
};

/// A line of a recording.
#[derive(Debug, Serialize, Deserialize)]
struct RecordedEntry {
    /// Milliseconds since the start.
    at_ms: u64,
    what: RecordedAnswer,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RecordedAnswer {
    /// A request and its answer, at the time of the answer.
    Call { request: Request, answer: Result<Answer, Failure> },
    /// News of a log.
    Log { request: LogRequest, news: LogNews },
    /// News of a topic.
    Live { topic: Topic, news: LiveNews },
}

/// Passes requests on, and writes them down with their answers.
pub struct SessionRecorder<C> {
    inner: C,
    start: Instant,
    file: Mutex<Box<dyn Write + Send>>,
}

impl<C> SessionRecorder<C> {
    /// Writes to `file` what goes through `inner`.
    #[must_use]
    pub fn new(inner: C, file: Box<dyn Write + Send>) -> Self {
        Self { inner, start: Instant::now(), file: Mutex::new(file) }
    }

    async fn write(&self, what: RecordedAnswer) {
        let at_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let Ok(mut line) = serde_json::to_vec(&RecordedEntry { at_ms, what }) else { return };
        line.push(b'\n');
        let mut file = self.file.lock().await;
        // A full disk ends the recording, not the session.
        let _ = file.write_all(&line).and_then(|()| file.flush());
    }
}

#[async_trait]
impl<C: ServerCommands> ServerCommands for SessionRecorder<C> {
    async fn call(&self, request: &Request) -> Result<Answer, Failure> {
        let answer = self.inner.call(request).await;
        self.write(RecordedAnswer::Call { request: request.clone(), answer: answer.clone() }).await;
        answer
    }

    async fn follow(&self, request: LogRequest, news: Sender<LogNews>) {
        let (sender, mut seen) = channel::<LogNews>(NEWS_MOST);
        let forward = async {
            while let Some(one) = seen.recv().await {
                self.write(RecordedAnswer::Log { request, news: one.clone() }).await;
                if news.send(one).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(self.inner.follow(request, sender), forward);
    }

    async fn watch(&self, topic: Topic, news: Sender<LiveNews>) {
        let (sender, mut seen) = channel::<LiveNews>(NEWS_MOST);
        let forward = async {
            while let Some(one) = seen.recv().await {
                self.write(RecordedAnswer::Live { topic: topic.clone(), news: one.clone() }).await;
                if news.send(one).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(self.inner.watch(topic.clone(), sender), forward);
    }
}

/// An answer, and when it came.
type TimedAnswer = (Duration, Result<Answer, Failure>);

/// Answers requests from a recording, as far as it has played.
pub struct Replay {
    start: Instant,
    /// What the recording has at the start.
    from: Duration,
    /// Answers by request, in the order of their times.
    calls: BTreeMap<String, Vec<TimedAnswer>>,
    logs: Vec<(Duration, LogRequest, LogNews)>,
    live: Vec<(Duration, Topic, LiveNews)>,
}

impl Replay {
    /// Reads a recording.
    ///
    /// # Errors
    /// It cannot be read, or a line of it is none of a recording: the text names the line.
    pub fn read(file: impl BufRead) -> Result<Self, String> {
        let mut calls = BTreeMap::<String, Vec<_>>::new();
        let (mut logs, mut live) = (Vec::new(), Vec::new());
        for (number, line) in file.lines().enumerate() {
            let wrong = |error: String| format!("line {} of the recording: {error}", number + 1);
            let line = line.map_err(|error| wrong(error.to_string()))?;
            if line.trim().is_empty() {
                continue;
            }
            let entry: RecordedEntry =
                serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))?;
            let at = Duration::from_millis(entry.at_ms);
            match entry.what {
                RecordedAnswer::Call { request, answer } => {
                    calls.entry(key(&request)).or_default().push((at, answer));
                }
                RecordedAnswer::Log { request, news } => logs.push((at, request, news)),
                RecordedAnswer::Live { topic, news } => live.push((at, topic, news)),
            }
        }
        if calls.is_empty() && live.is_empty() {
            return Err("the recording is empty".to_owned());
        }
        Ok(Self { start: Instant::now(), from: Duration::ZERO, calls, logs, live })
    }

    /// The same, from this far into the recording on.
    #[must_use]
    pub fn starting_at(self, from: Duration) -> Self {
        Self { from, ..self }
    }

    /// Waits until the recording has played up to this moment.
    async fn played(&self, at: Duration) {
        tokio::time::sleep_until(self.start + at.saturating_sub(self.from)).await;
    }

    /// The last answer to a request so far, else the first there is.
    fn answer(&self, request: &Request) -> Option<&Result<Answer, Failure>> {
        let all = self.calls.get(&key(request))?;
        let played = self.start.elapsed() + self.from;
        let so_far = all.iter().rev().find(|(at, _)| *at <= played);
        so_far.or_else(|| all.first()).map(|(_, answer)| answer)
    }

    /// A filter that was not asked for while the recording was made, over the jobs that are in it.
    fn filtered(&self, query: &ListQuery) -> Option<JobPage> {
        let most =
            |limit: u32| Request::Jobs(ListQuery { limit: Some(limit), ..ListQuery::default() });
        let with_count = Request::Jobs(ListQuery {
            limit: Some(100),
            count: Some(true),
            ..ListQuery::default()
        });
        let answer = [with_count, most(100)].iter().find_map(|one| self.answer(one))?;
        let Ok(Answer::Jobs(page)) = answer else { return None };
        let now = page.jobs.iter().map(|job| job.state.created_at).max()?;
        let filter = Filter::parse(query.filter.as_deref()?, now, &UtcClock).ok()?;
        let jobs = page.jobs.iter().filter(|job| filter.matches(job, None, now));
        let mut jobs: Vec<_> = jobs.cloned().collect();
        if query.oldest_first == Some(true) {
            jobs.reverse();
        }
        let count = Some(Count { count: jobs.len() as u64, exact: true });
        Some(JobPage { v: page.v, jobs, next: None, count })
    }
}

/// What identifies a request. Whether the server also counts makes no other question of it.
fn key(request: &Request) -> String {
    let mut request = request.clone();
    if let Request::Jobs(query) = &mut request {
        query.count = None;
    }
    serde_json::to_string(&request).unwrap_or_default()
}

#[async_trait]
impl ServerCommands for Replay {
    async fn call(&self, request: &Request) -> Result<Answer, Failure> {
        if request.is_write() {
            let text = "a recording is played: nothing can be changed";
            return Err(Failure::new(FailureKind::Answered, text));
        }
        if let Some(answer) = self.answer(request) {
            return answer.clone();
        }
        if let Request::Jobs(query) = request
            && let Some(page) = self.filtered(query)
        {
            return Ok(Answer::Jobs(page));
        }
        Err(Failure::new(FailureKind::Answered, "this is not in the recording"))
    }

    async fn follow(&self, request: LogRequest, news: Sender<LogNews>) {
        let same =
            |other: &LogRequest| other.job == request.job && other.attempt == request.attempt;
        for (at, _, one) in self.logs.iter().filter(|(_, other, _)| same(other)) {
            self.played(*at).await;
            if news.send(one.clone()).await.is_err() {
                return;
            }
        }
        let _ = news.send(LogNews::Ended(None)).await;
    }

    async fn watch(&self, topic: Topic, news: Sender<LiveNews>) {
        let of_topic: Vec<_> = self.live.iter().filter(|(_, other, _)| *other == topic).collect();
        if of_topic.is_empty() {
            let text = "this is not in the recording";
            let _ = news.send(LiveNews::Ended(Failure::new(FailureKind::Answered, text))).await;
            return;
        }
        for (at, _, one) in of_topic {
            self.played(*at).await;
            if news.send(one.clone()).await.is_err() {
                return;
            }
        }
        // The last state stays: the recording is over, and no link is lost.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fixtures;

    struct Fixed;

    #[async_trait]
    impl ServerCommands for Fixed {
        async fn call(&self, request: &Request) -> Result<Answer, Failure> {
            match request {
                Request::Jobs(_) => Ok(Answer::Jobs(fixtures::jobs())),
                Request::Job(_) => Ok(Answer::Job(Box::new(fixtures::detail()))),
                _ => Err(Failure::new(FailureKind::Answered, "not here")),
            }
        }

        async fn follow(&self, _: LogRequest, news: Sender<LogNews>) {
            let _ = news.send(LogNews::Ended(None)).await;
        }

        async fn watch(&self, _: Topic, news: Sender<LiveNews>) {
            let failure = Failure::new(FailureKind::Answered, "not here");
            let _ = news.send(LiveNews::Ended(failure)).await;
        }
    }

    /// A file that the test can read.
    #[derive(Clone, Default)]
    struct SharedFile(Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for SharedFile {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("a file").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_recording_answers_what_was_asked_and_filters_what_was_not() {
        let file = SharedFile::default();
        let recorder = SessionRecorder::new(Fixed, Box::new(file.clone()));
        let all = Request::Jobs(ListQuery {
            limit: Some(100),
            count: Some(true),
            ..ListQuery::default()
        });
        recorder.call(&all).await.expect("an answer");
        recorder.call(&Request::Job(orx_model::JobId(14_233))).await.expect("an answer");
        recorder.call(&Request::Cluster).await.expect_err("a failure");
        let bytes = file.0.lock().expect("a file").clone();
        let replay = Replay::read(bytes.as_slice()).expect("a recording");

        let Ok(Answer::Job(job)) = replay.call(&Request::Job(orx_model::JobId(14_233))).await
        else {
            panic!("no job");
        };
        assert_eq!(job.job.id, orx_model::JobId(14_233));
        let filter = Some("status:failed".to_owned());
        let failed = Request::Jobs(ListQuery { filter, limit: Some(100), ..ListQuery::default() });
        let Ok(Answer::Jobs(page)) = replay.call(&failed).await else { panic!("no jobs") };
        assert_eq!(page.jobs.len(), 2);
        let failure = replay.call(&Request::Cluster).await.expect_err("as recorded");
        assert_eq!(failure.message, "not here");
        let cancel = Request::Cancel(orx_model::wire::ChangeRequest::default());
        assert!(replay.call(&cancel).await.is_err());
        let later = Replay::read(bytes.as_slice()).expect("a recording");
        assert!(later.starting_at(Duration::from_secs(3_600)).call(&all).await.is_ok());
        let error = Replay::read("{}\n".as_bytes()).err().expect("an error");
        assert!(error.starts_with("line 1 of the recording"), "{error}");
    }
}
