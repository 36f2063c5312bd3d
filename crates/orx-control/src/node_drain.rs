//! Nodes: views, and their drain.
//!
//! A drain is in the row of its node, so any node can start it. The node reads its row, steps down, and
//! tells its workers to move; the store gives it no lease. A process that starts anew is a new row, so it
//! does not drain.

use std::collections::BTreeSet;

use orx_model::text::nearest;
use orx_model::wire::{AuditAction, NodeDrain, NodeDrainAnswer, NodeDrainRequest, NodeView, V};
use orx_model::{Code, Incarnation, Problem};
use orx_store::NodeRecord;

use crate::audit::MadeChange;
use crate::workers::{PREFIX_MIN, shown_part};
use crate::{Caller, ControlPanel, Result, Scope, store_problem};

impl ControlPanel {
    /// Drains a node: another node leads, and its workers move to other nodes. It answers requests as before.
    ///
    /// # Errors
    /// [`Code::NotFound`] for an unknown node. [`Code::StateConflict`] if the reference matches several nodes,
    /// the node is silent, or no other live node remains to lead. [`Code::NotAllowed`], and errors of the store.
    pub async fn drain_node(
        &self,
        caller: &Caller,
        reference: &str,
        request: NodeDrainRequest,
    ) -> Result<NodeDrainAnswer> {
        caller.need(Scope::Admin)?;
        let nodes = self.node_views().await?;
        let target = matching(&nodes, reference)?;
        if !target.live {
            let detail = format!("node `{}` is silent: it has nothing to drain", target.name);
            return Err(Problem::new(Code::StateConflict, detail)
                .hint("its workers have moved, and another node leads once its lease ends"));
        }
        let node = target.node;
        if !others_can_lead(&nodes, node) {
            return Err(nobody_left(target));
        }
        let changed = self.set_drain(node, true).await?;
        // Two drains at the same moment may each have seen the other's node.
        if changed && !others_can_lead(&self.node_views().await?, node) {
            self.set_drain(node, false).await?;
            return Err(nobody_left(target));
        }
        self.drain_changed(caller, AuditAction::DrainNode, target, &request, changed).await
    }

    /// Takes back the drain of a node.
    ///
    /// # Errors
    /// [`Code::NotFound`] for an unknown node; [`Code::StateConflict`] if the reference matches several nodes;
    /// [`Code::NotAllowed`], and errors of the store.
    pub async fn resume_node(
        &self,
        caller: &Caller,
        reference: &str,
        request: NodeDrainRequest,
    ) -> Result<NodeDrainAnswer> {
        caller.need(Scope::Admin)?;
        let nodes = self.node_views().await?;
        let target = matching(&nodes, reference)?;
        let changed = self.set_drain(target.node, false).await?;
        self.drain_changed(caller, AuditAction::ResumeNode, target, &request, changed).await
    }

    async fn set_drain(&self, node: Incarnation, drain: bool) -> Result<bool> {
        let changed = self.store().drain_node(node, drain, self.now()).await;
        self.inner.wakeups.node_rows();
        changed.map_err(store_problem)
    }

    async fn drain_changed(
        &self,
        caller: &Caller,
        action: AuditAction,
        target: &NodeView,
        request: &NodeDrainRequest,
        changed: bool,
    ) -> Result<NodeDrainAnswer> {
        let (by, reason) = (request.by.as_deref(), request.reason.as_deref());
        let (object, count) = (target.name.to_string(), u64::from(changed));
        self.record_change(caller, MadeChange { action, object, changed: count, by, reason }).await;
        let nodes = self.node_views().await?;
        let node = nodes.into_iter().find(|node| node.node == target.node);
        let node = node.ok_or_else(|| {
            Problem::new(Code::NotFound, format!("node `{}` has ended", target.name))
        })?;
        Ok(NodeDrainAnswer { v: V, changed, node })
    }

    /// Checks that this node does not drain.
    ///
    /// # Errors
    /// [`Code::Unavailable`].
    pub fn check_drain(&self) -> Result<()> {
        if self.inner.wakeups.is_draining() {
            return Err(Problem::new(Code::Unavailable, "this node drains")
                .hint("`orx cluster drain NODE --undo` takes that back"));
        }
        Ok(())
    }

    pub(crate) async fn node_views(&self) -> Result<Vec<NodeView>> {
        let now = self.now();
        let leader = self.store().leader(now).await.map_err(store_problem)?;
        let leader = leader.map(|(term, _)| term.node);
        let nodes = self.store().nodes(now).await.map_err(store_problem)?;
        let drains = nodes.iter().any(|node| node.draining_since.is_some());
        let busy = if drains { self.nodes_of_workers().await? } else { BTreeSet::new() };
        let view = |node: NodeRecord| {
            let leads = leader == Some(node.report.node);
            let drain = node.draining_since.map(|_| {
                let drained = !leads && !busy.contains(&node.report.node);
                if drained { NodeDrain::Drained } else { NodeDrain::Draining }
            });
            NodeView {
                leads,
                live: node.silent.as_millis() < u128::from(self.inner.settings.node_lives_ms),
                drain,
                draining_since: node.draining_since,
                node: node.report.node,
                name: node.report.name,
                url: node.report.url,
                version: node.report.version,
                zone_version: node.report.zone_version,
                started_at: node.report.started_at,
                seen_at: node.seen_at,
            }
        };
        Ok(nodes.into_iter().map(view).collect())
    }

    /// The nodes that a live worker is connected to. A worker in the node's own process cannot move, so it
    /// counts only while it runs something.
    async fn nodes_of_workers(&self) -> Result<BTreeSet<Incarnation>> {
        let workers = self.live_workers().await?;
        let hosted = workers.iter().filter(|worker| worker.report.hosted_by.is_some());
        let hosted: Vec<Incarnation> =
            hosted.map(|worker| worker.report.registration.incarnation).collect();
        let running: BTreeSet<Incarnation> = if hosted.is_empty() {
            BTreeSet::new()
        } else {
            let live = self.store().live_attempts_of(hosted).await.map_err(store_problem)?;
            live.into_iter().map(|attempt| attempt.worker).collect()
        };
        let counts = workers.into_iter().filter(|worker| {
            let incarnation = worker.report.registration.incarnation;
            worker.report.hosted_by.is_none() || running.contains(&incarnation)
        });
        Ok(counts.filter_map(|worker| worker.report.node).collect())
    }
}

/// Whether a live node other than `node` may lead.
fn others_can_lead(nodes: &[NodeView], node: Incarnation) -> bool {
    nodes.iter().any(|other| other.node != node && other.live && other.drain.is_none())
}

fn nobody_left(target: &NodeView) -> Problem {
    let detail = format!("node `{}` cannot drain: no other live node could lead", target.name);
    Problem::new(Code::StateConflict, detail)
        .hint("start another coordinator on the same store first, or resume one that drains")
}

/// The node that a name or the first digits of an incarnation match. Of several with one name, the live one.
fn matching<'a>(nodes: &'a [NodeView], reference: &str) -> Result<&'a NodeView> {
    let named: Vec<&NodeView> =
        nodes.iter().filter(|node| node.name.as_str() == reference).collect();
    let mut found: Vec<&NodeView> = named.iter().copied().filter(|node| node.live).collect();
    if found.is_empty() {
        found = named;
    }
    if found.is_empty() {
        let digits =
            reference.len() >= PREFIX_MIN && reference.bytes().all(|b| b.is_ascii_hexdigit());
        let starts = |node: &&NodeView| node.node.to_string().starts_with(reference);
        found = nodes.iter().filter(|node| digits && starts(node)).collect();
    }
    match found.as_slice() {
        [one] => Ok(one),
        [] => {
            let detail = format!("there is no node `{}`", shown_part(reference));
            let problem = Problem::new(Code::NotFound, detail);
            Err(match nearest(reference, nodes.iter().map(|node| node.name.as_str())) {
                Some(near) => {
                    problem.hint(format!("did you mean `{near}`?")).candidates([near.to_owned()])
                }
                None => problem.hint("`orx cluster nodes` lists them"),
            })
        }
        several => {
            let shown: Vec<String> =
                several.iter().map(|node| node.node.to_string()[..8].to_owned()).collect();
            let detail = format!("`{}` means {} nodes", shown_part(reference), several.len());
            Err(Problem::new(Code::StateConflict, detail)
                .hint(format!("name one by its incarnation: {}", shown.join(", "))))
        }
    }
}
