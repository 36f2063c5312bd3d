//! The record of changes in the reference model.

use async_trait::async_trait;

use super::Memory;
use crate::audit::{AUDIT_FOR, AUDIT_MOST};
use crate::{Audit, AuditRecord, AuditRequest, Result};

#[async_trait]
impl Audit for Memory {
    async fn record_change(&self, record: AuditRecord) -> Result<()> {
        let mut state = self.state()?;
        let id = state.audit.back().map_or(1, |last| last.id + 1);
        let since = record.at.saturating_sub(AUDIT_FOR);
        state.audit.push_back(AuditRecord { id, ..record });
        state.audit.retain(|one| one.at >= since && one.id + AUDIT_MOST > id);
        Ok(())
    }

    async fn audit(&self, request: AuditRequest) -> Result<Vec<AuditRecord>> {
        let state = self.state()?;
        let wanted = |one: &&AuditRecord| {
            request.before.is_none_or(|before| one.id < before)
                && request.action.as_ref().is_none_or(|action| one.action == *action)
        };
        let found = state.audit.iter().rev().filter(wanted);
        Ok(found.take(request.limit as usize).cloned().collect())
    }
}
