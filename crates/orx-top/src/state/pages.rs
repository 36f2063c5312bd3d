//! A window of pages over the list of jobs. Pages are read by keyset cursors, from either end; there are
//! no offsets. What is shown changes in place; rows that come in above wait.

use std::collections::{BTreeSet, VecDeque};

use orx_model::wire::{Count, JobPage, ListQuery};
use orx_model::{JobId, JobSummary};

/// Rows of a page.
pub(crate) const PAGE: u32 = 100;
/// Pages that are held at once.
const WINDOW: usize = 3;

#[derive(Debug, Clone)]
struct HeldPage {
    /// The cursor that it was read with; `None` for the first.
    start: Option<String>,
    rows: Vec<JobSummary>,
    next: Option<String>,
}

/// Part of a list of jobs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pages {
    pub(crate) filter: String,
    /// The list is shown oldest first.
    pub(crate) oldest_first: bool,
    /// It is read from its end, after the user went there.
    from_end: bool,
    pages: VecDeque<HeldPage>,
    /// Cursors of the pages before the window that were dropped.
    earlier: Vec<Option<String>>,
    /// The filter and orders of the rows that are shown, while those of another filter are on their way.
    before: Option<(String, bool, bool)>,
    /// Answers to requests of an earlier generation are of another list.
    pub(crate) generation: u64,
    pub(crate) count: Option<Count>,
    /// Rows above that are not shown yet.
    pub(crate) waiting: usize,
    /// Rows that did not match any more when their page was read again.
    gone: BTreeSet<JobId>,
    pub(crate) loaded: bool,
    /// The server reports changes that are not in these rows.
    pub(crate) stale: bool,
    refreshes: u32,
}

/// Which page a request is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PageRequest {
    pub(crate) generation: u64,
    pub(crate) start: Option<String>,
}

impl Pages {
    pub(crate) fn find_mut(&mut self, id: JobId) -> Option<&mut JobSummary> {
        self.pages.iter_mut().flat_map(|page| &mut page.rows).find(|row| row.id == id)
    }

    /// Replaces a row by its present state. Returns whether there is such a row.
    pub(crate) fn replace(&mut self, job: &JobSummary) -> bool {
        self.gone.remove(&job.id);
        match self.find_mut(job.id) {
            Some(row) => {
                *row = job.clone();
                true
            }
            None => false,
        }
    }

    /// These jobs do not match any more.
    pub(crate) fn dim(&mut self, ids: impl Iterator<Item = JobId>) {
        for id in ids {
            if self.find_mut(id).is_some() {
                self.gone.insert(id);
            }
        }
    }

    /// The end of the list is loaded.
    pub(crate) fn holds_end(&self) -> bool {
        match self.from_end {
            true => self.earlier.is_empty(),
            false => self.pages.back().is_none_or(|page| page.next.is_none()),
        }
    }

    /// All of the list is loaded.
    pub(crate) fn is_whole(&self) -> bool {
        self.earlier.is_empty() && self.pages.back().is_none_or(|page| page.next.is_none())
    }

    pub(crate) fn is_from_end(&self) -> bool {
        self.from_end
    }

    /// Starts over, with this filter and order, at the start of the list or at its end. The rows stay
    /// until the answer comes.
    pub(crate) fn restart(&mut self, filter: String, oldest_first: bool, from_end: bool) {
        if self.loaded {
            self.before = Some((self.filter.clone(), self.oldest_first, self.from_end));
        }
        (self.filter, self.oldest_first, self.from_end) = (filter, oldest_first, from_end);
        self.generation += 1;
        self.loaded = false;
        self.refreshes = 0;
    }

    /// The server refuses what [`Self::restart`] asked for: the list stays what it was.
    pub(crate) fn refuse(&mut self) {
        if let Some(before) = self.before.take() {
            (self.filter, self.oldest_first, self.from_end) = before;
            self.generation += 1;
        }
        self.loaded = true;
    }

    /// The rows, in the order shown.
    pub(crate) fn rows(&self) -> Vec<&JobSummary> {
        let rows = self.pages.iter().flat_map(|page| &page.rows);
        let mut rows: Vec<&JobSummary> = rows.collect();
        if self.from_end {
            rows.reverse();
        }
        rows
    }

    pub(crate) fn is_gone(&self, id: JobId) -> bool {
        self.gone.contains(&id)
    }

    fn query(&self, start: Option<String>, count: bool) -> (PageRequest, ListQuery) {
        let query = ListQuery {
            filter: Some(self.filter.clone()).filter(|filter| !filter.is_empty()),
            limit: Some(PAGE),
            cursor: start.clone(),
            oldest_first: (self.oldest_first != self.from_end).then_some(true),
            tz: None,
            count: count.then_some(true),
        };
        (PageRequest { generation: self.generation, start }, query)
    }

    /// The requests that bring what is shown up to date. `top` and `height` are the rows in view.
    pub(crate) fn refresh(&mut self, top: usize, height: usize) -> Vec<(PageRequest, ListQuery)> {
        if !self.loaded {
            return vec![self.query(None, true)];
        }
        let total: usize = self.pages.iter().map(|page| page.rows.len()).sum();
        let (first, last) = match self.from_end {
            false => (top, top + height),
            true => (total.saturating_sub(top + height), total.saturating_sub(top)),
        };
        let mut begin = 0;
        let mut shown = Vec::new();
        for page in &self.pages {
            let end = begin + page.rows.len();
            if begin < last.max(1) && end >= first {
                shown.push(page.start.clone());
            }
            begin = end;
        }
        if !shown.contains(&None) && self.earlier.is_empty() {
            // So that new rows are noticed.
            shown.push(None);
        }
        self.refreshes += 1;
        self.stale = false;
        // To count is more work than to read a page.
        let counts = self.refreshes.is_multiple_of(5);
        shown
            .into_iter()
            .map(|start| self.query(start.clone(), counts && start.is_none()))
            .collect()
    }

    /// The next page to read, if the view is near an end of the window that goes on.
    pub(crate) fn wanted(&self, top: usize, height: usize) -> Option<(PageRequest, ListQuery)> {
        if !self.loaded {
            return None;
        }
        let total: usize = self.pages.iter().map(|page| page.rows.len()).sum();
        let margin = PAGE as usize * 3 / 10;
        let (before, after) = (top, total.saturating_sub(top + height));
        let (at_start, at_end) = match self.from_end {
            false => (before < margin, after < margin),
            true => (after < margin, before < margin),
        };
        let next = self.pages.back().and_then(|page| page.next.clone());
        match (at_start.then(|| self.earlier.last()).flatten(), next) {
            (Some(start), _) => Some(self.query(start.clone(), false)),
            (None, Some(next)) if at_end => Some(self.query(Some(next), false)),
            (None, _) => None,
        }
    }

    /// Takes an answer in. `flows`: rows that are new may come in above what is shown.
    pub(crate) fn answer(&mut self, request: &PageRequest, page: JobPage, flows: bool) {
        if request.generation != self.generation {
            return;
        }
        self.count = page.count.or(self.count);
        let new = HeldPage { start: request.start.clone(), rows: page.jobs, next: page.next };
        if !self.loaded {
            self.pages = VecDeque::from([new]);
            (self.earlier, self.gone) = (Vec::new(), BTreeSet::new());
            (self.waiting, self.loaded, self.before) = (0, true, None);
            return;
        }
        if let Some(place) = self.pages.iter().position(|page| page.start == new.start) {
            self.merge(place, new, flows);
        } else if self.pages.back().is_some_and(|last| last.next == new.start) {
            self.pages.push_back(new);
            while self.pages.len() > WINDOW {
                let dropped = self.pages.pop_front();
                self.earlier.extend(dropped.map(|page| page.start));
            }
        } else if self.earlier.last() == Some(&new.start) {
            self.earlier.pop();
            self.pages.push_front(new);
            self.pages.truncate(WINDOW);
        } else if new.start.is_none() && !self.from_end {
            self.waiting = self.unknown(&new).len();
        }
    }

    fn unknown(&self, page: &HeldPage) -> Vec<JobSummary> {
        let known: BTreeSet<JobId> =
            self.pages.iter().flat_map(|page| &page.rows).map(|row| row.id).collect();
        page.rows.iter().filter(|row| !known.contains(&row.id)).cloned().collect()
    }

    fn merge(&mut self, place: usize, new: HeldPage, flows: bool) {
        let unknown = self.unknown(&new);
        let descends = self.oldest_first == self.from_end;
        let follows = |one: JobId, other: JobId| if descends { one < other } else { one > other };
        let at_start = place == 0 && new.start.is_none();
        let overlaps = new.rows.len() > unknown.len() || self.pages[place].rows.is_empty();
        let grown = self.pages[place].rows.len() + unknown.len() > 2 * PAGE as usize;
        if at_start && flows && (!overlaps || grown) {
            // More rows are new than a page has: what is held lies far below by now.
            self.pages = VecDeque::from([new]);
            (self.waiting, self.gone) = (0, BTreeSet::new());
            return;
        }
        let last = place + 1 == self.pages.len();
        let held = &mut self.pages[place];
        let end = new.rows.last().map(|row| row.id).filter(|_| new.next.is_some());
        for row in &mut held.rows {
            match new.rows.iter().find(|one| one.id == row.id) {
                Some(one) => {
                    *row = one.clone();
                    self.gone.remove(&row.id);
                }
                // New rows have pushed it to the next page.
                None if end.is_some_and(|end| follows(row.id, end)) => {}
                None => {
                    self.gone.insert(row.id);
                }
            }
        }
        let first = held.rows.first().map(|row| row.id);
        let comes_before = |row: &JobSummary| first.is_none_or(|first| follows(first, row.id));
        let (before, after): (Vec<_>, Vec<_>) = unknown.into_iter().partition(comes_before);
        if at_start {
            if flows || self.from_end {
                held.rows.splice(0..0, before);
                self.waiting = 0;
            } else {
                self.waiting = before.len();
            }
        }
        if last && held.next.is_none() {
            held.rows.extend(after);
            held.next = new.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::summary;

    fn page(ids: impl IntoIterator<Item = i64>, next: Option<&str>) -> JobPage {
        let jobs = ids.into_iter().map(summary).collect();
        JobPage { v: 1, jobs, next: next.map(str::to_owned), count: None }
    }

    fn ids(pages: &Pages) -> Vec<i64> {
        pages.rows().iter().map(|row| row.id.0).collect()
    }

    fn loaded(first: JobPage) -> Pages {
        let mut pages = Pages::default();
        let (request, _) = pages.refresh(0, 10).remove(0);
        pages.answer(&request, first, true);
        pages
    }

    #[test]
    fn new_rows_wait_until_the_view_may_move() {
        let mut pages = loaded(page([3, 2, 1], None));
        let (request, _) = pages.refresh(0, 10).remove(0);
        pages.answer(&request, page([5, 4, 3, 2, 1], None), false);
        assert_eq!((ids(&pages), pages.waiting), (vec![3, 2, 1], 2));
        pages.answer(&request, page([5, 4, 3, 2, 1], None), true);
        assert_eq!((ids(&pages), pages.waiting), (vec![5, 4, 3, 2, 1], 0));
    }

    #[test]
    fn a_row_that_matches_no_more_stays_and_is_marked_as_gone() {
        let mut pages = loaded(page([3, 2, 1], None));
        let (request, _) = pages.refresh(0, 10).remove(0);
        pages.answer(&request, page([3, 1], None), true);
        assert_eq!(ids(&pages), vec![3, 2, 1]);
        assert!(pages.is_gone(JobId(2)) && !pages.is_gone(JobId(1)));
    }

    #[test]
    fn the_window_moves_along_the_list_and_back() {
        let mut pages = loaded(page((901..=1000).rev(), Some("901")));
        for _ in 0..4 {
            let rows = pages.rows().len();
            let (request, query) = pages.wanted(rows - 10, 10).expect("a page");
            let next: i64 = query.cursor.as_deref().expect("a cursor").parse().expect("an id");
            pages.answer(
                &request,
                page((next - 100..next).rev(), Some(&(next - 100).to_string())),
                true,
            );
        }
        assert_eq!((ids(&pages).len(), ids(&pages)[0]), (300, 800));
        let (request, query) = pages.wanted(0, 10).expect("the page before");
        assert_eq!(query.cursor.as_deref(), Some("901"));
        pages.answer(&request, page((801..=900).rev(), Some("801")), true);
        assert_eq!((ids(&pages).len(), ids(&pages)[0]), (300, 900));
    }

    #[test]
    fn the_end_is_read_from_the_other_side() {
        let mut pages = loaded(page((901..=1000).rev(), Some("901")));
        pages.restart(String::new(), false, true);
        let (request, query) = pages.refresh(0, 10).remove(0);
        assert_eq!((query.oldest_first, query.cursor), (Some(true), None));
        pages.answer(&request, page(1..=100, Some("100")), true);
        assert_eq!((ids(&pages)[0], ids(&pages)[99]), (100, 1));
        let (request, query) = pages.wanted(0, 10).expect("what is above");
        assert_eq!(query.cursor.as_deref(), Some("100"));
        pages.answer(&request, page(101..=200, Some("200")), true);
        assert_eq!((ids(&pages)[0], ids(&pages)[199]), (200, 1));
    }

    #[test]
    fn an_answer_for_an_earlier_filter_changes_nothing() {
        let mut pages = loaded(page([3, 2, 1], None));
        let (request, _) = pages.refresh(0, 10).remove(0);
        pages.restart("status:failed".to_owned(), false, false);
        pages.answer(&request, page([9], None), true);
        assert_eq!(ids(&pages), vec![3, 2, 1]);
    }
}
