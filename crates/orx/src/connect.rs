//! Finds the server: the one that a flag, an environment variable or a context names, else the
//! local one, through its address file. Starts a local server where a command needs one and none
//! runs.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use orx_client::{ClientError, Endpoint, Locate, ServerUrl, Trust};
use orx_model::{Code, Problem};
use parking_lot::Mutex;

use crate::background;
use crate::config::{Config, WorkerConfig};
use crate::error::{CliError, Exit};
use crate::state::{StateDir, read_token};
use crate::ui::Ui;

/// A server that was started in the background must answer within this.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// A stopping server gives its running jobs their grace; it ends within this at the latest.
const STOP_TIMEOUT: Duration = Duration::from_secs(90);

/// Limit for a file of certificate authorities. A system's whole set has some hundred thousand
/// bytes.
const CA_BYTES: u64 = 4 * 1024 * 1024;

/// Whether a command may start a server where none runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Never,
    /// Only if the state folder holds a store, so that there is something to show.
    WithStore,
    Always,
}

pub(crate) struct Locator {
    state: StateDir,
    /// Servers that the caller names, tried in turn. Empty: the local server is used.
    urls: Vec<ServerUrl>,
    /// Counts the calls of `endpoint`: each call returns the next URL, round robin.
    next_url: AtomicUsize,
    /// How the servers in `urls` are verified.
    trust: Trust,
    ca_file: Option<PathBuf>,
    /// How the local server is verified, according to its address file when last read.
    local_trust: Mutex<Trust>,
    token: Option<String>,
    read_only: bool,
    start: Start,
    /// For a server that is started here.
    config_file: Option<PathBuf>,
    ui: Option<Ui>,
    /// A person or a service manager started the server that was found, or ordered its stop. Only
    /// they start the next one; this process does not.
    externally_managed: AtomicBool,
    /// A live server was found on the state folder.
    server_was_found: AtomicBool,
}

impl Locator {
    /// # Errors
    /// The connection that the configuration names cannot be used.
    pub(crate) fn new(config: &Config, start: Start, ui: Option<Ui>) -> Result<Self, CliError> {
        let connection = config.connection()?;
        let urls: Vec<ServerUrl> = connection
            .urls
            .iter()
            .map(|url| ServerUrl::parse(url))
            .collect::<Result<_, _>>()
            .map_err(CliError::usage)?;
        let ca_file = (*connection.ca_file).clone();
        let trust = match &ca_file {
            Some(path) if urls.iter().any(ServerUrl::is_https) => authorities(path)?,
            _ => Trust::System,
        };
        let token = match (&*connection.token, &*connection.token_file) {
            (Some(token), _) => Some(token.0.clone()),
            (None, Some(path)) => {
                read_token(path).map_err(|error| CliError::new(Exit::NotAllowed, "token", error))?
            }
            (None, None) => None,
        };
        let start = if urls.is_empty() { start } else { Start::Never };
        Ok(Self {
            state: config.state_dir()?,
            urls,
            next_url: AtomicUsize::new(0),
            trust,
            ca_file,
            local_trust: Mutex::default(),
            token,
            read_only: *connection.read_only,
            start,
            config_file: config.file.as_ref().map(|file| file.path.clone()),
            ui,
            externally_managed: AtomicBool::new(false),
            server_was_found: AtomicBool::new(false),
        })
    }

    fn local_token(&self) -> Result<Option<String>, ClientError> {
        // A `Problem` is final: unlike a server that is not up yet, a bad token file does not get
        // better by retrying.
        self.state.token().map_err(|error| Problem::new(Code::Unauthenticated, error).into())
    }

    fn local(&self) -> Result<Option<LocalServer>, ClientError> {
        // Final as well, see `local_token`.
        self.state.check().map_err(|error| match error.exit {
            Exit::NoServer => ClientError::NoServer {
                message: error.message,
                cause: error.cause,
                hint: error.hint,
            },
            _ => {
                let mut problem = Problem::new(Code::NotAllowed, error.message);
                (problem.cause, problem.hint) = (error.cause, error.hint);
                problem.into()
            }
        })?;
        let Some(address) = self.state.address() else { return Ok(None) };
        self.server_was_found.store(true, Ordering::Relaxed);
        if !address.background {
            self.externally_managed.store(true, Ordering::Relaxed);
        }
        let token = match &self.token {
            Some(token) => Some(token.clone()),
            None => self.local_token()?,
        };
        let trust = local_trust(address.certificate.as_deref());
        *self.local_trust.lock() = trust;
        let endpoint = Endpoint { url: address.url, token };
        Ok(Some(LocalServer { endpoint, stopping: address.stopping }))
    }

    fn no_local_server(&self) -> ClientError {
        let folder = self.state.path().display();
        let empty = self.start == Start::WithStore && !self.state.file("orx.db").exists();
        match empty {
            true => ClientError::NoServer {
                message: format!(
                    "no server runs on the state folder `{folder}`, which holds no jobs yet"
                ),
                cause: None,
                hint: Some("`orx run` and `orx enqueue` start a server".to_owned()),
            },
            false => {
                ClientError::no_server(format!("no server runs on the state folder `{folder}`"))
            }
        }
    }

    fn may_start(&self) -> bool {
        !self.externally_managed.load(Ordering::Relaxed)
            && match self.start {
                Start::Never => false,
                Start::WithStore => self.state.file("orx.db").exists(),
                Start::Always => true,
            }
    }

    /// Starts a server in the background, or waits for one that another process starts or stops.
    async fn start(&self) -> Result<Endpoint, ClientError> {
        let folder = self.state.path().display();
        let failed = |message: String, cause: String, hint: &str| ClientError::NoServer {
            message,
            cause: Some(cause).filter(|cause| !cause.is_empty()),
            hint: Some(hint.to_owned()),
        };
        let other_server = "`ORX_STATE` names another folder, `--url` another server";
        self.state.create().map_err(|error| {
            let message = format!("could not create the state folder `{folder}`");
            failed(message, error.to_string(), other_server)
        })?;
        let not_spawned = |error: std::io::Error| {
            let message = format!("could not start a server in the background on `{folder}`");
            failed(message, error.to_string(), other_server)
        };
        let foreground = "`orx daemon server` starts one in the foreground and shows its whole log";
        let config = self.config_file.as_deref();
        let mut started: Option<background::BackgroundServer> = None;
        let (mut since, mut pause) = (Instant::now(), Duration::from_millis(2));
        let began = since;
        let mut noted = false;
        loop {
            match self.local()? {
                Some(found) if !found.stopping => return Ok(found.endpoint),
                Some(found) if began.elapsed() > STOP_TIMEOUT => return Ok(found.endpoint),
                Some(_) => {
                    if let Some(ui) = self.ui.as_ref().filter(|_| !noted) {
                        ui.note("the server is stopping; the next one starts when it has ended");
                    }
                    noted = true;
                    since = Instant::now();
                }
                None if started.is_none() => {
                    started = Some(background::start(&self.state, config).map_err(not_spawned)?);
                }
                None => {}
            }
            if let Some(server) = &mut started
                && let Ok(Some(status)) = server.child.try_wait()
            {
                // Of two servers that start at the same time, one finds the folder held and ends with a
                // conflict. Wait for the other, or start the next one if that has ended again.
                if status.code() != Some(i32::from(Exit::Conflict.code())) {
                    let message = "the background server ended right after its start".to_owned();
                    return Err(failed(message, server.log(), foreground));
                }
                if !self.state.is_held() {
                    started = None;
                }
            }
            if since.elapsed() > START_TIMEOUT {
                let waited = START_TIMEOUT.as_secs();
                let message = format!("the background server was not ready within {waited} s");
                let log = started.map(|server| server.log()).unwrap_or_default();
                return Err(failed(message, log, foreground));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_millis(50));
        }
    }
}

/// The server on the state folder.
struct LocalServer {
    endpoint: Endpoint,
    stopping: bool,
}

/// A worker's coordinators, and the credentials for them.
pub(crate) struct Coordinators {
    pub(crate) urls: Vec<String>,
    pub(crate) token: String,
    /// `None` if no URL is `https`.
    pub(crate) trust: Option<Trust>,
}

impl Locator {
    /// The coordinators of the worker's own configuration, else the server that a command would
    /// find.
    ///
    /// # Errors
    /// No coordinator is configured and no local server runs, or there is no token for it.
    pub(crate) fn for_worker(&self, worker: &WorkerConfig) -> Result<Coordinators, CliError> {
        let mut trust = Trust::System;
        let urls = if worker.coordinators.is_empty() {
            let mut found: Vec<String> =
                self.urls.iter().map(|url| url.as_str().to_owned()).collect();
            if found.is_empty() {
                self.state.check()?;
            }
            if found.is_empty()
                && let Some(address) = self.state.address()
            {
                trust = local_trust(address.certificate.as_deref());
                found.push(address.url);
            }
            if found.is_empty() {
                let folder = self.state.path().display();
                return Err(CliError::new(Exit::NoServer, "no_server", "no coordinator is named")
                    .cause(format!("no server runs on the state folder `{folder}` either"))
                    .hint(
                        "`--coordinator URL` names one; `orx daemon coordinator` starts one here",
                    ));
            }
            found
        } else {
            (*worker.coordinators).clone()
        };
        let parsed: Vec<ServerUrl> = urls
            .iter()
            .map(|url| ServerUrl::parse(url))
            .collect::<Result<_, _>>()
            .map_err(CliError::usage)?;
        if let (Some(path), Trust::System) = (&self.ca_file, &trust)
            && parsed.iter().any(ServerUrl::is_https)
        {
            trust = authorities(path)?;
        }
        let trust = parsed.iter().any(ServerUrl::is_https).then_some(trust);
        let not_allowed = |error: String| CliError::new(Exit::NotAllowed, "token", error);
        let from_file = if worker.token_file.as_os_str().is_empty() {
            None
        } else {
            let path = &*worker.token_file;
            let shown = path.display().to_string();
            let token = read_token(path).map_err(not_allowed)?;
            Some(token.ok_or_else(|| not_allowed(format!("there is no token file `{shown}`")))?)
        };
        let token = match (from_file, &self.token) {
            (Some(token), _) => Some(token),
            (None, Some(token)) => Some(token.clone()),
            (None, None) if parsed.iter().all(ServerUrl::is_loopback) => {
                self.state.token().map_err(not_allowed)?
            }
            (None, None) => None,
        };
        let token = token.ok_or_else(|| {
            not_allowed("there is no token for the coordinators".to_owned()).hint(
                "`--token-file FILE` names a file with a token of the scope `worker`; \
                 `ORX_TOKEN` may hold it instead",
            )
        })?;
        Ok(Coordinators { urls, token, trust })
    }
}

/// Trust in the certificate that the local server's address file contains.
fn local_trust(certificate: Option<&str>) -> Trust {
    let der =
        certificate.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
    der.map_or(Trust::System, |der| Trust::Certificate(der.into()))
}

/// Reads a PEM file of certificate authorities.
///
/// # Errors
/// The file cannot be read, or holds no usable certificate.
pub(crate) fn authorities(path: &Path) -> Result<Trust, CliError> {
    let wrong = |cause: String| {
        let shown = path.display();
        CliError::usage(format!("could not use the certificate authorities in `{shown}`"))
            .cause(cause)
            .hint("`ca_file` of a context, or `ORX_CA_FILE`, must name a file of PEM certificates")
    };
    let mut pem = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(CA_BYTES).read_to_end(&mut pem));
    read.map_err(|error| wrong(error.to_string()))?;
    Trust::authorities(&pem).map_err(wrong)
}

#[async_trait]
impl Locate for Locator {
    async fn endpoint(&self) -> Result<Endpoint, ClientError> {
        if !self.urls.is_empty() {
            let next = self.next_url.fetch_add(1, Ordering::Relaxed) % self.urls.len();
            let url = &self.urls[next];
            let token = match &self.token {
                Some(token) => Some(token.clone()),
                // The local token never leaves this machine.
                None if url.is_loopback() => self.local_token()?,
                None => None,
            };
            return Ok(Endpoint { url: url.as_str().to_owned(), token });
        }
        let found = self.local()?;
        match found {
            // A stopping server is used only where no other can be started after it.
            Some(found) if !found.stopping || !self.may_start() => Ok(found.endpoint),
            _ if self.may_start() => {
                // One start at a time in this process.
                static STARTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
                let _guard = STARTING.lock().await;
                self.start().await
            }
            _ => Err(self.no_local_server()),
        }
    }

    fn expects_return(&self) -> bool {
        self.server_was_found.load(Ordering::Relaxed)
    }

    fn server_stops(&self) {
        self.externally_managed.store(true, Ordering::Relaxed);
    }

    fn candidates(&self) -> usize {
        self.urls.len().max(1)
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn trust(&self) -> Trust {
        if self.urls.is_empty() {
            return self.local_trust.lock().clone();
        }
        self.trust.clone()
    }
}
