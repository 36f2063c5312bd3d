//! The topic of one job: its status, attempts and progress.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use orx_feed::{FeedFilter, FeedReader};
use orx_model::JobId;
use orx_model::wire::live::{JobProgress, JobStatusUpdated, LiveEvent, LiveState, ResetReason};
use orx_model::wire::{JobDetail, V};
use tokio::time::Instant;

use super::changes::Changes;
use super::jobs::progress_of;
use super::pacer::Pacer;
use super::{Frame, Frames, RETRY, Resume, problem_frame, reset_frame};
use crate::{Caller, ControlPanel, Result};

/// The pace of changes that follow each other.
const GAP: Duration = Duration::from_millis(250);
const BURST: u32 = 4;
/// The job is read even without an event: where many nodes share a store, one may be lost.
const REREAD: Duration = Duration::from_secs(10);

struct JobReader {
    panel: ControlPanel,
    id: JobId,
    reader: FeedReader,
    pacer: Pacer,
    changes: Changes,
    resume: Option<Resume>,
    /// The data of the last status that was sent.
    sent: Option<Arc<str>>,
    sent_progress: Option<Arc<str>>,
    unsent: VecDeque<Frame>,
    read_at: Instant,
    failed: bool,
}

pub(crate) async fn frames(
    panel: &ControlPanel,
    reference: &str,
    resume: Resume,
) -> Result<Frames> {
    let id = panel.find(reference).await?.id;
    let filter = FeedFilter::job(id);
    let reader = match resume {
        Resume::After(after) => panel.feed().resume(after, filter),
        Resume::Start | Resume::Unknown => panel.feed().read(filter),
    };
    let reader = JobReader {
        panel: panel.clone(),
        id,
        reader,
        pacer: Pacer::new(GAP, BURST),
        changes: Changes::default(),
        resume: Some(resume),
        sent: None,
        sent_progress: None,
        unsent: VecDeque::new(),
        read_at: Instant::now(),
        failed: false,
    };
    Ok(Box::pin(futures_util::stream::unfold(reader, JobReader::next)))
}

impl JobReader {
    async fn next(mut self) -> Option<(Frame, Self)> {
        loop {
            if let Some(frame) = self.unsent.pop_front() {
                return Some((frame, self));
            }
            match self.resume.take() {
                None => {}
                Some(Resume::After(_)) => {
                    self.changes.drain(&mut self.reader);
                    if self.changes.gap {
                        self.unsent.push_back(reset_frame(ResetReason::Past));
                        self.changes = Changes::default();
                        self.resume = Some(Resume::Start);
                    }
                    continue;
                }
                Some(Resume::Unknown) => {
                    self.unsent.push_back(reset_frame(ResetReason::OtherNode));
                    self.resume = Some(Resume::Start);
                    continue;
                }
                Some(Resume::Start) => {
                    self.begin().await;
                    continue;
                }
            }
            let again = if self.failed { RETRY } else { REREAD };
            let wait = tokio::time::sleep_until(self.read_at + again);
            if self.changes.is_empty() || self.failed {
                tokio::select! {
                    biased;
                    () = self.reader.ready(), if !self.failed => {}
                    () = wait => self.changes.gap = true,
                }
            }
            self.changes.drain(&mut self.reader);
            // A grown log is an event of the job too, and changes nothing here.
            if self.changes.jobs().is_some_and(|jobs| jobs.is_empty()) {
                self.changes = Changes::default();
                continue;
            }
            self.pacer.wait().await;
            self.changes.drain(&mut self.reader);
            self.update().await;
        }
    }

    async fn begin(&mut self) {
        let cursor = self.reader.cursor();
        self.read_at = Instant::now();
        match self.panel.get(&Caller::local(), &self.id.to_string()).await {
            Ok(detail) => {
                self.sent = status_of(Some(&detail), self.id).data().ok().map(Into::into);
                let state = LiveState::Job(Box::new(detail));
                self.unsent.push_back(self.panel.snapshot(state, cursor));
            }
            Err(problem) => {
                self.unsent.push_back(problem_frame(problem));
                self.resume = Some(Resume::Start);
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Reads the job again, and sends what is new.
    async fn update(&mut self) {
        let cursor = self.reader.cursor();
        let moved = self.changes.jobs().is_none_or(|jobs| jobs.values().any(|moved| *moved));
        self.read_at = Instant::now();
        let read = self.panel.get(&Caller::local(), &self.id.to_string()).await;
        let frame = |event: &LiveEvent| Frame::new(Some(cursor.to_string()), event);
        let detail = match read {
            Ok(detail) => Some(detail),
            Err(problem) if problem.code == orx_model::Code::NotFound => None,
            Err(problem) => {
                if !std::mem::replace(&mut self.failed, true) {
                    self.unsent.push_back(problem_frame(problem));
                }
                return;
            }
        };
        self.failed = false;
        self.changes = Changes::default();
        let job = detail.as_ref().map(|detail| detail.job.clone().into());
        if let Some(progress) = job.as_ref().and_then(progress_of) {
            let event = LiveEvent::JobProgress(JobProgress { v: V, jobs: vec![progress] });
            let progress = frame(&event);
            if !moved && self.sent_progress.as_ref() != Some(&progress.data) {
                self.unsent.push_back(progress.clone());
            }
            self.sent_progress = Some(progress.data);
        }
        if moved {
            let status = frame(&status_of(detail.as_ref(), self.id));
            if self.sent.as_ref() != Some(&status.data) {
                self.sent = Some(Arc::clone(&status.data));
                self.unsent.push_back(status);
            }
        }
    }
}

/// The status of the job, or that it is gone.
fn status_of(detail: Option<&JobDetail>, id: JobId) -> LiveEvent {
    LiveEvent::JobStatusUpdated(JobStatusUpdated {
        v: V,
        jobs: detail.map(|detail| detail.job.clone().into()).into_iter().collect(),
        unmatched: Vec::new(),
        gone: if detail.is_some() { Vec::new() } else { vec![id] },
        attempts: detail.map(|detail| detail.attempts.clone()).unwrap_or_default(),
    })
}
