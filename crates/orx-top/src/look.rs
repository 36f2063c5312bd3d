//! Colours, signs and words: how a status, a time or a border looks in the present theme.

use orx_model::time::{TimeStyle, WallClock, format_duration, format_time};
use orx_model::{JobStatus, Timestamp};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::{bar, border};

use crate::options::{ContextColor, Theme};

/// How things look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) ascii: bool,
    pub(crate) theme: Theme,
    pub(crate) time: TimeStyle,
}

const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

const ASCII_BARS: bar::Set<'static> = bar::Set {
    full: "#",
    seven_eighths: "*",
    three_quarters: "+",
    five_eighths: "=",
    half: "=",
    three_eighths: "-",
    one_quarter: ":",
    one_eighth: ".",
    empty: " ",
};

impl Look {
    fn colour(self, ansi: Color, safe: Color) -> Style {
        match self.theme {
            Theme::Ansi => Style::new().fg(ansi),
            Theme::Safe => Style::new().fg(safe),
            Theme::Mono => Style::new(),
        }
    }

    /// The sign of a status, and its style. A word stands beside it.
    pub(crate) fn status(self, status: JobStatus) -> (&'static str, Style) {
        let (sign, ascii) = match status {
            JobStatus::Created => ("⋅", "."),
            JobStatus::Pending => ("◦", "o"),
            JobStatus::Scheduled => ("◔", "@"),
            JobStatus::Dispatched => ("▹", ">"),
            JobStatus::Running => ("▸", "*"),
            JobStatus::Completed => ("✓", "+"),
            JobStatus::Failed => ("✗", "X"),
            JobStatus::TimedOut => ("⊠", "T"),
            JobStatus::Cancelled => ("⊘", "-"),
        };
        let style = match status {
            JobStatus::Created | JobStatus::Pending => Style::new(),
            JobStatus::Scheduled => self.colour(Color::Magenta, Color::Rgb(0xCC, 0x79, 0xA7)),
            JobStatus::Dispatched => self.running(),
            JobStatus::Running => self.running().add_modifier(Modifier::BOLD),
            JobStatus::Completed => self.good(),
            JobStatus::Failed => self.bad(),
            JobStatus::TimedOut => self.warning().add_modifier(Modifier::BOLD),
            JobStatus::Cancelled => self.dim(),
        };
        (if self.ascii { ascii } else { sign }, style)
    }

    fn running(self) -> Style {
        self.colour(Color::Cyan, Color::Rgb(0x56, 0xB4, 0xE9))
    }

    pub(crate) fn good(self) -> Style {
        self.colour(Color::Green, Color::Rgb(0x00, 0x9E, 0x73))
    }

    pub(crate) fn bad(self) -> Style {
        self.colour(Color::Red, Color::Rgb(0xD5, 0x5E, 0x00)).add_modifier(Modifier::BOLD)
    }

    pub(crate) fn warning(self) -> Style {
        self.colour(Color::Yellow, Color::Rgb(0xE6, 0x9F, 0x00))
    }

    /// Problems, and stale data.
    pub(crate) fn trouble(self) -> Style {
        self.warning().add_modifier(Modifier::REVERSED)
    }

    /// The name of the context, on its colour.
    pub(crate) fn context(self, color: Option<ContextColor>) -> Style {
        match color {
            None => Style::new(),
            Some(_) if self.theme == Theme::Mono => self.bold().add_modifier(Modifier::REVERSED),
            Some(color) => self.bold().bg(color.0).fg(color.text()),
        }
    }

    pub(crate) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(crate) fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(crate) fn reverse(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(crate) fn border(self) -> border::Set<'static> {
        if self.ascii { ASCII_BORDER } else { border::PLAIN }
    }

    pub(crate) fn bars(self) -> bar::Set<'static> {
        if self.ascii { ASCII_BARS } else { bar::NINE_LEVELS }
    }

    /// The first in Unicode, the second in ASCII.
    pub(crate) fn sign(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.ascii { ascii } else { unicode }
    }

    /// Between parts of a line.
    pub(crate) fn separator(self) -> &'static str {
        self.sign(" │ ", " | ")
    }

    /// A share as a bar of this many cells, with its percentage beside it by the caller.
    pub(crate) fn gauge(self, share: f64, cells: usize) -> String {
        let full = ((share.clamp(0.0, 1.0) * cells as f64).round() as usize).min(cells);
        if self.ascii {
            let inner = cells.saturating_sub(2);
            let full = (share.clamp(0.0, 1.0) * inner as f64).round() as usize;
            return format!(
                "[{}{}]",
                "#".repeat(full.min(inner)),
                "-".repeat(inner - full.min(inner))
            );
        }
        format!("{}{}", "█".repeat(full), "░".repeat(cells - full))
    }

    /// Time since an instant, for a table: an age, or the time itself.
    pub(crate) fn age(self, at: Timestamp, now: Timestamp, zone: &dyn WallClock) -> String {
        match self.time {
            TimeStyle::Relative => short(now, at),
            _ => self.clock(at, now, zone),
        }
    }

    /// A wall-clock time without its date where it is of today, and without its zone, which the header
    /// shows.
    pub(crate) fn clock(self, at: Timestamp, now: Timestamp, zone: &dyn WallClock) -> String {
        let text = |at| match self.time {
            TimeStyle::Utc => at_utc(at),
            _ => format_time(at, TimeStyle::Local, now, zone),
        };
        let (at, now) = (text(at), text(now));
        let parts = |text: &str| {
            let mut parts = text.split(' ');
            let day = parts.next().unwrap_or_default().to_owned();
            let time = parts.next().unwrap_or_default();
            (day, time.split('.').next().unwrap_or_default().to_owned())
        };
        let ((day, time), (today, _)) = (parts(&at), parts(&now));
        if day == today { time } else { format!("{} {}", day.get(5..).unwrap_or(&day), time) }
    }
}

fn at_utc(at: Timestamp) -> String {
    at.to_string().replace('T', " ").replace('Z', "")
}

/// An age with whole seconds, which changes no more often than once a second.
pub(crate) fn short(now: Timestamp, at: Timestamp) -> String {
    let ms = now.as_millis().saturating_sub(at.as_millis());
    let seconds = std::time::Duration::from_secs(ms.unsigned_abs() / 1_000);
    let text = match seconds.as_secs() {
        0..10 => format!("{}s", seconds.as_secs()),
        _ => format_duration(seconds),
    };
    if ms < -999 { format!("in {text}") } else { text }
}

#[cfg(test)]
mod tests {
    use orx_model::time::UtcClock;

    use super::*;

    #[test]
    fn times_of_today_have_no_date() {
        let look = |time| Look { ascii: false, theme: Theme::Ansi, time };
        let now: Timestamp = "2026-01-31T18:42:05Z".parse().expect("a time");
        let at: Timestamp = "2026-01-31T08:00:00.5Z".parse().expect("a time");
        let before: Timestamp = "2026-01-29T08:00:00Z".parse().expect("a time");
        assert_eq!(look(TimeStyle::Relative).age(at, now, &UtcClock), "10h42m");
        assert_eq!(look(TimeStyle::Utc).age(at, now, &UtcClock), "08:00:00");
        assert_eq!(look(TimeStyle::Local).age(before, now, &UtcClock), "01-29 08:00:00");
        assert_eq!(short(at, now), "in 10h42m");
    }

    #[test]
    fn a_gauge_is_as_wide_as_asked_for() {
        for ascii in [false, true] {
            let look = Look { ascii, theme: Theme::Mono, time: TimeStyle::Relative };
            for share in [-1.0, 0.0, 0.5, 1.0, 7.0, f64::NAN] {
                assert_eq!(orx_model::text::cells(&look.gauge(share, 10)), 10, "{share}");
            }
        }
    }
}
