//! Which jobs a worker can run: waiting jobs are in lanes, and workers report capabilities.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::Name;
use crate::job::Labels;

/// Key of the waiting jobs that the same workers can run. Jobs that no live worker can run are in lanes
/// of their own, and so block no others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane {
    /// The queue of its jobs.
    pub queue: Name,
    /// The job type; `None` for commands given with the job.
    pub handler: Option<Name>,
    /// Labels that the worker must have.
    pub require: Labels,
}

/// The jobs that a worker accepts, as it reports them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Capabilities {
    /// Queues served; empty means every queue.
    #[serde(default)]
    pub queues: BTreeSet<Name>,
    /// Job types that the worker has a handler for.
    #[serde(default)]
    pub handlers: BTreeSet<Name>,
    /// The worker runs commands that are part of the job.
    #[serde(default)]
    pub commands: bool,
    /// Labels of the worker.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: Labels,
}

impl Capabilities {
    /// Whether the worker can run jobs of this lane.
    #[must_use]
    pub fn takes(&self, lane: &Lane) -> bool {
        let queue = self.queues.is_empty() || self.queues.contains(&lane.queue);
        let handler = match &lane.handler {
            Some(name) => self.handlers.contains(name),
            None => self.commands,
        };
        let labels =
            lane.require.iter().all(|(label, value)| self.labels.get(label) == Some(value));
        queue && handler && labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    #[test]
    fn a_worker_takes_a_lane_only_with_its_queue_handler_and_labels() {
        let lane = Lane {
            queue: name("media"),
            handler: Some(name("video")),
            require: Labels::from([("gpu".into(), "a100".into())]),
        };
        let fits = Capabilities {
            queues: BTreeSet::from([name("media")]),
            handlers: BTreeSet::from([name("video")]),
            commands: false,
            labels: Labels::from([("gpu".into(), "a100".into())]),
        };
        assert!(fits.takes(&lane));
        assert!(Capabilities { queues: BTreeSet::new(), ..fits.clone() }.takes(&lane));
        assert!(
            !Capabilities { queues: BTreeSet::from([name("mail")]), ..fits.clone() }.takes(&lane)
        );
        assert!(
            !Capabilities { handlers: BTreeSet::new(), commands: true, ..fits.clone() }
                .takes(&lane)
        );
        assert!(!Capabilities { labels: Labels::new(), ..fits }.takes(&lane));
    }
}
