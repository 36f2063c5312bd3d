//! Pauses of queues.

use async_trait::async_trait;
use orx_model::Name;

use super::db_error::DbResult;
use super::executor::MessageKind;
use super::row::{self, PgColumns};
use super::{PgBudget, Postgres, sql};
use crate::columns::Row as _;
use crate::{Paused, Queues, Result};

impl PgBudget {
    async fn pause_queue(&self, queue: &Name, pause: &Paused) -> DbResult<bool> {
        let values = [
            ("queue", sql::text(queue.as_str())),
            ("at", sql::int(pause.at.as_millis())),
            ("reason", sql::optional_text(pause.reason.as_deref())),
            ("by", sql::optional_text(pause.by.as_deref())),
        ];
        let message = sql::fill(include_str!("pause_queue.sql"), values);
        Ok(!self.rows(MessageKind::Repeatable, message).await?.is_empty())
    }

    async fn resume_queue(&self, queue: &Name) -> DbResult<bool> {
        let message = sql::fill(
            "delete from queue_pauses p using queues q, (:settings) s \
             where p.queue = q.id and q.name = :queue returning p.queue",
            [("queue", sql::text(queue.as_str()))],
        );
        Ok(!self.rows(MessageKind::Repeatable, message).await?.is_empty())
    }

    async fn paused_queues(&self) -> DbResult<Vec<(Name, Paused)>> {
        let message = "select q.name, p.paused_at, p.reason, p.paused_by \
                       from queue_pauses p join queues q on q.id = p.queue order by q.name";
        let rows = self.rows(MessageKind::Read, message).await?;
        row::readable("the pause of a queue", &rows, |row| {
            let row = PgColumns(row);
            let text = |column| row.optional_str(column).map(|text| text.map(str::to_owned));
            Ok((row.name(0)?, Paused { at: row.time(1)?, reason: text(2)?, by: text(3)? }))
        })
    }
}

#[async_trait]
impl Queues for Postgres {
    async fn pause_queue(&self, queue: Name, pause: Paused) -> Result<bool> {
        let run = self.inner.pause_queue(&queue, &pause);
        self.inner.write("pause the queue", run).await
    }

    async fn resume_queue(&self, queue: Name) -> Result<bool> {
        self.inner.write("resume the queue", self.inner.resume_queue(&queue)).await
    }

    async fn paused_queues(&self) -> Result<Vec<(Name, Paused)>> {
        self.inner.read("read the paused queues", self.inner.paused_queues()).await
    }
}
