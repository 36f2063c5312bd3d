//! Copies of the whole reference model.

use async_trait::async_trait;
use orx_model::JobId;

use super::{Entry, Memory};
use crate::{Home, JobExport, Result, RetainedKey, RowCounts, StoreCopy};

#[async_trait]
impl StoreCopy for Memory {
    async fn row_counts(&self) -> Result<RowCounts> {
        let state = self.state()?;
        Ok(RowCounts {
            attempts: state.jobs.values().map(|entry| entry.ended.len() as u64).sum(),
            log_chunks: state.logs.len() as u64,
            keys: state.retained_keys.len() as u64,
            slots: state.schedules.slots.len() as u64,
            dependencies: state.schedules.dependency_rows(),
            tokens: state.tokens.len() as u64,
        })
    }

    async fn export(&self, after: Option<JobId>, limit: u32) -> Result<Vec<JobExport>> {
        let state = self.state()?;
        let above = state.jobs.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
        let export = |(id, entry): (&JobId, &Entry)| {
            Some(JobExport {
                job: state.view(*id)?,
                key_hash: entry.key_hash.clone(),
                expire_at: entry.expire_at,
                dead_at: state.dead.get(id).map(|(_, at)| *at),
                attempts: entry.ended.clone(),
            })
        };
        Ok(above.filter_map(export).take(limit as usize).collect())
    }

    async fn import(&self, exports: Vec<JobExport>) -> Result<u64> {
        let mut state = self.state()?;
        let mut new = 0;
        for JobExport { mut job, key_hash, expire_at, dead_at, attempts } in exports {
            let id = job.id;
            if state.jobs.contains_key(&id) {
                continue;
            }
            new += 1;
            state.next_job = state.next_job.max(id.0);
            state.queues.insert(job.spec.queue.clone());
            if let Some(key) = &job.spec.key {
                state.keys.insert(key.clone(), id);
            }
            if let Some((reason, at)) = job.state.dead.take().zip(dead_at) {
                state.dead.insert(id, (reason, at));
            }
            state.jobs.insert(id, Entry { job, expire_at, key_hash, ended: attempts });
        }
        Ok(new)
    }

    async fn export_keys(&self, after: Option<String>, limit: u32) -> Result<Vec<RetainedKey>> {
        let state = self.state()?;
        let above =
            |retained: &&RetainedKey| after.as_ref().is_none_or(|after| retained.key > *after);
        Ok(state.retained_keys.values().filter(above).take(limit as usize).cloned().collect())
    }

    async fn import_keys(&self, keys: Vec<RetainedKey>) -> Result<()> {
        let mut state = self.state()?;
        for retained in keys {
            if !state.keys.contains_key(&retained.key) {
                state.retained_keys.entry(retained.key.clone()).or_insert(retained);
            }
        }
        Ok(())
    }

    async fn next_job(&self) -> Result<JobId> {
        Ok(JobId(self.state()?.next_job + 1))
    }

    async fn skip_jobs(&self, next: JobId) -> Result<()> {
        let mut state = self.state()?;
        state.next_job = state.next_job.max(next.0 - 1);
        Ok(())
    }

    async fn home(&self) -> Result<Home> {
        Ok(self.state()?.home.clone())
    }

    async fn put_home(&self, home: Home) -> Result<()> {
        let mut state = self.state()?;
        state.home = Home { id: std::mem::take(&mut state.home.id), ..home };
        Ok(())
    }
}
