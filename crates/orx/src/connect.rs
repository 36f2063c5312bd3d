//! Finding the server: named by flag, environment or context, else the local one by its address
//! file; and starting one where a command needs it and there is none.

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

const START_WITHIN: Duration = Duration::from_secs(20);
/// A server that stops lets what it runs end first, but not for longer.
const ENDS_WITHIN: Duration = Duration::from_secs(90);

/// All the authorities of a system are some hundred thousand bytes.
const CA_BYTES: u64 = 4 * 1024 * 1024;

/// When a command starts a server where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Never,
    /// Where a store is: there is something to look at.
    WithStore,
    Always,
}

pub(crate) struct Locator {
    state: StateDir,
    /// Servers named by the caller, tried in turn; none for the local one.
    urls: Vec<ServerUrl>,
    /// How many were asked for: each time the next of them is answered, around and around.
    turn: AtomicUsize,
    /// Of the servers named.
    trust: Trust,
    ca_file: Option<PathBuf>,
    /// Of the local server, as its address file told last.
    local_trust: Mutex<Trust>,
    token: Option<String>,
    read_only: bool,
    start: Start,
    /// To give to a server that is started.
    config_file: Option<PathBuf>,
    ui: Option<Ui>,
    /// The server that was found here was started by a person or a service manager, or was told to
    /// end by one: once it is gone it is theirs to start another, and not ours to take its place.
    theirs: AtomicBool,
    /// A server was found on the state folder, alive.
    found: AtomicBool,
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
            turn: AtomicUsize::new(0),
            trust,
            ca_file,
            local_trust: Mutex::default(),
            token,
            read_only: *connection.read_only,
            start,
            config_file: config.file.as_ref().map(|file| file.path.clone()),
            ui,
            theirs: AtomicBool::new(false),
            found: AtomicBool::new(false),
        })
    }

    fn local_token(&self) -> Result<Option<String>, ClientError> {
        // Asking again does not help, as it does where a server is not there yet.
        self.state.token().map_err(|error| Problem::new(Code::Unauthenticated, error).into())
    }

    fn local(&self) -> Result<Option<Local>, ClientError> {
        // Asking again does not help here either.
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
        self.found.store(true, Ordering::Relaxed);
        if !address.background {
            self.theirs.store(true, Ordering::Relaxed);
        }
        let token = match &self.token {
            Some(token) => Some(token.clone()),
            None => self.local_token()?,
        };
        let trust = local_trust(address.certificate.as_deref());
        *self.local_trust.lock() = trust;
        let endpoint = Endpoint { url: address.url, token };
        Ok(Some(Local { endpoint, stopping: address.stopping }))
    }

    fn nobody_there(&self) -> ClientError {
        let folder = self.state.path().display();
        let empty = self.start == Start::WithStore && !self.state.file("orx.db").exists();
        match empty {
            true => ClientError::NoServer {
                message: format!(
                    "no server runs on the state folder `{folder}`, and there is no store in it: \
                     there is nothing to look at yet"
                ),
                cause: None,
                hint: Some("`orx run` and `orx enqueue` start one".to_owned()),
            },
            false => {
                ClientError::no_server(format!("no server runs on the state folder `{folder}`"))
            }
        }
    }

    /// A server may be started, and is there something to start it for.
    fn starts(&self) -> bool {
        !self.theirs.load(Ordering::Relaxed)
            && match self.start {
                Start::Never => false,
                Start::WithStore => self.state.file("orx.db").exists(),
                Start::Always => true,
            }
    }

    async fn start(&self) -> Result<Endpoint, ClientError> {
        let folder = self.state.path().display();
        let failed = |message: String, cause: String, hint: &str| ClientError::NoServer {
            message,
            cause: Some(cause).filter(|cause| !cause.is_empty()),
            hint: Some(hint.to_owned()),
        };
        let elsewhere = "name another with `ORX_STATE`, or a server with `--url`";
        self.state.create().map_err(|error| {
            let message = format!("could not make the state folder `{folder}`");
            failed(message, error.to_string(), elsewhere)
        })?;
        let unable = |error: std::io::Error| {
            let message = format!("could not start a server in the background on `{folder}`");
            failed(message, error.to_string(), elsewhere)
        };
        let in_sight = "`orx daemon server` starts one in the foreground, which says more";
        let config = self.config_file.as_deref();
        let mut started: Option<background::Started> = None;
        let (mut since, mut pause) = (Instant::now(), Duration::from_millis(2));
        let began = since;
        let mut noted = false;
        loop {
            match self.local()? {
                Some(found) if !found.stopping => return Ok(found.endpoint),
                Some(found) if began.elapsed() > ENDS_WITHIN => return Ok(found.endpoint),
                Some(_) => {
                    if let Some(ui) = self.ui.as_ref().filter(|_| !noted) {
                        ui.note(
                            "the server is stopping: waiting for its end to start the next one",
                        );
                    }
                    noted = true;
                    since = Instant::now();
                }
                None if started.is_none() => {
                    started = Some(background::start(&self.state, config).map_err(unable)?);
                }
                None => {}
            }
            if let Some(own) = &mut started
                && let Ok(Some(status)) = own.child.try_wait()
            {
                // Of two servers that start at once one finds the folder held. This command then waits
                // for the other, or starts the next one if that has ended again.
                if status.code() != Some(i32::from(Exit::Conflict.code())) {
                    let message = "the server in the background ended at once".to_owned();
                    return Err(failed(message, own.log(), in_sight));
                }
                if !self.state.is_held() {
                    started = None;
                }
            }
            if since.elapsed() > START_WITHIN {
                let message = "the server in the background is not ready".to_owned();
                let log = started.map(|own| own.log()).unwrap_or_default();
                return Err(failed(message, log, in_sight));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_millis(50));
        }
    }
}

/// The server on the state folder.
struct Local {
    endpoint: Endpoint,
    stopping: bool,
}

/// Where a worker's coordinators are, and what it shows them.
pub(crate) struct Coordinators {
    pub(crate) urls: Vec<String>,
    pub(crate) token: String,
    /// `None`: none of them speaks TLS.
    pub(crate) trust: Option<Trust>,
}

impl Locator {
    /// As the worker's own configuration names them, else the server that a command would find.
    ///
    /// # Errors
    /// There is none, or no token for it.
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
                return Err(CliError::new(Exit::NoServer, "no_server", "no coordinator is named")
                    .cause(format!("none runs on `{}`", self.state.path().display()))
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
        let of_file = if worker.token_file.as_os_str().is_empty() {
            None
        } else {
            let path = &*worker.token_file;
            let shown = path.display().to_string();
            let token = read_token(path).map_err(not_allowed)?;
            Some(token.ok_or_else(|| not_allowed(format!("there is no token file `{shown}`")))?)
        };
        let token = match (of_file, &self.token) {
            (Some(token), _) => Some(token),
            (None, Some(token)) => Some(token.clone()),
            (None, None) if parsed.iter().all(ServerUrl::is_loopback) => {
                self.state.token().map_err(not_allowed)?
            }
            (None, None) => None,
        };
        let token = token.ok_or_else(|| {
            not_allowed("there is no token for the coordinators".to_owned()).hint(
                "`--token-file FILE` names one with the scope `worker`, or `ORX_TOKEN` is one",
            )
        })?;
        Ok(Coordinators { urls, token, trust })
    }
}

/// As the address file of the local server tells it.
fn local_trust(certificate: Option<&str>) -> Trust {
    let der =
        certificate.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
    der.map_or(Trust::System, |der| Trust::Certificate(der.into()))
}

pub(crate) fn authorities(path: &Path) -> Result<Trust, CliError> {
    let wrong = |cause: String| {
        CliError::usage(format!("could not use the authorities in `{}`", path.display()))
            .cause(cause)
            .hint("`ca_file`, or `ORX_CA_FILE`, names a file of certificates in PEM")
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
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.urls.len();
            let url = &self.urls[turn];
            let token = match &self.token {
                Some(token) => Some(token.clone()),
                // The local token is shown to nobody elsewhere.
                None if url.is_loopback() => self.local_token()?,
                None => None,
            };
            return Ok(Endpoint { url: url.as_str().to_owned(), token });
        }
        let found = self.local()?;
        match found {
            // One that ends takes no new work where another can be started after it.
            Some(found) if !found.stopping || !self.starts() => Ok(found.endpoint),
            _ if self.starts() => {
                // One start at a time in this process.
                static STARTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
                let _one = STARTING.lock().await;
                self.start().await
            }
            _ => Err(self.nobody_there()),
        }
    }

    fn expects_return(&self) -> bool {
        self.found.load(Ordering::Relaxed)
    }

    fn server_stops(&self) {
        self.theirs.store(true, Ordering::Relaxed);
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
