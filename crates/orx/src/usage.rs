//! Turns the errors of clap, the argument parser, into errors like all others.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use crate::config::{Environment, output_variable};
use crate::error::{CliError, Exit};
use crate::ui::{Format, Ui};

/// Prints an error of clap; or help or version, which clap returns as errors too.
pub(crate) fn refused(
    error: &clap::Error,
    arguments: &[OsString],
    environment: &Environment,
) -> ExitCode {
    use clap::error::ErrorKind;
    let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if help {
        // A closed pipe is not an error.
        let _ = write!(std::io::stdout().lock(), "{}", error.render());
        return ExitCode::from(Exit::Success.code());
    }
    let format = format_of_error(arguments, environment);
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && !format.is_json() {
        // Only the subcommand is missing: print the help, which lists them.
        let _ = write!(std::io::stderr().lock(), "{}", error.render());
    } else {
        Ui::error(format, false, &usage_error(error));
    }
    ExitCode::from(Exit::Usage.code())
}

/// The output format for an error of clap: this function looks for `--output` itself, because clap
/// has parsed nothing.
fn format_of_error(arguments: &[OsString], environment: &Environment) -> Format {
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    let own = words.split(|word| word == "--").next().unwrap_or_default();
    let named = own.iter().enumerate().rev().find_map(|(index, word)| {
        let next = || own.get(index + 1).map(AsRef::as_ref);
        match word.as_ref() {
            "-o" | "--output" => next(),
            word => word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o")),
        }
    });
    let named = named.map(|text| text.trim_start_matches('='));
    let format = named.and_then(|text| <Format as clap::ValueEnum>::from_str(text, true).ok());
    match (format, named) {
        (Some(format), _) => format,
        (None, Some(_)) => Format::Table,
        (None, None) => output_variable(environment).ok().flatten().unwrap_or(Format::Table),
    }
}

/// An error of clap in orx's form: values in backticks, and the nearest name as hint.
fn usage_error(error: &clap::Error) -> CliError {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let all = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    };
    let one = |kind| all(kind).into_iter().next().unwrap_or_default();
    let quoted = |names: Vec<String>| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    let (argument, value) = (one(ContextKind::InvalidArg), one(ContextKind::InvalidValue));
    let message = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            format!("there is no command `{}`", one(ContextKind::InvalidSubcommand))
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            format!("there is no flag `{argument}`")
        }
        ErrorKind::UnknownArgument => format!("unexpected argument `{argument}`"),
        ErrorKind::InvalidValue if value.is_empty() => format!("`{argument}` needs a value"),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            format!("`{value}` is not a valid value for `{argument}`")
        }
        ErrorKind::MissingRequiredArgument => {
            format!("missing required arguments: {}", quoted(all(ContextKind::InvalidArg)))
        }
        ErrorKind::ArgumentConflict => {
            let others = quoted(all(ContextKind::PriorArg));
            format!("`{argument}` cannot be used with {others}")
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "the subcommand is missing".to_owned()
        }
        _ => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            first.replace('\'', "`")
        }
    };
    let mut usage = CliError::usage(message);
    usage.cause = match error.kind() {
        ErrorKind::ValueValidation => std::error::Error::source(error).map(ToString::to_string),
        _ => None,
    };
    let near =
        [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    let near = near.into_iter().map(one).find(|name| !name.is_empty());
    let valid = all(ContextKind::ValidValue);
    usage.hint = Some(match near {
        Some(near) => format!("did you mean `{near}`?"),
        None if !valid.is_empty() => format!("valid values: {}", quoted(valid)),
        None => "`--help` after the command shows its arguments".to_owned(),
    });
    usage
}
