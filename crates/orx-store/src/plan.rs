//! What of a filter a database can tell: it gives too many jobs, never too few, and the whole filter
//! is asked of each afterwards. The same in every dialect but for how values are written.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use orx_model::filter::{Count, Field, Filter, Op, Term, Test};
use orx_model::wire::StatusCounts;
use orx_model::{JobId, JobStatus, Name};

/// Jobs looked at for one page, or one count.
pub(crate) const SCAN_MAX: u64 = 200_000;

/// How a dialect writes a value into a statement.
pub(crate) trait Values {
    fn int(&mut self, value: i64) -> String;
    fn float(&mut self, value: f64) -> String;
    fn text(&mut self, value: &str) -> String;
}

/// Which indexes can be of use.
pub(crate) enum Statuses {
    /// Nothing matches.
    None,
    Any,
    /// Completed jobs, the mass, among them: to be read by id.
    Many(BTreeSet<JobStatus>),
    /// Each of them stands in `jobs_status` by id.
    Few(BTreeSet<JobStatus>),
}

pub(crate) fn statuses(filter: &Filter) -> Statuses {
    match filter.statuses() {
        None => Statuses::Any,
        Some(statuses) if statuses.is_empty() => Statuses::None,
        Some(statuses) if statuses.contains(&JobStatus::Completed) => Statuses::Many(statuses),
        Some(statuses) => Statuses::Few(statuses),
    }
}

/// ` AND …` on the columns of `jobs`, beside the status.
pub(crate) fn conditions(
    filter: &Filter,
    oldest_first: bool,
    after: Option<JobId>,
    values: &mut impl Values,
) -> String {
    let mut and = String::new();
    // Writing to a string does not fail.
    if let Some(after) = after {
        let beyond = if oldest_first { '>' } else { '<' };
        let _ = write!(and, " AND id {beyond} {}", values.int(after.0));
    }
    if let Some(queue) = filter.queue() {
        let name = values.text(&queue.to_lowercase());
        let _ = write!(
            and,
            " AND lane IN (SELECT l.id FROM lanes l JOIN queues q ON q.id = l.queue \
             WHERE lower(q.name) = {name})"
        );
    }
    for term in filter.terms.iter().filter(|term| !term.negated) {
        match &term.test {
            Test::Since(at) => {
                let _ = write!(and, " AND created_at >= {}", values.int(at.as_millis()));
            }
            Test::Until(at) => {
                let _ = write!(and, " AND created_at < {}", values.int(at.as_millis()));
            }
            Test::Number(count, op, number) => {
                let column = match count {
                    Count::Id => "id",
                    Count::Attempts => "attempt",
                };
                let number = values.float(*number);
                let _ = write!(and, " AND {column} {} {number}", sql_op(*op));
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

/// The filter asks for statuses and queues alone, so the answer stands in the counts.
pub(crate) fn is_counted(filter: &Filter) -> bool {
    let by_counts =
        |term: &Term| matches!(term.test, Test::Status(_) | Test::Text(Field::Queue, _));
    filter.terms.iter().all(by_counts)
}

/// Of a filter that [`is_counted`].
pub(crate) fn counted(filter: &Filter, queues: &[(Name, StatusCounts)]) -> u64 {
    let holds = |queue: &Name, status: JobStatus| {
        filter.terms.iter().all(|term| {
            let holds = match &term.test {
                Test::Status(statuses) => statuses.contains(&status),
                Test::Text(_, patterns) => patterns.iter().any(|it| it.matches(queue.as_str())),
                _ => true,
            };
            holds != term.negated
        })
    };
    let cells = queues.iter().flat_map(|(queue, counts)| {
        JobStatus::ALL.map(|status| (queue, status, counts.of(status)))
    });
    cells.filter(|(queue, status, _)| holds(queue, *status)).map(|cell| cell.2).sum()
}
