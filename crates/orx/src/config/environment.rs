//! The environment of this process. Only this file reads settings from it.
//!
//! The code that sends variables of the caller along with a job reads the environment separately.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Variables by name. An empty one counts as not set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    pub(crate) fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        Self(variables.iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// The variable, even if it is empty.
    pub(crate) fn raw(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// `None` also where it is not UTF-8.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let text = self.raw(name)?.to_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    }

    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.raw(name).filter(|path| !path.is_empty()).map(PathBuf::from)
    }
}
