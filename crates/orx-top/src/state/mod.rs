//! The state of the dashboard: plain data. Only [`crate::update`] changes it, and [`crate::view`] reads it.

pub(crate) mod details;
pub(crate) mod grid;
pub(crate) mod link;
pub(crate) mod log;
pub(crate) mod logs;
pub(crate) mod pages;
pub(crate) mod prompt;
pub(crate) mod question;
pub(crate) mod rates;
pub(crate) mod scroll;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use orx_model::schedule::wire::ScheduleView;
use orx_model::time::TimeStyle;
use orx_model::wire::live::EventLine;
use orx_model::wire::{
    CauseGroup, ClusterStatus, DeadLetter, Overview as ServerOverview, QueueView, ServerSettings,
    StatusCounts, WorkerView,
};
use orx_model::{CauseId, JobId, JobSummary, Name, Timestamp};

use self::details::Detail;
use self::grid::Grid;
use self::link::Link;
use self::logs::Logs;
use self::pages::{PageRequest, Pages};
use self::prompt::{InputHistory, Prompt, PromptKind};
use self::question::{Question, Verb};
use self::rates::RateHistory;
use crate::api::{Answer, Context, Failure, LiveNews, LogNews, LogRequest, Request, Topic};
use crate::look::Look;
use crate::options::{Screen, TopOptions};

/// When something happened, and a number from 0 to 1 by chance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UpdateTime {
    /// The wall clock of this machine.
    pub(crate) wall: Timestamp,
    /// The monotonic clock, from the start of the program.
    pub(crate) mono: Duration,
    pub(crate) chance: f64,
}

/// What happens to the dashboard.
#[derive(Debug)]
pub(crate) enum Msg {
    Key(crossterm::event::KeyEvent),
    Paste(String),
    Mouse(crossterm::event::MouseEvent),
    Resize(u16, u16),
    /// Time has passed.
    Tick,
    Answer {
        purpose: Purpose,
        request: Request,
        result: Result<Answer, Failure>,
    },
    Log {
        generation: u64,
        news: Vec<LogNews>,
    },
    Live {
        topic: Topic,
        news: LiveNews,
    },
    /// An effect ended, with what there is to say about it.
    Finished(Result<String, String>),
    /// The export with this number has written so many rows.
    ExportedSoFar(u64, u64),
    /// The export with this number ended.
    ExportEnded(u64, Result<String, String>),
    /// Requests go to this cluster from now on.
    Entered(Context),
}

/// What the dashboard does outside of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Call {
        purpose: Purpose,
        request: Request,
    },
    /// Follows a log, instead of the one followed before.
    Follow {
        generation: u64,
        request: LogRequest,
    },
    Unfollow,
    /// Watches these topics and no others; `anew`: also those that are watched already.
    Watch {
        topics: Vec<Topic>,
        anew: bool,
    },
    Copy {
        what: String,
        text: String,
    },
    Pager(String),
    /// Writes a text to a new file.
    Write {
        path: String,
        text: String,
    },
    /// Adds a line to the log of the link.
    Log(String),
    /// Writes what matches a filter to a new file, one JSON object a line.
    Export {
        number: u64,
        path: String,
        what: Exported,
    },
    StopExport,
    /// Goes to the cluster of this name.
    Enter(String),
    Mouse(bool),
    Redraw,
    Suspend,
    Quit,
}

/// What an export writes: what matches this filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exported {
    Jobs(String),
    DeadLetters(String),
}

impl Exported {
    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Self::Jobs(_) => "jobs",
            Self::DeadLetters(_) => "dead letters",
        }
    }
}

/// An export that is under way.
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) number: u64,
    pub(crate) path: String,
    pub(crate) noun: &'static str,
    /// Rows so far.
    pub(crate) count: u64,
}

/// What a request is for. One of a kind is under way at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    Cluster,
    Settings,
    Queues,
    Workers,
    /// The newest jobs, for the overview.
    Recent,
    Jobs(PageRequest),
    Job(JobId),
    /// The changes by people, for the events of a job.
    Audit(JobId),
    Worker(String),
    Schedules,
    Slots(Name),
    Dead(u64),
    /// Counts what the question with this number would change.
    DryRun(u64),
    /// Part of the change with this number.
    Change(u64),
}

/// Rows that one request brings whole.
#[derive(Debug)]
pub(crate) struct Listed<R> {
    pub(crate) rows: Vec<R>,
    pub(crate) grid: Grid,
    /// The place of the column that the rows are sorted by; `None`: as the server sends them.
    pub(crate) sort: Option<usize>,
    pub(crate) reverse: bool,
}

impl<R> Default for Listed<R> {
    fn default() -> Self {
        Self { rows: Vec::new(), grid: Grid::default(), sort: None, reverse: false }
    }
}

/// A box of the overview.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum OverviewBox {
    Counters,
    Queues,
    #[default]
    Recent,
    Attention,
}

impl OverviewBox {
    pub(crate) const ALL: [Self; 4] = [Self::Counters, Self::Queues, Self::Recent, Self::Attention];
}

/// The overview.
#[derive(Debug, Default)]
pub(crate) struct Overview {
    pub(crate) focus: OverviewBox,
    pub(crate) counters: Grid,
    pub(crate) queues: Grid,
    pub(crate) recent: Grid,
    pub(crate) attention: Grid,
    pub(crate) rows: Vec<JobSummary>,
    pub(crate) rates: RateHistory,
    /// As the server counts it.
    pub(crate) server: Option<Box<ServerOverview>>,
}

/// The list of jobs.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    pub(crate) pages: Pages,
    pub(crate) grid: Grid,
}

/// The dead letters: the most frequent causes, or the newest one by one.
#[derive(Debug, Default)]
pub(crate) struct Dead {
    pub(crate) causes: Vec<CauseGroup>,
    pub(crate) letters: Vec<DeadLetter>,
    /// The cause whose dead letters are shown; `None`: of every cause.
    pub(crate) cause: Option<CauseId>,
    /// There are more than these.
    pub(crate) more: bool,
    pub(crate) filter: String,
    pub(crate) single: bool,
    pub(crate) grid: Grid,
    pub(crate) generation: u64,
}

/// An order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As the server sends the rows.
    AsSent,
    /// By a column, by its place among those that the list can be sorted by.
    Column(usize),
    /// Of jobs.
    NewestFirst,
    /// Of jobs.
    OldestFirst,
}

/// A small window over the screen.
#[derive(Debug)]
pub(crate) enum Popup {
    /// The keys that work here; `filter` narrows them.
    Help { filter: String, top: usize },
    /// The recent changes.
    Actions(Grid),
    /// The orders of the list, and which columns have none.
    Sort { choices: Vec<(String, Order)>, note: String, grid: Grid },
    /// What can be copied: its name and its text.
    Copy { choices: Vec<(String, String)>, grid: Grid },
}

/// How a message is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Plain,
    Bad,
}

/// The text of the message line.
#[derive(Debug, Clone)]
pub(crate) struct StatusMessage {
    pub(crate) text: String,
    pub(crate) tone: Tone,
    pub(crate) at: Duration,
}

/// A change that was asked for.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) number: u64,
    pub(crate) verb: Verb,
    pub(crate) at: Timestamp,
    pub(crate) started: Duration,
    /// Answers that have not come.
    pub(crate) open: usize,
    /// The same as a command.
    pub(crate) command: String,
    pub(crate) result: ChangeResult,
    /// The rest waits for the end of one job.
    pub(crate) canary: Option<Canary>,
}

/// A retry of which one job runs first.
#[derive(Debug)]
pub(crate) struct Canary {
    pub(crate) job: JobId,
    /// To be sent once the job has completed.
    pub(crate) rest: Vec<Request>,
}

/// What became of a change so far.
#[derive(Debug, Default)]
pub(crate) struct ChangeResult {
    pub(crate) affected: u64,
    /// What was left alone, and why.
    pub(crate) left: Vec<String>,
    pub(crate) note: Option<String>,
    pub(crate) failure: Option<Failure>,
}

/// What is shown stands still.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) since: UpdateTime,
    /// Answers that came since. Of those for one purpose the last is enough.
    pub(crate) waiting: VecDeque<Msg>,
    pub(crate) count: usize,
    /// Output of jobs among them.
    pub(crate) bytes: usize,
}

/// The streams of changes.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub(crate) watched: Vec<Topic>,
    /// When each topic sent its last message.
    pub(crate) last_messages: HashMap<Topic, Duration>,
    /// All are to be opened anew, because the server is back.
    pub(crate) anew: bool,
}

/// What the header and the overview show.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterFacts {
    pub(crate) leader: Option<String>,
    pub(crate) epoch: u64,
    pub(crate) nodes: (usize, usize),
    pub(crate) workers: (u32, Option<u32>),
    pub(crate) slots: (u32, u32),
    pub(crate) counts: StatusCounts,
    pub(crate) dead_letters: u64,
    /// What needs a person, and the screen that shows more about it.
    pub(crate) attention: Vec<(Screen, String)>,
    /// The lines on the store and the transport.
    pub(crate) health: Vec<String>,
}

/// The requests: which are under way, and what became of the last ones.
#[derive(Debug, Default)]
pub(crate) struct OpenCalls {
    pub(crate) in_flight: HashMap<Purpose, Duration>,
    pub(crate) answered: HashMap<Purpose, Duration>,
    pub(crate) failed: HashMap<Purpose, Failure>,
}

/// The whole state.
pub(crate) struct App {
    pub(crate) options: TopOptions,
    pub(crate) look: Look,
    pub(crate) mouse: bool,
    /// Texts are wrapped.
    pub(crate) wrap: bool,
    /// Columns and lines of the terminal.
    pub(crate) size: (u16, u16),
    pub(crate) now: UpdateTime,
    /// How far the server's clock is ahead of this machine's, in milliseconds.
    pub(crate) offset_ms: i64,
    pub(crate) link: Link,
    pub(crate) calls: OpenCalls,
    pub(crate) screen: Screen,
    pub(crate) screen_before: Screen,
    /// What is open over the screen; the last is shown.
    pub(crate) details: Vec<Detail>,
    pub(crate) cluster: Option<ClusterStatus>,
    pub(crate) facts: Option<ClusterFacts>,
    pub(crate) streams: Streams,
    /// The changes of workers, queues, schedules and nodes, newest first.
    pub(crate) events: VecDeque<EventLine>,
    pub(crate) events_grid: Grid,
    pub(crate) logs: Logs,
    pub(crate) overview: Overview,
    pub(crate) jobs: Jobs,
    pub(crate) queues: Listed<QueueView>,
    pub(crate) workers: Listed<WorkerView>,
    pub(crate) schedules: Listed<ScheduleView>,
    pub(crate) dead: Dead,
    pub(crate) nodes: Grid,
    pub(crate) settings: Grid,
    /// The settings in force at the server that answered last.
    pub(crate) server_settings: Option<ServerSettings>,
    pub(crate) prompt: Option<Prompt>,
    pub(crate) histories: BTreeMap<PromptKind, InputHistory>,
    pub(crate) question: Option<Question>,
    pub(crate) popup: Option<Popup>,
    pub(crate) message: Option<StatusMessage>,
    pub(crate) changes: Vec<Change>,
    pub(crate) frozen: Option<Frozen>,
    pub(crate) export: Option<Export>,
    /// Numbers questions, changes and followed logs.
    pub(crate) last_number: u64,
}

impl App {
    pub(crate) fn new(options: TopOptions, size: (u16, u16), now: UpdateTime) -> Self {
        let look = Look { ascii: options.ascii, theme: options.theme, time: TimeStyle::Relative };
        let mut jobs = Jobs::default();
        jobs.pages.filter = options.filter.clone();
        let mut app = Self {
            look,
            mouse: options.mouse,
            wrap: false,
            size,
            now,
            offset_ms: 0,
            link: Link::default(),
            calls: OpenCalls::default(),
            screen: options.screen.unwrap_or(Screen::Overview),
            screen_before: Screen::Overview,
            details: Vec::new(),
            cluster: None,
            facts: None,
            streams: Streams::default(),
            events: VecDeque::new(),
            events_grid: Grid::default(),
            logs: Logs::default(),
            overview: Overview::default(),
            jobs,
            queues: Listed::default(),
            workers: Listed::default(),
            schedules: Listed::default(),
            dead: Dead::default(),
            nodes: Grid::default(),
            settings: Grid::default(),
            server_settings: None,
            prompt: None,
            histories: BTreeMap::new(),
            question: None,
            popup: None,
            message: None,
            changes: Vec::new(),
            frozen: None,
            export: None,
            last_number: 0,
            options,
        };
        app.fit();
        app
    }

    /// Goes to another cluster: nothing of the one before stays but what the user has typed and chosen for
    /// the look.
    pub(crate) fn enter(&mut self, context: Context) {
        let options = &mut self.options;
        (options.context, options.color) = (context.name, context.color);
        (options.read_only, options.protected) = (context.read_only, context.protected);
        // Each field is named, so that a new one is not forgotten.
        let Self {
            options: _,
            look: _,
            mouse: _,
            wrap: _,
            size: _,
            now: _,
            histories: _,
            last_number: _,
            screen: _,
            screen_before,
            offset_ms,
            link,
            calls,
            details,
            cluster,
            facts,
            streams,
            events,
            events_grid,
            logs,
            overview,
            jobs,
            queues,
            workers,
            schedules,
            dead,
            nodes,
            settings,
            prompt,
            question,
            popup,
            message,
            changes,
            frozen,
            export,
            server_settings,
        } = self;
        (*screen_before, *offset_ms) = (Screen::Overview, 0);
        (*link, *calls, *streams) = (Link::default(), OpenCalls::default(), Streams::default());
        (*cluster, *facts, *overview) = (None, None, Overview::default());
        details.clear();
        events.clear();
        changes.clear();
        logs.restart(String::new());
        // Answers about the lists of before are of another generation, and never come here.
        let oldest_first = jobs.pages.oldest_first;
        *jobs = Jobs::default();
        jobs.pages.oldest_first = oldest_first;
        *dead = Dead { single: dead.single, ..Dead::default() };
        fn emptied<R>(list: &mut Listed<R>) {
            list.rows.clear();
            list.grid = Grid::default();
        }
        emptied(queues);
        emptied(workers);
        emptied(schedules);
        (*events_grid, *nodes, *settings) = (Grid::default(), Grid::default(), Grid::default());
        (*prompt, *question, *popup, *message) = (None, None, None, None);
        (*frozen, *export, *server_settings) = (None, None, None);
        self.fit();
    }

    /// The time at the server; while frozen, that of the moment of freezing.
    pub(crate) fn server_now(&self) -> Timestamp {
        let wall = self.frozen.as_ref().map_or(self.now.wall, |frozen| frozen.since.wall);
        Timestamp::from_millis(wall.as_millis().saturating_add(self.offset_ms))
    }

    pub(crate) fn detail(&self) -> Option<&Detail> {
        self.details.last()
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(crate) fn notify(&mut self, tone: Tone, text: impl Into<String>) {
        self.message = Some(StatusMessage { text: text.into(), tone, at: self.now.mono });
    }

    /// Whether changes can be asked for at all.
    pub(crate) fn is_read_only(&self) -> bool {
        self.options.read_only || self.options.replay
    }

    /// The name of the cluster for questions.
    pub(crate) fn cluster_name(&self) -> &str {
        &self.options.context
    }

    /// Tells every list how many rows fit.
    pub(crate) fn fit(&mut self) {
        crate::layout::fit(self);
    }
}
