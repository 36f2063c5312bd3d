//! The place in a text, and the search in it.

use regex::{Regex, RegexBuilder};

/// Where the user is in a text.
#[derive(Debug, Clone)]
pub(crate) struct Scroll {
    /// The first line in view, unless [`Self::follow`].
    pub(crate) top: usize,
    /// Cells that are scrolled out on the left.
    pub(crate) left: usize,
    pub(crate) wrap: bool,
    /// The end is in view, and stays so as the text grows.
    pub(crate) follow: bool,
    pub(crate) search: Option<Search>,
}

impl Scroll {
    pub(crate) fn new(follow: bool) -> Self {
        Self { top: 0, left: 0, wrap: false, follow, search: None }
    }
}

/// A text that was searched for, and how it is found.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    pub(crate) text: String,
    pattern: Regex,
    /// The line of the match that the user is at.
    pub(crate) at: Option<usize>,
}

impl Search {
    /// A text in any case, or a regular expression between slashes.
    ///
    /// # Errors
    /// The regular expression cannot be parsed; the text says why in one line.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let expression = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let pattern = match expression.filter(|inner| !inner.is_empty()) {
            Some(inner) => Regex::new(inner),
            None => RegexBuilder::new(&regex::escape(text)).case_insensitive(true).build(),
        };
        let pattern = pattern.map_err(|error| {
            let error = error.to_string();
            let last = error.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        })?;
        Ok(Self { text: text.to_owned(), pattern, at: None })
    }

    pub(crate) fn is_in(&self, line: &str) -> bool {
        self.pattern.is_match(line)
    }

    /// The bytes of every match that is not empty.
    pub(crate) fn matches(&self, line: &str) -> Vec<std::ops::Range<usize>> {
        let all = self.pattern.find_iter(line).map(|found| found.range());
        all.filter(|range| !range.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_text_in_any_case_or_an_expression_between_slashes() {
        let found = |search: &str, line: &str| {
            let all = Search::new(search)?.matches(line);
            Ok::<_, String>(all.iter().map(|range| (range.start, range.end)).collect::<Vec<_>>())
        };
        assert_eq!(found("a.b", "xA.Bx a-b"), Ok(vec![(1, 4)]));
        assert_eq!(found("/a.b/", "xA.Bx a-b"), Ok(vec![(6, 9)]));
        assert_eq!(found("/", "a/b"), Ok(vec![(1, 2)]));
        assert_eq!(found("/(/", "").expect_err("an error"), "unclosed group");
    }
}
