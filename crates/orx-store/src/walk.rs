//! Lists, counts and dead letters. A walk reads candidate jobs window by window, in the order of ids, and
//! matches the filter against each, until the page is full or a bound is reached. A dialect reads the
//! windows; this file does the rest for every dialect. The first window of a page has about as many jobs
//! as the page, and is enough for most pages; later windows are a scan.

use orx_model::filter::Filter;
use orx_model::job::{DeadReason, Json};
use orx_model::wire::Count;
use orx_model::{Job, JobId, JobSummary, Timestamp, limits};

use crate::budget::Reads;
use crate::cause_groups::CauseGroups;
use crate::filter_pushdown::SCAN_MAX;
use crate::{CausesPage, CausesRequest, DeadLetterRow, ListRequest, Page};

/// Jobs in the first window of a filtered page, at least.
const FIRST_ROWS: u64 = 64;
/// Jobs in a later window.
const WINDOW_ROWS: u64 = 2_000;
/// A window ends after the job that exceeds this.
pub(crate) const WINDOW_BYTES: usize = 2 * 1024 * 1024;

/// A job that may match.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) job: JobSummary,
    /// Read only if the filter needs them.
    pub(crate) args: Option<Json>,
    /// When the store recorded its dead letter.
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

/// The next window to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowRequest {
    pub(crate) after: Option<JobId>,
    pub(crate) rows: u64,
    pub(crate) reads: Reads,
}

/// The result of reading one window.
#[derive(Debug)]
pub(crate) struct Window {
    /// The jobs that may match, in order.
    pub(crate) found: Vec<Found>,
    /// Jobs looked at.
    pub(crate) looked: u64,
    /// The last job looked at.
    pub(crate) last: Option<JobId>,
    /// No jobs follow.
    pub(crate) ended: bool,
}

/// A list or count in progress.
#[derive(Debug)]
pub(crate) struct Walk {
    filter: Filter,
    now: Timestamp,
    pub(crate) oldest_first: bool,
    /// Matching jobs, at most. One more match only shows that there are more.
    limit: u64,
    /// Collects the matching jobs; a count does not.
    keeps: bool,
    /// Groups the matching jobs, which are dead letters.
    groups: Option<CauseGroups>,
    want: WindowRequest,
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
        // Without a filter every job belongs to the page.
        let least = if request.filter.terms.is_empty() { 1 } else { FIRST_ROWS };
        let rows = (limit + 1).clamp(least, WINDOW_ROWS);
        let first = WindowRequest { after: request.after, rows, reads: Reads::Point };
        Self { oldest_first: request.oldest_first, ..Self::new(request.filter, limit, first, now) }
    }

    pub(crate) fn count(filter: Filter, most: u64, now: Timestamp) -> Self {
        let first = WindowRequest { after: None, rows: WINDOW_ROWS, reads: Reads::Scan };
        Self { keeps: false, ..Self::new(filter, most, first, now) }
    }

    /// Looks at all matching dead letters, to group them.
    pub(crate) fn causes(filter: Filter, now: Timestamp) -> Self {
        Self { groups: Some(CauseGroups::default()), ..Self::count(filter, u64::MAX, now) }
    }

    fn new(filter: Filter, limit: u64, want: WindowRequest, now: Timestamp) -> Self {
        Self {
            filter,
            now,
            oldest_first: false,
            limit,
            keeps: true,
            groups: None,
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

    /// The next window to read; `None` at the end of the walk.
    pub(crate) fn want(&self) -> Option<WindowRequest> {
        let rows = self.want.rows.min(SCAN_MAX.saturating_sub(self.looked));
        let over = self.full || self.ended || self.late || rows == 0;
        (!over).then_some(WindowRequest { rows, ..self.want })
    }

    /// Matches a window that was read as a whole.
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

    /// Matches the next job of a window that is read job by job; `None` for a job that cannot match.
    /// Returns whether the walk continues. If the read of a window is repeated, it continues after this
    /// job.
    pub(crate) fn look(&mut self, id: JobId, found: Option<Found>) -> bool {
        self.looked += 1;
        self.want.after = Some(id);
        found.is_none_or(|found| self.judge(found))
    }

    pub(crate) fn end_window(&mut self, ended: bool) {
        self.ended = ended;
        self.want = WindowRequest { after: self.want.after, rows: WINDOW_ROWS, reads: Reads::Scan };
    }

    /// Returns whether the walk continues.
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
        if let Some(groups) = &mut self.groups {
            groups.add(&found.letter());
        } else if self.keeps {
            self.bytes += bytes;
            self.rows.push(found);
        }
        true
    }

    /// Ends the walk: no job can match.
    pub(crate) fn nothing(&mut self) {
        self.ended = true;
    }

    /// Ends the walk: its time is up.
    pub(crate) fn stop(&mut self) {
        self.late = true;
    }

    /// `None` if the walk ended with its bound before the page was full.
    pub(crate) fn into_page<T>(self, of: impl Fn(Found) -> T) -> Option<Page<T>> {
        // A page with `limit` rows is complete, even if it is unknown whether another row follows.
        if !self.ended && !self.full && self.matched < self.limit {
            return None;
        }
        let last = self.rows.last().map(|found| found.job.id);
        let next = last.filter(|_| self.full || !self.ended);
        Some(Page { rows: self.rows.into_iter().map(of).collect(), next })
    }

    /// `None` if the walk ended with its bound before the counts were known.
    pub(crate) fn into_causes(self, request: &CausesRequest) -> Option<CausesPage> {
        self.groups.filter(|_| self.ended).map(|groups| groups.page(request))
    }

    /// `None` if the walk ended with its bound before the count was known.
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
    fn a_page_ends_at_its_byte_limit_and_the_next_continues_after_its_last_row() {
        let request = request(500);
        let mut walk = Walk::page(request.clone(), Timestamp::default());
        walk.feed(window((1..=40).rev(), 32 * 1024));
        assert_eq!(walk.want(), None);
        let page = walk.into_page(|found| found.job).expect("a page");
        assert!((2..20).contains(&page.rows.len()), "{} rows", page.rows.len());
        assert!(page.rows.iter().map(JobSummary::bytes).sum::<usize>() <= limits::PAGE_BYTES);
        assert_eq!(page.next, page.rows.last().map(|job| job.id));
        // The first row fits whatever its size.
        let mut walk = Walk::page(request.clone(), Timestamp::default());
        walk.feed(window([2, 1], limits::PAGE_BYTES));
        let page = walk.into_page(|found| found.job).expect("a page");
        assert_eq!((page.rows.len(), page.next), (1, Some(JobId(2))));
    }

    #[test]
    fn a_repeated_window_returns_no_job_twice_and_ends_with_the_page() {
        let mut walk = Walk::page(request(3), Timestamp::default());
        assert_eq!(walk.want().map(|want| want.rows), Some(4));
        assert!(walk.look(JobId(9), Some(found(9, 1))) && walk.look(JobId(8), None));
        // The read breaks off here and is repeated.
        let want = walk.want().expect("more");
        assert_eq!((want.after, want.reads), (Some(JobId(8)), Reads::Point));
        assert!(walk.look(JobId(7), Some(found(7, 1))) && walk.look(JobId(6), Some(found(6, 1))));
        assert!(!walk.look(JobId(5), Some(found(5, 1))));
        assert_eq!(walk.want(), None);
        let page = walk.into_page(|found| found.job.id).expect("a page");
        assert_eq!((page.rows, page.next), (vec![JobId(9), JobId(7), JobId(6)], Some(JobId(6))));
    }

    #[test]
    fn a_scan_ends_at_its_bound_and_reports_that_it_was_too_broad() {
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
