//! Dead letters in the reference model.

use async_trait::async_trait;
use orx_model::{JobId, JobSummary, Timestamp};

use super::{Memory, matches};
use crate::cause_groups::CauseGroups;
use crate::{
    CausesPage, CausesRequest, DeadLetterRow, DeadLetters, ListRequest, Page, Result, Term,
};

#[async_trait]
impl DeadLetters for Memory {
    async fn dead_letters(
        &self,
        request: ListRequest,
        now: Timestamp,
    ) -> Result<Page<DeadLetterRow>> {
        let state = self.state()?;
        let page = state.page(&request, now, |id| state.dead.contains_key(&id));
        let letter = |job: JobSummary| {
            let (reason, at) = state.dead.get(&job.id).copied()?;
            Some(DeadLetterRow { job, reason, at })
        };
        Ok(Page { rows: page.rows.into_iter().filter_map(letter).collect(), next: page.next })
    }

    async fn dead_letter_count(&self, most: u64) -> Result<u64> {
        Ok((self.state()?.dead.len() as u64).min(most))
    }

    async fn causes(&self, request: CausesRequest, now: Timestamp) -> Result<CausesPage> {
        let state = self.state()?;
        let mut groups = CauseGroups::default();
        for (id, (reason, at)) in &state.dead {
            let job = state.view(*id).filter(|job| matches(&request.filter, job, now));
            if let Some(job) = job {
                groups.add(&DeadLetterRow { job: job.into(), reason: *reason, at: *at });
            }
        }
        Ok(groups.page(&request))
    }

    /// This store computes causes as it reads them.
    async fn assign_causes(&self, _: u32, term: Term) -> Result<u64> {
        self.state()?.leads(term).map(|()| 0)
    }

    async fn delete_dead_letters(&self, ids: Vec<JobId>) -> Result<Vec<bool>> {
        let mut state = self.state()?;
        Ok(ids.iter().map(|id| state.dead.remove(id).is_some()).collect())
    }
}
