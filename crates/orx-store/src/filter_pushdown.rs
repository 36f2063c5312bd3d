//! Translates a filter to index reads and SQL conditions. They select every matching job and may select
//! others; the store matches the whole filter against each afterwards. Dialects differ only in the
//! tables of the indexes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use orx_model::filter::{CountField, Field, Filter, FilterTerm, Op, Pattern, Test};
use orx_model::job::Labels;
use orx_model::mask::is_secret_key;
use orx_model::wire::StatusCounts;
use orx_model::{CauseId, JobSpec, JobStatus, Name};

use crate::codec::{priority_rank, status_code};

/// Jobs that one page, or one count, may look at.
pub(crate) const SCAN_MAX: u64 = 200_000;
/// Lanes that the plan of a list reads, at most. With more, the filter matches queue and name of each job.
pub(crate) const LANES_MAX: usize = 10_000;
/// Sources that one statement merges, at most.
const MERGE_MAX: usize = 24;
/// Lanes that a condition lists, at most.
const NAMED_LANES_MAX: usize = 1_000;

/// The condition of the index of dead letters without a cause. It also has the jobs that an older node
/// retried, which left their cause.
pub(crate) const CAUSELESS: &str = "(dead IS NULL) <> (cause IS NULL)";

/// An index that yields job ids in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// All jobs.
    Every,
    /// Jobs with a dead letter.
    Dead,
    /// Dead letters of the cause with this id.
    Cause(i64),
    /// Dead letters whose cause no node has computed yet.
    Causeless,
    /// Jobs in this status, which is never completed: those are the most, and have no index by status.
    Status(JobStatus),
    /// Jobs of the lane with this id.
    Lane(i64),
    /// Jobs with this entry of [`terms`].
    Term(String),
    /// Jobs of a version that indexed no terms.
    Unindexed,
}

/// The table, id column and condition of a source.
pub(crate) struct SourceSql {
    pub(crate) table: &'static str,
    pub(crate) id: &'static str,
    pub(crate) condition: String,
}

impl SourceSql {
    pub(crate) fn new(table: &'static str, id: &'static str, condition: String) -> Self {
        Self { table, id, condition }
    }
}

/// The indexes of one database.
pub(crate) trait Dialect {
    /// The index by lane includes the jobs that are [`Source::Unindexed`].
    const LANES_OF_ALL: bool;
    fn lane(lane: i64) -> SourceSql;
    fn term(term: &str) -> SourceSql;
    fn unindexed() -> SourceSql;
    /// Merges queries of ordered ids into one, without duplicates. `end` holds ORDER BY and LIMIT.
    fn union(parts: &[String], end: &str) -> String;
}

/// The part of a lane that filters match.
#[derive(Debug)]
pub(crate) struct LaneRow {
    pub(crate) id: i64,
    pub(crate) queue: String,
    /// The name of its jobs; `None` for commands, which have names of their own.
    pub(crate) handler: Option<String>,
}

/// How to find the jobs that may match.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Together they yield every job that may match.
    pub(crate) sources: Vec<Source>,
    /// ` AND …` on the columns of `jobs j`.
    pub(crate) conditions: String,
    /// No job with a higher id matches, so the reads of indexes end there.
    pub(crate) upto: Option<i64>,
}

/// The index entries of a job: tags, schedule, and the name of a command.
pub(crate) fn terms(spec: &JobSpec) -> Vec<String> {
    let schedule = spec.schedule.as_ref().map(|origin| origin.id.as_str());
    terms_of(&spec.name, spec.command.is_some(), schedule, &spec.tags)
}

pub(crate) fn terms_of(
    name: &Name,
    is_command: bool,
    schedule: Option<&str>,
    tags: &Labels,
) -> Vec<String> {
    // Filters cannot match secret tags, so these need no index.
    let tags = tags.iter().filter(|(name, _)| !is_secret_key(name));
    let mut terms: Vec<String> =
        tags.map(|(name, value)| term(&Field::Tag(name.clone()), value)).collect();
    terms.extend(schedule.map(|id| term(&Field::Schedule, id)));
    // The lane has the name of any other job.
    terms.extend(is_command.then(|| term(&Field::Name, name.as_str())));
    terms
}

/// The value is in lower case, because patterns ignore case.
fn term(field: &Field, value: &str) -> String {
    format!("{field}={}", value.to_lowercase())
}

pub(crate) fn needs_lanes(filter: &Filter) -> bool {
    filter.terms.iter().any(|it| matches!(it.test, Test::Text(Field::Queue | Field::Name, _)))
}

/// The filter names both statuses and lanes: job counts decide which index to read.
pub(crate) fn needs_counts(filter: &Filter) -> bool {
    needs_lanes(filter) && few_statuses(filter).is_some() && by_terms(filter).is_none()
}

/// `None`: nothing matches. `lanes` holds every lane, or `None` if [`needs_lanes`] is false or there are
/// more than [`LANES_MAX`].
pub(crate) fn plan<D: Dialect>(
    filter: &Filter,
    dead: bool,
    lanes: Option<&[LaneRow]>,
    counts: &[(Name, StatusCounts)],
) -> Option<Plan> {
    if filter.statuses().is_some_and(|statuses| statuses.is_empty()) {
        return None;
    }
    let causes = filter.causes();
    if causes.as_ref().is_some_and(BTreeSet::is_empty) {
        return None;
    }
    let lanes = lanes.and_then(|all| MatchingLanes::of(filter, all));
    if lanes.as_ref().is_some_and(MatchingLanes::is_empty) {
        return None;
    }
    let conditions = conditions(filter, lanes.as_ref());
    let upto = upto(filter);
    if let Some(causes) = causes.filter(|causes| causes.len() <= MERGE_MAX) {
        let of = |cause: CauseId| Source::Cause(cause.to_signed());
        let mut sources: Vec<Source> = causes.into_iter().map(of).collect();
        sources.push(Source::Causeless);
        return Some(Plan { sources, conditions, upto });
    }
    if dead {
        return Some(Plan { sources: vec![Source::Dead], conditions, upto });
    }
    if let Some(sources) = by_terms(filter) {
        return Some(Plan { sources, conditions, upto });
    }
    let by_lane = lanes.as_ref().and_then(|lanes| Some((lanes, lanes.sources::<D>(filter)?)));
    let sources = match (few_statuses(filter), by_lane) {
        (Some(statuses), Some((lanes, by_lane))) => {
            let of_statuses = rows(counts, |_, status| statuses.contains(&status));
            let of_queues = rows(counts, |queue, _| lanes.queues.contains(queue.as_str()));
            if of_statuses <= of_queues { by_status(&statuses) } else { by_lane }
        }
        (Some(statuses), None) => by_status(&statuses),
        (None, Some((_, by_lane))) => by_lane,
        (None, None) => vec![Source::Every],
    };
    Some(Plan { sources, conditions, upto })
}

/// The highest id that the filter may match, where it limits ids.
fn upto(filter: &Filter) -> Option<i64> {
    let limit = |term: &FilterTerm| match term.test {
        Test::Number(CountField::Id, Op::Is | Op::Less | Op::AtMost, number) if !term.negated => {
            // A float beyond the range of ids becomes the nearest of them.
            Some(number as i64)
        }
        _ => None,
    };
    filter.terms.iter().filter_map(limit).min()
}

/// The statuses of the filter, if each has an index; completed jobs, the most, have none.
fn few_statuses(filter: &Filter) -> Option<BTreeSet<JobStatus>> {
    filter.statuses().filter(|statuses| !statuses.contains(&JobStatus::Completed))
}

fn by_status(statuses: &BTreeSet<JobStatus>) -> Vec<Source> {
    statuses.iter().copied().map(Source::Status).collect()
}

fn rows(counts: &[(Name, StatusCounts)], of: impl Fn(&Name, JobStatus) -> bool) -> u64 {
    let cells = counts.iter().flat_map(|(queue, counts)| {
        JobStatus::ALL.map(|status| (queue, status, counts.of(status)))
    });
    cells.filter(|(queue, status, _)| of(queue, *status)).map(|cell| cell.2).sum()
}

/// The patterns of a positive term, if all are plain texts and there are at most [`MERGE_MAX`].
fn exact(term: &FilterTerm) -> Option<(&Field, &[Pattern])> {
    match &term.test {
        Test::Text(field, patterns) if !term.negated => {
            let all = patterns.len() <= MERGE_MAX && patterns.iter().all(Pattern::is_exact);
            all.then_some((field, patterns))
        }
        _ => None,
    }
}

fn by_terms(filter: &Filter) -> Option<Vec<Source>> {
    let (field, patterns) = filter
        .terms
        .iter()
        .filter_map(exact)
        .find(|(field, _)| matches!(field, Field::Tag(_) | Field::Schedule))?;
    Some(with_unindexed(patterns.iter().map(|it| Source::Term(term(field, &it.0))).collect()))
}

fn with_unindexed(mut sources: Vec<Source>) -> Vec<Source> {
    sources.push(Source::Unindexed);
    sources
}

/// The lanes whose jobs may match.
struct MatchingLanes<'l> {
    handlers: Vec<i64>,
    commands: Vec<i64>,
    queues: BTreeSet<&'l str>,
}

impl<'l> MatchingLanes<'l> {
    /// `None` if the filter excludes no lane.
    fn of(filter: &Filter, all: &'l [LaneRow]) -> Option<Self> {
        let mut lanes =
            Self { handlers: Vec::new(), commands: Vec::new(), queues: BTreeSet::new() };
        for lane in all.iter().filter(|lane| may_hold(filter, lane)) {
            let of = if lane.handler.is_some() { &mut lanes.handlers } else { &mut lanes.commands };
            of.push(lane.id);
            lanes.queues.insert(&lane.queue);
        }
        (lanes.handlers.len() + lanes.commands.len() < all.len()).then_some(lanes)
    }

    fn is_empty(&self) -> bool {
        self.handlers.is_empty() && self.commands.is_empty()
    }

    fn ids(&self) -> impl Iterator<Item = i64> {
        self.handlers.iter().chain(&self.commands).copied()
    }

    fn sources<D: Dialect>(&self, filter: &Filter) -> Option<Vec<Source>> {
        let of = |ids: &[i64]| ids.iter().copied().map(Source::Lane).collect::<Vec<_>>();
        let names = filter.terms.iter().filter_map(exact).find(|(field, _)| **field == Field::Name);
        let mut sources = of(&self.handlers);
        match names {
            _ if self.commands.is_empty() => {}
            Some((field, names)) => {
                sources.extend(names.iter().map(|name| Source::Term(term(field, &name.0))));
            }
            None => sources.extend(of(&self.commands)),
        }
        if sources.len() > MERGE_MAX {
            return None;
        }
        let of_all = |source: &Source| D::LANES_OF_ALL && matches!(source, Source::Lane(_));
        Some(if sources.iter().all(of_all) { sources } else { with_unindexed(sources) })
    }
}

/// False where no job of the lane matches.
fn may_hold(filter: &Filter, lane: &LaneRow) -> bool {
    filter.terms.iter().all(|term| {
        let (text, patterns) = match &term.test {
            Test::Text(Field::Queue, patterns) => (Some(&lane.queue), patterns),
            Test::Text(Field::Name, patterns) => (lane.handler.as_ref(), patterns),
            _ => return true,
        };
        text.is_none_or(|text| patterns.iter().any(|it| it.matches(text)) != term.negated)
    })
}

fn conditions(filter: &Filter, lanes: Option<&MatchingLanes<'_>>) -> String {
    let mut and = String::new();
    let list = |numbers: &mut dyn Iterator<Item = i64>| {
        let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
        numbers.join(", ")
    };
    // Writing to a string does not fail.
    if let Some(statuses) = filter.statuses() {
        let codes = list(&mut statuses.iter().map(|status| status_code(*status)));
        let _ = write!(and, " AND j.status IN ({codes})");
    }
    if let Some(lanes) = lanes.filter(|lanes| lanes.ids().count() <= NAMED_LANES_MAX) {
        let _ = write!(and, " AND j.lane IN ({})", list(&mut lanes.ids()));
    }
    for term in filter.terms.iter().filter(|term| !term.negated) {
        match &term.test {
            Test::Priority(priorities) => {
                let codes = list(&mut priorities.iter().map(|priority| priority_rank(*priority)));
                let _ = write!(and, " AND j.priority_rank IN ({codes})");
            }
            Test::Since(at) => {
                let _ = write!(and, " AND j.created_at >= {}", at.as_millis());
            }
            Test::Until(at) => {
                let _ = write!(and, " AND j.created_at < {}", at.as_millis());
            }
            Test::Number(count, op, number) => {
                let column = match count {
                    CountField::Id => "j.id",
                    CountField::Attempts => "j.attempt",
                };
                let _ = write!(and, " AND {column} {} {number:e}", sql_op(*op));
            }
            _ => {}
        }
    }
    and
}

fn sql_op(op: Op) -> &'static str {
    match op {
        Op::Is => "=",
        Op::Not => "<>",
        Op::Less => "<",
        Op::AtMost => "<=",
        Op::More => ">",
        Op::AtLeast => ">=",
    }
}

/// The statement that reads the next ids of some sources, in order, beyond `after` and up to `upto`. `after`
/// and `rows` are inserted as they are.
pub(crate) fn ids<D: Dialect>(
    sources: &[Source],
    upto: Option<i64>,
    oldest_first: bool,
    after: &str,
    rows: &str,
) -> String {
    let (order, beyond) = if oldest_first { ("ASC", '>') } else { ("DESC", '<') };
    let parts: Vec<String> = sources
        .iter()
        .map(|source| {
            let SourceSql { table, id, condition } = place::<D>(source);
            let upto = upto.map(|upto| format!(" AND {id} <= {upto}")).unwrap_or_default();
            format!(
                "SELECT {id} AS id FROM {table} WHERE {condition} AND {id} {beyond} {after}{upto}"
            )
        })
        .collect();
    let end = format!("ORDER BY id {order} LIMIT {rows}");
    match parts.as_slice() {
        [only] => format!("{only} {end}"),
        parts => D::union(parts, &end),
    }
}

fn place<D: Dialect>(source: &Source) -> SourceSql {
    let jobs = |condition: String| SourceSql::new("jobs", "id", condition);
    match source {
        Source::Every => jobs("0 = 0".to_owned()),
        Source::Dead => jobs("dead IS NOT NULL".to_owned()),
        Source::Cause(cause) => jobs(format!("cause = {cause}")),
        Source::Causeless => jobs(CAUSELESS.to_owned()),
        // `status <> 5` names the index.
        Source::Status(status) => {
            jobs(format!("status = {} AND status <> 5", status_code(*status)))
        }
        Source::Lane(lane) => D::lane(*lane),
        Source::Term(term) => D::term(term),
        Source::Unindexed => D::unindexed(),
    }
}

/// The filter names only statuses and queues, so the counts of queues hold the result.
pub(crate) fn is_counted(filter: &Filter) -> bool {
    let by_counts =
        |term: &FilterTerm| matches!(term.test, Test::Status(_) | Test::Text(Field::Queue, _));
    filter.terms.iter().all(by_counts)
}

/// The number of matching jobs, for a filter that [`is_counted`].
pub(crate) fn counted(filter: &Filter, counts: &[(Name, StatusCounts)]) -> u64 {
    rows(counts, |queue, status| {
        filter.terms.iter().all(|term| {
            let holds = match &term.test {
                Test::Status(statuses) => statuses.contains(&status),
                Test::Text(_, patterns) => patterns.iter().any(|it| it.matches(queue.as_str())),
                _ => true,
            };
            holds != term.negated
        })
    })
}

#[cfg(test)]
mod tests {
    use orx_model::Timestamp;
    use orx_model::time::UtcClock;

    use super::*;

    enum Plain {}

    impl Dialect for Plain {
        const LANES_OF_ALL: bool = false;

        fn lane(lane: i64) -> SourceSql {
            SourceSql::new("lanes", "job", format!("lane = {lane}"))
        }

        fn term(term: &str) -> SourceSql {
            SourceSql::new("terms", "job", format!("term = '{term}'"))
        }

        fn unindexed() -> SourceSql {
            SourceSql::new("old", "job", "0 = 0".to_owned())
        }

        fn union(parts: &[String], end: &str) -> String {
            format!("{} {end}", parts.join(" + "))
        }
    }

    fn lanes() -> Vec<LaneRow> {
        let lane = |id, queue: &str, handler: Option<&str>| LaneRow {
            id,
            queue: queue.to_owned(),
            handler: handler.map(str::to_owned),
        };
        vec![
            lane(1, "media", Some("video.process")),
            lane(2, "media", Some("video.cut")),
            lane(3, "Media", None),
            lane(4, "mail", Some("send")),
        ]
    }

    fn planned(text: &str, counts: &[(Name, StatusCounts)]) -> Option<(Vec<Source>, String)> {
        let filter = Filter::parse(text, Timestamp::default(), &UtcClock).expect("a filter");
        let lanes = lanes();
        let lanes = needs_lanes(&filter).then_some(lanes.as_slice());
        plan::<Plain>(&filter, false, lanes, counts).map(|it| (it.sources, it.conditions))
    }

    fn sources(text: &str) -> Vec<Source> {
        planned(text, &[]).expect("may match").0
    }

    #[test]
    fn a_filter_reads_the_index_that_has_its_terms() {
        use Source::{Cause, Causeless, Every, Lane, Status, Unindexed};
        let term = |text: &str| Source::Term(text.to_owned());
        assert_eq!(sources(""), [Every]);
        assert_eq!(sources("status:completed took>10m"), [Every]);
        assert_eq!(sources("-tag.a:b -schedule:x acme"), [Every]);
        assert_eq!(sources("tag.a:b*"), [Every]);
        assert_eq!(
            sources("status:failed,cancelled"),
            [Status(JobStatus::Failed), Status(JobStatus::Cancelled)]
        );
        assert_eq!(
            sources("tag.Tenant:ACME,b"),
            [term("tag.Tenant=acme"), term("tag.Tenant=b"), Unindexed]
        );
        assert_eq!(sources("queue:mail schedule:Nightly"), [term("schedule=nightly"), Unindexed]);
        assert_eq!(sources("queue:MAIL"), [Lane(4), Unindexed]);
        // Lanes of commands have no name.
        assert_eq!(sources("name:video.*"), [Lane(1), Lane(2), Lane(3), Unindexed]);
        assert_eq!(sources("name:SEND"), [Lane(4), term("name=send"), Unindexed]);
        assert_eq!(sources("queue:mail name:send"), [Lane(4), Unindexed]);
        assert_eq!(sources("queue:mail cause:0000000000000007"), [Cause(7), Causeless]);
        assert_eq!(sources("cause:ffffffffffffffff"), [Cause(-1), Causeless]);
        assert_eq!(sources("-cause:0000000000000007"), [Every]);
        assert_eq!(planned("cause:0000000000000001 cause:0000000000000002", &[]), None);
        assert_eq!(sources("-queue:media"), [Lane(4), Unindexed]);
        assert_eq!(planned("queue:other", &[]), None);
        assert_eq!(planned("status:failed -status:failed", &[]), None);
    }

    #[test]
    fn an_upper_limit_of_ids_ends_the_reads_of_indexes() {
        let limit = |text: &str| {
            let filter = Filter::parse(text, Timestamp::default(), &UtcClock).expect("a filter");
            let plan = plan::<Plain>(&filter, false, None, &[]).expect("may match");
            assert_eq!(plan.sources, [Source::Every]);
            plan.upto
        };
        assert_eq!(limit("id<=9 id<12 id>3"), Some(9));
        assert_eq!(limit("id:7"), Some(7));
        assert_eq!(limit("-id<=9 id>3 attempts<2"), None);
        let read = ids::<Plain>(&[Source::Every], Some(9), true, "?1", "?2");
        let expected = "SELECT id AS id FROM jobs WHERE 0 = 0 AND id > ?1 AND id <= 9 \
                        ORDER BY id ASC LIMIT ?2";
        assert_eq!(read, expected);
    }

    #[test]
    fn of_status_and_lane_the_plan_reads_the_one_with_fewer_jobs() {
        let name = |text: &str| text.parse::<Name>().expect("a name");
        let of = |failed, completed| StatusCounts { failed, completed, ..StatusCounts::default() };
        let rare = [(name("mail"), of(5, 1_000)), (name("media"), of(0, 9))];
        let common = [(name("mail"), of(5, 1)), (name("media"), of(1_000, 0))];
        let found = planned("status:failed queue:mail", &rare).expect("may match");
        assert_eq!(found.0, [Source::Status(JobStatus::Failed)]);
        assert_eq!(found.1, " AND j.status IN (6) AND j.lane IN (4)");
        let found = planned("status:failed queue:mail", &common).expect("may match");
        assert_eq!(found.0, [Source::Lane(4), Source::Unindexed]);
    }

    #[test]
    fn secret_tags_have_no_index_entry() {
        let tags = [("password", "x"), ("Tenant", "ACME")];
        let tags = tags.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let name: Name = "make".parse().expect("a name");
        assert_eq!(
            terms_of(&name, false, Some("Nightly"), &tags),
            ["tag.Tenant=acme", "schedule=nightly"]
        );
        assert_eq!(terms_of(&name, true, None, &Labels::new()), ["name=make"]);
    }
}
