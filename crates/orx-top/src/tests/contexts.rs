//! Another cluster, and what is left behind.

use std::path::PathBuf;
use std::sync::Arc;

use crossterm::event::KeyCode;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};

use super::Session;
use crate::api::{Context, Contexts, Failure, FailureKind, ServerCommands};
use crate::fixtures;
use crate::options::{ContextColor, Theme};
use crate::state::prompt::PromptKind;
use crate::state::{App, Effect, Msg};
use crate::view;

struct Names;

impl Contexts for Names {
    fn names(&self) -> Vec<String> {
        ["local", "prod", "staging"].map(str::to_owned).to_vec()
    }

    fn open(&self, _: &str) -> Result<(Context, Arc<dyn ServerCommands>), Failure> {
        Err(Failure::new(FailureKind::Answered, "not in a test"))
    }
}

fn session() -> Session {
    let mut options = fixtures::options();
    options.contexts = Some(Arc::new(Names));
    let mut session = Session::with(App::new(options, (120, 36), fixtures::moment(0)));
    session.answer_all();
    session
}

fn staging() -> Context {
    let color = ContextColor::named("yellow");
    Context { name: "staging".to_owned(), color, read_only: true, protected: true }
}

#[test]
fn nothing_of_the_cluster_before_stays() {
    let mut session = session();
    session.keys("2");
    session.answer_all();
    session.keys("/status:failed");
    session.key(KeyCode::Enter);
    session.answer_all();
    session.keys("  ");
    assert!(session.app.jobs.grid.has_marks());
    session.effects.clear();
    session.keys(":context staging");
    session.key(KeyCode::Enter);
    assert_eq!(session.effects, [Effect::Enter("staging".to_owned())]);
    session.send(Msg::Entered(staging()));
    let app = &session.app;
    assert!(!app.jobs.grid.has_marks() && app.jobs.pages.filter.is_empty());
    assert!(app.jobs.pages.rows().is_empty() && app.facts.is_none() && app.cluster.is_none());
    assert!(app.is_read_only() && app.options.protected);
    assert_eq!(app.histories[&PromptKind::Filter].lines(), ["status:failed"], "typed by the user");
    let shown = session.screen();
    assert!(shown.contains("orx top  staging ") && shown.contains("READ-ONLY"), "{shown}");
    assert!(shown.contains("connecting") && !shown.contains("14231"), "{shown}");
    let calls = session.calls();
    assert!(calls.len() >= 2, "everything is asked for anew: {calls:?}");
    let anew = session.effects.iter().any(|effect| matches!(effect, Effect::Watch { .. }));
    assert!(anew, "{:?}", session.effects);
}

#[test]
fn an_unknown_name_is_explained_and_a_recorded_session_stays() {
    let mut session = session();
    session.keys(":context stagin");
    session.key(KeyCode::Enter);
    let shown = session.screen();
    assert!(shown.contains("did you mean `staging`?"), "{shown}");
    session.key(KeyCode::Esc);
    session.keys(":context ");
    session.key(KeyCode::Tab);
    assert!(session.screen().contains("context: local"), "{}", session.screen());
    session.key(KeyCode::Esc);
    session.app.options.contexts = None;
    session.keys(":context prod");
    session.key(KeyCode::Enter);
    assert!(session.screen().contains("stays with its cluster"), "{}", session.screen());
}

#[test]
fn the_name_of_a_context_stands_on_its_colour_and_without_colours_in_reverse() {
    let style = |theme, width| {
        let mut session = session();
        session.app.look.theme = theme;
        session.app.size = (width, 36);
        session.send(Msg::Entered(staging()));
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, 36));
        view::draw(&session.app, &mut buffer);
        // Within the name, and in `orx top` where there is no room for the name.
        buffer[(if width < 80 { 2 } else { 12 }, 0)].style()
    };
    for width in [120, 80, 60] {
        let ansi = style(Theme::Ansi, width);
        assert_eq!((ansi.bg, ansi.fg), (Some(Color::Yellow), Some(Color::Black)), "{width}");
        assert!(style(Theme::Mono, width).add_modifier.contains(Modifier::REVERSED), "{width}");
    }
}

#[test]
fn each_change_of_the_link_is_one_line_of_the_log() {
    let mut options = fixtures::options();
    options.state = Some(PathBuf::from("/nowhere"));
    let mut session = Session::with(App::new(options, (120, 36), fixtures::moment(0)));
    session.answer_all();
    let failure = Failure::new(FailureKind::Link, "could not reach \u{1b}[2J the server");
    session.wait(2_000);
    session.fail_all(&failure);
    session.wait(500);
    session.fail_all(&failure);
    session.wait(2_000);
    session.answer_all();
    let lines: Vec<&str> = session
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Log(line) => Some(line.as_str()),
            _ => None,
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}
