//! A node: store, coordinator and API in one process, and for `orx daemon server` a worker too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use orx_api::{ApiSettings, RequestTracker, WorkerGatewayState};
use orx_control::{ControlPanel, ControlSettings, Defaults, NodeToken, Scope};
use orx_coordinator::run::Parts;
use orx_coordinator::{Coordinator, CoordinatorError, Settings};
use orx_model::{Incarnation, Name};
use orx_store::{NodeReport, Store, WRITE_DEADLINE};
use orx_transport::http::BearerToken;
use orx_transport::{PeerNodes, Transport, Wakeups};
use orx_worker::{Worker, WorkerEnd};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::home::claim_home;
use super::net::{Certificate, Listen};
use super::store::{Opened, StoreLocation, store_error};
use super::worker::worker_options;
use super::{ShutdownSignals, block_on, chain, failed, host_name, http_client, transport};
use crate::clock::{SystemClock, wall};
use crate::config::{Commands, Config, JobOverrides};
use crate::error::{CliError, Exit};
use crate::state::{Address, Lock, StateDir};

/// A client tests whether a server holds the folder by taking its lock for a moment: a server that
/// starts at that moment waits this long for the lock.
const LOCK_WAIT: Duration = Duration::from_millis(500);
/// A server that holds the folder and has no address file is starting or ending. Neither takes
/// longer than this.
const NO_ADDRESS_WAIT: Duration = Duration::from_secs(10);
/// An orderly end that takes longer than this is abandoned.
const END_WITHIN: Duration = Duration::from_secs(60);
/// How often a node compares the age of its token with a third of [`NODE_TOKEN_VALID`].
const TOKEN_CHECK_PERIOD: Duration = Duration::from_secs(60);
/// How long a node's token is valid. The node extends it after a third of this time.
const NODE_TOKEN_VALID: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) struct NodeOptions {
    /// With a worker in the same process.
    pub(crate) with_worker: bool,
    pub(crate) exit_when_idle: Option<Duration>,
    /// Serve a store that has moved, or is a copy.
    pub(crate) force_source: bool,
    /// A command that needed a server started this one.
    pub(crate) background: bool,
}

/// Runs a node until a signal ends it, or until it is idle for long enough. Blocks.
///
/// # Errors
/// It cannot start, or its store failed.
pub(crate) fn node(options: NodeOptions, config: Config) -> Result<(), CliError> {
    block_on(run(options, config))
}

async fn run(options: NodeOptions, config: Config) -> Result<(), CliError> {
    let listen = Listen::new(&config)?;
    let state = &config.state_dir()?;
    let folder = state.path().display().to_string();
    state
        .create()
        .map_err(|error| failed(&format!("could not make the state folder `{folder}`"), error))?;
    state.check()?;
    let within = END_WITHIN.max(config.worker.stop_grace.0 + Duration::from_secs(20));
    let lock = take_lock(state, options.background, within).await?;
    let listener = TcpListener::bind(listen.address).await.map_err(|error| {
        failed(&format!("could not listen on `{}`", listen.address), error)
            .hint("another program may use the port: `--listen 127.0.0.1:0` takes a free one")
    })?;
    let address = listener.local_addr().map_err(|error| failed("could not listen", error))?;
    let url = listen.url(address);

    let place = StoreLocation::configured(&config, state)?;
    let opened = async {
        let store = Opened::open(&place, &config).await?;
        claim_home(&*store.shared(), &place, options.force_source).await?;
        Ok(store)
    };
    let store = opened.await.map_err(|mut error: CliError| {
        // A conflict about the folder ends when the folder is free; one about the store does not.
        if options.background && error.exit == Exit::Conflict {
            error.exit = Exit::StoreRefused;
        }
        error
    })?;
    let mut signals = ShutdownSignals::new()?;
    if let Some(certificate) = listen.certificate.clone() {
        let state = state.clone();
        signals.reload = Box::new(move || certificate.reload(&state));
    }
    let mut node = Node::start(store, (listener, &listen), &url, &options, &config).await?;
    let mut own = Address {
        v: 1,
        url: url.clone(),
        certificate: listen.certificate.as_ref().map(Certificate::leaf),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: node.incarnation,
        started_at: wall(),
        background: options.background,
        stopping: false,
    };
    let ready = async {
        node.token(state).await?;
        let written = state.write_address(&own);
        written.map_err(|error| failed("could not write the address file", error))
    };
    if let Err(error) = ready.await {
        node.end(state, &config, &mut signals).await;
        return Err(error);
    }
    tracing::info!(%address, url, state = %folder, "ready");
    let ended = node.until_end(options.exit_when_idle, &config, &mut signals).await;
    tracing::info!("stopping");
    own.stopping = true;
    if state.write_address(&own).is_err() {
        // The disk may be full. A command that finds no address waits for the lock.
        state.remove_address();
    }
    let orderly = node.end(state, &config, &mut signals);
    if tokio::time::timeout(within, orderly).await.is_err() {
        tracing::warn!("not all parts ended in time: ending anyway");
    }
    state.remove_address();
    drop(lock);
    tracing::info!("stopped");
    ended
}

/// A background server hands the folder over to a manually started one. The new server signals it to end;
/// it lets its attempts end within the grace and releases the rest, which run again here.
async fn take_lock(
    state: &StateDir,
    background: bool,
    end_within: Duration,
) -> Result<Lock, CliError> {
    let folder = state.path().display();
    let began = Instant::now();
    let mut signalled = None;
    loop {
        let lock = state.try_lock().map_err(|error| {
            failed(&format!("the state folder `{folder}` cannot be written"), error)
                .hint("name another with `--state` or `ORX_STATE`")
        })?;
        if let Some(lock) = lock {
            return Ok(lock);
        }
        let holder = state.address();
        let gives_way = |holder: &Address| holder.background || holder.stopping;
        let wait = match &holder {
            _ if background => LOCK_WAIT,
            Some(holder) if gives_way(holder) && state.is_held_by(holder.pid) => {
                if signalled != Some(holder.node) {
                    signalled = Some(holder.node);
                    tracing::info!(
                        process = holder.pid,
                        "another server hands this folder over: waiting for its attempts to end"
                    );
                    if !holder.stopping {
                        end_process(holder.pid)?;
                    }
                }
                end_within + NO_ADDRESS_WAIT
            }
            Some(_) => LOCK_WAIT,
            None => NO_ADDRESS_WAIT,
        };
        if began.elapsed() >= wait {
            let held = format!("the state folder `{folder}` is held by another server");
            let error = CliError::new(Exit::Conflict, "held", held)
                .hint("`orx daemon stop` ends it; `--state` or `ORX_STATE` names another folder");
            return Err(match holder {
                Some(by) => error.cause(format!("process {} at {}", by.pid, by.url)),
                None => error,
            });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends SIGTERM to a server, which then stops in good order.
pub(crate) fn end_process(pid: u32) -> Result<(), CliError> {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let sent = process.map_or(Err(Errno::SRCH), |pid| kill_process(pid, Signal::TERM));
    match sent {
        // It has ended by itself.
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(failed(&format!("could not end process {pid}"), error.into())),
    }
}

type Coordinating = tokio::task::JoinHandle<Result<(), CoordinatorError>>;

/// All parts, running.
struct Node {
    incarnation: Incarnation,
    on_loopback: bool,
    panel: ControlPanel,
    store: Opened,
    transport: Arc<dyn Transport>,
    coordinator: Coordinator,
    wakeups: Wakeups,
    /// `None` once it has ended.
    coordinating: Option<Coordinating>,
    worker: Option<Worker>,
    node_token: NodeToken,
    serving: tokio::task::JoinHandle<()>,
    tracker: Arc<RequestTracker>,
    /// Cancelled first: streams end, and their readers connect to another server.
    closing: CancellationToken,
    stop_api: CancellationToken,
    stop_coordinator: CancellationToken,
}

impl Node {
    async fn start(
        store: Opened,
        (listener, listen): (TcpListener, &Listen),
        url: &str,
        options: &NodeOptions,
        config: &Config,
    ) -> Result<Self, CliError> {
        let mut rng = rand::rng();
        let incarnation = Incarnation::random(&mut rng);
        let exclusive = store.is_exclusive();
        let shared: Arc<dyn Store> = store.shared();
        let settings = Settings {
            keep_completed: config.retention.completed.0,
            keep_others: config.retention.others.0,
            keep_slots: config.retention.slots.0,
            timeout_margin: config.worker.kill_grace.0 + Duration::from_secs(10),
            lease: config.cluster.lease.0,
            heartbeat: config.cluster.heartbeat.0,
            ask_after: config.cluster.ask_after.0,
            monitor: config.cluster.monitor.0,
            store_deadline: WRITE_DEADLINE,
            leader_lease: config.cluster.leader_lease.0,
            leader_renew: config.cluster.leader_renew.0,
            leader_margin: config.cluster.leader_margin.0,
            node_heartbeat: config.cluster.node_heartbeat.0,
        };
        let wakeups = match exclusive {
            true => Wakeups::of_node(incarnation),
            false => Wakeups::shared(incarnation),
        };
        let peers = PeerNodes::default();
        let report = node_report(incarnation, url, config)?;
        let on_loopback = listen.address.ip().to_canonical().is_loopback();
        // Workers in other processes decide for themselves whether they run commands.
        let commands = match options.with_worker {
            true => config.worker.commands.taken(on_loopback),
            false => *config.worker.commands != Commands::Never,
        };
        let control =
            control_settings(config, &report, &settings, (commands, options.with_worker))?;
        let node_token = NodeToken::make(&*shared, incarnation, NODE_TOKEN_VALID, wall())
            .await
            .map_err(store_error)?;
        let token = BearerToken::new(node_token.text());
        let http = http_client(listen.trust()?.as_ref())?;
        let kind = config.transport.kind()?;
        let carries = transport::of_node(kind, peers.clone(), wakeups.links().clone(), http, token);
        let transport = carries.transport;
        let stop_coordinator = CancellationToken::new();
        let parts = Parts {
            store: Arc::clone(&shared),
            transport: Arc::clone(&transport),
            wakeups: wakeups.clone(),
            clock: Arc::new(SystemClock::new()),
            settings,
            node: report,
            exclusive,
            peers,
            seed: rand::Rng::next_u64(&mut rng),
        };
        let (coordinator, coordinating) =
            Coordinator::start(parts, stop_coordinator.clone()).await.map_err(|error| {
                CliError::new(Exit::Failed, "coordinator", "could not start the coordinator")
                    .cause(chain(&error))
            })?;
        let panel = ControlPanel::new(
            store.callers(),
            Arc::clone(&transport),
            wakeups.clone(),
            Arc::new(wall),
            control,
        );
        panel.count_events();
        let tracker = Arc::new(RequestTracker::default());
        let closing = CancellationToken::new();
        let api = ApiSettings {
            hosts: (*config.server.hosts).clone(),
            tracker: Arc::clone(&tracker),
            worker_gateway: Some(WorkerGatewayState {
                transport: Arc::clone(&transport),
                peers: carries.peers,
                coordinator: Arc::new(coordinator.clone()),
            }),
            closing: closing.clone(),
            now: Arc::new(wall),
        };
        let router = orx_api::router_with(panel.clone(), api, listen.serving().limits);
        let stop_api = CancellationToken::new();
        let serving =
            tokio::spawn(orx_api::serve(listener, router, listen.serving(), stop_api.clone()));
        let mut node = Self {
            incarnation,
            on_loopback,
            panel,
            store,
            transport,
            coordinator,
            wakeups,
            coordinating: Some(coordinating),
            worker: None,
            node_token,
            serving,
            tracker,
            closing,
            stop_api,
            stop_coordinator,
        };
        if options.with_worker {
            node.worker = Some(node.start_worker(config).await?);
        }
        Ok(node)
    }

    async fn start_worker(&self, config: &Config) -> Result<Worker, CliError> {
        let seed = rand::Rng::next_u64(&mut rand::rng());
        let options = worker_options(config, self.on_loopback, seed)?;
        let transport = Arc::clone(&self.transport);
        Worker::start(options, transport, self.coordinator.hosting()).await.map_err(|error| {
            CliError::new(Exit::Failed, "worker", "could not start the worker").cause(chain(&error))
        })
    }

    /// Creates the first admin token, or a new one where its file is missing or stale.
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

    /// Returns when the node should end.
    async fn until_end(
        &mut self,
        exit_when_idle: Option<Duration>,
        config: &Config,
        signals: &mut ShutdownSignals,
    ) -> Result<(), CliError> {
        let mut extend = tokio::time::interval(TOKEN_CHECK_PERIOD);
        extend.tick().await;
        let mut extended_at = wall();
        let mut coordinating = self.coordinating.take();
        let ended = loop {
            let coordinator_ended = async {
                match &mut coordinating {
                    Some(task) => task.await,
                    None => std::future::pending().await,
                }
            };
            let fenced = async {
                match &self.worker {
                    Some(worker) => worker.ended().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = signals.end() => break Ok(()),
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
                WorkerEnd::Fenced = fenced => {
                    tracing::warn!("the worker was fenced: starting another");
                    match self.start_worker(config).await {
                        Ok(worker) => self.worker = Some(worker),
                        Err(error) => break Err(error),
                    }
                }
                _ = extend.tick() => {
                    let (now, long) = (wall(), (NODE_TOKEN_VALID / 3).as_millis() as i64);
                    // A wall clock that was set back makes the age negative: the token is extended too,
                    // since it expires by the wall clock.
                    let age = now.as_millis().saturating_sub(extended_at.as_millis());
                    if (0..long).contains(&age) {
                        continue;
                    }
                    let store = self.store.shared();
                    let extended = self.node_token.extend(&*store, NODE_TOKEN_VALID, now);
                    match extended.await {
                        Ok(()) => extended_at = now,
                        Err(error) => {
                            tracing::warn!(%error, "the token for other nodes was not extended");
                        }
                    }
                }
                () = self.idle(exit_when_idle) => {
                    tracing::info!("idle: ending");
                    break Ok(());
                }
            }
        };
        self.coordinating = coordinating;
        ended
    }

    /// Returns after this time without an unfinished job and without a request, counted from the end
    /// of the last of them. `None`: never.
    async fn idle(&self, after: Option<Duration>) {
        let Some(after) = after else { return std::future::pending().await };
        let mut idle = self.coordinator.idle();
        while idle.wait_for(|idle| *idle).await.is_ok() {
            let since = Instant::now();
            loop {
                let quiet = self.tracker.idle().min(since.elapsed());
                if quiet >= after {
                    return;
                }
                let left = (after - quiet).max(Duration::from_millis(10));
                tokio::select! {
                    () = tokio::time::sleep(left) => {}
                    // A job came in the meantime, if only for a moment.
                    _ = idle.changed() => break,
                }
            }
        }
        std::future::pending().await
    }

    /// Stops all parts, in an order that drops nothing accepted: first streams, so that their readers
    /// go to another node, and the worker; then requests that wait; then the coordinator and the store.
    async fn end(self, state: &StateDir, config: &Config, signals: &mut ShutdownSignals) {
        // Requests that wait are answered now, not only after the grace of running attempts.
        self.wakeups.set_stopping();
        let grace = config.worker.stop_grace.0;
        if let Some(worker) = self.worker {
            tokio::select! {
                () = worker.stop(grace) => {}
                // A second signal: it does not wait.
                () = signals.end() => {
                    tracing::warn!("signalled to stop again: not waiting for running attempts");
                }
            }
        }
        self.closing.cancel();
        self.stop_api.cancel();
        if let Err(error) = self.serving.await {
            tracing::warn!(%error, "the API ended with a panic");
        }
        // From here on it answers no request.
        state.remove_address();
        let store = self.store.shared();
        if let Err(error) = self.node_token.end(&*store, wall()).await {
            tracing::debug!(%error, "the token for other nodes was not revoked: it expires by itself");
        }
        self.stop_coordinator.cancel();
        if let Some(coordinating) = self.coordinating {
            match coordinating.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(error = chain(&error), "the coordinator failed"),
                Err(error) => tracing::error!(%error, "the coordinator ended with a panic"),
            }
        }
        if let Err(error) = store.close().await {
            tracing::warn!(%error, "the store did not close in order");
        }
    }
}

fn node_report(node: Incarnation, url: &str, config: &Config) -> Result<NodeReport, CliError> {
    let name = match config.server.name.as_str() {
        "" => Name::from_any(&host_name()),
        name => Name::from_any(name),
    };
    let url = match config.server.advertise.as_str() {
        "" => url,
        advertised => advertised.trim_end_matches('/'),
    };
    orx_client::ServerUrl::parse(url).map_err(CliError::usage)?;
    Ok(NodeReport {
        node,
        name,
        url: Some(url.to_owned()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        // Each heartbeat reads it anew: the time zone database may be updated while this node runs.
        zone_version: None,
        started_at: wall(),
    })
}

fn control_settings(
    config: &Config,
    node: &NodeReport,
    settings: &Settings,
    (allow_commands, with_worker): (bool, bool),
) -> Result<ControlSettings, CliError> {
    let wrong = |error: String| CliError::new(Exit::Usage, "config", error);
    let of = |own: &JobOverrides| -> Result<Defaults, CliError> {
        let timeout = own.timeout.unwrap_or(*config.defaults.timeout).0;
        Ok(Defaults {
            queue: Some(own.queue.clone().unwrap_or_else(|| (*config.defaults.queue).clone())),
            priority: Some(own.priority.unwrap_or(*config.defaults.priority)),
            retry: Some(config.defaults.retry(own).map_err(wrong)?),
            timeout_ms: (!timeout.is_zero()).then_some(timeout.as_millis() as u64),
        })
    };
    let mut by_name = std::collections::BTreeMap::new();
    for (name, own) in &config.job {
        by_name.insert(name.clone(), of(own)?);
    }
    let mut in_force = crate::commands::config::in_force(config, with_worker);
    // What was derived where the configuration has no value.
    for (name, value) in
        [("server.name", Some(node.name.to_string())), ("server.advertise", node.url.clone())]
    {
        let setting = in_force.iter_mut().find(|setting| setting.name == name);
        if let (Some(setting), Some(value)) = (setting, value) {
            setting.value = value.into();
        }
    }
    let ms = |name: &str, span: Duration| (name.to_owned(), span.as_millis() as u64);
    Ok(ControlSettings {
        node: node.node,
        started_at: node.started_at,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        transport: config.transport.kind()?.name(),
        defaults: of(&JobOverrides::default())?,
        by_name,
        allow_commands,
        lease_ms: settings.lease.as_millis() as u64,
        node_lives_ms: (settings.node_heartbeat * 3).as_millis() as u64,
        settings_ms: [
            ms("lease", settings.lease),
            ms("heartbeat", settings.heartbeat),
            ms("ask_after", settings.ask_after),
            ms("monitor", settings.monitor),
            ms("leader_lease", settings.leader_lease),
            ms("leader_renew", settings.leader_renew),
            ms("node_heartbeat", settings.node_heartbeat),
            ms("keep_completed", settings.keep_completed),
            ms("keep_others", settings.keep_others),
            ms("keep_slots", settings.keep_slots),
        ]
        .into(),
        in_force,
    })
}
