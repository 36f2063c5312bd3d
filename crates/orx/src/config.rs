//! The configuration file: what may stand in it, and where it is found.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orx_coordinator::Settings;
use orx_model::text::nearest;
use orx_model::time::{format_exact, parse_duration};
use orx_model::{Name, Priority, RetryPolicy};
use orx_worker::CommandHandler;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::daemon::TransportKind;
use crate::error::{CliError, Exit};

/// A duration as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Span).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&if self.0.is_zero() {
            "0".to_owned()
        } else {
            format_exact(self.0)
        })
    }
}

const fn seconds(seconds: u64) -> Span {
    Span(Duration::from_secs(seconds))
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) output: String,
    pub(crate) color: String,
    pub(crate) context: String,
    pub(crate) server: Server,
    pub(crate) store: Store,
    pub(crate) transport: Transport,
    pub(crate) cluster: Cluster,
    pub(crate) worker: Worker,
    pub(crate) defaults: JobDefaults,
    pub(crate) retention: Retention,
    pub(crate) handler: BTreeMap<Name, CommandHandler>,
    pub(crate) job: BTreeMap<Name, JobOverrides>,
    /// Called `context` in the file's tables: `[context.NAME]` cannot stand beside a key of that
    /// name, so the tables are read apart.
    #[serde(skip)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            output: "table".to_owned(),
            color: "auto".to_owned(),
            context: String::new(),
            server: Server::default(),
            store: Store::default(),
            transport: Transport::default(),
            cluster: Cluster::default(),
            worker: Worker::default(),
            defaults: JobDefaults::default(),
            retention: Retention::default(),
            handler: BTreeMap::new(),
            job: BTreeMap::new(),
            contexts: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) listen: SocketAddr,
    /// Empty: without TLS.
    pub(crate) tls_cert: PathBuf,
    pub(crate) tls_key: PathBuf,
    pub(crate) insecure_listen: bool,
    pub(crate) advertise: String,
    pub(crate) hosts: Vec<String>,
    pub(crate) connections: u32,
    pub(crate) connections_per_peer: u32,
    pub(crate) durability: Durability,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Durability {
    Full,
    Relaxed,
}

impl Default for Server {
    fn default() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 7070));
        Self {
            name: String::new(),
            listen,
            advertise: String::new(),
            tls_cert: PathBuf::new(),
            tls_key: PathBuf::new(),
            insecure_listen: false,
            hosts: Vec::new(),
            connections: 768,
            connections_per_peer: 256,
            durability: Durability::Full,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Store {
    /// May hold a password: shown without it.
    #[serde(serialize_with = "without_password")]
    pub(crate) url: String,
    pub(crate) sessions: u32,
}

impl Default for Store {
    fn default() -> Self {
        Self { url: String::new(), sessions: 10 }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("url", &shown_url(&self.url)).finish_non_exhaustive()
    }
}

/// What carries messages between nodes and workers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Transport {
    /// May hold a password: shown without it.
    #[serde(serialize_with = "without_password")]
    pub(crate) url: String,
}

impl Default for Transport {
    fn default() -> Self {
        Self { url: "direct".to_owned() }
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").field("url", &shown_url(&self.url)).finish()
    }
}

impl Transport {
    pub(crate) fn kind(&self) -> Result<TransportKind, CliError> {
        TransportKind::parse(&self.url).map_err(wrong)
    }
}

fn without_password<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown_url(url))
}

/// A URL as it may be shown: without user and password, and without a query, which may hold one too.
pub(crate) fn shown_url(url: &str) -> String {
    let shown = orx_model::mask::without_userinfo(url);
    shown.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// Times by which nodes and workers are believed to live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cluster {
    pub(crate) lease: Span,
    pub(crate) heartbeat: Span,
    pub(crate) ask_after: Span,
    pub(crate) monitor: Span,
    pub(crate) leader_lease: Span,
    pub(crate) leader_renew: Span,
    pub(crate) leader_margin: Span,
    pub(crate) node_heartbeat: Span,
}

impl Default for Cluster {
    fn default() -> Self {
        let times = Settings::default();
        Self {
            lease: Span(times.lease),
            heartbeat: Span(times.heartbeat),
            ask_after: Span(times.ask_after),
            monitor: Span(times.monitor),
            leader_lease: Span(times.leader_lease),
            leader_renew: Span(times.leader_renew),
            leader_margin: Span(times.leader_margin),
            node_heartbeat: Span(times.node_heartbeat),
        }
    }
}

impl Cluster {
    /// # Errors
    /// In words, what does not go together.
    fn check(&self) -> Result<(), String> {
        let all = [
            ("lease", self.lease),
            ("heartbeat", self.heartbeat),
            ("ask_after", self.ask_after),
            ("monitor", self.monitor),
            ("leader_lease", self.leader_lease),
            ("leader_renew", self.leader_renew),
            ("leader_margin", self.leader_margin),
            ("node_heartbeat", self.node_heartbeat),
        ];
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(60 * 60));
        for (name, span) in all {
            if !(least..=most).contains(&span.0) {
                let found = format_exact(span.0);
                return Err(format!("`{name}` must be 100ms to 1h, found `{found}`"));
            }
        }
        // A heartbeat may be lost, and its answer may come late, without anybody being given up.
        let holds = |what: bool, rule: &str| if what { Ok(()) } else { Err(rule.to_owned()) };
        holds(self.heartbeat.0 * 2 <= self.lease.0, "`lease` must be at least twice `heartbeat`")?;
        holds(self.monitor.0 <= self.lease.0, "`monitor` must be at most `lease`")?;
        holds(
            self.leader_renew.0 * 2 + self.leader_margin.0 <= self.leader_lease.0,
            "`leader_lease` must be at least twice `leader_renew` and `leader_margin`",
        )
    }
}

/// Whether a worker takes commands given with jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commands {
    /// Only where all is on loopback, and so of one machine's users.
    Auto,
    Always,
    Never,
}

impl Commands {
    #[must_use]
    pub(crate) fn taken(self, on_loopback: bool) -> bool {
        match self {
            Self::Auto => on_loopback,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

impl std::str::FromStr for Commands {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "true" => Ok(Self::Always),
            "false" => Ok(Self::Never),
            _ => Err(format!("expected `auto`, `true` or `false`, found `{text}`")),
        }
    }
}

impl Serialize for Commands {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Always => serializer.serialize_bool(true),
            Self::Never => serializer.serialize_bool(false),
        }
    }
}

impl<'de> Deserialize<'de> for Commands {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Known(bool),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Known(true) => Ok(Self::Always),
            Either::Known(false) => Ok(Self::Never),
            Either::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) coordinators: Vec<String>,
    pub(crate) token_file: PathBuf,
    pub(crate) slots: u32,
    pub(crate) queues: Vec<Name>,
    pub(crate) commands: Commands,
    pub(crate) kill_grace: Span,
    pub(crate) stop_grace: Span,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            name: String::new(),
            coordinators: Vec::new(),
            token_file: PathBuf::new(),
            slots: 10,
            queues: Vec::new(),
            commands: Commands::Auto,
            kill_grace: seconds(10),
            stop_grace: seconds(30),
            labels: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct JobDefaults {
    pub(crate) queue: Name,
    pub(crate) priority: Priority,
    pub(crate) retries: u32,
    pub(crate) backoff: Span,
    pub(crate) factor: f64,
    pub(crate) backoff_max: Span,
    pub(crate) jitter: f64,
    pub(crate) timeout: Span,
}

impl Default for JobDefaults {
    fn default() -> Self {
        let retry = RetryPolicy::default();
        Self {
            queue: Name::from_any("default"),
            priority: Priority::Normal,
            retries: retry.retries,
            backoff: Span(Duration::from_millis(retry.backoff_ms)),
            factor: retry.factor,
            backoff_max: Span(Duration::from_millis(retry.backoff_max_ms)),
            jitter: retry.jitter,
            timeout: seconds(3_600),
        }
    }
}

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
    pub(crate) backoff: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) backoff_max: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jitter: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<Span>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retention {
    pub(crate) completed: Span,
    pub(crate) others: Span,
    pub(crate) slots: Span,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            completed: seconds(7 * 86_400),
            others: seconds(30 * 86_400),
            slots: seconds(90 * 86_400),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// One server; or [`Self::urls`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// Servers of one cluster, tried in turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
    /// Authorities to believe in the place of the system's, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Whatever would change something is refused, whatever the token allows.
    #[serde(default)]
    pub(crate) read_only: bool,
}

/// Servers of one context.
const URLS: usize = 16;

impl Context {
    pub(crate) fn urls(&self) -> Vec<String> {
        self.url.iter().chain(&self.urls).cloned().collect()
    }

    fn check(&self) -> Result<(), String> {
        if self.url.is_some() != self.urls.is_empty() {
            return Err("it needs `url`, or `urls`, and not both".to_owned());
        }
        if self.urls.len() > URLS {
            return Err(format!("it has at most {URLS} `urls`"));
        }
        self.urls().iter().try_for_each(|url| orx_client::ServerUrl::parse(url).map(drop))
    }
}

impl JobDefaults {
    /// # Errors
    /// What is out of range, in words.
    pub(crate) fn retry(&self, own: &JobOverrides) -> Result<RetryPolicy, String> {
        let policy = RetryPolicy {
            retries: own.retries.unwrap_or(self.retries),
            backoff_ms: own.backoff.unwrap_or(self.backoff).0.as_millis() as u64,
            factor: own.factor.unwrap_or(self.factor),
            backoff_max_ms: own.backoff_max.unwrap_or(self.backoff_max).0.as_millis() as u64,
            jitter: own.jitter.unwrap_or(self.jitter),
        };
        policy.check()?;
        Ok(policy)
    }
}

/// A configuration and where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// `None`: there is no file, all are defaults.
    pub(crate) file: Option<PathBuf>,
}

/// # Errors
/// A file that was named and is not there, cannot be read, or is wrong.
pub(crate) fn load(named: Option<&Path>) -> Result<Loaded, CliError> {
    let mut loaded = load_file(named)?;
    if let Some(url) = std::env::var("ORX_STORE_URL").ok().filter(|url| !url.is_empty()) {
        loaded.config.store.url = url;
        check(&loaded.config)?;
    }
    Ok(loaded)
}

fn load_file(named: Option<&Path>) -> Result<Loaded, CliError> {
    let variable =
        |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = named.map(Path::to_owned).or_else(|| variable("ORX_CONFIG")) {
        let config = read(&path)?
            .ok_or_else(|| wrong(format!("there is no configuration file `{}`", path.display())))?;
        return Ok(Loaded { config, file: Some(path) });
    }
    let home = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|h| h.join(".config")));
    let places = home.map(|home| home.join("orx/config.toml")).into_iter();
    for path in places.chain([PathBuf::from("/etc/orx/config.toml")]) {
        if let Some(config) = read(&path)? {
            return Ok(Loaded { config, file: Some(path) });
        }
    }
    Ok(Loaded { config: Config::default(), file: None })
}

fn wrong(message: String) -> CliError {
    CliError::new(Exit::Usage, "config", message)
}

fn read(path: &Path) -> Result<Option<Config>, CliError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let message = format!("could not read the configuration `{}`", path.display());
            return Err(wrong(message).cause(error.to_string()));
        }
    };
    parse(&text).map(Some).map_err(|mut error| {
        error.message = format!("{} in `{}`", error.message, path.display());
        error
    })
}

/// # Errors
/// Says the line, and the nearest key for one that is not known.
pub(crate) fn parse(text: &str) -> Result<Config, CliError> {
    let explain = |error: toml::de::Error| {
        let mut told = wrong("the configuration is wrong".to_owned())
            .cause(error.to_string().trim_end().to_owned());
        // serde names the key that it found and those that it knows, in backticks.
        let message = error.message();
        if let Some(rest) = message.strip_prefix("unknown field ") {
            let mut names = rest.split('`').skip(1).step_by(2);
            let found = names.next().unwrap_or_default();
            told.hint = nearest(found, names).map(|near| format!("did you mean `{near}`?"));
        }
        told.hint.get_or_insert_with(|| "`config.example.toml` shows every key".to_owned());
        told
    };
    let mut table: toml::Table = toml::from_str(text).map_err(explain)?;
    let mut contexts = BTreeMap::new();
    let tables = match table.remove("context") {
        Some(toml::Value::Table(tables)) => tables,
        Some(other) => {
            table.insert("context".to_owned(), other);
            toml::Table::new()
        }
        None => toml::Table::new(),
    };
    for (name, value) in tables {
        let context = value.try_into().map_err(|error: toml::de::Error| {
            wrong(format!("`[context.{name}]` is wrong")).cause(error.message().to_owned())
        })?;
        contexts.insert(name, context);
    }
    let mut config: Config = if contexts.is_empty() {
        // From the text, so that an error shows its line.
        toml::from_str(text).map_err(explain)?
    } else {
        toml::Value::Table(table).try_into().map_err(explain)?
    };
    config.contexts = contexts;
    check(&config)?;
    Ok(config)
}

fn check(config: &Config) -> Result<(), CliError> {
    let one_of = |key: &str, value: &str, allowed: &[&str]| {
        if allowed.contains(&value) {
            return Ok(());
        }
        let message = format!("`{key}` must be one of {}, found `{value}`", allowed.join(", "));
        Err(wrong(message))
    };
    one_of("output", &config.output, &["table", "wide", "json", "jsonl", "tsv", "id"])?;
    one_of("color", &config.color, &["auto", "always", "never"])?;
    if !(1..=10_000).contains(&config.worker.slots) {
        let found = config.worker.slots;
        return Err(wrong(format!("`worker.slots` must be 1 to 10000, found {found}")));
    }
    if !config.worker.name.is_empty() && config.worker.name.parse::<Name>().is_err() {
        return Err(wrong(format!("`worker.name` is no name: `{}`", config.worker.name)));
    }
    if !(2..=1_000).contains(&config.store.sessions) {
        let found = config.store.sessions;
        return Err(wrong(format!("`store.sessions` must be 2 to 1000, found {found}")));
    }
    if !config.store.url.is_empty()
        && !["postgres://", "postgresql://"].iter().any(|it| config.store.url.starts_with(it))
    {
        let found = shown_url(&config.store.url);
        return Err(wrong(format!("`store.url` must be `postgres://…` or \"\", found `{found}`")));
    }
    config.transport.kind()?;
    for (key, value) in [
        ("connections", config.server.connections),
        ("connections_per_peer", config.server.connections_per_peer),
    ] {
        if !(1..=1_000_000).contains(&value) {
            return Err(wrong(format!("`server.{key}` must be 1 to 1000000, found {value}")));
        }
    }
    if config.server.tls_cert.as_os_str().is_empty() != config.server.tls_key.as_os_str().is_empty()
    {
        return Err(wrong("`server.tls_cert` and `server.tls_key` stand together".to_owned()));
    }
    for (name, context) in &config.contexts {
        context.check().map_err(|why| wrong(format!("`[context.{name}]`: {why}")))?;
    }
    if !config.server.name.is_empty() && config.server.name.parse::<Name>().is_err() {
        return Err(wrong(format!("`server.name` is no name: `{}`", config.server.name)));
    }
    for url in &config.worker.coordinators {
        orx_client::ServerUrl::parse(url)
            .map_err(|why| wrong(format!("`worker.coordinators`: {why}")))?;
    }
    config.cluster.check().map_err(|why| wrong(format!("`[cluster]`: {why}")))?;
    for (name, handler) in &config.handler {
        handler.check().map_err(|why| wrong(format!("`[handler.{name}]`: {why}")))?;
    }
    config
        .defaults
        .retry(&JobOverrides::default())
        .map_err(|why| wrong(format!("`[defaults]`: {why}")))?;
    for (name, own) in &config.job {
        config.defaults.retry(own).map_err(|why| wrong(format!("`[job.{name}]`: {why}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../config.example.toml");

    #[test]
    fn the_example_shows_every_key_with_its_default() {
        assert_eq!(parse(EXAMPLE).expect("a configuration"), Config::default());
        let shown: toml::Table = toml::from_str(EXAMPLE).expect("toml");
        let all = toml::Table::try_from(Config::default()).expect("toml");
        for (key, value) in &all {
            // Tables of tables are empty by default, and shown in comments.
            let empty = value.as_table().is_some_and(toml::Table::is_empty);
            if empty {
                assert!(EXAMPLE.contains(&format!("# [{key}.")), "{key} is not shown");
                continue;
            }
            assert!(shown.contains_key(key), "{key} is not shown");
            for inner in value.as_table().into_iter().flatten() {
                assert!(shown[key].get(inner.0).is_some(), "{key}.{} is not shown", inner.0);
            }
        }
    }

    #[test]
    fn what_the_example_shows_in_comments_is_right_too() {
        let text: String = EXAMPLE
            .lines()
            .skip_while(|line| !line.starts_with("# Handlers:"))
            .map(|line| line.strip_prefix("# ").unwrap_or(line))
            .filter(|line| line.starts_with('[') || line.contains(" = "))
            .map(|line| format!("{line}\n"))
            .collect();
        let config = parse(&text).expect("a configuration");
        assert_eq!((config.handler.len(), config.job.len(), config.contexts.len()), (1, 1, 1));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_and_its_line() {
        let error = parse("[server]\nlisen = \"127.0.0.1:1\"\n").expect_err("refused");
        assert_eq!(error.hint.as_deref(), Some("did you mean `listen`?"));
        assert!(error.cause.as_deref().is_some_and(|cause| cause.contains("line 2")));
    }

    #[test]
    fn a_password_of_a_url_is_never_shown() {
        for (url, shown) in [
            ("postgres://orx:canary@db:5432/jobs", "postgres://***@db:5432/jobs"),
            ("postgres://orx:can@ry@db/jobs?sslmode=require", "postgres://***@db/jobs"),
            ("postgres://db/jobs?password=canary", "postgres://db/jobs"),
            ("postgres://db", "postgres://db"),
        ] {
            assert_eq!(shown_url(url), shown);
            let config = parse(&format!("[store]\nurl = \"{url}\"")).expect("right");
            let text = toml::to_string(&config).expect("toml") + &format!("{config:?}");
            assert!(text.contains(shown) && !text.contains("ry@") && !text.contains("canary"));
        }
    }

    #[test]
    fn a_value_out_of_range_is_refused() {
        for text in [
            "output = \"xml\"",
            "[worker]\nslots = 0",
            "[worker]\ncommands = \"perhaps\"",
            "[store]\nsessions = 1",
            "[store]\nurl = \"mysql://db\"",
            "[transport]\nurl = \"carrier-pigeon\"",
            "[transport]\nurl = \"amqp://user:secret@host\"",
            "[worker]\nstop_grace = 30",
            "[defaults]\nfactor = 0.5",
            "[job.x]\njitter = 2.0",
            "[cluster]\nlease = \"10ms\"",
            "[cluster]\nheartbeat = \"16s\"",
            "[cluster]\nmonitor = \"31s\"",
            "[cluster]\nleader_lease = \"20s\"",
            "[handler.x]\ncmd = []",
            "[server]\nlisten = \"nowhere\"",
            "[server]\nconnections = 0",
            "[server]\ntls_cert = \"cert.pem\"",
            "[context.x]\nurl = \"ftp://x\"",
            "[context.x]\nurl = \"http://user:secret@x\"",
            "[context.x]\nurl = \"http://x\"\nurls = [\"http://y\"]",
            "[context.x]\ntoken_file = \"x\"",
        ] {
            let error = parse(text).expect_err(text);
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }
}
