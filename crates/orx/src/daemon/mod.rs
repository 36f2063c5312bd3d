//! Turns a configuration into a running server: store, transport, coordinator, worker and API in
//! one process.

pub(crate) mod net;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use orx_api::{Activity, ApiSettings};
use orx_control::{ControlPanel, ControlSettings, Defaults, Scope};
use orx_coordinator::run::Parts;
use orx_coordinator::{Clock, Coordinator, Now, Settings};
use orx_model::{Incarnation, Name, Timestamp};
use orx_store::{Sqlite, SqliteOptions, Store, StoreError};
use orx_transport::{Direct, Notices, Transport};
use orx_worker::handler::{NOOP, Noop};
use orx_worker::{Worker, WorkerOptions};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Durability, JobOverrides};
use crate::error::{CliError, Exit};
use crate::state::{Address, Lock, StateDir};

/// A client looks whether the folder is held by taking its lock for a moment.
const LOCK_WAIT: Duration = Duration::from_millis(500);
/// After this an orderly end is given up, whatever is stuck.
const END_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct ServerOptions {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) net: net::NetArgs,
    pub(crate) state: StateDir,
    pub(crate) exit_when_idle: Option<Duration>,
    /// Started by a command that needed one.
    pub(crate) background: bool,
}

struct SystemClock {
    started: Instant,
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now { wall: wall(), mono: self.started.elapsed() }
    }
}

pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Runs a server until it is told to stop. Blocks.
///
/// # Errors
/// It cannot start, or its store failed.
pub(crate) fn server(options: ServerOptions, config: Config) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| failed("could not start", error))?;
    let ended = runtime.block_on(run(options, config));
    // What is stuck in a blocking call does not hold the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn run(options: ServerOptions, config: Config) -> Result<(), CliError> {
    let listen = net::Listen::new(options.listen, &options.net, &config.server)?;
    let state = &options.state;
    let folder = state.path().display().to_string();
    state
        .create()
        .map_err(|error| failed(&format!("could not make the state folder `{folder}`"), error))?;
    let lock = take_lock(state).await?;
    let listener = TcpListener::bind(listen.address).await.map_err(|error| {
        failed(&format!("could not listen on `{}`", listen.address), error)
            .hint("another program may use the port: `--listen 127.0.0.1:0` takes a free one")
    })?;
    let address = listener.local_addr().map_err(|error| failed("could not listen", error))?;

    let path = state.file("orx.db");
    let now = wall();
    let store = tokio::task::spawn_blocking(move || {
        let durability = match config.server.durability {
            Durability::Full => orx_store::Durability::Full,
            Durability::Relaxed => orx_store::Durability::Relaxed,
        };
        let options = SqliteOptions { durability, ..SqliteOptions::new(path) };
        Sqlite::open(options, now).map(|store| (store, config))
    })
    .await
    .map_err(|error| CliError::new(Exit::Failed, "store", error.to_string()))?;
    let (store, config) = store.map_err(store_error)?;
    let store = Arc::new(store);

    let mut server = Server::start(store, (listener, listen.serving()), &config, &lock).await?;
    let token = server.token(state).await;
    if let Err(error) = token {
        server.end(config.worker.stop_grace.0).await;
        return Err(error);
    }
    let written = state.write_address(&Address {
        v: 1,
        url: listen.url(address),
        certificate: listen.certificate.as_ref().map(net::Certificate::leaf),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: server.node,
        started_at: wall(),
        background: options.background,
    });
    if let Err(error) = written {
        server.end(config.worker.stop_grace.0).await;
        return Err(failed("could not write the address file", error));
    }
    let url = listen.url(address);
    tracing::info!(%address, url, state = %folder, "ready");
    let reload = || {
        if let Some(certificate) = &listen.certificate {
            certificate.reload(state);
        }
    };
    let ended = server.until_told(options.exit_when_idle, reload).await;
    tracing::info!("stopping");
    state.remove_address();
    let orderly = server.end(config.worker.stop_grace.0);
    let within = END_WITHIN.max(config.worker.stop_grace.0 + Duration::from_secs(20));
    if tokio::time::timeout(within, orderly).await.is_err() {
        tracing::warn!("something did not end in time: ending anyway");
    }
    drop(lock);
    tracing::info!("stopped");
    ended
}

async fn take_lock(state: &StateDir) -> Result<Lock, CliError> {
    let folder = state.path().display();
    let began = Instant::now();
    loop {
        let lock = state.try_lock().map_err(|error| {
            failed(&format!("the state folder `{folder}` cannot be written"), error)
                .hint("name another with `--state` or `ORX_STATE`")
        })?;
        if let Some(lock) = lock {
            return Ok(lock);
        }
        if began.elapsed() >= LOCK_WAIT {
            let held = format!("the state folder `{folder}` is held by another server");
            let by = state
                .address()
                .map(|address| format!("process {} at {}", address.pid, address.url));
            let error = CliError::new(Exit::Conflict, "held", held)
                .hint("stop that server, or name another folder with `--state` or `ORX_STATE`");
            return Err(match by {
                Some(by) => error.cause(by),
                None => error,
            });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// All parts, running.
struct Server {
    node: Incarnation,
    panel: ControlPanel,
    store: Arc<Sqlite>,
    coordinator: Coordinator,
    /// `None` once its end was seen.
    coordinating: Option<tokio::task::JoinHandle<Result<(), orx_coordinator::CoordinatorError>>>,
    worker: Worker,
    serving: tokio::task::JoinHandle<()>,
    activity: Arc<Activity>,
    stop_api: CancellationToken,
    stop_coordinator: CancellationToken,
}

impl Server {
    /// `_lock` proves that the folder is ours: what an earlier server hosted is dead.
    async fn start(
        store: Arc<Sqlite>,
        (listener, serving): (TcpListener, orx_api::Serving),
        config: &Config,
        _lock: &Lock,
    ) -> Result<Self, CliError> {
        let mut rng = rand::rng();
        let node = Incarnation::random(&mut rng);
        let transport: Arc<dyn Transport> = Arc::new(Direct::new());
        let notices = Notices::new();
        let settings = Settings {
            keep_completed: config.retention.completed.0,
            keep_others: config.retention.others.0,
            timeout_margin: config.worker.kill_grace.0 + Duration::from_secs(10),
            ..Settings::default()
        };
        let shared: Arc<dyn Store> = Arc::<Sqlite>::clone(&store);
        let stop_coordinator = CancellationToken::new();
        let parts = Parts {
            store: Arc::clone(&shared),
            transport: Arc::clone(&transport),
            notices: notices.clone(),
            clock: Arc::new(SystemClock { started: Instant::now() }),
            settings: settings.clone(),
            node,
            seed: rand::Rng::next_u64(&mut rng),
        };
        let (coordinator, coordinating) =
            Coordinator::start(parts, stop_coordinator.clone()).await.map_err(|error| {
                CliError::new(Exit::Failed, "coordinator", "could not start the coordinator")
                    .cause(chain(&error))
            })?;
        let control = control_settings(config, node, &settings)?;
        let panel =
            ControlPanel::new(shared, Arc::clone(&transport), notices, Arc::new(wall), control);
        let activity = Arc::new(Activity::default());
        let api = ApiSettings {
            hosts: config.server.hosts.clone(),
            activity: Arc::clone(&activity),
            now: Arc::new(wall),
        };
        let router = orx_api::router_with(panel.clone(), api, serving.limits.clone());
        let stop_api = CancellationToken::new();
        let serving = tokio::spawn(orx_api::serve(listener, router, serving, stop_api.clone()));
        let options = worker_options(config, rand::Rng::next_u64(&mut rng))?;
        let worker = Worker::start(options, transport, Arc::new(coordinator.clone()))
            .await
            .map_err(|error| {
                CliError::new(Exit::Failed, "worker", "could not start the worker")
                    .cause(chain(&error))
            })?;
        Ok(Self {
            node,
            panel,
            store,
            coordinator,
            coordinating: Some(coordinating),
            worker,
            serving,
            activity,
            stop_api,
            stop_coordinator,
        })
    }

    /// Makes the first admin token, or another where the file of the first is gone or stale.
    async fn token(&self, state: &StateDir) -> Result<(), CliError> {
        let known =
            state.token().map_err(|error| CliError::new(Exit::NotAllowed, "token", error))?;
        if let Some(token) = known
            && self.panel.authenticate(&token).await.is_ok()
        {
            return Ok(());
        }
        let token = self.panel.make_token(vec![Scope::Admin], "local admin").await?;
        state.write_token(&token).map_err(|error| failed("could not write the token file", error))
    }

    /// Returns when the server should end. `reload` is called on SIGHUP.
    async fn until_told(
        &mut self,
        exit_when_idle: Option<Duration>,
        reload: impl Fn(),
    ) -> Result<(), CliError> {
        let told = |kind| signal(kind).map_err(|error| failed("could not wait for signals", error));
        let (mut term, mut int) = (told(SignalKind::terminate())?, told(SignalKind::interrupt())?);
        // A terminal that closes is no reason to drop work; its output is.
        let mut hup = told(SignalKind::hangup())?;
        let mut coordinating = self.coordinating.take();
        let ended = loop {
            let coordinator_ended = async {
                match &mut coordinating {
                    Some(task) => task.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = term.recv() => break Ok(()),
                _ = int.recv() => break Ok(()),
                _ = hup.recv() => {
                    tracing::info!("SIGHUP: going on");
                    reload();
                }
                () = self.store.failed() => {
                    let error = CliError::new(Exit::Failed, "store_failed", "the store's disk failed");
                    break Err(error.hint("check the disk, then start the server again"));
                }
                ended = coordinator_ended => {
                    let cause = match ended {
                        Ok(Ok(())) => "it ended by itself".to_owned(),
                        Ok(Err(error)) => chain(&error),
                        Err(error) => error.to_string(),
                    };
                    coordinating = None;
                    let error = CliError::new(Exit::Failed, "coordinator", "the coordinator failed");
                    break Err(error.cause(cause));
                }
                () = self.idle(exit_when_idle) => {
                    tracing::info!("nothing to do: ending");
                    break Ok(());
                }
            }
        };
        self.coordinating = coordinating;
        ended
    }

    async fn idle(&self, after: Option<Duration>) {
        let Some(after) = after else { return std::future::pending().await };
        let mut idle = self.coordinator.idle();
        let mut quiet_since = wall();
        loop {
            if idle.wait_for(|idle| *idle).await.is_err() {
                return std::future::pending().await;
            }
            let last = self.activity.last().max(quiet_since);
            let quiet = wall().saturating_since(last);
            if self.activity.open() == 0 && quiet >= after {
                return;
            }
            if self.activity.open() > 0 {
                quiet_since = wall();
            }
            let left = after.saturating_sub(quiet).max(Duration::from_millis(10));
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                changed = idle.wait_for(|idle| !*idle) => {
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                    quiet_since = wall();
                }
            }
        }
    }

    /// In an order in which nothing accepted is dropped: no new requests, then the work, then those
    /// who wait for it, then the store.
    async fn end(self, grace: Duration) {
        let force = async {
            // Asked again, it does not wait.
            let again =
                signal(SignalKind::terminate()).ok().zip(signal(SignalKind::interrupt()).ok());
            match again {
                Some((mut term, mut int)) => {
                    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.worker.stop(grace) => {}
            () = force => tracing::warn!("told to stop again: not waiting for what runs"),
        }
        self.stop_api.cancel();
        if let Err(error) = self.serving.await {
            tracing::warn!(%error, "the API broke");
        }
        self.stop_coordinator.cancel();
        if let Some(coordinating) = self.coordinating {
            match coordinating.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(error = chain(&error), "the coordinator failed"),
                Err(error) => tracing::error!(%error, "the coordinator broke"),
            }
        }
        let store: &dyn Store = &*self.store;
        if let Err(error) = store.close().await {
            tracing::warn!(%error, "the store did not close in order");
        }
    }
}

fn control_settings(
    config: &Config,
    node: Incarnation,
    settings: &Settings,
) -> Result<ControlSettings, CliError> {
    let wrong = |error: String| CliError::new(Exit::Usage, "config", error);
    let of = |own: &JobOverrides| -> Result<Defaults, CliError> {
        let timeout = own.timeout.unwrap_or(config.defaults.timeout).0;
        Ok(Defaults {
            queue: Some(own.queue.clone().unwrap_or_else(|| config.defaults.queue.clone())),
            priority: Some(own.priority.unwrap_or(config.defaults.priority)),
            retry: Some(config.defaults.retry(own).map_err(wrong)?),
            timeout_ms: (!timeout.is_zero()).then_some(timeout.as_millis() as u64),
        })
    };
    let mut by_name = std::collections::BTreeMap::new();
    for (name, own) in &config.job {
        by_name.insert(name.clone(), of(own)?);
    }
    let ms = |name: &str, span: Duration| (name.to_owned(), span.as_millis() as u64);
    Ok(ControlSettings {
        node,
        started_at: wall(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        transport: "direct",
        defaults: of(&JobOverrides::default())?,
        by_name,
        allow_commands: config.worker.commands,
        lease_ms: settings.lease.as_millis() as u64,
        settings_ms: [
            ms("lease", settings.lease),
            ms("heartbeat", settings.heartbeat),
            ms("ask_after", settings.ask_after),
            ms("monitor", settings.monitor),
            ms("keep_completed", settings.keep_completed),
            ms("keep_others", settings.keep_others),
        ]
        .into(),
    })
}

fn worker_options(config: &Config, seed: u64) -> Result<WorkerOptions, CliError> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().to_owned();
    let name = if config.worker.name.is_empty() { &host } else { &config.worker.name };
    let program = std::env::current_exe().map_err(|error| failed("could not find orx", error))?;
    let noop: Arc<dyn orx_worker::Handler> = Arc::new(Noop);
    Ok(WorkerOptions {
        name: Name::from_any(name),
        host,
        incarnation: Incarnation::random(&mut rand::rng()),
        slots: config.worker.slots,
        queues: config.worker.queues.clone(),
        labels: config.worker.labels.clone(),
        commands: config.worker.commands,
        handlers: config.handler.clone(),
        rust_handlers: [(Name::from_any(NOOP), noop)].into(),
        kill_grace: config.worker.kill_grace.0,
        heartbeat: Settings::default().heartbeat,
        guard: vec![program.into(), "__guard".into()],
        now: Arc::new(wall),
        seed,
    })
}

fn failed(what: &str, error: std::io::Error) -> CliError {
    CliError::new(Exit::Failed, "start", what).cause(error.to_string())
}

fn store_error(error: StoreError) -> CliError {
    let (exit, code) = match &error {
        StoreError::Held { .. } => (Exit::Conflict, "held"),
        StoreError::NewerSchema { .. } => (Exit::Conflict, "newer_schema"),
        StoreError::Damaged { .. } => (Exit::Failed, "damaged"),
        StoreError::Full => (Exit::TryLater, "store_full"),
        _ => (Exit::Failed, "store"),
    };
    let mut told = CliError::new(exit, code, error.to_string());
    if let Some(source) = std::error::Error::source(&error) {
        told = told.cause(source.to_string());
    }
    match error.hint() {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
