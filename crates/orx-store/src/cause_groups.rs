//! Groups dead letters by cause, for a filter that the counts of a store cannot answer.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use orx_model::filter::{Filter, Test};
use orx_model::{Cause, CauseId};

use crate::{CauseRow, CausesPage, CausesRequest, DeadLetterRow};

/// The causes of the dead letters that were added.
#[derive(Debug, Default)]
pub(crate) struct CauseGroups(BTreeMap<CauseId, CauseRow>);

impl CauseGroups {
    pub(crate) fn add(&mut self, letter: &DeadLetterRow) {
        let DeadLetterRow { job, reason, at } = letter;
        let name = &job.spec.name;
        let cause = Cause::new(name, job.state.error.as_deref(), *reason);
        let row = self.0.entry(cause.id).or_insert_with(|| CauseRow {
            id: cause.id,
            name: name.clone(),
            text: cause.text,
            count: 0,
            queues: [].into(),
            reasons: [].into(),
            first: *at,
            last: *at,
            sample: job.id,
        });
        row.count += 1;
        row.queues.insert(job.spec.queue.clone());
        row.reasons.insert(*reason);
        row.first = row.first.min(*at);
        row.last = row.last.max(*at);
        row.sample = row.sample.max(job.id);
    }

    pub(crate) fn page(self, request: &CausesRequest) -> CausesPage {
        let place = |count, id: CauseId| (Reverse(count), id.to_signed());
        let after = request.after.map(|(count, id)| place(count, id));
        let beyond = |row: &CauseRow| after.is_none_or(|after| place(row.count, row.id) > after);
        let mut rows: Vec<CauseRow> = self.0.into_values().filter(beyond).collect();
        rows.sort_unstable_by_key(|row| place(row.count, row.id));
        let more = rows.len() > request.limit as usize;
        rows.truncate(request.limit as usize);
        let next = rows.last().filter(|_| more).map(|row| (row.count, row.id));
        CausesPage { rows, next }
    }
}

/// Whether the counts that a store keeps for each cause answer this filter.
pub(crate) fn is_counted(filter: &Filter) -> bool {
    filter.terms.iter().all(|term| !term.negated && matches!(term.test, Test::Cause(_)))
}
