//! A question before a change: what will happen, to what, and the answer. Its targets are those of the
//! moment at which the key was pressed, with the status that the user saw.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use orx_model::wire::ChangeAnswer;
use orx_model::{JobId, JobStatus};
use tui_input::Input;

use crate::api::Failure;
use crate::state::prompt::edit;

/// Keys within this time after a question appeared were meant for what was there before.
pub(crate) const GUARD: Duration = Duration::from_millis(300);
/// Of more targets than these the number is typed.
pub(crate) const TYPED_ABOVE: u64 = 100;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    CancelJobs,
    RetryJobs,
    DeleteJobs,
    RetryDead,
    DeleteDead,
    Drain,
    Undrain,
    DrainNode,
    UndrainNode,
    PauseQueue,
    ResumeQueue,
    PauseSchedule,
    ResumeSchedule,
    Trigger,
    RemoveSchedule,
}

impl Verb {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::CancelJobs => "cancel",
            Self::RetryJobs | Self::RetryDead => "retry",
            Self::DeleteJobs | Self::DeleteDead => "delete",
            Self::Drain | Self::DrainNode => "drain",
            Self::Undrain | Self::UndrainNode => "undrain",
            Self::PauseQueue | Self::PauseSchedule => "pause",
            Self::ResumeQueue | Self::ResumeSchedule => "resume",
            Self::Trigger => "trigger",
            Self::RemoveSchedule => "remove",
        }
    }

    /// What it is done to.
    pub(crate) fn object(self, count: u64) -> String {
        let one = match self {
            Self::CancelJobs | Self::RetryJobs | Self::DeleteJobs => "job",
            Self::RetryDead | Self::DeleteDead => "dead letter",
            Self::Drain | Self::Undrain => "worker",
            Self::DrainNode | Self::UndrainNode => "node",
            Self::PauseQueue | Self::ResumeQueue => "queue",
            Self::PauseSchedule | Self::ResumeSchedule | Self::Trigger | Self::RemoveSchedule => {
                "schedule"
            }
        };
        format!("{count} {one}{}", if count == 1 { "" } else { "s" })
    }

    /// Whether work or data is lost.
    pub(crate) fn is_heavy(self) -> bool {
        match self {
            Self::CancelJobs
            | Self::DeleteJobs
            | Self::DeleteDead
            | Self::Drain
            | Self::DrainNode
            | Self::RemoveSchedule => true,
            Self::RetryJobs
            | Self::RetryDead
            | Self::Undrain
            | Self::UndrainNode
            | Self::PauseQueue
            | Self::ResumeQueue
            | Self::PauseSchedule
            | Self::ResumeSchedule
            | Self::Trigger => false,
        }
    }

    /// What happens, in a sentence.
    pub(crate) fn consequence(self, running: bool) -> &'static str {
        match self {
            Self::CancelJobs if running => {
                "What runs gets SIGTERM, then SIGKILL. A retry starts it anew."
            }
            Self::CancelJobs => "What waits will not run. A retry starts it anew.",
            Self::RetryJobs | Self::RetryDead => "They run again, with all their tries.",
            Self::DeleteJobs => {
                "What has ended is gone, with logs and dead letter. Nothing undoes it."
            }
            Self::DeleteDead => "The jobs stay in the history, and can be retried there.",
            Self::Drain => {
                "It takes no new jobs and finishes what it has. `d` takes the drain back."
            }
            Self::Undrain => "It takes jobs again.",
            Self::DrainNode => {
                "Another node leads, and its workers move. `d` takes the drain back."
            }
            Self::UndrainNode => "It may lead again, and takes workers.",
            Self::PauseQueue => "None of its jobs start until it is resumed.",
            Self::ResumeQueue => "Its jobs start again.",
            Self::PauseSchedule => "It does not fire until it is resumed.",
            Self::ResumeSchedule => "It fires again.",
            Self::Trigger => "Its job runs now, beside its due times.",
            Self::RemoveSchedule => "Its due times and its ledger are lost. Its jobs stay.",
        }
    }

    /// Whether the server can count first what would change.
    fn has_dry_run(self) -> bool {
        self.is_of_jobs()
    }

    /// Whether it changes jobs or dead letters.
    pub(crate) fn is_of_jobs(self) -> bool {
        matches!(
            self,
            Self::CancelJobs
                | Self::RetryJobs
                | Self::DeleteJobs
                | Self::RetryDead
                | Self::DeleteDead
        )
    }
}

/// One thing that the change is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WriteTarget {
    /// The id by which the server knows it.
    pub(crate) id: String,
    pub(crate) name: String,
    /// What the user saw of it, for the dialog.
    pub(crate) label: String,
    /// For jobs: the status that the user saw.
    pub(crate) status: Option<JobStatus>,
    /// For schedules: the version that the user saw.
    pub(crate) version: u64,
}

/// What would change.
#[derive(Debug, Clone)]
pub(crate) enum DryRun {
    /// There is nothing to count.
    None,
    Asked,
    Counted(ChangeAnswer),
    Failed(Failure),
}

/// Where the keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Focus {
    Answer,
    Reason,
    Force,
    Canary,
}

/// A question.
#[derive(Debug)]
pub(crate) struct Question {
    /// Answers to its dry run have its number.
    pub(crate) number: u64,
    pub(crate) verb: Verb,
    pub(crate) targets: Vec<WriteTarget>,
    /// The filter, if everything that matches it is meant.
    pub(crate) filter: Option<String>,
    pub(crate) asked_at: Duration,
    pub(crate) reason: Input,
    pub(crate) typed: Input,
    pub(crate) force: bool,
    /// The job that may run first, before the others are retried.
    pub(crate) canary: Option<JobId>,
    /// The user wants that.
    pub(crate) canary_first: bool,
    pub(crate) focus: Focus,
    pub(crate) dry_run: DryRun,
    protected: bool,
}

/// What a key does to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It stays.
    Open,
    /// Nothing is changed.
    Keep,
    Confirm,
}

impl Question {
    pub(crate) fn new(
        number: u64,
        verb: Verb,
        targets: Vec<WriteTarget>,
        filter: Option<String>,
        protected: bool,
        asked_at: Duration,
    ) -> Self {
        let many = targets.len() > 1 || filter.is_some();
        let dry_run = if many && verb.has_dry_run() { DryRun::Asked } else { DryRun::None };
        Self {
            number,
            verb,
            targets,
            filter,
            asked_at,
            reason: Input::default(),
            typed: Input::default(),
            force: false,
            canary: None,
            canary_first: false,
            focus: Focus::Answer,
            dry_run,
            protected,
        }
    }

    /// A question of one line.
    pub(crate) fn is_light(&self) -> bool {
        self.targets.len() == 1 && self.filter.is_none() && !self.verb.is_heavy()
    }

    /// How many would change; `None` until the server has counted.
    pub(crate) fn count(&self) -> Option<u64> {
        match &self.dry_run {
            DryRun::None => Some(self.targets.len() as u64),
            DryRun::Counted(answer) => Some(answer.affected),
            DryRun::Asked | DryRun::Failed(_) => None,
        }
    }

    /// Whether the number must be typed.
    pub(crate) fn wants_number(&self) -> bool {
        let many = self.targets.len() > 1 || self.filter.is_some();
        many && self
            .count()
            .is_some_and(|count| count > 0 && (self.protected || count > TYPED_ABOVE))
    }

    /// Whether one job can run before the others.
    pub(crate) fn offers_canary(&self) -> bool {
        self.verb == Verb::RetryDead && self.canary.is_some() && !self.is_light()
    }

    fn may_confirm(&self) -> bool {
        match self.count() {
            None | Some(0) => false,
            Some(count) => !self.wants_number() || self.typed.value().trim() == count.to_string(),
        }
    }

    /// Takes a key. `now` is that of the clock that [`Self::asked_at`] was read from.
    pub(crate) fn key(&mut self, key: &KeyEvent, now: Duration) -> Reply {
        if now.saturating_sub(self.asked_at) < GUARD {
            return Reply::Open;
        }
        match (key.code, self.focus) {
            (KeyCode::Esc, _) => return Reply::Keep,
            (KeyCode::Tab | KeyCode::BackTab, _) if !self.is_light() => {
                self.focus = match self.focus {
                    Focus::Answer => Focus::Reason,
                    Focus::Reason if self.verb == Verb::CancelJobs => Focus::Force,
                    Focus::Reason if self.offers_canary() => Focus::Canary,
                    Focus::Reason | Focus::Force | Focus::Canary => Focus::Answer,
                };
            }
            (KeyCode::Enter, Focus::Reason) => self.focus = Focus::Answer,
            (_, Focus::Reason) => {
                edit(&mut self.reason, key);
            }
            (KeyCode::Char(' '), Focus::Force) => self.force = !self.force,
            (KeyCode::Char(' '), Focus::Canary) => self.canary_first = !self.canary_first,
            _ if key.modifiers.contains(KeyModifiers::CONTROL) => {}
            (KeyCode::Enter | KeyCode::Char('n' | 'N' | 'q'), _) => return Reply::Keep,
            (KeyCode::Char('y'), _) if self.may_confirm() => return Reply::Confirm,
            (KeyCode::Char('0'..='9') | KeyCode::Backspace, _) if self.wants_number() => {
                edit(&mut self.typed, key);
            }
            _ => {}
        }
        Reply::Open
    }

    pub(crate) fn reason_text(&self) -> Option<String> {
        Some(self.reason.value().trim().to_owned()).filter(|text| !text.is_empty())
    }
}
