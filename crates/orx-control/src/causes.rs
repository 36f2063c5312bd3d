//! Dead letters by cause.

use orx_model::mask::mask_text;
use orx_model::wire::{CauseGroup, CausePage, CausesQuery, V};
use orx_model::{CauseId, Code, Problem};
use orx_store::{CauseRow, CausesRequest};

use crate::change::parse_filter;
use crate::view::rows;
use crate::{Caller, ControlPanel, Result, Scope, store_problem};

impl ControlPanel {
    /// A page of the causes of dead letters, the most frequent first.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn causes(&self, caller: &Caller, query: &CausesQuery) -> Result<CausePage> {
        caller.need(Scope::Read)?;
        let now = self.now();
        let filter = parse_filter(query.filter.as_deref(), query.tz.as_deref(), now)?;
        let after = query.cursor.as_deref().map(cursor).transpose()?;
        let request = CausesRequest { filter, after, limit: rows(query.limit)? };
        let page = self.store().causes(request, now).await.map_err(store_problem)?;
        Ok(CausePage {
            v: V,
            causes: page.rows.into_iter().map(group).collect(),
            next: page.next.map(|(count, id)| format!("{count}.{id}")),
        })
    }
}

fn cursor(text: &str) -> Result<(u64, CauseId)> {
    let parsed = text.split_once('.').and_then(|(count, id)| {
        let digits = count.bytes().all(|byte| byte.is_ascii_digit());
        Some((count.parse().ok().filter(|_| digits)?, id.parse().ok()?))
    });
    parsed.ok_or_else(|| Problem::new(Code::BadRequest, "`cursor` is not the `next` of a page"))
}

fn group(row: CauseRow) -> CauseGroup {
    CauseGroup {
        cause_id: row.id,
        // An error may hold a password.
        cause: mask_text(&row.text).into_owned(),
        name: row.name,
        count: row.count,
        reasons: row.reasons.into_iter().collect(),
        queues: row.queues.into_iter().collect(),
        first: row.first,
        last: row.last,
        sample: row.sample,
    }
}
