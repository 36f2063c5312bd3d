//! Colours in the lines of a log. The cleaner lets nothing but colours through; here they become styles,
//! or go.

use std::borrow::Cow;

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

const START: &str = "\u{1b}[";

/// The text without its colours.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(START) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(parts(text).into_iter().map(|(_, part)| part).collect())
}

/// The text as spans of one style each.
pub(crate) fn spans(text: &str, base: Style, coloured: bool) -> Vec<Span<'_>> {
    let mut style = base;
    let mut spans = Vec::new();
    for (codes, part) in parts(text) {
        if coloured && let Some(codes) = codes {
            style = apply(style, base, codes);
        }
        if !part.is_empty() {
            spans.push(Span::styled(part, style));
        }
    }
    spans
}

/// The parts of a text, each with the parameters of the sequence before it.
fn parts(text: &str) -> Vec<(Option<&str>, &str)> {
    let mut parts = Vec::new();
    let mut pieces = text.split(START);
    parts.push((None, pieces.next().unwrap_or_default()));
    for piece in pieces {
        match piece.split_once('m') {
            Some((codes, rest)) => parts.push((Some(codes), rest)),
            None => parts.push((None, "")),
        }
    }
    parts
}

const COLOURS: [Color; 16] = [
    Color::Black,
    Color::Red,
    Color::Green,
    Color::Yellow,
    Color::Blue,
    Color::Magenta,
    Color::Cyan,
    Color::Gray,
    Color::DarkGray,
    Color::LightRed,
    Color::LightGreen,
    Color::LightYellow,
    Color::LightBlue,
    Color::LightMagenta,
    Color::LightCyan,
    Color::White,
];

fn apply(mut style: Style, base: Style, codes: &str) -> Style {
    let mut numbers = codes.split([';', ':']).map(|code| code.parse::<u8>().unwrap_or(0));
    while let Some(number) = numbers.next() {
        style = match number {
            0 => base,
            1 => style.add_modifier(Modifier::BOLD),
            2 => style.add_modifier(Modifier::DIM),
            3 => style.add_modifier(Modifier::ITALIC),
            4 => style.add_modifier(Modifier::UNDERLINED),
            7 => style.add_modifier(Modifier::REVERSED),
            22 => style.remove_modifier(Modifier::BOLD | Modifier::DIM),
            23 => style.remove_modifier(Modifier::ITALIC),
            24 => style.remove_modifier(Modifier::UNDERLINED),
            27 => style.remove_modifier(Modifier::REVERSED),
            30..=37 => style.fg(COLOURS[usize::from(number - 30)]),
            90..=97 => style.fg(COLOURS[usize::from(number - 82)]),
            40..=47 => style.bg(COLOURS[usize::from(number - 40)]),
            100..=107 => style.bg(COLOURS[usize::from(number - 92)]),
            39 => style.fg(base.fg.unwrap_or(Color::Reset)),
            49 => style.bg(base.bg.unwrap_or(Color::Reset)),
            38 | 48 => {
                let colour = match numbers.next() {
                    Some(5) => numbers.next().map(Color::Indexed),
                    Some(2) => match (numbers.next(), numbers.next(), numbers.next()) {
                        (Some(r), Some(g), Some(b)) => Some(Color::Rgb(r, g, b)),
                        _ => None,
                    },
                    _ => None,
                };
                match colour {
                    Some(colour) if number == 38 => style.fg(colour),
                    Some(colour) => style.bg(colour),
                    None => style,
                }
            }
            _ => style,
        };
    }
    style
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_styles_and_no_sequence_stays() {
        let text = "a\u{1b}[1;31mred\u{1b}[0m b\u{1b}[38;5;208mo\u{1b}[38;2;1;2;3mp\u{1b}[";
        let spans = spans(text, Style::new(), true);
        let texts: Vec<&str> = spans.iter().map(|span| span.content.as_ref()).collect();
        assert_eq!(texts, ["a", "red", " b", "o", "p"]);
        assert_eq!(spans[1].style.fg, Some(Color::Red));
        assert_eq!(spans[3].style.fg, Some(Color::Indexed(208)));
        assert_eq!(spans[4].style.fg, Some(Color::Rgb(1, 2, 3)));
        assert_eq!(plain(text), "ared bop");
    }
}
