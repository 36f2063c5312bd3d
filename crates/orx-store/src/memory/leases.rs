//! The leader's lease and the nodes in the reference model.

use std::time::Duration;

use async_trait::async_trait;
use orx_model::{Incarnation, Timestamp};

use super::Memory;
use crate::{Lead, LeadRequest, Leases, NodeRecord, NodeReport, Result, Term};

#[async_trait]
impl Leases for Memory {
    async fn lead(&self, request: LeadRequest, now: Timestamp) -> Result<Lead> {
        let mut state = self.state()?;
        let LeadRequest { node, ttl, above } = request;
        let current = state.lease.filter(|(_, until)| *until > now);
        if let Some((holder, until)) = current.filter(|(holder, _)| *holder != node) {
            let leader = Term { node: holder, epoch: state.epoch };
            return Ok(Lead::Following { leader, left: until.saturating_since(now) });
        }
        if current.is_none() {
            if state.draining.contains_key(&node) {
                return Ok(Lead::Barred);
            }
            let seconds = now.as_millis().div_euclid(1_000).max(0).unsigned_abs();
            state.epoch = state.epoch.max(above).max(seconds) + 1;
        }
        state.lease = Some((node, now.saturating_add(ttl)));
        Ok(Lead::Leading(Term { node, epoch: state.epoch }))
    }

    async fn step_down(&self, term: Term) -> Result<bool> {
        let mut state = self.state()?;
        let led = state.leads(term).is_ok();
        if led {
            state.lease = None;
        }
        Ok(led)
    }

    async fn leader(&self, now: Timestamp) -> Result<Option<(Term, Duration)>> {
        let state = self.state()?;
        let current = state.lease.filter(|(_, until)| *until > now);
        Ok(current
            .map(|(node, until)| (Term { node, epoch: state.epoch }, until.saturating_since(now))))
    }

    async fn put_node(&self, node: NodeReport, now: Timestamp) -> Result<()> {
        self.state()?.nodes.insert(node.node, (node, now));
        Ok(())
    }

    async fn drain_node(&self, node: Incarnation, drain: bool, now: Timestamp) -> Result<bool> {
        let mut state = self.state()?;
        if !drain {
            return Ok(state.draining.remove(&node).is_some());
        }
        let starts = state.nodes.contains_key(&node) && !state.draining.contains_key(&node);
        if starts {
            state.draining.insert(node, now);
        }
        Ok(starts)
    }

    async fn nodes(&self, now: Timestamp) -> Result<Vec<NodeRecord>> {
        let state = self.state()?;
        let mut nodes: Vec<NodeRecord> = state
            .nodes
            .values()
            .map(|(report, seen_at)| NodeRecord {
                report: report.clone(),
                seen_at: *seen_at,
                silent: now.saturating_since(*seen_at),
                draining_since: state.draining.get(&report.node).copied(),
            })
            .collect();
        nodes.sort_by_key(|node| (node.report.name.clone(), node.report.node));
        Ok(nodes)
    }

    async fn remove_nodes(&self, nodes: Vec<Incarnation>) -> Result<()> {
        let mut state = self.state()?;
        state.nodes.retain(|incarnation, _| !nodes.contains(incarnation));
        state.draining.retain(|incarnation, _| !nodes.contains(incarnation));
        Ok(())
    }
}
