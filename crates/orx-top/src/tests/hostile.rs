//! Any size and any text: nothing panics, and no control code gets through.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use orx_model::log::Stream;
use orx_model::text::clean_line;
use orx_model::wire::{LogEvent, LogPart};
use proptest::prelude::*;

use super::Session;
use crate::api::{Answer, LogNews, Request};
use crate::fixtures;
use crate::state::Msg;
use crate::state::details::Detail;

/// What jobs print to harm a terminal.
const CORPUS: [&[u8]; 16] = [
    b"\x1b[2J\x1b[H",
    b"\x1b]0;title\x07",
    b"\x1b]52;c;ZXZpbA==\x07",
    b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
    b"\x1bPq#0;2;0;0;0\x1b\\",
    b"\x1b[?1049h\x1b[?1000h",
    b"\x1bc",
    b"\x9b2J",
    b"\xc2\x9b2J",
    b"\x00\x01\x02\x07\x08\x0b\x0c\x0e\x7f",
    "\u{202e}reversed\u{2066}".as_bytes(),
    b"\xff\xfe\x80 not UTF-8 \xc3",
    b"progress 10%\rprogress 100%\r",
    "日本語 👩\u{200d}🔬 e\u{301}\u{fe0f}".as_bytes(),
    b"\x1b[31mred\x1b[7m\x1b[5mblink\x1b[8mhidden",
    b"\x1b]never ended",
];

/// Everything of a screen, down to single cells, is safe to write to a terminal.
fn assert_safe(session: &Session) {
    let (width, height) = session.app.size;
    let area = ratatui::layout::Rect::new(0, 0, width, height);
    let mut buffer = ratatui::buffer::Buffer::empty(area);
    crate::view::draw(&session.app, &mut buffer);
    for cell in buffer.content() {
        let symbol = cell.symbol();
        assert_eq!(clean_line(symbol), symbol, "{symbol:?}");
    }
}

fn part(data: &[u8], stream: Stream) -> LogNews {
    LogNews::Event(LogEvent::Chunk(LogPart {
        cursor: "1:1".to_owned(),
        attempt: 1,
        stream,
        at: fixtures::now(),
        dropped_bytes: 3,
        data: data.to_vec(),
    }))
}

fn show_log(session: &mut Session, news: Vec<LogNews>) {
    session.keys("2");
    session.answer_all();
    session.key(KeyCode::Enter);
    session.answer_all();
    let Some(Detail::Job(pane)) = session.app.detail() else { panic!("no job is open") };
    let generation = pane.follows;
    session.send(Msg::Log { generation, news });
}

#[test]
fn what_jobs_print_never_acts_on_the_terminal() {
    for (width, height) in [(120, 36), (80, 24), (40, 10)] {
        for stream in Stream::ALL {
            let mut session = Session::loaded(width, height);
            let mut news = Vec::new();
            for line in CORPUS {
                news.push(part(line, stream));
                news.push(part(b"\n", stream));
            }
            show_log(&mut session, news);
            assert_safe(&session);
            session.keys("w");
            assert_safe(&session);
            session.keys("l");
            assert_safe(&session);
        }
    }
}

#[test]
fn what_users_send_never_acts_on_the_terminal() {
    for hostile in CORPUS {
        let text = String::from_utf8_lossy(hostile).into_owned();
        for (width, height) in [(120, 36), (80, 24), (40, 10)] {
            let mut session = Session::new(width, height);
            for (purpose, request) in session.calls() {
                let mut answer = super::answer(&request).expect("an answer");
                match &mut answer {
                    Answer::Cluster(status) => {
                        status.attention = vec![text.clone()];
                        status.store = text.clone();
                    }
                    Answer::Jobs(page) => {
                        for job in &mut page.jobs {
                            job.state.error = Some(text.clone());
                            job.spec.key = Some(text.clone());
                            job.spec.by = Some(text.clone());
                        }
                    }
                    _ => {}
                }
                session.send(Msg::Answer { purpose, request, result: Ok(answer) });
            }
            assert_safe(&session);
            for screen in "12345670".chars() {
                session.keys(&screen.to_string());
                for (purpose, request) in session.calls() {
                    let mut answer = super::answer(&request).expect("an answer");
                    if let Answer::Workers(list) = &mut answer {
                        for worker in &mut list.workers {
                            worker.host = text.clone();
                            worker.version = text.clone();
                        }
                    }
                    session.send(Msg::Answer { purpose, request, result: Ok(answer) });
                }
                assert_safe(&session);
            }
        }
    }
}

fn any_key() -> impl Strategy<Value = KeyEvent> {
    let code = prop_oneof![
        8 => prop::char::range('!', '~').prop_map(KeyCode::Char),
        1 => Just(KeyCode::Char(' ')),
        1 => Just(KeyCode::Enter),
        1 => Just(KeyCode::Esc),
        1 => Just(KeyCode::Tab),
        1 => Just(KeyCode::Down),
        1 => Just(KeyCode::PageDown),
        1 => Just(KeyCode::End),
        1 => Just(KeyCode::Backspace),
        1 => any::<char>().prop_map(KeyCode::Char),
    ];
    code.prop_map(|code| KeyEvent::new(code, KeyModifiers::NONE))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_size_any_keys_and_any_text_never_panic(
        width in 1_u16..=300,
        height in 1_u16..=100,
        keys in proptest::collection::vec(any_key(), 0..40),
        output in proptest::collection::vec(any::<u8>(), 0..400),
        error in any::<String>(),
    ) {
        let mut session = Session::loaded(width, height);
        show_log(&mut session, vec![part(&output, Stream::Out)]);
        assert_safe(&session);
        for key in keys {
            session.send(Msg::Key(key));
            session.now_ms += 137;
            session.send(Msg::Tick);
            for (purpose, request) in session.calls() {
                let Some(mut answer) = super::answer(&request) else { continue };
                if let Answer::Jobs(page) = &mut answer {
                    for job in &mut page.jobs {
                        job.state.error = Some(error.clone());
                    }
                }
                session.send(Msg::Answer { purpose, request: Request::Cluster, result: Ok(answer) });
            }
            assert_safe(&session);
        }
        session.send(Msg::Resize(height.max(1), width.min(100)));
        assert_safe(&session);
    }
}
