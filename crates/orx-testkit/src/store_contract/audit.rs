//! Cases of the record of changes.

use orx_store::{AUDIT_FOR, AuditRecord, AuditRequest};

use super::AStore;
use crate::make::at;

fn change(second: i64, action: &str) -> AuditRecord {
    AuditRecord {
        id: 0,
        at: at(second),
        action: action.to_owned(),
        object: "media".to_owned(),
        changed: 1,
        token: "ops".to_owned(),
        address: Some("10.0.0.7".to_owned()),
        person: None,
        reason: Some("disk full".to_owned()),
    }
}

/// Records are read newest first, page by page, whole.
pub async fn changes_are_recorded_and_read_newest_first(store: AStore) {
    for (second, action) in [(1, "pause_queue"), (2, "cancel_jobs"), (3, "pause_queue")] {
        store.record_change(change(second, action)).await.expect("recorded");
    }
    let request = AuditRequest { limit: 2, ..AuditRequest::default() };
    let page = store.audit(request.clone()).await.expect("read");
    assert_eq!(page.iter().map(|one| one.at).collect::<Vec<_>>(), [at(3), at(2)]);
    assert_eq!(AuditRecord { id: 0, ..page[0].clone() }, change(3, "pause_queue"));
    let rest = AuditRequest { before: Some(page[1].id), ..request.clone() };
    assert_eq!(store.audit(rest).await.expect("read")[0].at, at(1));
    let pauses = AuditRequest { action: Some("pause_queue".to_owned()), ..request };
    let pauses = store.audit(pauses).await.expect("read");
    assert_eq!(pauses.iter().map(|one| one.at).collect::<Vec<_>>(), [at(3), at(1)]);
}

/// A new record deletes those whose time is over.
pub async fn old_records_of_changes_are_deleted(store: AStore) {
    let later = AUDIT_FOR.as_secs() as i64;
    store.record_change(change(0, "cancel_jobs")).await.expect("recorded");
    store.record_change(change(9, "cancel_jobs")).await.expect("recorded");
    store.record_change(change(later + 5, "cancel_jobs")).await.expect("recorded");
    let request = AuditRequest { limit: 9, ..AuditRequest::default() };
    let left = store.audit(request).await.expect("read");
    assert_eq!(left.iter().map(|one| one.at).collect::<Vec<_>>(), [at(later + 5), at(9)]);
}
