//! The terminal: taken over at the start, given back as it was on every way out.

use std::io::{IsTerminal, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::style::{Attribute, SetAttribute};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{queue, terminal};
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

/// The terminal is in the state of the dashboard, so it must be given back.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Something panicked, so the terminal was given back for good.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// The terminal while the dashboard has it.
pub(crate) struct Screen {
    shown: Buffer,
    cursor: Option<Position>,
    /// What is shown is unknown.
    unknown: bool,
}

fn write_all(bytes: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Takes the terminal over.
fn take(mouse: bool) -> std::io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    let mut bytes = Vec::new();
    queue!(bytes, EnterAlternateScreen, EnableBracketedPaste, Hide, Clear(ClearType::All))?;
    if mouse {
        queue!(bytes, EnableMouseCapture)?;
    }
    write_all(&bytes)
}

/// Gives the terminal back, if it is taken. Errors are of no use any more: nobody could read them.
pub(crate) fn restore() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut bytes = Vec::new();
    let _ = queue!(
        bytes,
        EndSynchronizedUpdate,
        DisableMouseCapture,
        DisableBracketedPaste,
        SetAttribute(Attribute::Reset),
        LeaveAlternateScreen,
        Show
    );
    let _ = write_all(&bytes);
    let _ = disable_raw_mode();
}

/// Gives the terminal back before a panic is reported.
fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICKED.store(true, Ordering::SeqCst);
            restore();
            before(info);
        }));
    });
}

/// Whether something panicked, also in a task beside the loop.
pub(crate) fn has_panicked() -> bool {
    PANICKED.load(Ordering::SeqCst)
}

impl Screen {
    /// # Errors
    /// The terminal cannot be set up.
    pub(crate) fn open(mouse: bool) -> std::io::Result<Self> {
        catch_panics();
        take(mouse)?;
        Ok(Self { shown: Buffer::default(), cursor: None, unknown: true })
    }

    /// Columns and lines of the terminal.
    pub(crate) fn size() -> (u16, u16) {
        terminal::size()
            .ok()
            .filter(|(width, height)| *width > 0 && *height > 0)
            .unwrap_or((80, 24))
    }

    /// Draws what differs from what is shown, in one write. Nothing is written if nothing differs.
    pub(crate) fn draw(
        &mut self,
        size: (u16, u16),
        draw: impl FnOnce(&mut Buffer) -> Option<Position>,
    ) -> std::io::Result<()> {
        let area = Rect::new(0, 0, size.0, size.1);
        let mut next = Buffer::empty(area);
        let cursor = draw(&mut next);
        let anew = self.unknown || self.shown.area != area;
        if anew {
            self.shown = Buffer::empty(area);
        }
        let changes = self.shown.diff(&next);
        if changes.is_empty() && cursor == self.cursor && !anew {
            return Ok(());
        }
        let mut bytes = Vec::new();
        queue!(bytes, BeginSynchronizedUpdate, Hide)?;
        if anew {
            queue!(bytes, SetAttribute(Attribute::Reset), Clear(ClearType::All))?;
        }
        let mut backend = CrosstermBackend::new(&mut bytes);
        backend.draw(changes.into_iter())?;
        if let Some(at) = cursor {
            queue!(bytes, MoveTo(at.x, at.y), Show)?;
        }
        queue!(bytes, EndSynchronizedUpdate)?;
        write_all(&bytes)?;
        (self.shown, self.cursor, self.unknown) = (next, cursor, false);
        Ok(())
    }

    /// Draws everything anew the next time.
    pub(crate) fn forget(&mut self) {
        self.unknown = true;
    }

    /// # Errors
    /// The terminal does not take it.
    pub(crate) fn set_mouse(&mut self, on: bool) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        match on {
            true => queue!(bytes, EnableMouseCapture)?,
            false => queue!(bytes, DisableMouseCapture)?,
        }
        write_all(&bytes)
    }

    /// Gives the terminal back while something else has it.
    ///
    /// # Errors
    /// The terminal cannot be set up again.
    pub(crate) fn suspend_for<T>(
        &mut self,
        mouse: bool,
        to: impl FnOnce() -> T,
    ) -> std::io::Result<T> {
        restore();
        let result = to();
        take(mouse)?;
        self.forget();
        Ok(result)
    }

    /// Puts a text into the clipboard of the terminal, also over a connection and in tmux.
    ///
    /// # Errors
    /// The terminal does not take it.
    pub(crate) fn copy(&mut self, text: &str) -> std::io::Result<()> {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(text);
        write_all(format!("\u{1b}]52;c;{text}\u{7}").as_bytes())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Whether keys can be read and a screen can be shown.
pub(crate) fn is_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}
