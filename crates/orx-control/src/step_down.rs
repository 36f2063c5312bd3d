//! Asks the leader to step down, and waits for the next one.

use std::time::Duration;

use orx_model::wire::{AuditAction, NodeView, StepDownAnswer, StepDownRequest, V};
use orx_model::{Code, Incarnation, Name, Problem};
use tokio::time::Instant;

use crate::audit::MadeChange;
use crate::{Caller, ControlPanel, Result, Scope, store_problem};

/// How long to wait for the next leader.
const WAIT: Duration = Duration::from_secs(10);
/// How often to read who leads.
const READ_EVERY: Duration = Duration::from_millis(50);

impl ControlPanel {
    /// Asks the leader to step down, whichever node it is, and waits until another node leads.
    ///
    /// # Errors
    /// [`Code::StateConflict`] if no node leads, or no other node is live; [`Code::NotAllowed`], and errors
    /// of the store.
    pub async fn step_down(
        &self,
        caller: &Caller,
        request: StepDownRequest,
    ) -> Result<StepDownAnswer> {
        caller.need(Scope::Admin)?;
        let nodes = self.node_views().await?;
        let leader = self.store().leader(self.now()).await.map_err(store_problem)?;
        let Some((term, _)) = leader else {
            return Err(Problem::new(Code::StateConflict, "no node leads"));
        };
        if !nodes.iter().any(|node| node.live && node.node != term.node) {
            let detail = "no other node is there to lead";
            return Err(Problem::new(Code::StateConflict, detail)
                .hint("start another coordinator on the same store first"));
        }
        self.inner.wakeups.step_down(term.epoch);
        let from = named(&nodes, term.node);
        let (by, reason) = (request.by.as_deref(), request.reason.as_deref());
        let (action, object) = (AuditAction::StepDown, from.to_string());
        self.record_change(caller, MadeChange { action, object, changed: 1, by, reason }).await;
        let until = Instant::now() + WAIT;
        while Instant::now() < until {
            tokio::time::sleep(READ_EVERY).await;
            let leader = self.store().leader(self.now()).await.map_err(store_problem)?;
            if let Some((next, _)) = leader.filter(|(next, _)| next.epoch != term.epoch) {
                let to = Some(named(&nodes, next.node));
                return Ok(StepDownAnswer { v: V, from, to, epoch: next.epoch });
            }
        }
        Ok(StepDownAnswer { v: V, from, to: None, epoch: 0 })
    }
}

/// The name of a node, or its incarnation where its row is gone.
fn named(nodes: &[NodeView], node: Incarnation) -> Name {
    let found = nodes.iter().find(|view| view.node == node);
    found.map_or_else(|| Name::from_any(&node.to_string()), |view| view.name.clone())
}
