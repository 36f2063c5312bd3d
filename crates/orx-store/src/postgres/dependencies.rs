//! Dependencies of jobs, alerts of runs, and the release of children.

use std::collections::HashSet;
use std::sync::Arc;

use orx_model::job::UNREADABLE;
use orx_model::{JobEvent, JobId, JobStatus, Name, Timestamp, next};
use sqlx::postgres::PgRow;

use super::db_error::{DbError, DbResult};
use super::enqueue::spec_values;
use super::executor::MessageKind;
use super::fire::run_at;
use super::lanes::LaneId;
use super::row::{self, PgColumns};
use super::sql::{SqlValue, Statement};
use super::{PgBudget, sql};
use crate::codec::{integer, millis, priority_rank, readable, status_code};
use crate::columns::Row as _;
use crate::prepared_firing::PreparedRelease;
use crate::prepared_job::PreparedJob;
use crate::{Dependency, FollowUp, Released, RunAlert, Term};

/// `limit 1` makes the server look alerts up by job, however few it expects.
pub(super) const FOLLOW_UPS: &str = "select j.id, a.schedule, a.slot, a.on_failure, j.status \
     from (select id, status from jobs where follow_up and status >= 5 order by id limit :limit) j \
     left join lateral (select * from run_alerts where job = j.id limit 1) a on true order by j.id";

/// `status + 0` and `limit 1`: the server looks jobs up by id.
pub(super) const TO_CANCEL: &str = "select d.parent from \
     (select distinct parent from dependencies where cancel and not cancel_requested) d \
     cross join lateral \
     (select 1 from jobs where id = d.parent and status + 0 < 5 limit 1) j \
     order by d.parent limit :limit";

/// The columns of an alert. An unreadable alert is lost; the rest of the follow-up is done.
fn alert(row: &PgRow) -> DbResult<Option<RunAlert>> {
    let row = PgColumns(row);
    let job = row.job(0)?;
    let Some(text) = row.optional_str(3)? else { return Ok(None) };
    let Some(on_failure) = readable(job, Some(text.as_bytes())) else { return Ok(None) };
    let schedule = row.name(1).unwrap_or_else(|_| Name::from_any(UNREADABLE));
    Ok(Some(RunAlert { job, schedule, slot: row.optional_time(2)?, on_failure }))
}

fn follow_up(row: &PgRow) -> DbResult<FollowUp> {
    Ok(FollowUp {
        job: PgColumns(row).job(0)?,
        status: PgColumns(row).status(4)?,
        alert: alert(row)?,
    })
}

impl PgBudget {
    pub(super) async fn has_dependencies(&self) -> DbResult<bool> {
        let message = "select (select 1 from dependencies order by parent limit 1) is not null \
             or (select 1 from run_alerts order by job limit 1) is not null";
        let rows = self.rows(MessageKind::Read, message).await?;
        PgColumns(rows.first().ok_or_else(|| DbError::Unreadable("no row".into()))?).bool(0)
    }

    pub(super) async fn follow_ups(&self, limit: u32) -> DbResult<Vec<FollowUp>> {
        let message = sql::fill(FOLLOW_UPS, [("limit", sql::int(i64::from(limit)))]);
        row::readable("a job that ended", &self.rows(MessageKind::Read, message).await?, follow_up)
    }

    pub(super) async fn jobs_to_cancel(&self, limit: u32) -> DbResult<Vec<JobId>> {
        let message = sql::fill(TO_CANCEL, [("limit", sql::int(i64::from(limit)))]);
        self.rows(MessageKind::Read, message)
            .await?
            .iter()
            .map(|row| PgColumns(row).job(0))
            .collect()
    }

    pub(super) async fn release(
        self: &Arc<Self>,
        releases: &[PreparedRelease],
        term: Term,
        now: Timestamp,
    ) -> DbResult<Released> {
        let alerts = releases.iter().filter_map(|release| release.alert.as_ref());
        self.add_lanes(alerts.map(|alert| &alert.lane).collect()).await?;
        let statement = self.release_statement(releases, term, now)?;
        let rows = self.rows(MessageKind::Durable, statement).await?;
        if rows.is_empty() {
            return Err(DbError::Deposed);
        }
        self.count();
        let mut released = Released::default();
        for row in &rows {
            let row = PgColumns(row);
            // The only row of a statement that changed nothing.
            let Some(job) = row.optional_int(0)?.map(JobId) else { continue };
            if row.bool(1)? { released.alerts.push(job) } else { released.admitted.push(job) }
        }
        Ok(released)
    }

    pub(super) fn release_statement(
        &self,
        releases: &[PreparedRelease],
        term: Term,
        now: Timestamp,
    ) -> DbResult<Statement> {
        // A second release of a job finds nothing to do.
        let mut seen = HashSet::new();
        let first: Vec<&PreparedRelease> =
            releases.iter().filter(|release| seen.insert(release.job)).collect();
        let alerts = || first.iter().map(|release| release.alert.as_ref());
        let lanes = alerts().map(|alert| alert.map(|job| self.lane_id(&job.lane)).transpose());
        let lanes = lanes.collect::<DbResult<Vec<Option<LaneId>>>>()?;
        let ints = |of: &dyn Fn(&PreparedJob) -> Option<i64>| {
            sql::ints(alerts().map(|alert| alert.and_then(of)))
        };
        let mut values = vec![
            ("lease", SqlValue::Lease(Some(term))),
            ("now", sql::int(now.as_millis())),
            ("created", sql::int(status_code(JobStatus::Created))),
            ("pending", sql::int(status_code(next(JobStatus::Created, JobEvent::Admit)?))),
            ("ords", sql::ints(0..first.len() as i64)),
            ("jobs", sql::ints(first.iter().map(|release| release.job))),
            ("lanes", sql::ints(lanes.iter().map(|lane| lane.map(|lane| lane.lane)))),
            ("queues", sql::ints(lanes.iter().map(|lane| lane.map(|lane| lane.queue)))),
            ("priority_ranks", ints(&|job| Some(priority_rank(job.priority)))),
            ("run_ats", ints(&|job| Some(run_at(job, now)))),
            ("expire_ats", ints(&|job| millis(job.expire_at))),
            ("deadlines", ints(&|job| millis(job.deadline))),
            ("timeouts", ints(&|job| job.timeout_ms.map(integer))),
        ];
        values.extend(spec_values(alerts().map(|alert| alert.map(|job| &job.text))));
        Ok(sql::fill(include_str!("release.sql"), values))
    }

    pub(super) async fn dependencies(&self) -> DbResult<(Vec<Dependency>, Vec<RunAlert>)> {
        let message = "select parent, child, cancel from dependencies order by parent, child";
        let dependency = |row: &PgRow| {
            let row = PgColumns(row);
            Ok(Dependency { parent: row.job(0)?, child: row.job(1)?, cancel: row.bool(2)? })
        };
        let rows = self.rows(MessageKind::Scan, message).await?;
        let dependencies = rows.iter().map(dependency).collect::<DbResult<_>>()?;
        let message = "select job, schedule, slot, on_failure from run_alerts order by job";
        let alerts =
            row::readable("an alert", &self.rows(MessageKind::Scan, message).await?, alert)?;
        Ok((dependencies, alerts.into_iter().flatten().collect()))
    }

    pub(super) async fn import_dependencies(
        &self,
        dependencies: &[Dependency],
        alerts: &[(RunAlert, String)],
    ) -> DbResult<()> {
        let of = || alerts.iter().map(|(alert, _)| alert);
        let values = [
            ("parents", sql::ints(dependencies.iter().map(|it| it.parent.0))),
            ("children", sql::ints(dependencies.iter().map(|it| it.child.0))),
            ("cancels", sql::bools(dependencies.iter().map(|it| it.cancel))),
            ("jobs", sql::ints(of().map(|alert| alert.job.0))),
            ("schedules", sql::texts(of().map(|alert| alert.schedule.as_str()))),
            ("slots", sql::ints(of().map(|alert| millis(alert.slot)))),
            ("failures", sql::texts(alerts.iter().map(|(_, job)| job.as_str()))),
            ("created", sql::int(status_code(JobStatus::Created))),
            ("pending", sql::int(status_code(next(JobStatus::Created, JobEvent::Admit)?))),
        ];
        let message = sql::fill(include_str!("import_dependencies.sql"), values);
        self.rows(MessageKind::Repeatable, message).await.map(drop)
    }
}
