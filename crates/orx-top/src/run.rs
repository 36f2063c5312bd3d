//! The loop: reads keys, answers and the clock, hands them to `update`, carries its effects out, and draws.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use orx_model::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::api::{LiveNews, LogNews, LogRequest, NEWS_MOST, ServerCommands, Topic};
use crate::export;
use crate::options::TopOptions;
use crate::saved::{self, Found, SavedState};
use crate::state::{App, Effect, Msg, Tone, UpdateTime};
use crate::terminal::{self, Screen};
use crate::update::{next_wake, update};
use crate::view;

/// Data is drawn at most this often; keys are drawn at once.
const DATA_FRAME: Duration = Duration::from_millis(100);
/// Messages that are taken in before the next frame.
const BATCH: usize = 256;

/// Where time and chance come from.
#[derive(Debug, Clone, Copy)]
pub struct TopClock {
    /// The wall clock.
    pub wall: fn() -> Timestamp,
    /// A number from 0 to 1 by chance.
    pub chance: fn() -> f64,
}

/// How the dashboard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The user quit.
    Quit,
    /// A signal of this number ended it.
    Signal(i32),
}

struct Runner {
    commands: Arc<dyn ServerCommands>,
    clock: TopClock,
    start: Instant,
    messages: Sender<Msg>,
    inbox: Receiver<Msg>,
    follows: Option<AbortHandle>,
    export: Option<AbortHandle>,
    watches: HashMap<Topic, AbortHandle>,
    screen: Screen,
    keys: Option<EventStream>,
}

/// Shows the dashboard until the user quits. The terminal is given back in any case.
///
/// # Errors
/// The terminal cannot be set up or written to.
pub async fn run(
    options: TopOptions,
    commands: Arc<dyn ServerCommands>,
    clock: TopClock,
) -> std::io::Result<Ended> {
    let start = Instant::now();
    let (messages, inbox) = channel(NEWS_MOST);
    let mouse = options.mouse;
    let screen = Screen::open(mouse)?;
    let mut signals = Signals::new()?;
    let keys = Some(EventStream::new());
    let mut runner = Runner {
        commands,
        clock,
        start,
        messages,
        inbox,
        follows: None,
        export: None,
        watches: HashMap::new(),
        screen,
        keys,
    };
    let on_screen = options.screen.is_none();
    let mut app = App::new(options, Screen::size(), runner.now());
    let saves = restore(&mut app, on_screen);
    let ended = runner.run(&mut app, &mut signals).await;
    if let Some(folder) = app.options.state.as_ref().filter(|_| saves) {
        // The user quits: there is nobody to tell that nothing stays.
        let _ = saved::save(folder, &SavedState::of(&app));
    }
    ended
}

/// Goes on as the last session ended. Returns whether this one may be saved.
fn restore(app: &mut App, on_screen: bool) -> bool {
    match app.options.state.as_deref().map(saved::load) {
        None | Some(Found::Nothing) => true,
        Some(Found::State(state)) => {
            state.put_back(app, on_screen);
            true
        }
        Some(Found::Unusable { reason, replace }) => {
            app.notify(Tone::Plain, reason);
            replace
        }
    }
}

impl Runner {
    /// Shows the dashboard until the user quits.
    async fn run(&mut self, app: &mut App, signals: &mut Signals) -> std::io::Result<Ended> {
        self.take(app, Msg::Tick)?;
        let mut drawn_data = self.start;
        let mut draw_at = Some(self.start);
        loop {
            if terminal::has_panicked() {
                let text = "a part of the dashboard failed, as reported above";
                return Err(std::io::Error::other(text));
            }
            let now = Instant::now();
            if draw_at.is_some_and(|at| at <= now) {
                self.screen.draw(app.size, |buffer| view::draw(app, buffer))?;
                draw_at = None;
            }
            let wake = next_wake(app).map(|wake| now + wake.max(Duration::from_millis(1)));
            let wake = [wake, draw_at].into_iter().flatten().min();
            let keys = self.keys.get_or_insert_with(EventStream::new);
            let (msg, is_data) = tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    Caught::End(number) => return Ok(Ended::Signal(number)),
                    Caught::Stop => {
                        self.suspend(app)?;
                        (Msg::Tick, false)
                    }
                },
                event = keys.next() => match event {
                    Some(Ok(Event::Key(key))) => (Msg::Key(key), false),
                    Some(Ok(Event::Paste(text))) => (Msg::Paste(text), false),
                    Some(Ok(Event::Mouse(event))) => (Msg::Mouse(event), false),
                    Some(Ok(Event::Resize(width, height))) => (Msg::Resize(width, height), false),
                    Some(Ok(Event::FocusGained | Event::FocusLost)) => continue,
                    // The terminal is gone.
                    Some(Err(_)) | None => return Ok(Ended::Signal(1)),
                },
                msg = self.inbox.recv() => match msg {
                    Some(msg) => (msg, true),
                    None => return Ok(Ended::Quit),
                },
                () = sleep_until(wake) => (Msg::Tick, false),
            };
            let mut quits = self.take(app, msg)?;
            if is_data {
                quits |= self.drain(app)?;
                let at = (drawn_data + DATA_FRAME).max(Instant::now());
                draw_at = Some(draw_at.map_or(at, |before| before.min(at)));
                drawn_data = at;
            } else {
                draw_at = Some(Instant::now());
            }
            if quits {
                return Ok(Ended::Quit);
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The signals that a dashboard answers to.
struct Signals {
    terminate: Signal,
    hang_up: Signal,
    stop: Signal,
}

enum Caught {
    End(i32),
    Stop,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            stop: signal(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw()))?,
        })
    }

    async fn next(&mut self) -> Caught {
        tokio::select! {
            _ = self.terminate.recv() => Caught::End(15),
            _ = self.hang_up.recv() => Caught::End(1),
            _ = self.stop.recv() => Caught::Stop,
        }
    }
}

impl Runner {
    fn now(&self) -> UpdateTime {
        let mono = self.start.elapsed();
        UpdateTime { wall: (self.clock.wall)(), mono, chance: (self.clock.chance)() }
    }

    /// Takes the messages in that have come by now.
    fn drain(&mut self, app: &mut App) -> std::io::Result<bool> {
        let mut quits = false;
        for _ in 0..BATCH {
            let Ok(msg) = self.inbox.try_recv() else { break };
            quits |= self.take(app, msg)?;
        }
        Ok(quits)
    }

    /// Updates the state and carries the effects out. Returns whether the user quits.
    fn take(&mut self, app: &mut App, msg: Msg) -> std::io::Result<bool> {
        let mut quits = false;
        for effect in update(app, self.now(), msg) {
            quits |= effect == Effect::Quit;
            self.carry_out(app, effect)?;
        }
        Ok(quits)
    }

    fn carry_out(&mut self, app: &mut App, effect: Effect) -> std::io::Result<()> {
        match effect {
            Effect::Call { purpose, request } => {
                let (commands, messages) = (Arc::clone(&self.commands), self.messages.clone());
                tokio::spawn(async move {
                    let result = commands.call(&request).await;
                    // After the end nobody waits for answers.
                    let _ = messages.send(Msg::Answer { purpose, request, result }).await;
                });
            }
            Effect::Follow { generation, request } => self.follow(generation, request),
            Effect::Unfollow => {
                if let Some(before) = self.follows.take() {
                    before.abort();
                }
            }
            Effect::Watch { topics, anew } => self.watch(topics, anew),
            Effect::Copy { what, text } => {
                let copied = match app.options.clipboard.as_slice() {
                    [] => self.screen.copy(&text),
                    command => pipe_into(command, &text),
                };
                let notice = match copied {
                    Ok(()) => Ok(format!("copied {what}")),
                    Err(error) => Err(format!("could not copy {what}: {error}")),
                };
                self.notify(notice);
            }
            Effect::Pager(text) => {
                let pager = app.options.pager.clone();
                self.keys = None;
                let shown = self.screen.suspend_for(app.mouse, || pipe_into(&pager, &text))?;
                if let Err(error) = shown {
                    let name = pager.first().cloned().unwrap_or_default();
                    self.notify(Err(format!("could not run the pager `{name}`: {error}")));
                }
            }
            Effect::Write { path, text } => {
                let full = app.options.folder.join(&path);
                let written =
                    export::create(&full).and_then(|mut file| file.write_all(text.as_bytes()));
                self.notify(match written {
                    Ok(()) => Ok(format!("wrote {path}")),
                    Err(error) => Err(export::not_written(&path, &error)),
                });
            }
            Effect::Log(line) => {
                if let Some(folder) = &app.options.state {
                    // A log that cannot be written is no reason to disturb anybody.
                    let _ = saved::append_to_log(folder, &line);
                }
            }
            Effect::Export { number, path, what } => {
                let (commands, messages) = (Arc::clone(&self.commands), self.messages.clone());
                let full = app.options.folder.join(&path);
                let task = tokio::spawn(async move {
                    // After the end nobody waits for either.
                    let progress = |count| {
                        let messages = messages.clone();
                        async move {
                            let _ = messages.send(Msg::ExportedSoFar(number, count)).await;
                        }
                    };
                    let ended = export::export(&*commands, &full, &path, what, progress).await;
                    let _ = messages.send(Msg::ExportEnded(number, ended)).await;
                });
                self.export = Some(task.abort_handle());
            }
            Effect::StopExport => {
                if let Some(task) = self.export.take() {
                    task.abort();
                }
            }
            Effect::Enter(name) => self.enter(app, &name)?,
            Effect::Mouse(on) => self.screen.set_mouse(on)?,
            Effect::Redraw => self.screen.forget(),
            Effect::Suspend => self.suspend(app)?,
            Effect::Quit => {}
        }
        Ok(())
    }

    /// Goes to another cluster. What is under way for the one before ends, and its answers never arrive.
    fn enter(&mut self, app: &mut App, name: &str) -> std::io::Result<()> {
        let Some(contexts) = app.options.contexts.clone() else { return Ok(()) };
        let (context, commands) = match contexts.open(name) {
            Ok(opened) => opened,
            Err(failure) => {
                let hint = failure.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                self.notify(Err(format!("{}{hint}", failure.message)));
                return Ok(());
            }
        };
        let watches = self.watches.drain().map(|(_, task)| task);
        for task in watches.chain(self.follows.take()).chain(self.export.take()) {
            task.abort();
        }
        (self.messages, self.inbox) = channel(NEWS_MOST);
        self.commands = commands;
        self.take(app, Msg::Entered(context)).map(|_| ())
    }

    fn notify(&self, notice: Result<String, String>) {
        let messages = self.messages.clone();
        tokio::spawn(async move {
            // After the end nobody waits for it.
            let _ = messages.send(Msg::Finished(notice)).await;
        });
    }

    fn follow(&mut self, generation: u64, request: LogRequest) {
        if let Some(before) = self.follows.take() {
            before.abort();
        }
        let (commands, messages) = (Arc::clone(&self.commands), self.messages.clone());
        let (sender, mut news) = channel::<LogNews>(NEWS_MOST);
        let task = tokio::spawn(async move {
            let forward = async {
                let mut batch = Vec::new();
                while news.recv_many(&mut batch, 1_024).await > 0 {
                    let news = std::mem::take(&mut batch);
                    if messages.send(Msg::Log { generation, news }).await.is_err() {
                        return;
                    }
                }
            };
            tokio::join!(commands.follow(request, sender), forward);
        });
        self.follows = Some(task.abort_handle());
    }

    /// Watches these topics and no others.
    fn watch(&mut self, topics: Vec<Topic>, anew: bool) {
        self.watches.retain(|topic, task| {
            let stays = !anew && topics.contains(topic);
            if !stays {
                task.abort();
            }
            stays
        });
        for topic in topics {
            if self.watches.contains_key(&topic) {
                continue;
            }
            let (commands, messages) = (Arc::clone(&self.commands), self.messages.clone());
            let of = topic.clone();
            let task = tokio::spawn(async move {
                let (sender, mut news) = channel::<LiveNews>(NEWS_MOST);
                let forward = async {
                    while let Some(news) = news.recv().await {
                        if messages.send(Msg::Live { topic: of.clone(), news }).await.is_err() {
                            return;
                        }
                    }
                };
                tokio::join!(commands.watch(of.clone(), sender), forward);
            });
            self.watches.insert(topic, task.abort_handle());
        }
    }

    /// Stops the process, as Ctrl-Z does in a shell, until it is continued.
    fn suspend(&mut self, app: &App) -> std::io::Result<()> {
        self.keys = None;
        self.screen.suspend_for(app.mouse, || {
            let me = rustix::process::getpid();
            // Without the right to stop itself the program just goes on.
            let _ = rustix::process::kill_process(me, rustix::process::Signal::STOP);
        })
    }
}

/// Runs a program with this text as its input, to its end.
fn pipe_into(command: &[String], text: &str) -> std::io::Result<()> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(std::io::Error::other("no program is named"));
    };
    let mut child = std::process::Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        // A pager may end before it has read everything.
        let _ = pipe.write_all(text.as_bytes());
    }
    child.wait().map(|_| ())
}

/// Whether a dashboard can be shown: keys can be read, and a screen can be drawn.
#[must_use]
pub fn has_terminal() -> bool {
    terminal::is_there()
}
