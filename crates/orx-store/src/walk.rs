//! Lists, counts and dead letters: jobs that may match are read window by window, in the order of ids,
//! the filter is asked of each, and that ends with a full page or a bound. A window is what a dialect
//! reads at once; all else is the same in every dialect, and stands here. The first window of a page has
//! about as many jobs as the page, and most pages need no other; what goes on after it is a scan.

use orx_model::filter::Filter;
use orx_model::job::{DeadReason, Json};
use orx_model::wire::Count;
use orx_model::{Job, JobId, JobSummary, Timestamp, limits};

use crate::budget::Reads;
use crate::filter_pushdown::SCAN_MAX;
use crate::{DeadLetterRow, ListRequest, Page};

/// Jobs in the first window of a page, if the page has no more, and in those after it.
const FIRST_ROWS: u64 = 64;
const WINDOW_ROWS: u64 = 2_000;
/// A window ends with the job that takes what is read of it over this.
pub(crate) const WINDOW_BYTES: usize = 2 * 1024 * 1024;

/// A job that may match.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) job: JobSummary,
    /// Where the filter needs them.
    pub(crate) args: Option<Json>,
    /// Since when it is a dead letter.
    pub(crate) dead_at: Option<Timestamp>,
}

impl Found {
    pub(crate) fn new(job: Job, dead_at: Option<Timestamp>, with_args: bool) -> Self {
        let args = with_args.then(|| job.spec.args.clone());
        Self { job: job.into(), args, dead_at }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.job.bytes() + self.args.as_ref().map_or(0, |args| args.get().len())
    }

    pub(crate) fn letter(self) -> DeadLetterRow {
        let at = self.dead_at.unwrap_or(self.job.state.created_at);
        let reason = self.job.state.dead.unwrap_or(DeadReason::NotRetryable);
        DeadLetterRow { job: self.job, reason, at }
    }
}

/// What is to be read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) after: Option<JobId>,
    pub(crate) rows: u64,
    pub(crate) reads: Reads,
}

#[derive(Debug)]
pub(crate) struct Window {
    /// Of the jobs looked at, those that may match.
    pub(crate) found: Vec<Found>,
    /// Jobs looked at.
    pub(crate) looked: u64,
    /// The last of those.
    pub(crate) last: Option<JobId>,
    /// There are none after them.
    pub(crate) ended: bool,
}

#[derive(Debug)]
pub(crate) struct Walk {
    filter: Filter,
    now: Timestamp,
    pub(crate) oldest_first: bool,
    /// Matching jobs at most; one more only tells that there are more.
    limit: u64,
    /// They are kept, not only counted.
    keeps: bool,
    want: Want,
    looked: u64,
    matched: u64,
    rows: Vec<Found>,
    bytes: usize,
    full: bool,
    ended: bool,
    late: bool,
}

impl Walk {
    pub(crate) fn page(request: ListRequest, now: Timestamp) -> Self {
        let limit = u64::from(request.limit);
        // Of no filter each job is of the page.
        let least = if request.filter.terms.is_empty() { 1 } else { FIRST_ROWS };
        let rows = (limit + 1).clamp(least, WINDOW_ROWS);
        let first = Want { after: request.after, rows, reads: Reads::Point };
        Self { oldest_first: request.oldest_first, ..Self::new(request.filter, limit, first, now) }
    }

    pub(crate) fn count(filter: Filter, most: u64, now: Timestamp) -> Self {
        let first = Want { after: None, rows: WINDOW_ROWS, reads: Reads::Scan };
        Self { keeps: false, ..Self::new(filter, most, first, now) }
    }

    fn new(filter: Filter, limit: u64, want: Want, now: Timestamp) -> Self {
        Self {
            filter,
            now,
            oldest_first: false,
            limit,
            keeps: true,
            want,
            looked: 0,
            matched: 0,
            rows: Vec::new(),
            bytes: 0,
            full: false,
            ended: false,
            late: false,
        }
    }

    pub(crate) fn filter(&self) -> &Filter {
        &self.filter
    }

    pub(crate) fn needs_args(&self) -> bool {
        self.filter.needs_args()
    }

    /// `None` at the end.
    pub(crate) fn want(&self) -> Option<Want> {
        let rows = self.want.rows.min(SCAN_MAX.saturating_sub(self.looked));
        let over = self.full || self.ended || self.late || rows == 0;
        (!over).then_some(Want { rows, ..self.want })
    }

    /// A window that was read at once.
    pub(crate) fn feed(&mut self, window: Window) {
        for found in window.found {
            if !self.judge(found) {
                return;
            }
        }
        self.looked += window.looked;
        self.want.after = window.last;
        self.end_window(window.ended || window.last.is_none());
    }

    /// The next job of a window that is read job by job, if it may match. Answers whether more are
    /// wanted. Should the window be read again, it is from there.
    pub(crate) fn look(&mut self, id: JobId, found: Option<Found>) -> bool {
        self.looked += 1;
        self.want.after = Some(id);
        found.is_none_or(|found| self.judge(found))
    }

    pub(crate) fn end_window(&mut self, ended: bool) {
        self.ended = ended;
        self.want = Want { after: self.want.after, rows: WINDOW_ROWS, reads: Reads::Scan };
    }

    /// Answers whether more are wanted.
    fn judge(&mut self, found: Found) -> bool {
        if !self.filter.matches(&found.job, found.args.as_ref(), self.now) {
            return true;
        }
        let bytes = found.job.bytes();
        let fits = self.rows.is_empty() || self.bytes + bytes <= limits::PAGE_BYTES;
        if self.matched == self.limit || !fits {
            self.full = true;
            return false;
        }
        self.matched += 1;
        if self.keeps {
            self.bytes += bytes;
            self.rows.push(found);
        }
        true
    }

    /// Nothing can match.
    pub(crate) fn nothing(&mut self) {
        self.ended = true;
    }

    /// There is no more time.
    pub(crate) fn stop(&mut self) {
        self.late = true;
    }

    /// `None` where too many jobs would have to be looked at.
    pub(crate) fn into_page<T>(self, of: impl Fn(Found) -> T) -> Option<Page<T>> {
        // A full page stands, also where it was not found out whether another row follows.
        if !self.ended && !self.full && self.matched < self.limit {
            return None;
        }
        let last = self.rows.last().map(|found| found.job.id);
        let next = last.filter(|_| self.full || !self.ended);
        Some(Page { rows: self.rows.into_iter().map(of).collect(), next })
    }

    /// `None` where too many jobs would have to be looked at.
    pub(crate) fn into_count(self) -> Option<Count> {
        let known = self.ended || self.full;
        known.then_some(Count { count: self.matched, exact: !self.full })
    }
}

#[cfg(test)]
mod tests {
    use orx_model::JobStatus;

    use super::*;

    fn found(id: i64, error_bytes: usize) -> Found {
        let why = "x".repeat(error_bytes);
        let job = Job::unreadable(JobId(id), JobStatus::Failed, Timestamp::default(), why);
        Found::new(job, None, false)
    }

    fn window(ids: impl IntoIterator<Item = i64>, error_bytes: usize) -> Window {
        let found: Vec<Found> = ids.into_iter().map(|id| found(id, error_bytes)).collect();
        let last = found.last().map(|it| it.job.id);
        Window { looked: found.len() as u64, last, ended: false, found }
    }

    fn request(limit: u32) -> ListRequest {
        ListRequest { filter: Filter::default(), oldest_first: false, after: None, limit }
    }

    #[test]
    fn a_page_ends_with_its_bytes_and_goes_on_after_its_last_row() {
        let request = request(500);
        let mut walk = Walk::page(request.clone(), Timestamp::default());
        walk.feed(window((1..=40).rev(), 32 * 1024));
        assert_eq!(walk.want(), None);
        let page = walk.into_page(|found| found.job).expect("a page");
        assert!((2..20).contains(&page.rows.len()), "{} rows", page.rows.len());
        assert!(page.rows.iter().map(JobSummary::bytes).sum::<usize>() <= limits::PAGE_BYTES);
        assert_eq!(page.next, page.rows.last().map(|job| job.id));
        // However large, one row comes.
        let mut walk = Walk::page(request.clone(), Timestamp::default());
        walk.feed(window([2, 1], limits::PAGE_BYTES));
        let page = walk.into_page(|found| found.job).expect("a page");
        assert_eq!((page.rows.len(), page.next), (1, Some(JobId(2))));
    }

    #[test]
    fn a_window_that_is_read_again_gives_no_job_twice_and_ends_with_the_page() {
        let mut walk = Walk::page(request(3), Timestamp::default());
        assert_eq!(walk.want().map(|want| want.rows), Some(4));
        assert!(walk.look(JobId(9), Some(found(9, 1))) && walk.look(JobId(8), None));
        // Broken off here.
        let want = walk.want().expect("more");
        assert_eq!((want.after, want.reads), (Some(JobId(8)), Reads::Point));
        assert!(walk.look(JobId(7), Some(found(7, 1))) && walk.look(JobId(6), Some(found(6, 1))));
        assert!(!walk.look(JobId(5), Some(found(5, 1))));
        assert_eq!(walk.want(), None);
        let page = walk.into_page(|found| found.job.id).expect("a page");
        assert_eq!((page.rows, page.next), (vec![JobId(9), JobId(7), JobId(6)], Some(JobId(6))));
    }

    #[test]
    fn a_scan_has_an_end_and_says_that_it_was_too_broad() {
        let request = request(10);
        let mut walk = Walk::page(request.clone(), Timestamp::default());
        let mut windows = 0;
        while let Some(want) = walk.want() {
            let last = Some(JobId(1_000_000 - windows));
            walk.feed(Window { found: Vec::new(), looked: want.rows, last, ended: false });
            windows += 1;
        }
        assert_eq!(walk.looked, SCAN_MAX);
        assert!(walk.into_page(|found| found.job).is_none());
        let mut walk = Walk::count(request.filter, 2, Timestamp::default());
        walk.feed(window([3, 2, 1], 1));
        let count = walk.into_count().expect("a count");
        assert_eq!((count.count, count.exact), (2, false));
    }
}
