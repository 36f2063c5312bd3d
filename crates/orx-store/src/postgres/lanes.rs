//! The cache of queues and lanes.
//!
//! The node that first needs a lane adds it. Lanes are never changed or deleted, so a cached lane is always
//! right, and a cache with as many lanes as the table is complete.

use std::collections::HashMap;

use orx_model::{Lane, Name};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::db_error::{DbError, DbResult};
use super::executor::MessageKind;
use super::row::PgColumns;
use super::{PgBudget, sql};
use crate::columns::Row as _;

/// The numbers of a lane and of its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LaneId {
    pub(super) lane: i64,
    pub(super) queue: i64,
}

#[derive(Debug, Default)]
pub(super) struct LaneCache {
    cached: RwLock<HashMap<Lane, LaneId>>,
}

impl LaneCache {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, HashMap<Lane, LaneId>> {
        self.cached.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Lane, LaneId>> {
        self.cached.write()
    }

    pub(super) fn id(&self, lane: &Lane) -> Option<LaneId> {
        self.read().get(lane).copied()
    }

    fn unknown<'l>(&self, mut lanes: Vec<&'l Lane>) -> Vec<&'l Lane> {
        let known = self.read();
        lanes.retain(|lane| !known.contains_key(*lane));
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }
}

impl PgBudget {
    /// Adds the lanes that do not exist, and caches all of `lanes`.
    pub(super) async fn add_lanes(&self, lanes: Vec<&Lane>) -> DbResult<()> {
        let unknown = self.common.lanes.unknown(lanes);
        if unknown.is_empty() {
            return Ok(());
        }
        let mut queues: Vec<&str> = unknown.iter().map(|lane| lane.queue.as_str()).collect();
        queues.dedup();
        let requires: Vec<String> =
            unknown.iter().map(|lane| crate::labels_key(&lane.require)).collect();
        let handlers = unknown.iter().map(|lane| lane.handler.as_ref().map_or("", Name::as_str));
        let values = [
            ("queues", sql::texts(queues)),
            ("lane_queues", sql::texts(unknown.iter().map(|lane| lane.queue.as_str()))),
            ("handlers", sql::texts(handlers)),
            ("requires", sql::texts(requires.iter().map(String::as_str))),
        ];
        for add in [include_str!("add_queues.sql"), include_str!("add_lanes.sql")] {
            self.rows(MessageKind::Repeatable, sql::fill(add, values.clone())).await?;
        }
        let added = sql::fill(
            "select l.id, l.queue, q.name, l.handler, l.require \
             from unnest(:lane_queues, :handlers, :requires) as t(queue, handler, require) \
             join queues q on q.name = t.queue \
             join lanes l on l.queue = q.id and l.handler = t.handler and l.require = t.require",
            values,
        );
        let rows = self.rows(MessageKind::Read, added).await?;
        let mut known = self.common.lanes.write();
        for row in &rows {
            let (lane, id) = lane(PgColumns(row))?;
            known.insert(lane, id);
        }
        Ok(())
    }

    /// Reads every lane into the cache.
    pub(super) async fn refresh_lanes(&self) -> DbResult<()> {
        let message = "select l.id, l.queue, q.name, l.handler, l.require from lanes l \
                       join queues q on q.id = l.queue";
        let rows = self.rows(MessageKind::Read, message).await?;
        // Jobs of an unreadable lane stay pending: no worker is known to run them.
        let lanes = super::row::readable("a lane", &rows, |row| lane(PgColumns(row)))?;
        self.common.lanes.write().extend(lanes);
        Ok(())
    }

    pub(super) fn lane_id(&self, lane: &Lane) -> DbResult<LaneId> {
        self.common.lanes.id(lane).ok_or_else(|| DbError::Command("the lane is not cached".into()))
    }
}

fn lane(row: PgColumns<'_>) -> DbResult<(Lane, LaneId)> {
    let handler = match row.str(3)? {
        "" => None,
        _ => Some(row.name(3)?),
    };
    let lane = Lane { queue: row.name(2)?, handler, require: row.json(4)? };
    Ok((lane, LaneId { lane: row.int(0)?, queue: row.int(1)? }))
}
