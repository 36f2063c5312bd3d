//! The operations of the API, one function each.

use orx_model::schedule::ScheduleSpec;
use orx_model::schedule::wire::{
    BackfillAnswer, BackfillRequest, PutScheduleRequest, RemoveScheduleQuery, ScheduleAnswer,
    ScheduleChangeAnswer, ScheduleOrder, SchedulePage, SchedulesQuery, SetScheduleRequest,
    SlotPage, SlotsQuery, TriggerAnswer, path as schedules,
};
use orx_model::token::{self, RevokeAnswer, RevokeRequest, TokenList, TokenMade, TokenRequest};
use orx_model::wire::{
    ChangeAnswer, ChangeRequest, ClusterStatus, DeadLetterPage, EnqueueAnswer, EnqueueRequest,
    JobDetail, JobPage, ListQuery, QueueList, QueueView, ResultAnswer, WorkerDetail, WorkerList,
    WorkersOrderAnswer, WorkersOrderRequest, path,
};
use reqwest::Method;

use crate::{Client, Result, chain, fill, new_key, unreachable_at};

impl Client {
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

    pub async fn job(&self, reference: &str) -> Result<JobDetail> {
        self.get(&fill(path::JOB, "{job}", reference), &()).await
    }

    pub async fn result(&self, reference: &str) -> Result<ResultAnswer> {
        self.get(&fill(path::JOB_RESULT, "{job}", reference), &()).await
    }

    pub async fn list(&self, query: &ListQuery) -> Result<JobPage> {
        self.get(path::JOBS, query).await
    }

    pub async fn cancel(&self, request: &ChangeRequest) -> Result<ChangeAnswer> {
        self.repeated(Method::POST, path::JOBS_CANCEL, |call| call.json(request)).await
    }

    pub async fn retry(&self, request: &ChangeRequest) -> Result<ChangeAnswer> {
        self.once(Method::POST, path::JOBS_RETRY, |call| call.json(request)).await
    }

    pub async fn queues(&self) -> Result<QueueList> {
        self.get(path::QUEUES, &()).await
    }

    pub async fn queue(&self, name: &str) -> Result<QueueView> {
        self.get(&fill(path::QUEUE, "{queue}", name), &()).await
    }

    pub async fn dead_letters(&self, query: &ListQuery) -> Result<DeadLetterPage> {
        self.get(path::DEAD_LETTERS, query).await
    }

    pub async fn retry_dead(&self, request: &ChangeRequest) -> Result<ChangeAnswer> {
        self.once(Method::POST, path::DEAD_LETTERS_RETRY, |call| call.json(request)).await
    }

    pub async fn delete_dead(&self, request: &ChangeRequest) -> Result<ChangeAnswer> {
        self.once(Method::POST, path::DEAD_LETTERS_DELETE, |call| call.json(request)).await
    }

    pub async fn workers(&self) -> Result<WorkerList> {
        self.get(path::WORKERS, &()).await
    }

    /// Not repeated: an answer that was lost leaves a token that nobody has, to be revoked.
    pub async fn create_token(&self, request: &TokenRequest) -> Result<TokenMade> {
        self.once(Method::POST, token::path::TOKENS, |call| call.json(request)).await
    }

    pub async fn tokens(&self) -> Result<TokenList> {
        self.get(token::path::TOKENS, &()).await
    }

    pub async fn revoke_tokens(&self, request: &RevokeRequest) -> Result<RevokeAnswer> {
        self.repeated(Method::POST, token::path::TOKENS_REVOKE, |call| call.json(request)).await
    }

    pub async fn worker(&self, name: &str) -> Result<WorkerDetail> {
        self.get(&fill(path::WORKER, "{worker}", name), &()).await
    }

    pub async fn order_workers(&self, request: &WorkersOrderRequest) -> Result<WorkersOrderAnswer> {
        self.repeated(Method::POST, path::WORKERS_ORDER, |call| call.json(request)).await
    }

    pub async fn cluster(&self) -> Result<ClusterStatus> {
        self.get(path::CLUSTER, &()).await
    }

    /// Not repeated: an id that was taken meanwhile would be one's own.
    pub async fn add_schedule(&self, spec: &ScheduleSpec) -> Result<ScheduleChangeAnswer> {
        self.once(Method::POST, schedules::SCHEDULES, |call| call.json(spec)).await
    }

    pub async fn schedules(&self, query: &SchedulesQuery) -> Result<SchedulePage> {
        self.get(schedules::SCHEDULES, query).await
    }

    pub async fn schedule(&self, id: &str) -> Result<ScheduleAnswer> {
        self.get(&fill(schedules::SCHEDULE, "{schedule}", id), &()).await
    }

    pub async fn put_schedule(&self, request: &PutScheduleRequest) -> Result<ScheduleChangeAnswer> {
        let route = fill(schedules::SCHEDULE, "{schedule}", request.spec.id.as_str());
        self.repeated(Method::PUT, &route, |call| call.json(request)).await
    }

    pub async fn set_schedule(
        &self,
        id: &str,
        request: &SetScheduleRequest,
    ) -> Result<ScheduleChangeAnswer> {
        let route = fill(schedules::SCHEDULE, "{schedule}", id);
        self.once(Method::PATCH, &route, |call| call.json(request)).await
    }

    pub async fn remove_schedule(
        &self,
        id: &str,
        query: &RemoveScheduleQuery,
    ) -> Result<ScheduleChangeAnswer> {
        let route = fill(schedules::SCHEDULE, "{schedule}", id);
        self.once(Method::DELETE, &route, |call| call.query(query)).await
    }

    pub async fn schedule_slots(&self, id: &str, query: &SlotsQuery) -> Result<SlotPage> {
        self.get(&fill(schedules::SLOTS, "{schedule}", id), query).await
    }

    /// Not repeated: each is a run.
    pub async fn trigger_schedule(&self, id: &str, order: &ScheduleOrder) -> Result<TriggerAnswer> {
        let route = fill(schedules::TRIGGER, "{schedule}", id);
        self.once(Method::POST, &route, |call| call.json(order)).await
    }

    /// What was run by the first of two is passed over by the second.
    pub async fn backfill_schedule(
        &self,
        id: &str,
        request: &BackfillRequest,
    ) -> Result<BackfillAnswer> {
        let route = fill(schedules::BACKFILL, "{schedule}", id);
        self.once(Method::POST, &route, |call| call.json(request)).await
    }

    pub async fn pause_schedule(&self, id: &str, order: &ScheduleOrder) -> Result<ScheduleAnswer> {
        let route = fill(schedules::PAUSE, "{schedule}", id);
        self.repeated(Method::POST, &route, |call| call.json(order)).await
    }

    pub async fn resume_schedule(&self, id: &str, order: &ScheduleOrder) -> Result<ScheduleAnswer> {
        let route = fill(schedules::RESUME, "{schedule}", id);
        self.repeated(Method::POST, &route, |call| call.json(order)).await
    }
}
