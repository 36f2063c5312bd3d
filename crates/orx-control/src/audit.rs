//! Records the changes that people and programs make: who, from where, what, and why.

use orx_model::text::truncate_bytes;
use orx_model::wire::{AuditAction, AuditEntry, AuditPage, AuditQuery, V};
use orx_model::{Code, Problem, limits};
use orx_store::{AuditRecord, AuditRequest};

use crate::view::rows;
use crate::{Caller, ControlPanel, Result, Scope, store_problem};

/// Objects that a record names, at most.
const NAMED: usize = 20;

/// A change that was made.
pub(crate) struct MadeChange<'a> {
    pub(crate) action: AuditAction,
    pub(crate) object: String,
    pub(crate) changed: u64,
    pub(crate) by: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
}

impl ControlPanel {
    /// Records a change that was made. A store that fails now does not undo the change: the record is then
    /// in the log of this server only.
    pub(crate) async fn record_change(&self, caller: &Caller, change: MadeChange<'_>) {
        let MadeChange { action, object, changed, by, reason } = change;
        if changed == 0 {
            return;
        }
        let record = AuditRecord {
            id: 0,
            at: self.now(),
            action: action.as_str().to_owned(),
            object: cut(&object),
            changed,
            token: cut(&caller.name),
            address: caller.address.clone(),
            person: by.map(cut),
            reason: reason.map(cut),
        };
        if let Err(error) = self.store().record_change(record).await {
            tracing::error!(
                %error, %action, object = &*orx_model::text::clean_line(&object), changed,
                token = &*orx_model::text::clean_line(&caller.name), "could not record a change"
            );
        }
    }

    /// A page of the changes that people and programs made, newest first.
    ///
    /// # Errors
    /// [`Code::NotAllowed`] without `admin`; [`Code::BadRequest`], and errors of the store.
    pub async fn audit(&self, caller: &Caller, query: &AuditQuery) -> Result<AuditPage> {
        caller.need(Scope::Admin)?;
        let limit = rows(query.limit)?;
        if let Some(action) = &query.action
            && AuditAction::of_name(action).is_none()
        {
            let all: Vec<&str> = AuditAction::ALL.into_iter().map(AuditAction::as_str).collect();
            let detail = format!("there is no action `{}`", cut(action));
            let near = orx_model::text::nearest(action, all.iter().copied());
            let problem = Problem::new(Code::BadRequest, detail);
            return Err(match near {
                Some(near) => problem.hint(format!("did you mean `{near}`?")),
                None => problem.hint(format!("the actions are: {}", all.join(", "))),
            });
        }
        let (before, action) = (query.cursor, query.action.clone());
        let request = AuditRequest { before, action, limit: limit + 1 };
        let mut records = self.store().audit(request).await.map_err(store_problem)?;
        let more = records.len() > limit as usize;
        records.truncate(limit as usize);
        let next = records.last().filter(|_| more).map(|record| record.id);
        let entry = |record: AuditRecord| AuditEntry {
            id: record.id,
            at: record.at,
            action: record.action,
            object: record.object,
            changed: record.changed,
            token: record.token,
            address: record.address,
            by: record.person,
            reason: record.reason,
        };
        Ok(AuditPage { v: V, entries: records.into_iter().map(entry).collect(), next })
    }
}

/// Names some objects, and how many others there are.
pub(crate) fn named(all: impl ExactSizeIterator<Item = impl ToString>) -> String {
    let count = all.len();
    let names: Vec<String> = all.take(NAMED).map(|one| one.to_string()).collect();
    let others = match count.saturating_sub(NAMED) {
        0 => String::new(),
        others => format!(" and {others} others"),
    };
    format!("{}{others}", names.join(", "))
}

/// A text within the limit of a record, cut at a character.
fn cut(text: &str) -> String {
    truncate_bytes(text, limits::ERROR_BYTES).to_owned()
}
