//! The worker: hosted by a server, or a daemon of its own.

use std::sync::Arc;
use std::time::Duration;

use orx_client::{ServerUrl, Trust};
use orx_model::{Incarnation, Name};
use orx_transport::http::{BearerToken, HttpTransport, HttpTransportOptions};
use orx_worker::handler::{NOOP, Noop};
use orx_worker::{Worker, WorkerEnd, WorkerOptions};

use super::{ShutdownSignals, block_on, chain, failed, host_name, http_client, transport};
use crate::clock::wall;
use crate::config::Config;
use crate::error::{CliError, Exit};

/// After its grace a worker that has not stopped is abandoned after this time.
const END_WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct WorkerDaemonOptions {
    /// Coordinators in the order in which the worker tries them; at least one.
    pub(crate) urls: Vec<String>,
    pub(crate) token: String,
    /// The TLS settings; `None` where no coordinator uses TLS.
    pub(crate) trust: Option<Trust>,
    pub(crate) config: Config,
}

/// Runs a worker until a signal ends it. Blocks.
///
/// # Errors
/// It cannot start, or no coordinator accepts it.
pub(crate) fn worker(options: WorkerDaemonOptions) -> Result<(), CliError> {
    block_on(run(options))
}

async fn run(options: WorkerDaemonOptions) -> Result<(), CliError> {
    let config = options.config;
    let kind = config.transport.kind()?;
    let mut signals = ShutdownSignals::new()?;
    let http = HttpTransport::new(HttpTransportOptions {
        urls: options.urls.clone(),
        token: BearerToken::new(&options.token),
        http: http_client(options.trust.as_ref())?,
    })
    .map_err(CliError::usage)?;
    let on_loopback =
        options.urls.iter().all(|url| ServerUrl::parse(url).is_ok_and(|url| url.is_loopback()));
    loop {
        let seed = rand::Rng::next_u64(&mut rand::rng());
        let settings = worker_options(&config, on_loopback, seed)?;
        let (transport, gateway) = transport::of_worker(kind, http.clone());
        let started = tokio::select! {
            started = Worker::start(settings, transport, gateway) => started,
            () = signals.end() => return Ok(()),
        };
        let worker = started.map_err(|error| {
            CliError::new(Exit::NotAllowed, "worker", "no coordinator takes this worker")
                .cause(chain(&error))
                .hint("`orx token create --scope worker` makes a token for it")
        })?;
        tracing::info!(incarnation = %worker.incarnation(), "ready");
        tokio::select! {
            WorkerEnd::Fenced = worker.ended() => {
                // Its attempts are killed; the new incarnation does not know them.
                tracing::warn!("the worker was fenced: starting another");
            }
            () = signals.end() => {
                tracing::info!("stopping");
                let grace = config.worker.stop_grace.0;
                let within = grace + config.worker.kill_grace.0 + END_WITHIN;
                tokio::select! {
                    stopped = tokio::time::timeout(within, worker.stop(grace)) => {
                        if stopped.is_err() {
                            tracing::warn!("not all attempts ended in time: ending anyway");
                        }
                    }
                    () = signals.end() => {
                        tracing::warn!("signalled to stop again: not waiting for running attempts");
                    }
                }
                tracing::info!("stopped");
                return Ok(());
            }
        }
    }
}

pub(super) fn worker_options(
    config: &Config,
    on_loopback: bool,
    seed: u64,
) -> Result<WorkerOptions, CliError> {
    let host = host_name();
    let name = if config.worker.name.is_empty() { &host } else { &*config.worker.name };
    let handlers = config.handler.iter();
    let handlers = handlers.map(|(name, handler)| (name.clone(), (**handler).clone())).collect();
    let program = std::env::current_exe().map_err(|error| failed("could not find orx", error))?;
    let noop: Arc<dyn orx_worker::Handler> = Arc::new(Noop);
    Ok(WorkerOptions {
        name: Name::from_any(name),
        host,
        incarnation: Incarnation::random(&mut rand::rng()),
        slots: *config.worker.slots,
        queues: (*config.worker.queues).clone(),
        labels: (*config.worker.labels).clone(),
        commands: config.worker.commands.taken(on_loopback),
        handlers,
        rust_handlers: [(Name::from_any(NOOP), noop)].into(),
        kill_grace: config.worker.kill_grace.0,
        slot_wait: orx_worker::protocol::SLOT_WAIT,
        heartbeat: config.cluster.heartbeat.0,
        guard: vec![program.into(), "__guard".into()],
        now: Arc::new(wall),
        seed,
    })
}
