//! The tables of the configuration file: their keys and defaults. `config.example.toml` explains
//! each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use orx_coordinator::Settings;
use orx_model::{Name, Priority, RetryPolicy};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::sourced::{Setting, Sourced};
use super::values::{Commands, ConfigDuration, SecretUrl, StoreDurability};
use crate::daemon::TransportKind;
use crate::error::CliError;

/// Defines `each` for a table, which calls a function with every key and its setting, in the order of the
/// file. The pattern names all fields, so that none is missing.
macro_rules! table {
    ($table:ident: $($key:ident)*) => {
        impl $table {
            pub(super) fn each(&self, visit: &mut dyn FnMut(&'static str, &dyn Setting)) {
                let Self { $($key),* } = self;
                $(visit(stringify!($key), $key);)*
            }
        }
    };
}

table!(ServerConfig: name listen tls_cert tls_key insecure_listen advertise hosts connections
    connections_per_peer durability);
table!(StoreConfig: url sessions);
table!(TransportConfig: url);
table!(ClusterConfig: lease heartbeat ask_after monitor leader_lease leader_renew leader_margin
    node_heartbeat);
table!(WorkerConfig: name coordinators token_file slots queues commands kill_grace stop_grace labels);
table!(JobDefaults: queue priority retries backoff factor backoff_max jitter timeout);
table!(RetentionConfig: completed others slots);
table!(TopConfig: theme ascii mouse clipboard_command keys);

fn seconds(seconds: u64) -> Sourced<ConfigDuration> {
    ConfigDuration(Duration::from_secs(seconds)).into()
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServerConfig {
    /// For people. Empty: the name of the machine.
    pub(crate) name: Sourced<String>,
    pub(crate) listen: Sourced<SocketAddr>,
    /// Empty: without TLS.
    pub(crate) tls_cert: Sourced<PathBuf>,
    pub(crate) tls_key: Sourced<PathBuf>,
    pub(crate) insecure_listen: Sourced<bool>,
    /// URL at which other nodes and workers reach this node. Empty: the address it listens on.
    pub(crate) advertise: Sourced<String>,
    pub(crate) hosts: Sourced<Vec<String>>,
    pub(crate) connections: Sourced<u32>,
    pub(crate) connections_per_peer: Sourced<u32>,
    pub(crate) durability: Sourced<StoreDurability>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            name: String::new().into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 7070)).into(),
            tls_cert: PathBuf::new().into(),
            tls_key: PathBuf::new().into(),
            insecure_listen: false.into(),
            advertise: String::new().into(),
            hosts: Vec::new().into(),
            connections: 768.into(),
            connections_per_peer: 256.into(),
            durability: StoreDurability::Full.into(),
        }
    }
}

/// `[store]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StoreConfig {
    /// Empty: the SQLite file in the state folder.
    pub(crate) url: Sourced<SecretUrl>,
    pub(crate) sessions: Sourced<u32>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { url: SecretUrl::default().into(), sessions: 10.into() }
    }
}

/// `[transport]`: the transport of messages between nodes and workers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TransportConfig {
    pub(crate) url: Sourced<SecretUrl>,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self { url: SecretUrl("direct".to_owned()).into() }
    }
}

impl TransportConfig {
    pub(crate) fn kind(&self) -> Result<TransportKind, CliError> {
        TransportKind::parse(&self.url).map_err(super::wrong)
    }
}

/// `[cluster]`: the times after which silent nodes and workers count as lost.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClusterConfig {
    pub(crate) lease: Sourced<ConfigDuration>,
    pub(crate) heartbeat: Sourced<ConfigDuration>,
    pub(crate) ask_after: Sourced<ConfigDuration>,
    pub(crate) monitor: Sourced<ConfigDuration>,
    pub(crate) leader_lease: Sourced<ConfigDuration>,
    pub(crate) leader_renew: Sourced<ConfigDuration>,
    pub(crate) leader_margin: Sourced<ConfigDuration>,
    pub(crate) node_heartbeat: Sourced<ConfigDuration>,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        let times = Settings::default();
        Self {
            lease: ConfigDuration(times.lease).into(),
            heartbeat: ConfigDuration(times.heartbeat).into(),
            ask_after: ConfigDuration(times.ask_after).into(),
            monitor: ConfigDuration(times.monitor).into(),
            leader_lease: ConfigDuration(times.leader_lease).into(),
            leader_renew: ConfigDuration(times.leader_renew).into(),
            leader_margin: ConfigDuration(times.leader_margin).into(),
            node_heartbeat: ConfigDuration(times.node_heartbeat).into(),
        }
    }
}

/// `[worker]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WorkerConfig {
    /// For people. Empty: the name of the machine.
    pub(crate) name: Sourced<String>,
    /// URLs in the order of tries. Empty: the server that a command would find.
    pub(crate) coordinators: Sourced<Vec<String>>,
    /// Empty: the token of that server.
    pub(crate) token_file: Sourced<PathBuf>,
    pub(crate) slots: Sourced<u32>,
    /// Empty: every queue.
    pub(crate) queues: Sourced<Vec<Name>>,
    pub(crate) commands: Sourced<Commands>,
    pub(crate) kill_grace: Sourced<ConfigDuration>,
    pub(crate) stop_grace: Sourced<ConfigDuration>,
    pub(crate) labels: Sourced<BTreeMap<String, String>>,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            name: String::new().into(),
            coordinators: Vec::new().into(),
            token_file: PathBuf::new().into(),
            slots: 10.into(),
            queues: Vec::new().into(),
            commands: Commands::Auto.into(),
            kill_grace: seconds(10),
            stop_grace: seconds(30),
            labels: BTreeMap::new().into(),
        }
    }
}

/// `[defaults]`: values for jobs that do not set their own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct JobDefaults {
    pub(crate) queue: Sourced<Name>,
    pub(crate) priority: Sourced<Priority>,
    pub(crate) retries: Sourced<u32>,
    pub(crate) backoff: Sourced<ConfigDuration>,
    pub(crate) factor: Sourced<f64>,
    pub(crate) backoff_max: Sourced<ConfigDuration>,
    pub(crate) jitter: Sourced<f64>,
    /// Zero: without limit.
    pub(crate) timeout: Sourced<ConfigDuration>,
}

impl Default for JobDefaults {
    fn default() -> Self {
        let retry = RetryPolicy::default();
        Self {
            queue: Name::from_any("default").into(),
            priority: Priority::Normal.into(),
            retries: retry.retries.into(),
            backoff: ConfigDuration(Duration::from_millis(retry.backoff_ms)).into(),
            factor: retry.factor.into(),
            backoff_max: ConfigDuration(Duration::from_millis(retry.backoff_max_ms)).into(),
            jitter: retry.jitter.into(),
            timeout: seconds(3_600),
        }
    }
}

/// `[job.NAME]`: values of one job type that override [`JobDefaults`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct JobOverrides {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queue: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) priority: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) backoff: Option<ConfigDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) backoff_max: Option<ConfigDuration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jitter: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<ConfigDuration>,
}

impl JobDefaults {
    /// # Errors
    /// The first value out of range, in words.
    pub(crate) fn retry(&self, own: &JobOverrides) -> Result<RetryPolicy, String> {
        let policy = RetryPolicy {
            retries: own.retries.unwrap_or(*self.retries),
            backoff_ms: own.backoff.unwrap_or(*self.backoff).0.as_millis() as u64,
            factor: own.factor.unwrap_or(*self.factor),
            backoff_max_ms: own.backoff_max.unwrap_or(*self.backoff_max).0.as_millis() as u64,
            jitter: own.jitter.unwrap_or(*self.jitter),
        };
        policy.check()?;
        Ok(policy)
    }
}

/// `[retention]`: finished jobs and rows of ledgers are deleted after these times.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetentionConfig {
    pub(crate) completed: Sourced<ConfigDuration>,
    pub(crate) others: Sourced<ConfigDuration>,
    pub(crate) slots: Sourced<ConfigDuration>,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            completed: seconds(7 * 86_400),
            others: seconds(30 * 86_400),
            slots: seconds(90 * 86_400),
        }
    }
}

/// `[top]`: the dashboard.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TopConfig {
    /// `ansi`, `safe` or `mono`.
    pub(crate) theme: Sourced<String>,
    pub(crate) ascii: Sourced<bool>,
    pub(crate) mouse: Sourced<bool>,
    /// Empty: the terminal's own clipboard.
    pub(crate) clipboard_command: Sourced<Vec<String>>,
    /// Keys by the names of actions, in place of the default ones.
    pub(crate) keys: Sourced<BTreeMap<String, Vec<String>>>,
}

impl Default for TopConfig {
    fn default() -> Self {
        Self {
            theme: orx_top::Theme::default().as_str().to_owned().into(),
            ascii: false.into(),
            mouse: false.into(),
            clipboard_command: Vec::new().into(),
            keys: BTreeMap::new().into(),
        }
    }
}

/// The key `context`: the name of the one in use, or the tables `[context.NAME]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contexts {
    /// Empty: the local server.
    pub(crate) chosen: Option<Sourced<String>>,
    pub(crate) named: BTreeMap<String, Sourced<ContextConfig>>,
}

impl<'de> Deserialize<'de> for Contexts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        enum ChosenOrNamed {
            Chosen(String),
            Named(BTreeMap<String, Sourced<ContextConfig>>),
        }
        struct ContextsVisitor;
        impl<'de> Visitor<'de> for ContextsVisitor {
            type Value = ChosenOrNamed;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of a context, or a table for each")
            }

            fn visit_str<E>(self, name: &str) -> Result<ChosenOrNamed, E> {
                Ok(ChosenOrNamed::Chosen(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut tables: A,
            ) -> Result<ChosenOrNamed, A::Error> {
                let mut named = BTreeMap::new();
                while let Some((name, context)) = tables.next_entry()? {
                    named.insert(name, context);
                }
                Ok(ChosenOrNamed::Named(named))
            }
        }
        impl<'de> Deserialize<'de> for ChosenOrNamed {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(ContextsVisitor)
            }
        }
        let either = Sourced::<ChosenOrNamed>::deserialize(deserializer)?;
        let origin = either.origin();
        Ok(match either.into_value() {
            ChosenOrNamed::Chosen(name) => {
                Self { chosen: Some(Sourced::new(name, origin)), named: BTreeMap::new() }
            }
            ChosenOrNamed::Named(named) => Self { chosen: None, named },
        })
    }
}

/// `[context.NAME]`: servers elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContextConfig {
    /// One server; or [`Self::urls`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// Servers of one cluster, tried in turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file of authorities that replace the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The client refuses every change, whatever the token allows.
    #[serde(default)]
    pub(crate) read_only: bool,
    /// In `orx top`, each change of several things asks for their number.
    #[serde(default)]
    pub(crate) protected: bool,
    /// In `orx top`, the colour behind its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) color: Option<String>,
}

impl ContextConfig {
    pub(crate) fn urls(&self) -> Vec<String> {
        self.url.iter().chain(&self.urls).cloned().collect()
    }
}
