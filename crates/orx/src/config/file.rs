//! Finds and reads the configuration file.

use std::path::{Path, PathBuf};

use orx_model::text::nearest;

use super::environment::Environment;
use super::sourced::{Layer, Sourced};
use super::{Config, check, wrong};
use crate::error::CliError;

/// A configuration file with its text positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    /// The byte after each line break.
    line_starts: Vec<usize>,
}

impl ConfigFile {
    fn new(path: &Path, text: &str) -> Self {
        let line_starts = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        Self { path: path.to_owned(), line_starts }
    }

    /// The line of this byte of the file, from 1.
    pub(crate) fn line(&self, byte: usize) -> usize {
        1 + self.line_starts.partition_point(|start| *start <= byte)
    }
}

/// Reads the named file, else the first that exists; without one, returns the defaults.
///
/// # Errors
/// A named file that does not exist, or a file that cannot be read or is invalid.
pub(super) fn load(named: Option<&Path>, environment: &Environment) -> Result<Config, CliError> {
    let flag = named.map(|path| (path.to_owned(), Layer::Flag("--config")));
    let variable = || Some((environment.path("ORX_CONFIG")?, Layer::Variable("ORX_CONFIG")));
    if let Some((path, origin)) = flag.or_else(variable) {
        return read(&path, origin)?
            .ok_or_else(|| wrong(format!("there is no configuration file `{}`", path.display())));
    }
    let home = environment
        .path("XDG_CONFIG_HOME")
        .or_else(|| environment.path("HOME").map(|home| home.join(".config")));
    let places = home.map(|home| home.join("orx/config.toml")).into_iter();
    for path in places.chain([PathBuf::from("/etc/orx/config.toml")]) {
        if let Some(config) = read(&path, Layer::Default)? {
            return Ok(config);
        }
    }
    Ok(Config::default())
}

/// `None`: there is no such file.
fn read(path: &Path, origin: Layer) -> Result<Option<Config>, CliError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let message = format!("could not read the configuration `{}`", path.display());
            return Err(wrong(message).cause(error.to_string()));
        }
    };
    let mut config = parse(&text).map_err(|mut error| {
        error.message = format!("{} in `{}`", error.message, path.display());
        error
    })?;
    config.file = Sourced::new(Some(ConfigFile::new(path, &text)), origin);
    Ok(Some(config))
}

/// # Errors
/// The cause contains the line, and the hint the nearest key for an unknown one.
pub(super) fn parse(text: &str) -> Result<Config, CliError> {
    let explain = |error: toml::de::Error| {
        let mut explained = wrong("the configuration is wrong".to_owned())
            .cause(error.to_string().trim_end().to_owned());
        // serde names the unknown key and the known ones in backticks.
        let message = error.message();
        if let Some(rest) = message.strip_prefix("unknown field ") {
            let mut names = rest.split('`').skip(1).step_by(2);
            let found = names.next().unwrap_or_default();
            explained.hint = nearest(found, names).map(|near| format!("did you mean `{near}`?"));
        }
        explained.hint.get_or_insert_with(|| "`config.example.toml` shows every key".to_owned());
        explained
    };
    let config: Config = toml::from_str(text).map_err(explain)?;
    check::check(&config)?;
    Ok(config)
}
