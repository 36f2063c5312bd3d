//! The logs of all jobs that match a filter, as one.

use std::collections::BTreeMap;

use orx_model::JobId;
use orx_model::log::LogCursor;
use orx_model::wire::live::JobLogPart;

use super::log::Log;
use crate::api::Failure;

/// Jobs whose positions are known: a piece that comes again is taken in once.
const POSITIONS: usize = 2_000;

/// The screen of logs.
#[derive(Debug)]
pub(crate) struct Logs {
    /// Of jobs, not of lines.
    pub(crate) filter: String,
    pub(crate) log: Log,
    positions: BTreeMap<JobId, LogCursor>,
    /// Why the stream ended.
    pub(crate) failure: Option<Failure>,
}

impl Default for Logs {
    fn default() -> Self {
        let (positions, failure) = (BTreeMap::new(), None);
        Self { filter: String::new(), log: Log::new(None), positions, failure }
    }
}

impl Logs {
    /// Begins anew, with this filter.
    pub(crate) fn restart(&mut self, filter: String) {
        let (wrap, level) = (self.log.scroll.wrap, self.log.level);
        *self = Self { filter, ..Self::default() };
        (self.log.scroll.wrap, self.log.level) = (wrap, level);
    }

    /// Takes a piece of output in, unless it is known.
    pub(crate) fn take(&mut self, one: &JobLogPart) {
        let Some(at) = one.part.position() else { return };
        if let Some(known) = self.positions.get(&one.job).copied() {
            if at <= known {
                return;
            }
            if at.attempt == known.attempt && at.seq > known.seq + 1 {
                let text = "more was printed here; Enter opens the whole log";
                self.log.push_gap(one.job, &one.part, text);
            }
        }
        self.positions.insert(one.job, at);
        if self.positions.len() > POSITIONS {
            self.positions.pop_first();
        }
        self.log.push(one.job, &one.part);
    }

    /// The number of jobs whose output came in.
    pub(crate) fn jobs(&self) -> usize {
        self.positions.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{log_part, name};

    fn take(logs: &mut Logs, job: i64, seq: u64, text: &str) {
        let part = log_part(1, seq, text);
        logs.take(&JobLogPart { job: JobId(job), name: name("work"), part });
    }

    #[test]
    fn a_piece_that_comes_again_is_taken_once_and_one_that_is_missing_is_marked() {
        let mut logs = Logs::default();
        take(&mut logs, 1, 1, "a\n");
        take(&mut logs, 2, 7, "b\n");
        take(&mut logs, 1, 1, "a\n");
        take(&mut logs, 2, 9, "c\n");
        take(&mut logs, 1, 2, "d\n");
        let texts: Vec<_> = logs.log.shown().iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["a", "b", "more was printed here; Enter opens the whole log", "c", "d"]);
    }
}
