//! Metrics for Prometheus. Labels are bounded: by the known routes, and by the largest queues.

use std::time::Duration;

use axum::http::Method;
use orx_control::{Caller, ControlPanel};
use orx_model::JobStatus;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Most queues with a label of their own; the rest are `other`.
const QUEUES_MAX: usize = 100;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: String,
    code: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct JobLabels {
    queue: String,
    status: String,
}

pub(crate) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    took: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            took: Histogram::new(exponential_buckets(0.000_1, 2.0, 18)),
        }
    }
}

impl Metrics {
    pub(crate) fn request(&self, route: &str, method: &Method, code: u16, took: Duration) {
        let method = match *method {
            Method::GET
            | Method::POST
            | Method::PUT
            | Method::PATCH
            | Method::DELETE
            | Method::HEAD => method.as_str(),
            _ => "other",
        };
        let request = RequestLabels {
            route: route.to_owned(),
            method: method.to_owned(),
            code: u32::from(code),
        };
        self.requests.get_or_create(&request).inc();
        self.took.observe(took.as_secs_f64());
    }

    /// All metrics in the text format.
    pub(crate) async fn page(&self, panel: &ControlPanel) -> Result<String, orx_model::Problem> {
        let status = panel.cluster(&Caller::local()).await?;
        let mut queues = panel.queues(&Caller::local()).await?.queues;
        queues.sort_by_key(|queue| {
            std::cmp::Reverse(
                JobStatus::ALL.map(|status| queue.counts.of(status)).iter().sum::<u64>(),
            )
        });
        let mut registry = Registry::with_prefix("orx");
        registry.register("http_requests", "Requests answered", self.requests.clone());
        registry.register("http_request_seconds", "Time to answer", self.took.clone());
        let jobs = Family::<JobLabels, Gauge>::default();
        for (index, queue) in queues.iter().enumerate() {
            let name = if index < QUEUES_MAX { queue.queue.as_str() } else { "other" };
            for status in JobStatus::ALL {
                let labels =
                    JobLabels { queue: name.to_owned(), status: status.as_str().to_owned() };
                jobs.get_or_create(&labels).inc_by(queue.counts.of(status) as i64);
            }
        }
        registry.register("jobs", "Jobs in the store, by queue and status", jobs);
        for (name, help, value) in [
            ("dead_letters", "Dead letters in the store", status.dead_letters),
            (
                "schedule_slots_missed",
                "Due times of schedules missed in the last 24 hours",
                status.schedules.missed,
            ),
            (
                "schedules_overdue",
                "Schedules that are due beyond their tolerance and did not fire",
                status.schedules.overdue,
            ),
            ("workers_live", "Workers whose lease has not expired", u64::from(status.workers_live)),
            ("slots", "Attempts that live workers run at once", u64::from(status.slots)),
            ("slots_active", "Slots of live workers that are busy", u64::from(status.active)),
            (
                "jobs_prefetched",
                "Jobs that wait at live workers for a slot",
                u64::from(status.prefetched),
            ),
        ] {
            let gauge: Gauge = Gauge::default();
            gauge.set(value as i64);
            registry.register(name, help, gauge);
        }
        let mut text = String::new();
        encode(&mut text, &registry).map_err(|error| {
            orx_model::Problem::new(orx_model::Code::Internal, error.to_string())
        })?;
        Ok(text)
    }
}
