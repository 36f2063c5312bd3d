//! Deletes old jobs, logs, ledger rows, keys, operations, tokens and nodes, and computes missing causes of dead
//! letters, in small transactions with pauses between.

use std::sync::Arc;
use std::time::Duration;

use orx_store::{PruneRequest, Result, StoreError, Term};
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::leader::{is_over, pause};

/// Jobs, or rows of ledgers, deleted in one transaction.
const PRUNE_MOST: u32 = 500;
/// Chunks of logs deleted in one transaction.
const PRUNE_CHUNKS: u32 = 1_000;
/// Dead letters whose causes are computed in one transaction.
const CAUSES_MOST: u32 = 1_000;
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Pause between two transactions, in which other calls reach the store.
const PAUSE: Duration = Duration::from_millis(5);
/// An operation over many jobs is shown for this long after its end.
const OPERATION_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Operations deleted in one transaction; each may name many ids.
const OPERATIONS_MOST: u32 = 20;
/// A token that expired or was revoked is shown for this long.
const TOKEN_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The row of a node that missed this many heartbeats is deleted.
const NODE_BEATS: u32 = 60;

/// Runs as long as its term.
pub struct Janitor {
    context: Arc<Context>,
    term: Term,
}

impl Janitor {
    /// The janitor of one term.
    #[must_use]
    pub fn new(context: Arc<Context>, term: Term) -> Self {
        Self { context, term }
    }

    /// Runs until the term is over.
    ///
    /// # Errors
    /// The store refuses the term, or can be used no longer.
    pub(crate) async fn run(self, over: CancellationToken) -> Result<()> {
        while !over.is_cancelled() {
            self.assign_causes(&over).await?;
            pause(&over, PRUNE_EVERY).await;
            self.delete_old(&over).await?;
        }
        Ok(())
    }

    /// Computes the causes of dead letters of before an upgrade, and of those that a node of an older version
    /// recorded.
    async fn assign_causes(&self, over: &CancellationToken) -> Result<()> {
        while !over.is_cancelled() {
            match self.context.store.assign_causes(CAUSES_MOST, self.term).await {
                Ok(found) if found == u64::from(CAUSES_MOST) => pause(over, PAUSE).await,
                Ok(_) => break,
                Err(error) if is_over(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "could not compute the causes of dead letters");
                    break;
                }
            }
        }
        Ok(())
    }

    async fn delete_old(&self, over: &CancellationToken) -> Result<()> {
        while !over.is_cancelled() {
            match self.prune().await {
                Ok(true) => pause(over, PAUSE).await,
                Ok(false) => break,
                Err(error) if is_over(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "could not delete old jobs");
                    break;
                }
            }
        }
        if over.is_cancelled() {
            return Ok(());
        }
        match self.forget_nodes_and_tokens().await {
            Err(error) if is_over(&error) => Err(error),
            Err(error) => {
                tracing::debug!(%error, "could not delete old nodes and tokens");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Deletes some old jobs, ledger rows and keys, and returns whether there may be more. Deletes nothing
    /// while the clock may be wrong.
    ///
    /// # Errors
    /// Some of it was not deleted.
    pub async fn prune(&self) -> Result<bool> {
        let (now, settings) = (self.context.now(), &self.context.settings);
        if self.context.lead.term(now.mono) != Some(self.term) {
            return Err(StoreError::Deposed);
        }
        if !self.context.may_delete_by_age(now) {
            return Ok(false);
        }
        let ago = |age: Duration| now.wall.saturating_sub(age);
        let request = PruneRequest {
            completed_before: ago(settings.keep_completed),
            others_before: ago(settings.keep_others),
            limit: PRUNE_MOST,
            chunks: PRUNE_CHUNKS,
        };
        let store = &self.context.store;
        let pruned = store.prune(request, self.term).await?;
        let rows = store.prune_slots(ago(settings.keep_slots), PRUNE_MOST, self.term).await?;
        let keys = store.forget_keys(now.wall, PRUNE_MOST, self.term).await?;
        let (before, most) = (ago(OPERATION_KEPT), OPERATIONS_MOST);
        let operations = store.forget_operations(before, most, self.term).await?;
        let more = rows.max(keys) >= u64::from(PRUNE_MOST) || operations >= u64::from(most);
        Ok(pruned.more || more)
    }

    /// Deletes tokens that expired, and nodes that fell silent, long ago.
    ///
    /// # Errors
    /// Some of it was not deleted.
    pub async fn forget_nodes_and_tokens(&self) -> Result<()> {
        let (now, store) = (self.context.now(), &self.context.store);
        if self.context.may_delete_by_age(now) {
            store.forget_tokens(now.wall.saturating_sub(TOKEN_KEPT)).await?;
        }
        let old = self.context.settings.node_heartbeat * NODE_BEATS;
        let nodes = store.nodes(now.wall).await?;
        let old: Vec<_> = nodes
            .iter()
            .filter(|node| node.silent > old && node.report.node != self.context.node)
            .map(|node| node.report.node)
            .collect();
        if old.is_empty() { Ok(()) } else { store.remove_nodes(old).await }
    }
}
