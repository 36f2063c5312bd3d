//! Messages and stored forms that earlier releases wrote are read as they were meant.
//!
//! Each release has a folder with a file for each sample, as it wrote them, and a module with the values
//! that the files stand for. A file never changes once its release is out. With a new release, copy the
//! module, fill the new fields, and let `ORX_WRITE_SAMPLES=1 cargo test -p orx-model --test released` write
//! the missing files; in the modules of earlier releases a new field has the value of an absent one.

mod v0_1_0;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A value that a release wrote.
pub(crate) struct Sample {
    /// The name of its file without the extension.
    pub(crate) file: String,
    /// The value, as this version writes it.
    json: String,
    /// The value, as Rust prints it.
    debug: String,
    /// Reads the text of a file as the type of the value; returns what it reads in both forms.
    read: fn(&str) -> Result<(String, String), serde_json::Error>,
}

fn forms<T: Serialize + Debug>(value: &T) -> (String, String) {
    let mut json = serde_json::to_string_pretty(value).expect("JSON");
    json.push('\n');
    (json, format!("{value:#?}"))
}

/// A value with the fewest fields, or one whose type has no optional fields.
pub(crate) fn sample<T: Serialize + DeserializeOwned + Debug>(file: &str, value: &T) -> Sample {
    let (json, debug) = forms(value);
    let read = |text: &str| serde_json::from_str::<T>(text).map(|value| forms(&value));
    Sample { file: file.to_owned(), json, debug, read }
}

/// A value in which every optional field is set.
pub(crate) fn full<T: Serialize + DeserializeOwned + Debug>(file: &str, value: &T) -> Sample {
    let sample = sample(&format!("{file}.full"), value);
    for absent in ["None", "[]", "{}", "false"] {
        let debug = &sample.debug;
        assert!(!debug.contains(absent), "`{file}`: set each field, found {absent}:\n{debug}");
    }
    sample
}

fn folder(release: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/released").join(release)
}

/// The texts of the files of a release, by the names of their samples.
fn files(release: &str) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder(release)).into_iter().flatten();
    let read = |path: PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(&path).expect("a file"))
    };
    entries.map(|entry| read(entry.expect("an entry").path())).collect()
}

/// The releases, oldest first.
fn releases() -> Vec<(&'static str, Vec<Sample>)> {
    vec![("0.1.0", v0_1_0::samples())]
}

#[test]
fn what_each_release_wrote_reads_as_the_value_that_it_stood_for() {
    for (release, samples) in releases() {
        let samples: BTreeMap<_, _> = samples.iter().map(|it| (it.file.as_str(), it)).collect();
        for (file, text) in files(release) {
            let Some(sample) = samples.get(file.as_str()) else {
                panic!("orx {release} wrote `{file}`, and nothing reads it back: keep its sample");
            };
            let (json, debug) = (sample.read)(&text).unwrap_or_else(|error| {
                panic!(
                    "orx {release} wrote `{file}`, and this version cannot read it: {error}. \
                     Add an alias or a default to the type; do not change the file."
                )
            });
            let why = "an older release wrote this: add an alias, do not change the file";
            assert_eq!(debug, sample.debug, "`{file}` of orx {release}: {why}");
            assert_eq!(json, sample.json, "`{file}` of orx {release}: {why}");
        }
    }
}

/// Every path to a value in the JSON, with the value.
fn leaves(at: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| leaves(&format!("{at}.{name}"), value, found));
        }
        Value::Array(items) if !items.is_empty() => {
            let each = items.iter().enumerate();
            each.for_each(|(place, value)| leaves(&format!("{at}[{place}]"), value, found));
        }
        other => {
            found.insert(format!("{at} = {other}"));
        }
    }
}

fn leaves_of(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    leaves("", &serde_json::from_str(text).expect("JSON"), &mut found);
    found
}

#[test]
fn this_release_writes_its_files_and_no_others() {
    let (release, samples) = releases().pop().expect("a release");
    assert_eq!(
        release,
        env!("CARGO_PKG_VERSION"),
        "a new release needs its own samples: see the top of this file"
    );
    if std::env::var_os("ORX_WRITE_SAMPLES").is_some() {
        std::fs::create_dir_all(folder(release)).expect("a folder");
        for sample in &samples {
            let path = folder(release).join(format!("{}.json", sample.file));
            if !path.exists() {
                std::fs::write(path, &sample.json).expect("written");
            }
        }
    }
    let files = files(release);
    for sample in &samples {
        let file = &sample.file;
        let text = files.get(file).unwrap_or_else(|| {
            panic!("`{file}` has no file: write it as the top of this file says")
        });
        let (written, kept) = (leaves_of(&sample.json), leaves_of(text));
        let gone: Vec<&String> = kept.difference(&written).collect();
        assert!(
            gone.is_empty(),
            "`{file}`: an older release wrote this, and readers of that release expect it: {gone:?}. \
             Keep the name on the wire (`rename`, with an alias for the new one); do not change \
             the file."
        );
        let new: Vec<&String> = written.difference(&kept).collect();
        assert!(
            new.is_empty(),
            "`{file}` does not cover a field: {new:?}. If orx {release} is out, raise the version \
             and add samples for it; else write the file again."
        );
    }
    let known: BTreeSet<&String> = samples.iter().map(|sample| &sample.file).collect();
    assert_eq!(known.len(), samples.len(), "two samples have the same file");
    assert_eq!(files.keys().collect::<BTreeSet<_>>(), known);
}
