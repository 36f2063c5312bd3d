//! Writes lists to new files, one JSON object a line.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use orx_model::wire::ListQuery;

use crate::api::{Answer, Request, ServerCommands};
use crate::state::Exported;

/// Rows that an export reads at once.
const PAGE: u32 = 500;

/// A new file, for its owner alone.
///
/// # Errors
/// There is a file of this name, or none can be made.
pub(crate) fn create(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Why a file was not written, in words.
pub(crate) fn not_written(path: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("`{path}` exists already, and is left as it is; `e` asks for another name")
        }
        _ => format!("could not write `{path}`: {error}"),
    }
}

/// Rows as lines of JSON.
pub(crate) fn lines<'r, R: serde::Serialize + 'r>(rows: impl IntoIterator<Item = &'r R>) -> String {
    let line = |row| serde_json::to_string(row).map(|line| format!("{line}\n"));
    // Rows came as JSON, and are written as they came.
    rows.into_iter().map(line).filter_map(Result::ok).collect()
}

/// Writes everything that matches, page by page. Calls `progress` with the number of rows so far.
///
/// # Errors
/// The file cannot be written, or a page has no answer: the text says how much was written.
pub(crate) async fn export<P: Future<Output = ()> + Send>(
    commands: &dyn ServerCommands,
    full: &Path,
    path: &str,
    what: Exported,
    progress: impl Fn(u64) -> P + Send,
) -> Result<String, String> {
    let mut file = create(full).map_err(|error| not_written(path, &error))?;
    let filter = match &what {
        Exported::Jobs(filter) | Exported::DeadLetters(filter) => filter.clone(),
    };
    let mut query = ListQuery {
        filter: Some(filter).filter(|filter| !filter.is_empty()),
        limit: Some(PAGE),
        ..ListQuery::default()
    };
    let noun = what.noun();
    let mut count = 0_u64;
    loop {
        let request = match what {
            Exported::Jobs(_) => Request::Jobs(query.clone()),
            Exported::DeadLetters(_) => Request::DeadLetters(query.clone()),
        };
        let (text, rows, next) = match commands.call(&request).await {
            Ok(Answer::Jobs(page)) => (lines(&page.jobs), page.jobs.len(), page.next),
            Ok(Answer::DeadLetters(page)) => {
                (lines(&page.dead_letters), page.dead_letters.len(), page.next)
            }
            Ok(_) => {
                return Err(format!("wrote {count} {noun} to {path}, then an unexpected answer"));
            }
            Err(failure) => {
                return Err(format!("wrote {count} {noun} to {path}, then: {}", failure.message));
            }
        };
        file.write_all(text.as_bytes()).map_err(|error| not_written(path, &error))?;
        count += rows as u64;
        progress(count).await;
        query.cursor = next;
        if query.cursor.is_none() {
            return Ok(format!("wrote {count} {noun} to {path}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use tokio::sync::mpsc::Sender;

    use super::*;
    use crate::api::{Failure, FailureKind, LiveNews, LogNews, LogRequest, Topic};
    use crate::fixtures;

    /// Answers with three pages of two jobs; a filter is refused on the second.
    struct Pages;

    #[async_trait]
    impl ServerCommands for Pages {
        async fn call(&self, request: &Request) -> Result<Answer, Failure> {
            let Request::Jobs(query) = request else { panic!("{request:?}") };
            let at: i64 = query.cursor.as_deref().map_or(6, |at| at.parse().expect("an id"));
            if query.filter.is_some() && at < 6 {
                return Err(Failure::new(FailureKind::Link, "the connection was lost"));
            }
            let mut page = fixtures::jobs();
            page.jobs = vec![fixtures::summary(at), fixtures::summary(at - 1)];
            page.next = Some((at - 2).to_string()).filter(|_| at > 2);
            Ok(Answer::Jobs(page))
        }

        async fn follow(&self, _: LogRequest, _: Sender<LogNews>) {}

        async fn watch(&self, _: Topic, _: Sender<LiveNews>) {}
    }

    #[tokio::test]
    async fn all_that_matches_is_written_for_its_owner_and_never_over_a_file() {
        let name = format!("orx-top-export-{}.jsonl", std::process::id());
        let full = std::env::temp_dir().join(&name);
        let _ = std::fs::remove_file(&full);
        let counts = Mutex::new(Vec::new());
        let write = async |filter: &str| {
            let progress = |count| {
                counts.lock().expect("a list").push(count);
                std::future::ready(())
            };
            export(&Pages, &full, &name, Exported::Jobs(filter.to_owned()), progress).await
        };
        assert_eq!(write("").await, Ok(format!("wrote 6 jobs to {name}")));
        assert_eq!(*counts.lock().expect("a list"), [2, 4, 6]);
        let text = std::fs::read_to_string(&full).expect("there");
        let ids: Vec<i64> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("json"))
            .map(|job| job["id"].as_i64().expect("an id"))
            .collect();
        assert_eq!(ids, [6, 5, 4, 3, 2, 1]);
        assert_eq!(std::fs::metadata(&full).expect("there").mode() & 0o777, 0o600);
        let error = write("").await.expect_err("it exists");
        assert!(error.contains("is left as it is"), "{error}");
        assert_eq!(std::fs::read_to_string(&full).expect("there"), text);
        std::fs::remove_file(&full).expect("removed");
        let error = write("queue:mail").await.expect_err("cut off");
        assert_eq!(error, format!("wrote 2 jobs to {name}, then: the connection was lost"));
        std::fs::remove_file(&full).expect("removed");
    }
}
