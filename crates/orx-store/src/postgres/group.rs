//! Group commit: one statement writes the concurrent calls of many callers.
//!
//! No call waits for a batch to fill: while one batch commits, the next one gathers. A batch that fails
//! because of one part is written again part by part, so that an invalid part fails alone. Calls of one kind
//! are written in the order of their arrival.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use orx_model::log::LogChunk;
use orx_model::message::{ExecutionProgress, Started};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;

use super::PgBudget;
use super::db_error::{DbError, DbResult};
use super::enqueue::Enqueue;
use super::outcomes::Record;
use crate::{Result, StoreError};

/// Maximum number of calls in a statement, and their weight.
const BATCH_CALLS: usize = 512;
const BATCH_WEIGHT: u32 = 8 * 1024;
/// Bytes that weigh as much as a row.
pub(super) const ROW_BYTES: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) enqueue: Group<Enqueue>,
    pub(super) record: Group<Record>,
    pub(super) logs: Group<Vec<LogChunk>>,
    pub(super) started: Group<Vec<Started>>,
    pub(super) progress: Group<Vec<ExecutionProgress>>,
}

/// One caller's part of a batch.
pub(super) trait Part: Sized + Send + 'static {
    type Answer: Send;
    /// For error texts: completes "could not …".
    const ACTION: &'static str;

    /// Approximate number of rows it writes.
    fn weight(&self) -> usize;
    fn group(groups: &Groups) -> &Group<Self>;
    /// Writes all parts in one transaction. Returns one answer per part, in order.
    fn write(
        inner: &Arc<PgBudget>,
        parts: &[Self],
    ) -> impl Future<Output = DbResult<Vec<Self::Answer>>> + Send;
}

pub(super) struct Group<P: Part> {
    waiting: Mutex<CallQueue<P>>,
}

struct CallQueue<P: Part> {
    calls: VecDeque<GroupedCall<P>>,
    /// Number of the next call.
    number: u64,
    /// Whether a writing task runs. It checks for more calls before it ends.
    written: bool,
}

struct GroupedCall<P: Part> {
    number: u64,
    part: P,
    weight: u32,
    reply: oneshot::Sender<Result<P::Answer>>,
    _permit: OwnedSemaphorePermit,
}

impl<P: Part> Default for Group<P> {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(CallQueue { calls: VecDeque::new(), number: 0, written: false }),
        }
    }
}

impl<P: Part> fmt::Debug for Group<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").finish_non_exhaustive()
    }
}

/// Clears `written` if a writing task panics or is dropped, so that the next call starts another task.
struct Writing<'a, P: Part>(&'a Group<P>);

impl<P: Part> Drop for Writing<'_, P> {
    fn drop(&mut self) {
        self.0.waiting.lock().written = false;
    }
}

impl PgBudget {
    /// Adds a part to the next batch of its kind, and waits for its answer.
    pub(super) async fn gather<P: Part>(self: &Arc<Self>, part: P) -> Result<P::Answer> {
        self.usable()?;
        let weight = u32::try_from(part.weight()).unwrap_or(u32::MAX);
        let weight = weight.clamp(1, self.options.waiting_max);
        let acquired = Arc::clone(&self.permits).acquire_many_owned(weight);
        let permit = timeout(self.options.busy_after, acquired)
            .await
            .map_err(|_| StoreError::Busy)?
            .map_err(|_| StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let group = P::group(&self.groups);
        let (number, start) = {
            let mut waiting = group.waiting.lock();
            let number = waiting.number;
            waiting.number += 1;
            waiting.calls.push_back(GroupedCall { number, part, weight, reply, _permit: permit });
            (number, !std::mem::replace(&mut waiting.written, true))
        };
        if start {
            let inner = Arc::clone(self);
            tokio::spawn(async move { inner.write_group::<P>().await });
        }
        match timeout(self.options.write_deadline, answer).await {
            Ok(Ok(answer)) => answer,
            // The call was never sent: the batch before it has no answer yet.
            Err(_) if group.withdraw(number) => Err(StoreError::Busy),
            // The call may have been committed.
            Ok(Err(_)) | Err(_) => Err(StoreError::Unknown),
        }
    }

    async fn write_group<P: Part>(self: Arc<Self>) {
        let group = P::group(&self.groups);
        let writing = Writing(group);
        while let Some(batch) = group.next() {
            self.write_batch(batch).await;
            // Lets the callers that just got their answer join the next batch. Otherwise they wait for it to
            // end, and the callers split into two alternating halves.
            tokio::task::yield_now().await;
        }
        // `next` has cleared `written` already.
        std::mem::forget(writing);
    }

    async fn write_batch<P: Part>(self: &Arc<Self>, batch: Vec<GroupedCall<P>>) {
        let (parts, callers): (Vec<P>, Vec<_>) = batch
            .into_iter()
            // Skips callers that were dropped.
            .filter(|call| !call.reply.is_closed())
            .map(|call| (call.part, (call.reply, call._permit)))
            .unzip();
        if parts.is_empty() {
            return;
        }
        match P::write(self, &parts).await {
            Ok(answers) => {
                for ((reply, _permit), answer) in callers.into_iter().zip(answers) {
                    // A dropped caller does not need its answer.
                    drop(reply.send(Ok(answer)));
                }
            }
            Err(DbError::Command(_)) if parts.len() > 1 => {
                for (part, (reply, _permit)) in parts.into_iter().zip(callers) {
                    let done = P::write(self, &[part]).await;
                    let answer = done.and_then(|answers| {
                        let answer = answers.into_iter().next();
                        answer.ok_or_else(|| DbError::Unreadable("no answer".into()))
                    });
                    drop(reply.send(answer.map_err(|it| self.map_error(it, P::ACTION, false))));
                }
            }
            Err(failure) => {
                for (reply, _permit) in callers {
                    let error = self.map_error(failure.again(), P::ACTION, false);
                    drop(reply.send(Err(error)));
                }
            }
        }
    }
}

impl<P: Part> Group<P> {
    /// Removes a call that still waits. Returns whether it did.
    fn withdraw(&self, number: u64) -> bool {
        let mut waiting = self.waiting.lock();
        let waited = waiting.calls.len();
        waiting.calls.retain(|call| call.number != number);
        waiting.calls.len() < waited
    }

    /// The next batch. `None` ends the writing task.
    fn next(&self) -> Option<Vec<GroupedCall<P>>> {
        let mut waiting = self.waiting.lock();
        let (mut batch, mut weight) = (Vec::new(), 0_u32);
        while batch.len() < BATCH_CALLS
            && let Some(call) = waiting.calls.front()
            && (batch.is_empty() || weight.saturating_add(call.weight) <= BATCH_WEIGHT)
            && let Some(call) = waiting.calls.pop_front()
        {
            weight = weight.saturating_add(call.weight);
            batch.push(call);
        }
        if batch.is_empty() {
            waiting.written = false;
            return None;
        }
        Some(batch)
    }
}
