//! A value that knows which layer it comes from.

use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize};

/// The layer that a value comes from, the lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    Default,
    /// The configuration file, with the byte at which the value begins there.
    File(usize),
    /// A variable of the environment, by its name.
    Variable(&'static str),
    /// A flag, with its dashes.
    Flag(&'static str),
}

/// A setting in force, with its origin.
#[derive(Debug, Clone)]
pub(crate) struct Sourced<T> {
    value: T,
    origin: Layer,
}

impl<T> Sourced<T> {
    pub(crate) fn new(value: T, origin: Layer) -> Self {
        Self { value, origin }
    }

    pub(crate) fn origin(&self) -> Layer {
        self.origin
    }

    /// Replaces the value by that of a higher layer, if that layer has one.
    pub(super) fn set(&mut self, value: Option<T>, origin: Layer) {
        if let Some(value) = value {
            *self = Self { value, origin };
        }
    }

    /// Converts the value; its origin stays.
    pub(super) fn value_mut(&mut self) -> &mut T {
        &mut self.value
    }

    pub(super) fn into_value(self) -> T {
        self.value
    }

    /// The name of the setting in its layer: the flag, the variable, or the key.
    pub(super) fn called<'a>(&self, key: &'a str) -> &'a str {
        match self.origin {
            Layer::Flag(name) | Layer::Variable(name) => name,
            Layer::Default | Layer::File(_) => key,
        }
    }
}

/// A default.
impl<T> From<T> for Sourced<T> {
    fn from(value: T) -> Self {
        Self { value, origin: Layer::Default }
    }
}

impl<T> Deref for Sourced<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A value of the configuration file.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Sourced<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(deserializer)?;
        let origin = Layer::File(spanned.span().start);
        Ok(Self { value: spanned.into_inner(), origin })
    }
}

/// A setting of any type, for printing.
pub(crate) trait Setting {
    fn origin(&self) -> Layer;

    /// The value in the notation of the configuration file, secrets masked.
    fn shown(&self) -> Result<toml::Value, toml::ser::Error>;
}

impl<T: Serialize> Setting for Sourced<T> {
    fn origin(&self) -> Layer {
        self.origin
    }

    fn shown(&self) -> Result<toml::Value, toml::ser::Error> {
        toml::Value::try_from(&self.value)
    }
}
