//! Changes of many jobs, which the server carries out as operations.

use orx_model::text::clean_line;
use orx_model::wire::{OperationAction, OperationRequest, OperationStatus, OperationView};

use super::writes::ids_of;
use crate::state::ChangeResult;
use crate::state::question::{Question, TYPED_ABOVE, Verb};

/// The operation for a whole filter, or for more jobs than one request should change.
pub(super) fn operation(question: &Question, by: Option<String>) -> Option<OperationRequest> {
    let (action, dead) = match question.verb {
        Verb::CancelJobs => (OperationAction::Cancel, false),
        Verb::DeleteJobs => (OperationAction::Remove, false),
        Verb::RetryDead => (OperationAction::Retry, true),
        Verb::DeleteDead => (OperationAction::RemoveDeadLetters, true),
        _ => (OperationAction::Retry, false),
    };
    let filter = question.filter.clone();
    let few = question.targets.len() as u64 <= TYPED_ABOVE;
    if filter.is_none() && few {
        return None;
    }
    Some(OperationRequest {
        ids: if filter.is_none() { ids_of(&question.targets) } else { Vec::new() },
        max_affected: filter.as_ref().and_then(|_| question.count()),
        dead: dead && filter.is_some(),
        filter,
        reason: question.reason_text(),
        by,
        force: question.force && action == OperationAction::Cancel,
        ..OperationRequest::new(action)
    })
}

/// Adds what an operation changed and left alone to the result of its change.
pub(super) fn note(result: &mut ChangeResult, operation: &OperationView) {
    result.affected += operation.changed;
    let left = &operation.left_alone;
    let reasons = [
        (left.already_ended, "ended before"),
        (left.not_ended, "have not ended"),
        (left.not_found, "are not there any more"),
        (left.in_use, "are still waited for"),
    ];
    let reasons = reasons.into_iter().filter(|(count, _)| *count > 0);
    result.left.extend(reasons.map(|(count, why)| format!("{count} {why}")));
    match operation.status {
        OperationStatus::Cancelled => result.note = Some("it was cancelled".to_owned()),
        OperationStatus::Failed => {
            let why = operation.problem.as_deref().unwrap_or("no reason is known");
            result.note = Some(format!("it failed: {}", clean_line(why)));
        }
        OperationStatus::Running | OperationStatus::Done => {}
    }
}
