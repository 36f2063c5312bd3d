//! The layers over the configuration file: variables of the environment, then flags.

use std::path::PathBuf;

use clap::ValueEnum;

use super::environment::Environment;
use super::sourced::{Layer, Sourced};
use super::values::{Secret, SecretUrl};
use super::{Config, Terminal, check, file};
use crate::args::{DaemonSubcommand, Global, NodeArgs};
use crate::commands::pair;
use crate::daemon::net::NetArgs;
use crate::error::CliError;
use crate::ui::{ColorChoice, Format};

/// The flags of this call that are settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flags<'a> {
    pub(crate) global: &'a Global,
    pub(crate) daemon: Option<&'a DaemonSubcommand>,
}

/// All layers, put together and checked.
///
/// # Errors
/// An invalid value, with its flag, variable or key.
pub(crate) fn resolve(flags: Flags<'_>, environment: &Environment) -> Result<Config, CliError> {
    put_over(file::load(flags.global.config.as_deref(), environment)?, flags, environment)
}

/// Resolves the settings for commands that work without a valid configuration file: defaults replace it.
///
/// # Errors
/// As for [`resolve`].
pub(crate) fn resolve_without_file(
    flags: Flags<'_>,
    environment: &Environment,
) -> Result<Config, CliError> {
    put_over(Config::default(), flags, environment)
}

fn put_over(
    mut config: Config,
    flags: Flags<'_>,
    environment: &Environment,
) -> Result<Config, CliError> {
    config.take_variables(environment, flags.global.output.is_some())?;
    config.take_flags(flags)?;
    config.expand_home(environment);
    check::check(&config)?;
    Ok(config)
}

/// The output format of the environment.
///
/// # Errors
/// There is no format of that name.
pub(crate) fn output_variable(environment: &Environment) -> Result<Option<Format>, CliError> {
    let Some(text) = environment.text("ORX_OUTPUT") else { return Ok(None) };
    match Format::from_str(&text, true) {
        Ok(format) => Ok(Some(format)),
        Err(_) => Err(CliError::usage(format!("there is no output format `{text}`"))
            .hint("table, wide, json, jsonl, tsv or id")),
    }
}

/// Whether to use colours. `ORX_COLOR` overrides the common variables; `auto` counts as not set.
fn color_variable(environment: &Environment) -> Option<(ColorChoice, &'static str)> {
    match environment.text("ORX_COLOR").as_deref() {
        Some("always") => return Some((ColorChoice::Always, "ORX_COLOR")),
        Some("never") => return Some((ColorChoice::Never, "ORX_COLOR")),
        _ => {}
    }
    if environment.text("NO_COLOR").is_some() {
        return Some((ColorChoice::Never, "NO_COLOR"));
    }
    let forced = environment.text("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    forced.then_some((ColorChoice::Always, "CLICOLOR_FORCE"))
}

/// The state folder without a flag: `ORX_STATE`, else `$XDG_STATE_HOME/orx`, else
/// `~/.local/state/orx`.
fn state_variable(environment: &Environment) -> Sourced<Option<PathBuf>> {
    if let Some(path) = environment.path("ORX_STATE") {
        return Sourced::new(Some(path), Layer::Variable("ORX_STATE"));
    }
    // The XDG specification ignores a relative path.
    let xdg = environment.path("XDG_STATE_HOME").filter(|path| path.is_absolute());
    if let Some(path) = xdg {
        return Sourced::new(Some(path.join("orx")), Layer::Variable("XDG_STATE_HOME"));
    }
    environment.path("HOME").map(|home| home.join(".local/state/orx")).into()
}

impl Terminal {
    fn new(environment: &Environment) -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| environment.text(name));
        let utf8 = locale.is_none_or(|locale| {
            let locale = locale.to_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        let kind = environment.text("TERM");
        Self {
            columns: environment.text("COLUMNS").and_then(|text| text.parse().ok()),
            ascii: !utf8 || kind.as_deref() == Some("linux"),
            colors: kind.is_some_and(|kind| kind != "dumb"),
        }
    }
}

impl Config {
    fn take_variables(
        &mut self,
        environment: &Environment,
        output_is_flag: bool,
    ) -> Result<(), CliError> {
        let text = |name: &'static str| (environment.text(name), Layer::Variable(name));
        if !output_is_flag {
            self.output.set(output_variable(environment)?, Layer::Variable("ORX_OUTPUT"));
        }
        if let Some((color, name)) = color_variable(environment) {
            self.color.set(Some(color), Layer::Variable(name));
        }
        if let (Some(name), origin) = text("ORX_CONTEXT") {
            self.contexts.chosen = Some(Sourced::new(name, origin));
        }
        let (url, origin) = text("ORX_URL");
        self.url.set(url.map(Some), origin);
        let (token, origin) = text("ORX_TOKEN");
        self.token.set(token.map(|token| Some(Secret(token))), origin);
        let (url, origin) = text("ORX_STORE_URL");
        self.store.url.set(url.map(SecretUrl), origin);
        let (log, origin) = text("ORX_LOG");
        self.log.set(log, origin);
        let ca_file = environment.path("ORX_CA_FILE");
        self.ca_file.set(ca_file.map(Some), Layer::Variable("ORX_CA_FILE"));
        self.state = state_variable(environment);
        self.terminal = Terminal::new(environment);
        Ok(())
    }

    fn take_flags(&mut self, flags: Flags<'_>) -> Result<(), CliError> {
        let global = flags.global;
        self.output.set(global.output, Layer::Flag("--output"));
        // Like `ORX_COLOR=auto`, `--color auto` counts as not set.
        let color = global.color.filter(|when| *when != ColorChoice::Auto);
        self.color.set(color, Layer::Flag("--color"));
        if let Some(name) = &global.context {
            self.contexts.chosen = Some(Sourced::new(name.clone(), Layer::Flag("--context")));
        }
        self.url.set(global.url.clone().map(Some), Layer::Flag("--url"));
        // `ORX_LOG` is more specific.
        if global.verbose && self.log.origin() == Layer::Default {
            self.log.set(Some("debug".to_owned()), Layer::Flag("--verbose"));
        }
        match flags.daemon {
            None => {}
            Some(DaemonSubcommand::Server { listen, net, state, commands, node, .. }) => {
                self.server.listen.set(*listen, Layer::Flag("--listen"));
                self.worker.commands.set(*commands, Layer::Flag("--commands"));
                self.take_node_flags(state.as_ref(), net, node);
            }
            Some(DaemonSubcommand::Coordinator { listen, net, state, node }) => {
                self.server.listen.set(*listen, Layer::Flag("--listen"));
                self.take_node_flags(state.as_ref(), net, node);
            }
            Some(DaemonSubcommand::Status { state } | DaemonSubcommand::Stop { state, .. }) => {
                self.state.set(state.clone().map(Some), Layer::Flag("--state"));
            }
            Some(worker @ DaemonSubcommand::Worker { .. }) => self.take_worker_flags(worker)?,
        }
        Ok(())
    }

    fn take_node_flags(&mut self, state: Option<&PathBuf>, net: &NetArgs, node: &NodeArgs) {
        let server = &mut self.server;
        self.state.set(state.cloned().map(Some), Layer::Flag("--state"));
        server.tls_cert.set(net.tls_cert.clone(), Layer::Flag("--tls-cert"));
        server.tls_key.set(net.tls_key.clone(), Layer::Flag("--tls-key"));
        let insecure = net.insecure_listen.then_some(true);
        server.insecure_listen.set(insecure, Layer::Flag("--insecure-listen"));
        server.name.set(node.name.as_ref().map(ToString::to_string), Layer::Flag("--name"));
        server.advertise.set(node.advertise.clone(), Layer::Flag("--advertise"));
    }

    fn take_worker_flags(&mut self, flags: &DaemonSubcommand) -> Result<(), CliError> {
        let DaemonSubcommand::Worker {
            coordinators,
            token_file,
            name,
            slots,
            queues,
            labels,
            commands,
        } = flags
        else {
            return Ok(());
        };
        let worker = &mut self.worker;
        let given = |all: &Vec<String>| (!all.is_empty()).then(|| all.clone());
        worker.coordinators.set(given(coordinators), Layer::Flag("--coordinator"));
        worker.token_file.set(token_file.clone(), Layer::Flag("--token-file"));
        worker.name.set(name.as_ref().map(ToString::to_string), Layer::Flag("--name"));
        worker.slots.set(*slots, Layer::Flag("--slots"));
        let queues = (!queues.is_empty()).then(|| queues.clone());
        worker.queues.set(queues, Layer::Flag("--queues"));
        worker.commands.set(*commands, Layer::Flag("--commands"));
        if !labels.is_empty() {
            let mut all = (*worker.labels).clone();
            for label in labels {
                let (name, value) = pair(label)?;
                all.insert(name, value);
            }
            worker.labels.set(Some(all), Layer::Flag("--label"));
        }
        Ok(())
    }

    /// A path that begins with `~/` is in the user's home.
    fn expand_home(&mut self, environment: &Environment) {
        let Some(home) = environment.path("HOME") else { return };
        let expand = |path: &mut PathBuf| {
            if let Ok(rest) = path.strip_prefix("~") {
                *path = home.join(rest);
            }
        };
        expand(self.server.tls_cert.value_mut());
        expand(self.server.tls_key.value_mut());
        expand(self.worker.token_file.value_mut());
        for context in self.contexts.named.values_mut() {
            let context = context.value_mut();
            context.token_file.iter_mut().chain(&mut context.ca_file).for_each(expand);
        }
    }
}
