//! Pauses and resumes queues, for people.

use orx_model::event::{Event, KnownEvent, QueueEvent};
use orx_model::wire::{AuditAction, QueueOrder, QueueView};
use orx_model::{Code, Name, Problem, limits};
use orx_store::Paused;

use crate::audit::MadeChange;
use crate::{Caller, ControlPanel, Result, Scope, store_problem};

impl ControlPanel {
    /// Pauses a queue: none of its jobs starts until it is resumed. A job that was already sent to a worker
    /// starts only if the worker has a slot for it at once; otherwise it comes back.
    ///
    /// # Errors
    /// [`Code::NotFound`] for a queue that never had a job, with the nearest name; [`Code::BadRequest`],
    /// [`Code::NotAllowed`], and errors of the store.
    pub async fn pause_queue(
        &self,
        caller: &Caller,
        name: &str,
        order: QueueOrder,
    ) -> Result<QueueView> {
        caller.need(Scope::Admin)?;
        check_text("reason", order.reason.as_deref())?;
        check_text("by", order.by.as_deref())?;
        let queue = self.queue(&Caller::local(), name).await?.queue;
        let (reason, by) = (order.reason, order.by);
        let paused_by = Some(by.clone().unwrap_or_else(|| caller.name.clone()));
        let pause = Paused { at: self.now(), reason: reason.clone(), by: paused_by };
        if !self.store().pause_queue(queue.clone(), pause).await.map_err(store_problem)? {
            return Err(Problem::new(Code::NotFound, format!("there is no queue `{queue}`")));
        }
        self.publish_queue(&queue, QueueEvent::Paused);
        self.record_queue(caller, AuditAction::PauseQueue, &queue, by.as_deref(), &reason).await;
        self.queue(&Caller::local(), name).await
    }

    /// Resumes a queue: its jobs start again.
    ///
    /// # Errors
    /// As [`Self::pause_queue`].
    pub async fn resume_queue(
        &self,
        caller: &Caller,
        name: &str,
        order: QueueOrder,
    ) -> Result<QueueView> {
        caller.need(Scope::Admin)?;
        check_text("reason", order.reason.as_deref())?;
        check_text("by", order.by.as_deref())?;
        let queue = self.queue(&Caller::local(), name).await?.queue;
        if self.store().resume_queue(queue.clone()).await.map_err(store_problem)? {
            self.publish_queue(&queue, QueueEvent::Resumed);
            // Its ready jobs can be claimed again.
            self.inner.wakeups.work();
            let action = AuditAction::ResumeQueue;
            self.record_queue(caller, action, &queue, order.by.as_deref(), &order.reason).await;
        }
        self.queue(&Caller::local(), name).await
    }

    async fn record_queue(
        &self,
        caller: &Caller,
        action: AuditAction,
        queue: &Name,
        by: Option<&str>,
        reason: &Option<String>,
    ) {
        let (object, reason) = (queue.to_string(), reason.as_deref());
        self.record_change(caller, MadeChange { action, object, changed: 1, by, reason }).await;
    }

    fn publish_queue(&self, queue: &Name, change: QueueEvent) {
        let what = KnownEvent::QueueChanged { queue: queue.clone(), change };
        self.feed().publish(vec![Event::new(self.now(), what)]);
    }
}

/// Checks a text for people.
fn check_text(what: &str, text: Option<&str>) -> Result<()> {
    let most = limits::KEY_BYTES;
    match text {
        Some(text) if text.len() > most => {
            let detail = format!("`{what}` is at most {most} bytes, found {}", text.len());
            Err(Problem::new(Code::BadRequest, detail))
        }
        _ => Ok(()),
    }
}
