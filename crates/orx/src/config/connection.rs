//! The server that a client calls: named by flag or variable, else by a context, else the local one.

use std::path::PathBuf;

use super::keys::ContextConfig;
use super::sourced::{Layer, Sourced};
use super::values::Secret;
use super::{Config, Contexts};
use crate::error::CliError;

/// How to reach a server.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// URLs, tried in turn. Empty: the local server.
    pub(crate) urls: Sourced<Vec<String>>,
    /// The token. `None`: the one in [`Self::token_file`], else the local server's.
    pub(crate) token: Sourced<Option<Secret>>,
    pub(crate) token_file: Sourced<Option<PathBuf>>,
    /// PEM file of authorities that replace the system's.
    pub(crate) ca_file: Sourced<Option<PathBuf>>,
    /// Refuse every change.
    pub(crate) read_only: Sourced<bool>,
}

impl Config {
    /// # Errors
    /// There is no context of the name in use.
    pub(crate) fn connection(&self) -> Result<Connection, CliError> {
        let context = self.contexts.find(&self.context())?;
        let origin = context.map_or(Layer::Default, Sourced::origin);
        let of_context = |path: fn(&ContextConfig) -> &Option<PathBuf>| {
            Sourced::new(context.and_then(|context| path(context).clone()), origin)
        };
        let urls = match &*self.url {
            Some(url) => Sourced::new(vec![url.clone()], self.url.origin()),
            None => Sourced::new(context.map(|context| context.urls()).unwrap_or_default(), origin),
        };
        let ca_file = match self.ca_file.is_some() {
            true => self.ca_file.clone(),
            false => of_context(|context| &context.ca_file),
        };
        Ok(Connection {
            urls,
            token: self.token.clone(),
            token_file: of_context(|context| &context.token_file),
            ca_file,
            read_only: Sourced::new(context.is_some_and(|context| context.read_only), origin),
        })
    }
}

impl Contexts {
    /// `None` for no name: the local server.
    fn find(&self, name: &str) -> Result<Option<&Sourced<ContextConfig>>, CliError> {
        if name.is_empty() {
            return Ok(None);
        }
        if let Some(found) = self.named.get(name) {
            return Ok(Some(found));
        }
        let near = orx_model::text::nearest(name, self.named.keys().map(String::as_str));
        let hint = near.map_or_else(
            || "`[context.NAME]` in the configuration makes one".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        Err(CliError::usage(format!("there is no context `{name}`")).hint(hint))
    }
}
