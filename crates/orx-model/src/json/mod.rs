//! Validation of JSON text from outside, and its canonical form.
//!
//! The code walks the text token by token, without a tree and without recursion, so that no input can
//! exhaust the stack. Every JSON reader can read what [`check`] accepts: valid Unicode, numbers within a
//! double, limited depth and size.

mod canonical_form;
mod objects;
mod walk;

pub use canonical_form::canonical;
pub use objects::{object, optional_object};
pub(crate) use walk::{JsonWalk, Token, plain};

/// The deepest nesting of arrays and objects, below the limits of common JSON readers.
pub const NESTING: usize = 64;

/// Why JSON text is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The text is too long.
    #[error("expected at most {most} bytes, found {found}")]
    TooLarge {
        /// The limit, in bytes.
        most: usize,
        /// The size of the text, in bytes.
        found: usize,
    },
    /// Arrays and objects are nested too deep.
    #[error("nested deeper than {NESTING} levels")]
    TooDeep,
    /// A surrogate without its other half.
    #[error("`{found}` is half of a character: text must be valid Unicode")]
    HalfCharacter {
        /// The escape as it was written.
        found: String,
    },
    /// A number that no double holds.
    #[error("the number `{found}` is outside the range of a double")]
    Number {
        /// The number as it was written.
        found: String,
    },
    /// The text is not JSON.
    #[error("invalid JSON at byte {at}")]
    Syntax {
        /// The first byte that is wrong, from 0.
        at: usize,
    },
}

impl Unfit {
    /// What the sender can do next, if known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TooLarge { .. } => {
                Some("keep large data in a file or object store, and pass its name")
            }
            Self::Number { .. } => Some("give it as text"),
            Self::HalfCharacter { .. } => Some("give bytes that are no text as base64"),
            Self::TooDeep | Self::Syntax { .. } => None,
        }
    }
}

/// Validates JSON from clients and workers: at most `most` bytes, and readable by every JSON reader.
///
/// # Errors
/// The first violation.
pub fn check(text: &str, most: usize) -> Result<(), Unfit> {
    if text.len() > most {
        return Err(Unfit::TooLarge { most, found: text.len() });
    }
    let mut walk = JsonWalk::new(text);
    while walk.next()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn fit(text: &str) -> bool {
        check(text, 1 << 20).is_ok()
    }

    fn meaning(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        canonical(text, &mut |piece: &[u8]| bytes.extend_from_slice(piece)).expect("fit JSON");
        bytes
    }

    #[test]
    fn what_somebody_cannot_read_is_refused_wherever_it_stands() {
        let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        for good in [
            "{}",
            " [1 , 2.5e3,-0]\n",
            r#"{"a":{"b":[null,true,false,"ä"]}}"#,
            r#""😀 \ud83d\ude00""#,
            "1e308",
            &deep(NESTING),
            &"9".repeat(300),
        ] {
            assert!(fit(good), "{good}");
        }
        for bad in [
            r#""\ud800""#,
            r#"{"\udfff":1}"#,
            r#"[{"a":["x\ud800\ud800"]}]"#,
            r#""\ud800x""#,
            "1e999",
            "[-1e999]",
            &"9".repeat(400),
            &deep(NESTING + 1),
            "01",
            "1.",
            ".5",
            "+1",
            "NaN",
            "Infinity",
            "{,}",
            "[1,]",
            r#"{"a"}"#,
            r#"{"a":1,}"#,
            "[1 2]",
            "1 2",
            "",
            "\"\u{1}\"",
            r#""\x""#,
            "tru",
            "[",
            "]",
            "{]",
            "\"a",
        ] {
            assert!(!fit(bad), "{bad}");
        }
        assert_eq!(check("[1,2]", 4), Err(Unfit::TooLarge { most: 4, found: 5 }));
    }

    #[test]
    fn how_it_is_written_makes_no_difference_to_what_it_means() {
        for same in [
            &[
                r#"{"a":1,"b":[2]}"#,
                r#" { "b" : [ 2.0 ] , "a" : 1 } "#,
                r#"{"\u0062":[20e-1],"a":1e0}"#,
            ][..],
            &["0", "-0", "0.0", "0e7"],
            &["100", "1e2", "1.00E+2"],
            &[r#"{"x":{"b":1,"a":2},"y":1}"#, r#"{"y":1,"x":{"a":2,"b":1}}"#],
        ] {
            for other in same {
                assert_eq!(meaning(same[0]), meaning(other), "{other}");
            }
        }
        let different = [
            "1",
            "-1",
            "10",
            "\"1\"",
            "[1]",
            "[[1]]",
            "[1,1]",
            "{}",
            "[]",
            "null",
            "true",
            "\"\"",
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"["a",1]"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":{},"b":1}"#,
            "12345678901234567890123",
            "12345678901234567890124",
            "0.1",
            "0.01",
        ];
        let meanings: std::collections::BTreeSet<_> =
            different.iter().map(|it| meaning(it)).collect();
        assert_eq!(meanings.len(), different.len());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |it| it.is_finite()).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn backwards(value: &Value) -> String {
        match value {
            Value::Object(map) => {
                let member = |(key, value): (&String, &Value)| {
                    format!("{} :\t{}", Value::from(key.as_str()), backwards(value))
                };
                let members: Vec<String> = map.iter().rev().map(member).collect();
                format!("{{ {} }}", members.join(" , "))
            }
            Value::Array(items) => {
                format!("[{}]", items.iter().map(backwards).collect::<Vec<_>>().join(" ,"))
            }
            other => other.to_string(),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_by_a_program_is_fit_and_means_the_same_in_any_order(value in any_json()) {
            prop_assert!(fit(&value.to_string()));
            prop_assert_eq!(meaning(&value.to_string()), meaning(&backwards(&value)));
        }

        #[test]
        fn what_is_fit_can_be_read(text in r#"[\[\]{}",:\\ud80-9eE+.\-a-ftrunls ]{0,24}"#) {
            if fit(&text) {
                prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
            } else {
                prop_assert!(serde_json::from_str::<Value>(&text).is_err(), "{}", text);
            }
        }
    }
}
