//! What keys and answers lead to.

use crossterm::event::KeyCode;

use super::Session;
use crate::api::{Failure, FailureKind, Request};
use crate::options::Screen;
use crate::state::details::Detail;
use crate::state::{Effect, Msg, Purpose};

fn offline() -> Failure {
    Failure::new(FailureKind::Link, "could not reach the server")
}

#[test]
fn the_first_screen_is_drawn_before_any_answer_and_asks_for_what_it_shows() {
    let mut session = Session::new(120, 36);
    assert!(session.screen().contains("connecting"));
    let asked: Vec<Purpose> = session.calls().into_iter().map(|(purpose, _)| purpose).collect();
    assert_eq!(asked, [Purpose::Cluster, Purpose::Recent, Purpose::Queues]);
}

#[test]
fn data_is_asked_for_again_after_two_seconds_and_never_twice_at_once() {
    let mut session = Session::loaded(120, 36);
    session.wait(1_000);
    assert_eq!(session.calls(), []);
    session.wait(1_000);
    assert_eq!(session.calls().len(), 3);
    session.wait(10_000);
    assert_eq!(session.calls(), [], "the answers have not come");
}

#[test]
fn silence_is_shown_as_stale_and_a_lost_server_is_tried_again_for_ever() {
    let mut session = Session::loaded(120, 36);
    session.wait(8_000);
    assert!(session.screen().contains("STALE 8s"), "{}", session.screen());
    session.fail_all(&offline());
    assert!(session.screen().contains("STALE 8s, offline, retry in 1s"), "{}", session.screen());
    for _ in 0..30 {
        session.wait(11_000);
        let calls = session.calls();
        assert!(matches!(calls.as_slice(), [(Purpose::Cluster, _)]), "{calls:?}");
        for (purpose, request) in calls {
            session.send(Msg::Answer { purpose, request, result: Err(offline()) });
        }
    }
    assert!(session.screen().contains("video.process"), "what was there stays");
    session.wait(11_000);
    session.answer_all();
    assert!(session.screen().contains("polling 2s"), "{}", session.screen());
}

#[test]
fn ctrl_r_tries_at_once() {
    let mut session = Session::loaded(120, 36);
    session.wait(2_000);
    session.fail_all(&offline());
    session.wait(1);
    assert_eq!(session.calls(), []);
    let key = crossterm::event::KeyEvent::new(
        KeyCode::Char('r'),
        crossterm::event::KeyModifiers::CONTROL,
    );
    session.send(Msg::Key(key));
    assert_eq!(session.calls().len(), 1);
}

#[test]
fn a_filter_is_applied_when_the_keys_pause_and_escape_puts_the_old_one_back() {
    let mut session = Session::loaded(120, 36);
    session.keys("2");
    session.answer_all();
    session.keys("/status:failed");
    session.wait(100);
    assert!(session.calls().is_empty());
    session.wait(100);
    let calls = session.calls();
    let [(purpose, request @ Request::Jobs(query))] = calls.as_slice() else {
        panic!("{calls:?}");
    };
    assert_eq!(query.filter.as_deref(), Some("status:failed"));
    let result = Ok(super::answer(request).expect("an answer"));
    session.send(Msg::Answer { purpose: purpose.clone(), request: request.clone(), result });
    session.key(KeyCode::Esc);
    assert_eq!(session.app.jobs.pages.filter, "");
}

#[test]
fn a_wrong_filter_says_what_is_wrong_and_the_old_one_stays() {
    let mut session = Session::loaded(120, 36);
    session.keys("2");
    session.answer_all();
    session.keys("/stauts:failed");
    session.key(KeyCode::Enter);
    assert!(session.screen().contains("did you mean `status`?"), "{}", session.screen());
    assert_eq!(session.calls(), []);
    session.key(KeyCode::Esc);
    assert!(session.app.prompt.is_none());
}

#[test]
fn enter_opens_the_job_under_the_cursor_and_follows_its_log_until_escape() {
    let mut session = Session::loaded(120, 36);
    session.keys("2");
    session.answer_all();
    session.key(KeyCode::Enter);
    let Some(Detail::Job(pane)) = session.app.detail() else { panic!("no job is open") };
    assert_eq!(pane.id.0, 14_233);
    assert!(session.effects.iter().any(|effect| matches!(effect, Effect::Follow { .. })));
    session.key(KeyCode::Esc);
    assert!(session.app.detail().is_none());
    assert!(session.effects.contains(&Effect::Unfollow));
}

#[test]
fn escape_goes_one_step_back_each_time() {
    let mut session = Session::loaded(120, 36);
    session.keys("2");
    session.answer_all();
    session.keys("/queue:media");
    session.key(KeyCode::Enter);
    session.answer_all();
    session.keys(" ");
    session.key(KeyCode::Esc);
    assert!(!session.app.jobs.grid.has_marks());
    assert_eq!(session.app.jobs.pages.filter, "queue:media");
    session.key(KeyCode::Esc);
    assert_eq!(session.app.jobs.pages.filter, "");
    session.key(KeyCode::Esc);
    assert_eq!(session.app.screen, Screen::Overview);
}

#[test]
fn what_is_frozen_stands_still_and_takes_everything_in_when_it_thaws() {
    let mut session = Session::loaded(120, 36);
    session.keys("z");
    session.wait(5_000);
    let calls = session.calls();
    for (purpose, request) in calls {
        let mut status = crate::fixtures::cluster();
        status.counts.running = 777;
        let result = match request {
            Request::Cluster => Ok(crate::api::Answer::Cluster(Box::new(status))),
            ref other => Ok(super::answer(other).expect("an answer")),
        };
        session.send(Msg::Answer { purpose, request, result });
    }
    let frozen = session.screen();
    assert!(frozen.contains("FROZEN 5s, 3 waiting") && !frozen.contains("777"), "{frozen}");
    session.keys("z");
    assert!(session.screen().contains("777"));
}

#[test]
fn the_palette_goes_to_screens_and_suggests_what_was_meant() {
    let mut session = Session::loaded(120, 36);
    session.keys(":jobs status:failed");
    session.key(KeyCode::Enter);
    assert_eq!(
        (session.app.screen, session.app.jobs.pages.filter.as_str()),
        (Screen::Jobs, "status:failed")
    );
    session.keys(":wokers");
    session.key(KeyCode::Enter);
    assert!(session.screen().contains("did you mean `workers`?"), "{}", session.screen());
}

#[test]
fn a_pasted_text_goes_to_the_open_line_or_nowhere() {
    let mut session = Session::loaded(120, 36);
    session.send(Msg::Paste("q".to_owned()));
    assert!(!session.effects.contains(&Effect::Quit));
    session.keys("2/");
    session.send(Msg::Paste("queue:media\n".to_owned()));
    session.key(KeyCode::Enter);
    assert_eq!(session.app.jobs.pages.filter, "queue:media");
}

#[test]
fn an_idle_screen_draws_the_same_twice() {
    let session = Session::loaded(120, 36);
    assert_eq!(session.screen(), session.screen());
}

#[test]
fn a_filter_that_the_server_refuses_leaves_the_list_as_it_was() {
    let mut session = Session::loaded(120, 36);
    session.keys("2");
    session.answer_all();
    session.keys("/error:x");
    session.key(KeyCode::Enter);
    let refused = Failure::new(FailureKind::Answered, "this filter would read too many jobs");
    session.fail_all(&refused);
    let shown = session.screen();
    assert!(shown.contains("would read too many") && shown.contains("14233"), "{shown}");
    assert_eq!(session.app.jobs.pages.filter, "");
}

#[test]
fn a_text_is_searched_and_its_matches_walked() {
    let mut session = Session::loaded(120, 36);
    session.keys("2");
    session.answer_all();
    session.key(KeyCode::Enter);
    session.answer_all();
    session.keys("]]");
    session.keys("/ALL");
    session.wait(200);
    session.key(KeyCode::Enter);
    assert!(session.screen().contains("is not in this text"), "{}", session.screen());
    session.key(KeyCode::Esc);
    session.keys("]]]/cancels");
    session.key(KeyCode::Enter);
    assert!(session.screen().contains("line 4, 1 lines match"), "{}", session.screen());
}

#[test]
fn a_click_chooses_a_row_and_a_second_one_opens_it() {
    use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
    let mut session = Session::loaded(120, 36);
    session.keys("2");
    session.answer_all();
    let kind = MouseEventKind::Down(MouseButton::Left);
    let click =
        |row| Msg::Mouse(MouseEvent { kind, column: 10, row, modifiers: KeyModifiers::NONE });
    session.send(click(5));
    assert_eq!(session.app.jobs.grid.cursor(), Some("14232"));
    session.send(click(5));
    assert!(session.app.detail().is_some());
    session.send(click(1));
    assert!(session.app.detail().is_none(), "the tabs lead to other screens");
}
