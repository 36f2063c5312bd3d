//! The configuration in force: every setting, resolved once, with its origin.
//!
//! Flags override environment variables, these override the configuration file, and the file overrides
//! defaults. [`resolve`] combines the layers; commands and daemons use its result, and read neither flags
//! nor the environment for a setting.

mod check;
mod connection;
mod environment;
mod file;
mod keys;
mod layers;
mod sourced;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;

use orx_model::{Name, mask};
use orx_worker::CommandHandler;
use serde::Deserialize;

use crate::error::{CliError, Exit};
use crate::state::StateDir;
use crate::ui::{ColorChoice, Format};

pub(crate) use environment::Environment;
pub(crate) use file::ConfigFile;
pub(crate) use keys::{
    ClusterConfig, Contexts, JobDefaults, JobOverrides, RetentionConfig, ServerConfig, StoreConfig,
    TopConfig, TransportConfig, WorkerConfig,
};
pub(crate) use layers::{Flags, output_variable, resolve, resolve_without_file};
pub(crate) use sourced::{Layer, Setting, Sourced};
pub(crate) use values::{Commands, Secret, StoreDurability, shown_url};

/// All settings. The configuration file skips fields that it cannot contain.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The configuration file; `None`: there is none, and this has the origin of a default.
    #[serde(skip)]
    pub(crate) file: Sourced<Option<ConfigFile>>,
    /// The state folder; `None`: neither a flag, nor a variable, nor a home names one.
    #[serde(skip)]
    pub(crate) state: Sourced<Option<PathBuf>>,
    /// The server that clients call, before any context.
    #[serde(skip)]
    pub(crate) url: Sourced<Option<String>>,
    /// The token that clients send to it.
    #[serde(skip)]
    pub(crate) token: Sourced<Option<Secret>>,
    /// PEM file of authorities that replace the system's.
    #[serde(skip)]
    pub(crate) ca_file: Sourced<Option<PathBuf>>,
    /// What a daemon logs: a level, or directives of `tracing`.
    #[serde(skip)]
    pub(crate) log: Sourced<String>,
    #[serde(skip)]
    pub(crate) terminal: Terminal,
    pub(crate) output: Sourced<Format>,
    pub(crate) color: Sourced<ColorChoice>,
    #[serde(rename = "context")]
    pub(crate) contexts: Contexts,
    pub(crate) server: ServerConfig,
    pub(crate) store: StoreConfig,
    pub(crate) transport: TransportConfig,
    pub(crate) cluster: ClusterConfig,
    pub(crate) worker: WorkerConfig,
    pub(crate) defaults: JobDefaults,
    pub(crate) retention: RetentionConfig,
    pub(crate) top: TopConfig,
    pub(crate) handler: BTreeMap<Name, Sourced<CommandHandler>>,
    pub(crate) job: BTreeMap<Name, Sourced<JobOverrides>>,
}

/// Properties of the terminal, according to the environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terminal {
    /// `COLUMNS`.
    pub(crate) columns: Option<usize>,
    /// The locale, or the terminal, cannot show more than ASCII.
    pub(crate) ascii: bool,
    /// It can show colours, if it is a terminal.
    pub(crate) colors: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: None.into(),
            state: None.into(),
            url: None.into(),
            token: None.into(),
            ca_file: None.into(),
            log: "info".to_owned().into(),
            terminal: Terminal::default(),
            output: Format::Table.into(),
            color: ColorChoice::Auto.into(),
            contexts: Contexts::default(),
            server: ServerConfig::default(),
            store: StoreConfig::default(),
            transport: TransportConfig::default(),
            cluster: ClusterConfig::default(),
            worker: WorkerConfig::default(),
            defaults: JobDefaults::default(),
            retention: RetentionConfig::default(),
            top: TopConfig::default(),
            handler: BTreeMap::new(),
            job: BTreeMap::new(),
        }
    }
}

impl Config {
    /// # Errors
    /// Nothing names a state folder.
    pub(crate) fn state_dir(&self) -> Result<StateDir, CliError> {
        let missing =
            || CliError::usage("there is no state folder: set `ORX_STATE`, or `HOME`".to_owned());
        StateDir::at(self.state.as_ref().ok_or_else(missing)?).map_err(CliError::usage)
    }

    /// The context in use, by name; empty for the local server.
    pub(crate) fn context(&self) -> Sourced<String> {
        self.contexts.chosen.clone().unwrap_or_else(|| String::new().into())
    }

    /// Whether colours go to standard output.
    pub(crate) fn wants_color(&self, tty: bool) -> bool {
        match *self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => tty && self.terminal.colors,
        }
    }

    /// Calls a function with every setting that the configuration file may contain, secrets masked: its
    /// table (empty: none), its key, and the setting. In `handler`, `job` and `context` each table
    /// is one setting.
    pub(crate) fn each(&self, visit: &mut dyn FnMut(&'static str, &str, &dyn Setting)) {
        visit("", "output", &self.output);
        visit("", "color", &self.color);
        visit("", "context", &self.context());
        self.server.each(&mut |key, setting| visit("server", key, setting));
        self.store.each(&mut |key, setting| visit("store", key, setting));
        self.transport.each(&mut |key, setting| visit("transport", key, setting));
        self.cluster.each(&mut |key, setting| visit("cluster", key, setting));
        self.worker.each(&mut |key, setting| visit("worker", key, setting));
        self.defaults.each(&mut |key, setting| visit("defaults", key, setting));
        self.retention.each(&mut |key, setting| visit("retention", key, setting));
        self.top.each(&mut |key, setting| visit("top", key, setting));
        for (name, handler) in &self.handler {
            let mut shown = handler.clone();
            mask::mask_words(&mut shown.value_mut().cmd);
            mask::mask_labels(&mut shown.value_mut().env);
            visit("handler", name.as_str(), &shown);
        }
        for (name, own) in &self.job {
            visit("job", name.as_str(), own);
        }
        for (name, context) in &self.contexts.named {
            visit("context", name, context);
        }
    }
}

fn wrong(message: String) -> CliError {
    CliError::new(Exit::Usage, "config", message)
}
