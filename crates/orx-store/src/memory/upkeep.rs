//! Health, pruning, clock and end of the reference model.

use async_trait::async_trait;
use orx_model::{JobId, JobStatus, Timestamp};

use super::{Entry, Memory};
use crate::{ClockNote, PruneRequest, Pruned, Result, RetainedKey, StoreInfo, Term, Upkeep};

#[async_trait]
impl Upkeep for Memory {
    fn info(&self) -> StoreInfo {
        StoreInfo { kind: "memory", durability: "nothing outlives the process", schema: 1 }
    }

    async fn look(&self) -> Result<()> {
        self.state().map(drop)
    }

    async fn check_writable(&self) -> Result<()> {
        self.state().map(drop)
    }

    async fn prune(&self, request: PruneRequest, term: Term) -> Result<Pruned> {
        let mut state = self.state()?;
        state.leads(term)?;
        let mut old: Vec<(Timestamp, JobId)> = state
            .jobs
            .values()
            .filter(|entry| !state.dead.contains_key(&entry.job.id))
            .filter(|entry| !state.schedules.is_in_use(entry.job.id))
            .filter_map(|entry| {
                let completed = entry.job.state.status == JobStatus::Completed;
                let before =
                    if completed { request.completed_before } else { request.others_before };
                let finished = entry.job.state.finished_at.filter(|at| *at < before)?;
                Some((finished, entry.job.id))
            })
            .collect();
        old.sort_unstable();
        old.truncate(request.limit as usize);
        let (mut jobs, mut chunks) = (0, request.chunks as usize);
        for (_, id) in &old {
            chunks -= state.delete_chunks(*id, chunks);
            if chunks == 0 {
                break;
            }
            if let Some(Entry { job, key_hash, .. }) = state.jobs.remove(id)
                && let Some(key) = job.spec.key
            {
                state.keys.remove(&key);
                let ended = job.state.finished_at.unwrap_or(job.state.created_at);
                let kept_until = ended.saturating_add(orx_model::limits::KEY_KEPT);
                let (hash, status) = (key_hash, job.state.status);
                let retained = RetainedKey { key: key.clone(), job: *id, hash, status, kept_until };
                state.retained_keys.insert(key, retained);
            }
            jobs += 1;
        }
        Ok(Pruned { jobs, more: chunks == 0 || jobs == u64::from(request.limit) })
    }

    async fn forget_keys(&self, now: Timestamp, limit: u32, term: Term) -> Result<u64> {
        let mut state = self.state()?;
        state.leads(term)?;
        let over = state.retained_keys.values().filter(|retained| retained.kept_until <= now);
        let over: Vec<String> =
            over.map(|retained| retained.key.clone()).take(limit as usize).collect();
        for key in &over {
            state.retained_keys.remove(key);
        }
        Ok(over.len() as u64)
    }

    async fn clock(&self) -> Result<Option<ClockNote>> {
        Ok(self.state()?.clock)
    }

    async fn note_clock(&self, note: ClockNote, term: Term) -> Result<()> {
        let mut state = self.state()?;
        state.leads(term)?;
        state.clock = Some(note);
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.state()?.closed = true;
        Ok(())
    }
}
