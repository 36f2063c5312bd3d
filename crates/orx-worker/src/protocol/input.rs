//! What the runtime passes to the protocol.

use std::time::Duration;

use orx_model::message::{HeartbeatAnswer, Message};
use orx_model::{ExecutionId, Outcome, Timestamp};

/// One moment on two clocks.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The wall clock, for the times that are reported.
    pub wall: Timestamp,
    /// The monotonic clock of the worker, from an arbitrary zero. It measures all durations.
    pub mono: Duration,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A message arrived in the inbox.
    Message(Message),
    /// A coordinator answered a heartbeat or the first registration.
    Answered {
        /// The number of the heartbeat; 0 for the registration.
        heartbeat: u64,
        /// The answer.
        answer: HeartbeatAnswer,
    },
    /// A coordinator answered a later registration. It extends no lease: the registration does not list
    /// the executions that this worker holds.
    Registered(HeartbeatAnswer),
    /// The runtime carried out an [`Effect::Start`](super::Effect::Start).
    Started {
        /// Which one.
        execution: ExecutionId,
        /// When, on the wall clock.
        at: Timestamp,
    },
    /// An attempt of the runtime has ended, for whatever reason.
    Ended(Outcome),
    /// The time of [`Core::hand_back_at`](super::Core::hand_back_at) has come.
    Overdue,
    /// The time of [`Core::unreachable_at`](super::Core::unreachable_at) has come.
    Unreachable,
    /// Accept no dispatch, hand back the jobs that have not started, finish the others.
    Drain,
    /// As [`Input::Drain`], and interrupt the running attempts.
    Stop,
}
