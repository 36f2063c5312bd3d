//! What the protocol asks of the runtime.

use orx_model::ExecutionId;
use orx_model::message::{Dispatch, Message};

/// What the runtime must do.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Run the attempt; [`Input::Started`](super::Input::Started) and
    /// [`Input::Ended`](super::Input::Ended) follow.
    Start(Dispatch),
    /// Stop the attempt: its job is cancelled. Its outcome is cancelled.
    Cancel(ExecutionId),
    /// Stop the attempt: it is no longer current. Its outcome is not reported.
    Abandon(ExecutionId),
    /// Stop the attempt in an orderly way: another worker gets its job. Its outcome is interrupted.
    Interrupt(ExecutionId),
    /// Publish to the events of each job's shard.
    Publish(Message),
    /// Send a heartbeat now.
    HeartbeatNow,
    /// Register again: the coordinator does not know this worker.
    Register,
    /// End this incarnation: it was fenced, and its executions are no longer its own.
    Fenced,
}
