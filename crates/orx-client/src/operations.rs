//! The operations of the API, one function each.

use orx_model::OperationId;
use orx_model::schedule::ScheduleSpec;
use orx_model::schedule::wire::{
    BackfillAnswer, BackfillRequest, PutScheduleRequest, RemoveScheduleQuery, ScheduleAnswer,
    ScheduleChangeAnswer, ScheduleOrder, SchedulePage, SchedulesQuery, SetScheduleRequest,
    SlotPage, SlotsQuery, TriggerAnswer, path as schedules,
};
use orx_model::token::{self, RevokeAnswer, RevokeRequest, TokenList, TokenMade, TokenRequest};
use orx_model::wire::{
    AuditPage, AuditQuery, CausePage, CausesQuery, ChangeAnswer, ChangeRequest, ClusterStatus,
    DeadLetterPage, EnqueueAnswer, EnqueueRequest, JobDetail, JobPage, ListQuery, NodeDrainAnswer,
    NodeDrainRequest, OperationAnswer, OperationPage, OperationRequest, OperationView,
    OperationsQuery, Overview, QueueList, QueueOrder, QueueView, ResultAnswer, ServerSettings,
    StepDownAnswer, StepDownRequest, WorkerDetail, WorkerList, WorkersOrderAnswer,
    WorkersOrderRequest, path,
};
use reqwest::Method;

use crate::{Client, Result, chain, fill, new_key, unreachable_at};

impl Client {
    /// Enqueues a job. A request without a key gets a random one, so that the client can repeat it.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn enqueue(&self, mut request: EnqueueRequest) -> Result<EnqueueAnswer> {
        request.key.get_or_insert_with(new_key);
        self.repeated(Method::POST, path::JOBS, |call| call.json(&request)).await
    }

    /// Calls `/healthz`, which asks nothing of the server: it measures what any call costs.
    ///
    /// # Errors
    /// No server answers.
    pub async fn reach(&self) -> Result<()> {
        let response = self.send(Method::GET, path::HEALTHZ, |call| call).await?;
        let url = response.url().to_string();
        let read = response.bytes().await;
        read.map(drop).map_err(|error| unreachable_at(&url, &chain(&error)))
    }

    /// A job with its attempts, by id, attempt or `key:`.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn job(&self, reference: &str) -> Result<JobDetail> {
        self.get(&fill(path::JOB, "{job}", reference), &()).await
    }

    /// The status of a job and its result, unmasked.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn result(&self, reference: &str) -> Result<ResultAnswer> {
        self.get(&fill(path::JOB_RESULT, "{job}", reference), &()).await
    }

    /// A page of the jobs that match a filter.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn list(&self, query: &ListQuery) -> Result<JobPage> {
        self.get(path::JOBS, query).await
    }

    /// Cancels jobs.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn cancel(&self, request: &ChangeRequest) -> Result<ChangeAnswer> {
        self.repeated(Method::POST, path::JOBS_CANCEL, |call| call.json(request)).await
    }

    /// Retries final jobs.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn retry(&self, request: &ChangeRequest) -> Result<ChangeAnswer> {
        self.once(Method::POST, path::JOBS_RETRY, |call| call.json(request)).await
    }

    /// Deletes final jobs with their logs, attempts, keys and dead letters.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn delete_jobs(&self, request: &ChangeRequest) -> Result<ChangeAnswer> {
        self.once(Method::POST, path::JOBS_DELETE, |call| call.json(request)).await
    }

    /// Starts an operation over many jobs. A request without a key gets a random one, so that the client can
    /// repeat it.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn start_operation(&self, mut request: OperationRequest) -> Result<OperationAnswer> {
        request.key.get_or_insert_with(new_key);
        self.repeated(Method::POST, path::OPERATIONS, |call| call.json(&request)).await
    }

    /// One operation.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn operation(&self, id: OperationId) -> Result<OperationView> {
        self.get(&fill(path::OPERATION, "{operation}", &id.to_string()), &()).await
    }

    /// A page of operations, newest first.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn operations(&self, query: &OperationsQuery) -> Result<OperationPage> {
        self.get(path::OPERATIONS, query).await
    }

    /// Cancels an operation. Once this returns, it changes no more jobs.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn cancel_operation(&self, id: OperationId) -> Result<OperationView> {
        let route = fill(path::OPERATION_CANCEL, "{operation}", &id.to_string());
        self.repeated(Method::POST, &route, |call| call).await
    }

    /// All queues with their counts.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn queues(&self) -> Result<QueueList> {
        self.get(path::QUEUES, &()).await
    }

    /// One queue.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn queue(&self, name: &str) -> Result<QueueView> {
        self.get(&fill(path::QUEUE, "{queue}", name), &()).await
    }

    /// A page of the changes that people and programs made, newest first.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn audit(&self, query: &AuditQuery) -> Result<AuditPage> {
        self.get(path::AUDIT, query).await
    }

    /// Asks the leader to step down. Not repeated: a second call would ask the next leader.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn step_down(&self, request: &StepDownRequest) -> Result<StepDownAnswer> {
        self.once(Method::POST, path::STEP_DOWN, |call| call.json(request)).await
    }

    /// The settings in force at the server that answers.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn settings(&self) -> Result<ServerSettings> {
        self.get(path::SETTINGS, &()).await
    }

    /// Drains a node.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn drain_node(
        &self,
        node: &str,
        request: &NodeDrainRequest,
    ) -> Result<NodeDrainAnswer> {
        let route = fill(path::NODE_DRAIN, "{node}", node);
        self.repeated(Method::POST, &route, |call| call.json(request)).await
    }

    /// Takes back the drain of a node.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn resume_node(
        &self,
        node: &str,
        request: &NodeDrainRequest,
    ) -> Result<NodeDrainAnswer> {
        let route = fill(path::NODE_RESUME, "{node}", node);
        self.repeated(Method::POST, &route, |call| call.json(request)).await
    }

    /// Pauses a queue.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn pause_queue(&self, name: &str, order: &QueueOrder) -> Result<QueueView> {
        let route = fill(path::QUEUE_PAUSE, "{queue}", name);
        self.repeated(Method::POST, &route, |call| call.json(order)).await
    }

    /// Resumes a queue.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn resume_queue(&self, name: &str, order: &QueueOrder) -> Result<QueueView> {
        let route = fill(path::QUEUE_RESUME, "{queue}", name);
        self.repeated(Method::POST, &route, |call| call.json(order)).await
    }

    /// A page of the dead letters whose jobs match a filter.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn dead_letters(&self, query: &ListQuery) -> Result<DeadLetterPage> {
        self.get(path::DEAD_LETTERS, query).await
    }

    /// A page of the causes of dead letters.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn causes(&self, query: &CausesQuery) -> Result<CausePage> {
        self.get(path::DEAD_LETTERS_CAUSES, query).await
    }

    /// Retries the jobs of dead letters.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn retry_dead(&self, request: &ChangeRequest) -> Result<ChangeAnswer> {
        self.once(Method::POST, path::DEAD_LETTERS_RETRY, |call| call.json(request)).await
    }

    /// Deletes dead letters. Their jobs stay.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn delete_dead(&self, request: &ChangeRequest) -> Result<ChangeAnswer> {
        self.once(Method::POST, path::DEAD_LETTERS_DELETE, |call| call.json(request)).await
    }

    /// All registered workers.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn workers(&self) -> Result<WorkerList> {
        self.get(path::WORKERS, &()).await
    }

    /// Makes a token. Not repeated: a lost answer leaves a token whose text is unknown.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn create_token(&self, request: &TokenRequest) -> Result<TokenMade> {
        self.once(Method::POST, token::path::TOKENS, |call| call.json(request)).await
    }

    /// Every token, without its text.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn tokens(&self) -> Result<TokenList> {
        self.get(token::path::TOKENS, &()).await
    }

    /// Revokes tokens.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn revoke_tokens(&self, request: &RevokeRequest) -> Result<RevokeAnswer> {
        self.repeated(Method::POST, token::path::TOKENS_REVOKE, |call| call.json(request)).await
    }

    /// One worker with its attempts, by its name or the first digits of its incarnation.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn worker(&self, name: &str) -> Result<WorkerDetail> {
        self.get(&fill(path::WORKER, "{worker}", name), &()).await
    }

    /// Drains, resumes or fences workers.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn order_workers(&self, request: &WorkersOrderRequest) -> Result<WorkersOrderAnswer> {
        self.repeated(Method::POST, path::WORKERS_ORDER, |call| call.json(request)).await
    }

    /// The status of the cluster.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn cluster(&self) -> Result<ClusterStatus> {
        self.get(path::CLUSTER, &()).await
    }

    /// The overview of the cluster.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn overview(&self) -> Result<Overview> {
        self.get(path::OVERVIEW, &()).await
    }

    /// Adds a schedule. Not repeated: after a lost answer the id would conflict with itself.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn add_schedule(&self, spec: &ScheduleSpec) -> Result<ScheduleChangeAnswer> {
        self.once(Method::POST, schedules::SCHEDULES, |call| call.json(spec)).await
    }

    /// A page of schedules.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn schedules(&self, query: &SchedulesQuery) -> Result<SchedulePage> {
        self.get(schedules::SCHEDULES, query).await
    }

    /// One schedule.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn schedule(&self, id: &str) -> Result<ScheduleAnswer> {
        self.get(&fill(schedules::SCHEDULE, "{schedule}", id), &()).await
    }

    /// Replaces a schedule, or adds it.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn put_schedule(&self, request: &PutScheduleRequest) -> Result<ScheduleChangeAnswer> {
        let route = fill(schedules::SCHEDULE, "{schedule}", request.spec.id.as_str());
        self.repeated(Method::PUT, &route, |call| call.json(request)).await
    }

    /// Changes some fields of a schedule. Not repeated: a version in the request would conflict with the
    /// first call.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn set_schedule(
        &self,
        id: &str,
        request: &SetScheduleRequest,
    ) -> Result<ScheduleChangeAnswer> {
        let route = fill(schedules::SCHEDULE, "{schedule}", id);
        self.once(Method::PATCH, &route, |call| call.json(request)).await
    }

    /// Removes a schedule and its ledger. Not repeated: a second call would not find it.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn remove_schedule(
        &self,
        id: &str,
        query: &RemoveScheduleQuery,
    ) -> Result<ScheduleChangeAnswer> {
        let route = fill(schedules::SCHEDULE, "{schedule}", id);
        self.once(Method::DELETE, &route, |call| call.query(query)).await
    }

    /// A page of a schedule's ledger, newest first.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn schedule_slots(&self, id: &str, query: &SlotsQuery) -> Result<SlotPage> {
        self.get(&fill(schedules::SLOTS, "{schedule}", id), query).await
    }

    /// Runs a schedule now. Not repeated: each call is a run.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn trigger_schedule(&self, id: &str, order: &ScheduleOrder) -> Result<TriggerAnswer> {
        let route = fill(schedules::TRIGGER, "{schedule}", id);
        self.once(Method::POST, &route, |call| call.json(order)).await
    }

    /// Runs the slots of a time range that made no job. Not repeated by itself; a second call skips the
    /// slots that the first one ran.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn backfill_schedule(
        &self,
        id: &str,
        request: &BackfillRequest,
    ) -> Result<BackfillAnswer> {
        let route = fill(schedules::BACKFILL, "{schedule}", id);
        self.once(Method::POST, &route, |call| call.json(request)).await
    }

    /// Pauses a schedule.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn pause_schedule(&self, id: &str, order: &ScheduleOrder) -> Result<ScheduleAnswer> {
        let route = fill(schedules::PAUSE, "{schedule}", id);
        self.repeated(Method::POST, &route, |call| call.json(order)).await
    }

    /// Resumes a schedule. Slots that were due meanwhile are skipped.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError).
    pub async fn resume_schedule(&self, id: &str, order: &ScheduleOrder) -> Result<ScheduleAnswer> {
        let route = fill(schedules::RESUME, "{schedule}", id);
        self.repeated(Method::POST, &route, |call| call.json(order)).await
    }
}
