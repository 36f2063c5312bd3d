//! The settings in force at a server over HTTP, with their origins.

use serde::{Deserialize, Serialize};

use crate::ids::Incarnation;

/// Where the value of a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum SettingOrigin {
    /// No layer has a value.
    Default {},
    /// The configuration file.
    File {
        /// Its path.
        file: String,
        /// The line at which the value begins.
        line: u64,
    },
    /// A variable of the environment.
    Variable {
        /// Its name.
        name: String,
    },
    /// A flag.
    Flag {
        /// With its dashes.
        name: String,
    },
}

/// `--listen`, `ORX_STATE`, `/etc/orx/config.toml:12`, or `default`.
impl std::fmt::Display for SettingOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default {} => f.write_str("default"),
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Variable { name } | Self::Flag { name } => f.write_str(name),
        }
    }
}

/// A setting in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServerSetting {
    /// `worker.slots`, `handler."report.daily"`.
    pub name: String,
    /// The value, as the configuration file writes it, secrets masked.
    pub value: serde_json::Value,
    /// Where it comes from.
    pub origin: SettingOrigin,
}

/// All settings of the server that answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServerSettings {
    /// Version of the format: 1.
    pub v: u32,
    /// The node that answers.
    pub node: Incarnation,
    /// The settings, in the order of the configuration file.
    pub settings: Vec<ServerSetting>,
}
