//! Completion scripts and man pages, generated from the definitions of the commands.

use std::path::{Path, PathBuf};

use clap_complete::Shell;

use crate::error::{CliError, EXIT_CODES, Exit};
use crate::ui::Ui;

const SHELLS: [(Shell, &str); 5] = [
    (Shell::Bash, "orx.bash"),
    (Shell::Zsh, "_orx"),
    (Shell::Fish, "orx.fish"),
    (Shell::Elvish, "orx.elv"),
    (Shell::PowerShell, "_orx.ps1"),
];

pub(crate) fn completions(shell: Shell, cli: clap::Command, ui: &Ui) -> Result<Exit, CliError> {
    ui.raw(&script(shell, cli))?;
    Ok(Exit::Success)
}

fn script(shell: Shell, mut cli: clap::Command) -> Vec<u8> {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut cli, "orx", &mut bytes);
    bytes
}

/// Prints the page of `orx`, or writes all pages into a folder.
pub(crate) fn man(folder: Option<PathBuf>, cli: clap::Command, ui: &Ui) -> Result<Exit, CliError> {
    match folder {
        None => ui.raw(&page(cli, "orx")?)?,
        Some(folder) => {
            std::fs::create_dir_all(&folder)?;
            for (name, bytes) in pages(cli)? {
                std::fs::write(folder.join(name), bytes)?;
            }
        }
    }
    Ok(Exit::Success)
}

/// Writes all generated files that are checked in: `completions/`, `man/`, `docs/openapi.json`.
pub(crate) fn generate(folder: &Path, cli: clap::Command) -> Result<Exit, CliError> {
    for inner in ["completions", "man", "docs"] {
        std::fs::create_dir_all(folder.join(inner))?;
    }
    for (shell, name) in SHELLS {
        std::fs::write(folder.join("completions").join(name), script(shell, cli.clone()))?;
    }
    for (name, bytes) in pages(cli)? {
        std::fs::write(folder.join("man").join(name), bytes)?;
    }
    std::fs::write(folder.join("docs/openapi.json"), orx_api::openapi_json())?;
    Ok(Exit::Success)
}

fn pages(mut cli: clap::Command) -> Result<Vec<(String, Vec<u8>)>, CliError> {
    cli.build();
    let mut pages = Vec::new();
    collect(&cli, "orx", &mut pages)?;
    pages.push(("orx-config.5".to_owned(), config_page()));
    Ok(pages)
}

fn collect(
    command: &clap::Command,
    name: &str,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), CliError> {
    pages.push((format!("{name}.1"), page(command.clone(), name)?));
    for inner in command.get_subcommands() {
        if !inner.is_hide_set() && inner.get_name() != "help" {
            collect(inner, &format!("{name}-{}", inner.get_name()), pages)?;
        }
    }
    Ok(())
}

fn page(command: clap::Command, name: &str) -> Result<Vec<u8>, CliError> {
    // The man page's name is the command's whole path.
    let command = command.name(name.to_owned()).version(env!("CARGO_PKG_VERSION"));
    let mut bytes = Vec::new();
    clap_mangen::Man::new(command).date("").render(&mut bytes)?;
    bytes.extend_from_slice(b".SH \"EXIT STATUS\"\n.nf\n");
    bytes.extend_from_slice(EXIT_CODES.as_bytes());
    bytes.extend_from_slice(b".fi\n.SH \"SEE ALSO\"\norx(1), orx\\-config(5)\n");
    Ok(bytes)
}

/// The page of the configuration is the example file: it has each key with its default and purpose.
fn config_page() -> Vec<u8> {
    let mut text = String::from(
        ".TH orx\\-config 5\n.SH NAME\norx\\-config \\- configuration of orx\n\
         .SH DESCRIPTION\nTOML, with every key at its default:\n.PP\n.nf\n",
    );
    for line in include_str!("../../../../config.example.toml").lines() {
        let line = line.replace('\\', "\\\\").replace('-', "\\-");
        // roff takes a leading period or apostrophe for a request.
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        text.push_str(&format!("{guard}{line}\n"));
    }
    text.push_str(".fi\n.SH \"SEE ALSO\"\norx(1)\n");
    text.into_bytes()
}
