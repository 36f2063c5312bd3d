//! The filter language: one grammar for `--filter` and the API.
//!
//! `status:failed,timedout queue:media name:video.* age>10m attempts>=2 tag.tenant:acme -worker:w3
//! since:2h text`: a space is AND, a comma OR, `-` in front negates, quotes include spaces, `*` is the
//! only wildcard. A bare word searches id, name, key, tag values and error. `cause:ID` selects dead letters.

mod condition;
mod word;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use crate::cause::CauseId;
use crate::job::{JobSummary, Json};
use crate::status::JobStatus;
use crate::time::{Timestamp, WallClock, format_exact};

pub use condition::{Age, CountField, Field, Op, Pattern, Test};
use word::split;

const TERMS: usize = 64;

/// A filter that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    /// What is wrong.
    pub message: String,
    /// The bytes of the input that are wrong.
    pub at: Range<usize>,
    /// A suggestion.
    pub hint: Option<String>,
}

impl FilterError {
    /// The input with carets under the wrong bytes.
    #[must_use]
    pub fn caret(&self, input: &str) -> String {
        let before = input.get(..self.at.start).map_or(0, crate::text::cells);
        let under = input.get(self.at.clone()).map_or(1, crate::text::cells).max(1);
        format!("{input}\n{}{}", " ".repeat(before), "^".repeat(under))
    }
}

/// Selects the jobs for which every term holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// The terms; all must hold.
    pub terms: Vec<FilterTerm>,
}

/// One condition of a filter.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterTerm {
    /// The condition must not hold.
    pub negated: bool,
    /// The condition.
    pub test: Test,
}

impl Filter {
    /// Longest text of a filter, in bytes.
    pub const MAX_BYTES: usize = 4 * 1024;

    /// Parses a filter. Relative times in `since` and `until` become absolute here.
    ///
    /// # Errors
    ///
    /// The first word that cannot be parsed, and its position.
    pub fn parse(input: &str, now: Timestamp, clock: &dyn WallClock) -> Result<Self, FilterError> {
        if input.len() > Self::MAX_BYTES {
            let message = format!("a filter is at most {} bytes", Self::MAX_BYTES);
            return Err(FilterError { message, at: 0..0, hint: None });
        }
        let words = split(input)?;
        if words.len() > TERMS {
            let message = format!("a filter has at most {TERMS} terms");
            return Err(FilterError { message, at: 0..0, hint: None });
        }
        let terms = words.iter().map(|word| word.term(now, clock)).collect::<Result<_, _>>()?;
        Ok(Self { terms })
    }

    /// Whether it matches every job.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether a job matches. Spans such as `age` are measured at `now`. Without `args`, no term on an
    /// argument holds.
    #[must_use]
    pub fn matches(&self, job: &JobSummary, args: Option<&Json>, now: Timestamp) -> bool {
        self.terms.iter().all(|term| term.test.holds(job, args, now) != term.negated)
    }

    /// The only causes of dead letters that can match; `None` where the filter does not limit them.
    #[must_use]
    pub fn causes(&self) -> Option<BTreeSet<CauseId>> {
        let limits = self.terms.iter().filter_map(|term| match &term.test {
            Test::Cause(causes) if !term.negated => Some(causes.clone()),
            _ => None,
        });
        limits.reduce(|all, causes| &all & &causes)
    }

    /// Whether a term depends on the args of a job.
    #[must_use]
    pub fn needs_args(&self) -> bool {
        let on_args = |term: &FilterTerm| matches!(term.test, Test::Text(Field::Arg(_), _));
        self.terms.iter().any(on_args)
    }

    /// The only statuses that can match; `None` where the filter does not limit them.
    #[must_use]
    pub fn statuses(&self) -> Option<BTreeSet<JobStatus>> {
        let mut found: Option<BTreeSet<JobStatus>> = None;
        for term in &self.terms {
            let Test::Status(statuses) = &term.test else { continue };
            let allowed: BTreeSet<JobStatus> = JobStatus::ALL
                .into_iter()
                .filter(|status| statuses.contains(status) != term.negated)
                .collect();
            found = Some(match found {
                Some(before) => &before & &allowed,
                None => allowed,
            });
        }
        found
    }
}

/// The filter as text that parses to the same filter.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, term) in self.terms.iter().enumerate() {
            if place > 0 {
                f.write_str(" ")?;
            }
            if term.negated {
                f.write_str("-")?;
            }
            match &term.test {
                Test::Status(all) => write!(f, "status:{}", join(all.iter().map(|s| s.as_str())))?,
                Test::Priority(all) => {
                    write!(f, "priority:{}", join(all.iter().map(|p| p.as_str())))?;
                }
                Test::Cause(all) => {
                    let ids: Vec<String> = all.iter().map(ToString::to_string).collect();
                    write!(f, "cause:{}", ids.join(","))?;
                }
                Test::Text(field, patterns) => {
                    let quoted = patterns.iter().map(|pattern| format!("\"{}\"", pattern.0));
                    let values: Vec<String> = quoted.collect();
                    write!(f, "{field}:{}", values.join(","))?;
                }
                Test::Number(CountField::Id, op, n) => write!(f, "id{}{n}", op.as_str())?,
                Test::Number(CountField::Attempts, op, n) => {
                    write!(f, "attempts{}{n}", op.as_str())?
                }
                Test::Span(age, op, span) => {
                    let key = match age {
                        Age::Age => "age",
                        Age::Waited => "waited",
                        Age::Took => "took",
                    };
                    write!(f, "{key}{}{}", op.as_str(), format_exact(*span))?;
                }
                Test::Since(at) => write!(f, "since:{at}")?,
                Test::Until(at) => write!(f, "until:{at}")?,
                Test::Word(word) => write!(f, "\"{word}\"")?,
            }
        }
        Ok(())
    }
}

fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::UtcClock;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn parse(input: &str) -> Result<Filter, FilterError> {
        Filter::parse(input, NOW, &UtcClock)
    }

    #[test]
    fn the_example_of_the_manual_reads_back_from_its_own_text() {
        let input = "status:failed,timedout queue:media name:video.* age>10m attempts>=2 \
                     error:\"connection refused\" tag.tenant:acme -worker:wrk-3 since:2h text";
        let filter = parse(input).expect("a filter");
        assert_eq!(filter.terms.len(), 10);
        assert_eq!(filter.statuses().map(|all| all.len()), Some(2));
        assert_eq!(parse(&filter.to_string()), Ok(filter));
    }

    #[test]
    fn what_is_wrong_is_shown_where_it_stands_with_the_nearest() {
        let input = "queue:media stauts:failed";
        let error = parse(input).expect_err("unknown key");
        assert_eq!(error.hint.as_deref(), Some("did you mean `status`?"));
        assert_eq!(error.caret(input), format!("{input}\n            ^^^^^^"));
        let error = parse("status:faild").expect_err("unknown status");
        assert_eq!(error.hint.as_deref(), Some("did you mean `failed`?"));
        for input in ["age>x", "name>a", "error:\"open", "status:", "name:", "-"] {
            assert!(parse(input).is_err(), "{input}");
        }
    }

    #[test]
    fn a_cause_selects_dead_letters_and_reads_back() {
        let filter = parse("cause:9c1f3ab27704d1e8,0000000000000001").expect("a filter");
        assert_eq!(filter.causes().map(|all| all.len()), Some(2));
        assert_eq!(parse(&filter.to_string()), Ok(filter));
        let both = parse("cause:0000000000000001 cause:0000000000000002").expect("a filter");
        assert_eq!(both.causes().map(|all| all.len()), Some(0));
        assert_eq!(parse("-cause:0000000000000001").expect("a filter").causes(), None);
        let error = parse("cause:oom").expect_err("no id");
        assert!(error.message.contains("expected the id of a cause"), "{error}");
        assert!(error.hint.is_some_and(|hint| hint.contains("orx dlq top")));
    }

    #[test]
    fn a_star_stands_for_any_text() {
        let matches = |pattern: &str, text| Pattern(pattern.to_owned()).matches(text);
        assert!(matches("video.*", "video.process") && !matches("video.*", "mail.video.x"));
        assert!(matches("*a*b", "xaxxb") && !matches("*a*b", "xaxxbc"));
        assert!(matches("*", "") && matches("a*a", "aa") && !matches("a*a", "a"));
    }

    proptest! {
        #[test]
        fn no_input_panics_and_what_parses_reads_back(input in "[ -~äß\n]{0,60}") {
            if let Ok(filter) = parse(&input) {
                let text = filter.to_string();
                prop_assert_eq!(parse(&text), Ok(filter), "{}", text);
            } else if let Err(error) = parse(&input) {
                let _ = error.caret(&input);
            }
        }

        #[test]
        fn made_filters_read_back(
            status in proptest::sample::select(JobStatus::ALL.to_vec()),
            name in "[a-z.*]{1,8}", negated in any::<bool>(), seconds in 0_u64..100_000,
        ) {
            let minus = if negated { "-" } else { "" };
            let input = format!("{minus}status:{status} name:{name} age>{seconds}s {minus}word");
            let filter = parse(&input).expect("a filter");
            prop_assert_eq!(parse(&filter.to_string()), Ok(filter));
        }
    }
}
