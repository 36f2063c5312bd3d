//! Reads: jobs, queues, dead letters, and the status of the cluster.

use std::collections::BTreeMap;

use orx_model::job::Command;
use orx_model::mask::{mask_json, mask_labels, mask_text, mask_words};
use orx_model::schedule::wire::PauseView;
use orx_model::text::nearest;
use orx_model::wire::{
    Attention, AttentionKind, ClockView, ClusterStatus, Condition, DeadLetter, DeadLetterPage,
    EnqueueRequest, JobDetail, JobPage, LinkView, ListQuery, NodeView, QueueList, QueueView,
    ResultAnswer, ServerSettings, StatusCounts, V, WorkerView,
};
use orx_model::{Cause, Code, Job, JobId, JobSummary, Name, Problem, Timestamp, limits};
use orx_store::{DeadLetterRow, ListRequest, Paused, StoreError};

use crate::change::parse_filter;
use crate::live::attention::{Findings, attention};
use crate::{Caller, ControlPanel, Result, Scope, store_problem};

const ROWS_DEFAULT: u32 = 50;
/// Jobs that match a filter are counted up to this.
const COUNT_MAX: u64 = 10_000;
/// Dead letters are counted up to this.
pub(crate) const DEAD_LETTERS_MAX: u64 = 100_000;
/// For this long a jump of the clock needs attention.
const JUMP_SHOWN_MS: u64 = 24 * 60 * 60 * 1_000;

impl ControlPanel {
    pub(crate) fn need_view(&self, caller: &Caller) -> Result<()> {
        if caller.may(Scope::Service) { Ok(()) } else { caller.need(Scope::Read) }
    }

    /// A job with its attempts, by id, attempt or `key:`.
    ///
    /// # Errors
    /// [`Code::NotFound`], [`Code::BadRequest`], [`Code::NotAllowed`], and errors of the store.
    pub async fn get(&self, caller: &Caller, reference: &str) -> Result<JobDetail> {
        self.need_view(caller)?;
        let job = self.find(reference).await?;
        let mut attempts = self.store().attempts(job.id).await.map_err(store_problem)?;
        attempts.iter_mut().for_each(|attempt| mask_error(&mut attempt.error));
        Ok(JobDetail { v: V, job: masked(job), attempts })
    }

    /// The status of a job and its result, unmasked.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn result(&self, caller: &Caller, reference: &str) -> Result<ResultAnswer> {
        self.need_view(caller)?;
        let job = self.find(reference).await?;
        Ok(ResultAnswer { v: V, id: job.id, status: job.state.status, result: job.state.result })
    }

    /// A page of the jobs that match a filter.
    ///
    /// # Errors
    /// [`Code::BadRequest`], [`Code::NotAllowed`], [`Code::TooBroad`], and other errors of the store.
    pub async fn list(&self, caller: &Caller, query: &ListQuery) -> Result<JobPage> {
        self.need_view(caller)?;
        let now = self.now();
        let filter = parse_filter(query.filter.as_deref(), query.tz.as_deref(), now)?;
        let limit = rows(query.limit)?;
        let after = cursor(query.cursor.as_deref())?;
        let count = if query.count.unwrap_or(false) {
            let counted = self.store().count(filter.clone(), COUNT_MAX, now).await;
            Some(counted.map_err(store_problem)?)
        } else {
            None
        };
        let oldest_first = query.oldest_first.unwrap_or(false);
        let request = ListRequest { filter, oldest_first, after, limit };
        let page = self.store().list(request, now).await.map_err(store_problem)?;
        Ok(JobPage {
            v: V,
            jobs: page.rows.into_iter().map(masked_summary).collect(),
            next: page.next.map(|id| id.to_string()),
            count,
        })
    }

    /// A page of the dead letters whose jobs match a filter.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn dead_letters(&self, caller: &Caller, query: &ListQuery) -> Result<DeadLetterPage> {
        caller.need(Scope::Read)?;
        let now = self.now();
        let filter = parse_filter(query.filter.as_deref(), query.tz.as_deref(), now)?;
        let limit = rows(query.limit)?;
        let after = cursor(query.cursor.as_deref())?;
        let oldest_first = query.oldest_first.unwrap_or(false);
        let request = ListRequest { filter, oldest_first, after, limit };
        let page = self.store().dead_letters(request, now).await.map_err(store_problem)?;
        let letter = |row: DeadLetterRow| {
            let cause = Cause::of(&row.job);
            DeadLetter {
                reason: row.reason,
                at: row.at,
                cause_id: cause.as_ref().map(|cause| cause.id),
                cause: cause.map(|cause| mask_text(&cause.text).into_owned()),
                job: masked_summary(row.job),
            }
        };
        Ok(DeadLetterPage {
            v: V,
            dead_letters: page.rows.into_iter().map(letter).collect(),
            next: page.next.map(|id| id.to_string()),
        })
    }

    /// All queues with their counts.
    ///
    /// # Errors
    /// [`Code::NotAllowed`], and errors of the store.
    pub async fn queues(&self, caller: &Caller) -> Result<QueueList> {
        caller.need(Scope::Read)?;
        Ok(QueueList { v: V, queues: self.queue_views().await? })
    }

    pub(crate) async fn queue_views(&self) -> Result<Vec<QueueView>> {
        let counts = self.store().queue_counts().await.map_err(store_problem)?;
        let oldest: BTreeMap<Name, _> =
            self.store().oldest_due().await.map_err(store_problem)?.into_iter().collect();
        let paused = self.store().paused_queues().await.map_err(store_problem)?;
        let mut paused: BTreeMap<Name, Paused> = paused.into_iter().collect();
        let view = |(queue, counts): (Name, StatusCounts)| QueueView {
            oldest_due: oldest.get(&queue).copied(),
            paused: paused.remove(&queue).map(|it| PauseView {
                at: it.at,
                reason: it.reason,
                by: it.by,
            }),
            queue,
            counts,
        };
        Ok(counts.into_iter().map(view).collect())
    }

    /// One queue.
    ///
    /// # Errors
    /// [`Code::NotFound`], with the nearest name; [`Code::NotAllowed`], and errors of the store.
    pub async fn queue(&self, caller: &Caller, name: &str) -> Result<QueueView> {
        let all = self.queues(caller).await?;
        let found = all.queues.iter().find(|view| view.queue.as_str() == name);
        found.cloned().ok_or_else(|| {
            let shown: String = name.chars().take(80).collect();
            let detail = format!("there is no queue `{shown}`");
            let near = nearest(name, all.queues.iter().map(|view| view.queue.as_str()));
            let problem = Problem::new(Code::NotFound, detail);
            match near {
                Some(near) => {
                    problem.hint(format!("did you mean `{near}`?")).candidates([near.to_owned()])
                }
                None => {
                    problem.hint("`orx queue list` lists them; a queue is made by its first job")
                }
            }
        })
    }

    /// The status of the cluster, with everything that needs a person's attention.
    ///
    /// # Errors
    /// [`Code::NotAllowed`], and errors of the store.
    pub async fn cluster(&self, caller: &Caller) -> Result<ClusterStatus> {
        let queues = self.queues(caller).await?.queues;
        let workers = self.workers(caller).await?.workers;
        let dead_letters = self.store().dead_letter_count(DEAD_LETTERS_MAX).await;
        let dead_letters = dead_letters.map_err(store_problem)?;
        let mut counts = StatusCounts::default();
        queues.iter().for_each(|queue| counts.add(&queue.counts));
        let now = self.now();
        let live: Vec<&WorkerView> = workers.iter().filter(|worker| worker.live).collect();
        let links = self.link_views(&live);
        let (schedules, late) = self.schedule_attention().await?;
        let leader = self.store().leader(now).await.map_err(store_problem)?;
        let nodes = self.node_views().await?;
        let clock = self.clock_view().await?;
        let mut attention = attention(&Findings {
            now,
            store_problem: self.condition_text().await,
            has_leader: leader.is_some(),
            nodes: &nodes,
            workers: &workers,
            ready: counts.pending,
            queues: &queues,
            broken_links: self.broken_links(&links),
            dead_letters,
            failed_last_hour: 0,
        });
        attention.extend(late);
        attention.extend(clock.as_ref().and_then(|clock| jump_attention(clock, now)));
        attention.sort_by_key(|item| item.kind);
        let settings = &self.inner.settings;
        let info = self.store().info();
        Ok(ClusterStatus {
            v: V,
            version: settings.version.clone(),
            node: settings.node,
            started_at: settings.started_at,
            now,
            store: info.kind.to_owned(),
            durability: info.durability.to_owned(),
            transport: settings.transport.to_owned(),
            zone_data: Some(orx_schedule::rules::source().data()),
            leader: leader.map(|(term, _)| term.node),
            epoch: leader.map_or(0, |(term, _)| term.epoch),
            nodes,
            counts,
            dead_letters,
            schedules,
            workers_live: live.len() as u32,
            slots: sum(live.iter().map(|worker| worker.slots)),
            active: sum(live.iter().map(|worker| worker.active)),
            prefetched: sum(live.iter().map(|worker| worker.prefetched)),
            clock,
            links,
            attention: attention.into_iter().map(|item| item.text).collect(),
            settings_ms: settings.settings_ms.clone(),
        })
    }

    /// The settings in force at this server, with their origins, secrets masked.
    ///
    /// # Errors
    /// [`Code::NotAllowed`] without `admin`.
    pub fn settings(&self, caller: &Caller) -> Result<ServerSettings> {
        caller.need(Scope::Admin)?;
        let settings = &self.inner.settings;
        Ok(ServerSettings { v: V, node: settings.node, settings: settings.in_force.clone() })
    }

    async fn clock_view(&self) -> Result<Option<ClockView>> {
        let clock = self.store().clock().await.map_err(store_problem)?;
        Ok(clock.map(|note| ClockView {
            jumps: note.jumps,
            last_at: note.last.map(|(at, _)| at),
            last_by_ms: note.last.map(|(_, by_ms)| by_ms),
        }))
    }

    pub(crate) async fn clock_attention(&self) -> Result<Option<Attention>> {
        let (clock, now) = (self.clock_view().await?, self.now());
        Ok(clock.as_ref().and_then(|clock| jump_attention(clock, now)))
    }

    /// Why the store accepts no writes, or this server takes no jobs.
    pub(crate) async fn condition_text(&self) -> Option<String> {
        match self.accepts_writes().await {
            Err(error) => Some(format!("the store accepts no writes: {error}")),
            Ok(()) => self.check_condition().err().map(|problem| problem.detail),
        }
    }

    /// A text for each link that is down.
    pub(crate) fn broken_links(&self, links: &[LinkView]) -> Vec<String> {
        let broken = links.iter().filter(|link| !link.connected);
        broken.map(|link| format!("the link {}", self.link_text(link))).collect()
    }

    /// Checks that the store accepts writes, as far as that is known without writing.
    ///
    /// # Errors
    /// [`Code::StoreFull`], [`Code::Unavailable`], and other errors of the store.
    pub async fn check_store(&self) -> Result<()> {
        self.accepts_writes().await.map_err(store_problem)
    }

    pub(crate) async fn accepts_writes(&self) -> std::result::Result<(), StoreError> {
        match self.inner.wakeups.store_condition() {
            Condition::StoreFull => Err(StoreError::Full),
            _ => self.store().look().await,
        }
    }

    /// Checks that this server neither stops nor knows its store to be full or unreachable.
    ///
    /// # Errors
    /// [`Code::Unavailable`] or [`Code::StoreFull`].
    pub fn check_condition(&self) -> Result<()> {
        let problem = |text: &str| Err(Problem::new(Code::Unavailable, text));
        match self.inner.wakeups.condition() {
            Condition::Well | Condition::Other => Ok(()),
            Condition::Stopping => problem("this server is stopping"),
            Condition::StoreFull => Err(store_problem(StoreError::Full)),
            Condition::StoreAway => problem("the store accepts no writes"),
        }
    }
}

/// A jump of the clock, if it is not long ago.
fn jump_attention(clock: &ClockView, now: Timestamp) -> Option<Attention> {
    let (at, by_ms) = clock.last_at.zip(clock.last_by_ms)?;
    let recent = now.as_millis().abs_diff(at.as_millis()) < JUMP_SHOWN_MS;
    let words = orx_model::time::jump_words(by_ms);
    let text = format!("the clock was set {words} at {at}");
    recent.then_some(Attention { kind: AttentionKind::Clock, object: None, text })
}

fn sum(all: impl Iterator<Item = u32>) -> u32 {
    all.fold(0, u32::saturating_add)
}

/// A warning if live nodes have different time zone databases: the leader computes due times, so they
/// could change with the leader.
pub(crate) fn zones_differ(nodes: &[NodeView]) -> Option<String> {
    let live = nodes.iter().filter(|node| node.live);
    let versions: Vec<(&Name, &str)> =
        live.filter_map(|node| Some((&node.name, node.zone_version.as_deref()?))).collect();
    let (_, first) = versions.first()?;
    if versions.iter().all(|(_, version)| version == first) {
        return None;
    }
    let each: Vec<String> =
        versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let each = each.join(", ");
    Some(format!("nodes have different versions of the time zone database: {each}"))
}

pub(crate) fn rows(limit: Option<u32>) -> Result<u32> {
    let most = limits::PAGE_ROWS as u32;
    match limit {
        None => Ok(ROWS_DEFAULT),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(limit) => {
            let detail = format!("`limit` must be 1 to {most}, found {limit}");
            Err(Problem::new(Code::BadRequest, detail))
        }
    }
}

fn cursor(text: Option<&str>) -> Result<Option<JobId>> {
    text.map(str::parse)
        .transpose()
        .map_err(|_| Problem::new(Code::BadRequest, "`cursor` is not the `next` of a page"))
}

/// The job with secrets masked.
pub(crate) fn masked(mut job: Job) -> Job {
    job.spec.args = mask_json(&job.spec.args);
    // `ControlPanel::result` answers it unmasked.
    job.state.result = job.state.result.as_ref().map(mask_json);
    mask_labels(&mut job.spec.tags);
    mask_error(&mut job.state.error);
    if let Some(command) = &mut job.spec.command {
        mask_command(command);
    }
    job
}

/// The job with secrets masked, in a list.
pub(crate) fn masked_summary(mut job: JobSummary) -> JobSummary {
    mask_labels(&mut job.spec.tags);
    mask_error(&mut job.state.error);
    job
}

fn mask_error(error: &mut Option<String>) {
    if let Some(error) = error
        && let std::borrow::Cow::Owned(masked) = mask_text(error)
    {
        *error = masked;
    }
}

/// Masks the secrets of a request.
pub(crate) fn mask_request(request: &mut EnqueueRequest) {
    if let Some(args) = &mut request.args {
        *args = mask_json(args);
    }
    mask_labels(&mut request.tags);
    if let Some(command) = &mut request.command {
        mask_command(command);
    }
}

fn mask_command(command: &mut Command) {
    mask_labels(&mut command.env);
    mask_labels(&mut command.caller_env);
    mask_words(&mut command.argv);
    // People pipe passwords in so that they are written nowhere.
    command.stdin = None;
}

#[cfg(test)]
mod zone_tests {
    use orx_model::{Incarnation, Timestamp};

    use super::*;

    fn node(name: &str, zones: Option<&str>, live: bool) -> NodeView {
        NodeView {
            node: Incarnation(1),
            name: Name::from_any(name),
            url: None,
            version: "1".to_owned(),
            zone_version: zones.map(str::to_owned),
            leads: false,
            live,
            drain: None,
            draining_since: None,
            started_at: Timestamp::default(),
            seen_at: Timestamp::default(),
        }
    }

    #[test]
    fn live_nodes_with_different_zone_databases_are_named() {
        let same = [node("a", Some("2025b"), true), node("b", Some("2025b"), true)];
        assert_eq!(zones_differ(&same), None);
        // An older node reports no version, and a node that has ended does not count.
        let old = [node("a", Some("2025b"), true), node("b", None, true)];
        assert_eq!(zones_differ(&old), None);
        let gone = [node("a", Some("2025b"), true), node("b", Some("2024a"), false)];
        assert_eq!(zones_differ(&gone), None);
        let two = [node("a", Some("2025b"), true), node("b", Some("unknown"), true)];
        assert_eq!(
            zones_differ(&two).as_deref(),
            Some("nodes have different versions of the time zone database: a 2025b, b unknown")
        );
    }
}
