//! Tests over the whole: messages in, effects and screens out.

mod contexts;
mod dead;
mod events;
mod exports;
mod flows;
mod hostile;
mod logs;
mod questions;
mod screens;
mod sorts;
mod streams;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use crate::api::{Answer, Failure, Request};
use crate::fixtures;
use crate::state::{App, Effect, Msg, Purpose};
use crate::update::update;
use crate::view;

/// A dashboard, and the clock of its test.
struct Session {
    app: App,
    now_ms: u64,
    effects: Vec<Effect>,
}

/// What stands for a server: answers every read from the fixtures.
fn answer(request: &Request) -> Option<Answer> {
    Some(match request {
        Request::Cluster => Answer::Cluster(Box::new(fixtures::cluster())),
        Request::Settings => Answer::Settings(fixtures::settings()),
        Request::Queues => Answer::Queues(fixtures::queues()),
        Request::Workers => Answer::Workers(fixtures::workers()),
        Request::Jobs(_) => Answer::Jobs(fixtures::jobs()),
        Request::Job(_) => Answer::Job(Box::new(fixtures::detail())),
        Request::Causes(_) => Answer::Causes(fixtures::causes()),
        Request::DeadLetters(_) => Answer::DeadLetters(orx_model::wire::DeadLetterPage {
            v: 1,
            dead_letters: vec![
                fixtures::letter(14_231, "exit 1: moov atom not found"),
                fixtures::letter(14_102, "signal 9"),
                fixtures::letter(14_099, "exit 1: moov atom not found"),
            ],
            next: None,
        }),
        Request::Schedules(_) => Answer::Schedules(orx_model::schedule::wire::SchedulePage {
            v: 1,
            schedules: Vec::new(),
            next: None,
        }),
        _ => return None,
    })
}

impl Session {
    fn with(app: App) -> Self {
        let mut session = Self { app, now_ms: 0, effects: Vec::new() };
        session.send(Msg::Tick);
        session
    }

    fn new(width: u16, height: u16) -> Self {
        Self::with(fixtures::app(width, height))
    }

    /// A session whose server has answered.
    fn loaded(width: u16, height: u16) -> Self {
        let mut session = Self::new(width, height);
        session.answer_all();
        session
    }

    fn send(&mut self, msg: Msg) {
        let effects = update(&mut self.app, fixtures::moment(self.now_ms), msg);
        self.effects.extend(effects);
    }

    /// Lets time pass.
    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.send(Msg::Tick);
    }

    fn key(&mut self, code: KeyCode) {
        self.send(Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }

    fn keys(&mut self, text: &str) {
        for c in text.chars() {
            self.key(KeyCode::Char(c));
        }
    }

    /// Takes the requests that were sent.
    fn calls(&mut self) -> Vec<(Purpose, Request)> {
        let mut calls = Vec::new();
        self.effects.retain(|effect| match effect {
            Effect::Call { purpose, request } => {
                calls.push((purpose.clone(), request.clone()));
                false
            }
            _ => true,
        });
        calls
    }

    /// Answers every read that was sent, and those that follow.
    fn answer_all(&mut self) {
        for _ in 0..5 {
            for (purpose, request) in self.calls() {
                if let Some(answer) = answer(&request) {
                    self.send(Msg::Answer { purpose, request, result: Ok(answer) });
                } else {
                    self.effects.push(Effect::Call { purpose, request });
                    return;
                }
            }
        }
    }

    /// Fails every request that was sent.
    fn fail_all(&mut self, failure: &Failure) {
        for (purpose, request) in self.calls() {
            self.send(Msg::Answer { purpose, request, result: Err(failure.clone()) });
        }
    }

    /// The screen as text.
    fn screen(&self) -> String {
        let (width, height) = self.app.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        let drawn = terminal.draw(|frame| {
            let cursor = view::draw(&self.app, frame.buffer_mut());
            if let Some(at) = cursor {
                frame.set_cursor_position(at);
            }
        });
        drawn.expect("drawn");
        let text = terminal.backend().to_string();
        // The backend puts each line into quotes.
        let lines = text.lines().map(|line| {
            let inner = line.strip_prefix('"').and_then(|line| line.strip_suffix('"'));
            inner.unwrap_or(line).trim_end()
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}
