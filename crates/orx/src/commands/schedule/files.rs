//! Schedules from files, and files from schedules.

use std::collections::BTreeSet;
use std::path::PathBuf;

use orx_client::ClientError;
use orx_model::Name;
use orx_model::mask::MASK;
use orx_model::schedule::ScheduleSpec;
use orx_model::schedule::wire::{
    RemoveScheduleQuery, ScheduleChangeAnswer, ScheduleChanged, ScheduleView,
};
use orx_model::text::nearest;
use orx_schedule::ScheduleFile;

use super::super::Session;
use super::{changed, every_schedule, print, put};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, Row, Ui};

#[derive(Debug, clap::Args)]
pub(crate) struct ApplyArgs {
    /// File (TOML), or folder of them; again for more
    #[arg(short = 'f', long = "file", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
    /// Remove schedules that no file has
    #[arg(long)]
    prune: bool,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before removing
    #[arg(short = 'y', long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// File (TOML), or folder of them; again for more
    #[arg(short = 'f', long = "file", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
    /// Schedules that no file has differ too
    #[arg(long)]
    prune: bool,
}

/// Files of a folder, at most.
const FILES: usize = 10_000;

/// A schedule, and where it stands.
pub(super) struct Written {
    pub(super) spec: ScheduleSpec,
    /// For people: the file, and the line of its id.
    place: String,
}

/// Every schedule of the files, checked; of two with one id neither is taken.
pub(super) fn read_specs(paths: &[PathBuf]) -> Result<Vec<Written>, CliError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let mut found = Vec::new();
            for entry in std::fs::read_dir(path)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "toml") {
                    found.push(path);
                }
            }
            if found.is_empty() {
                let error = format!("there is no `.toml` file in `{}`", path.display());
                return Err(CliError::usage(error));
            }
            found.sort();
            files.extend(found);
        } else {
            files.push(path.clone());
        }
    }
    if files.len() > FILES {
        return Err(CliError::usage(format!("at most {FILES} files are read")));
    }
    let mut specs: Vec<Written> = Vec::new();
    let mut wrong = Vec::new();
    let mut ids: BTreeSet<Name> = BTreeSet::new();
    for path in &files {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            CliError::usage(format!("could not read `{shown}`")).cause(error.to_string())
        })?;
        match toml::from_str::<ScheduleFile>(&text) {
            Err(error) => wrong.push(format!("{shown}: {}", explain(&text, &error))),
            Ok(file) => match file.specs() {
                Err(problems) => {
                    wrong.extend(problems.iter().map(|problem| format!("{shown}: {problem}")));
                }
                Ok(found) => {
                    let mut lines = id_lines(&text).into_iter();
                    for spec in found {
                        if has_mask(&spec)? {
                            wrong.push(format!(
                                "{shown}: schedule `{}`: a value is masked (`{MASK}`): write what \
                                 it is",
                                spec.id
                            ));
                        }
                        if !ids.insert(spec.id.clone()) {
                            wrong.push(format!("{shown}: schedule `{}` is in two files", spec.id));
                        }
                        let line = lines.next().map(|line| format!("line {line}: "));
                        let line = line.unwrap_or_default();
                        let place = format!("{shown}: {line}schedule `{}`", spec.id);
                        specs.push(Written { spec, place });
                    }
                }
            },
        }
    }
    if wrong.is_empty() {
        return Ok(specs);
    }
    Err(CliError::usage("these schedules cannot be taken: nothing was changed")
        .cause(wrong.join("\n")))
}

/// The line of each schedule's id.
fn id_lines(text: &str) -> Vec<usize> {
    #[derive(serde::Deserialize)]
    struct Ids {
        #[serde(default)]
        schedule: Vec<Id>,
    }
    #[derive(serde::Deserialize)]
    struct Id {
        id: toml::Spanned<String>,
    }
    let ids = toml::from_str::<Ids>(text).map(|file| file.schedule).unwrap_or_default();
    // One pass over the text: a file may hold thousands.
    let (mut at, mut line) = (0, 1);
    let mut lines = Vec::with_capacity(ids.len());
    for id in ids {
        let start = id.id.span().start;
        if let Some(between) = text.get(at..start) {
            line += between.matches('\n').count();
            at = start;
        }
        lines.push(line);
    }
    lines
}

/// A server shows secrets as a mask, and an export has them from there.
fn has_mask(spec: &ScheduleSpec) -> Result<bool, CliError> {
    fn found(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::String(text) => {
                // As the mask stands in a word, a URL, a text in JSON, or a header.
                let within = ["=", "=\"", "='", "://", ": \"", ":\""];
                let after = ["Bearer ", "Basic ", ": "];
                text == MASK
                    || text.contains(&format!(":{MASK}@"))
                    || within.iter().any(|before| text.contains(&format!("{before}{MASK}")))
                    || after.iter().any(|before| text.ends_with(&format!("{before}{MASK}")))
            }
            serde_json::Value::Array(items) => items.iter().any(found),
            serde_json::Value::Object(map) => map.values().any(found),
            _ => false,
        }
    }
    Ok(found(&serde_json::to_value(&spec.job)?))
}

/// Prints schedules as `apply` reads them.
pub(super) async fn export(ids: &[String], session: &Session) -> Result<Exit, CliError> {
    let ui = &session.ui;
    let mut specs: Vec<ScheduleSpec> = Vec::new();
    for id in ids {
        specs.push(session.client.schedule(id).await?.schedule.spec);
    }
    if ids.is_empty() {
        specs.extend(every_schedule(session).await?.into_iter().map(|view| view.spec));
    }
    let mut masked = Vec::new();
    for spec in &specs {
        if has_mask(spec)? {
            masked.push(spec.id.as_str());
        }
    }
    let wrong = |error: toml::ser::Error| {
        CliError::new(Exit::Failed, "export", "could not write it").cause(error.to_string())
    };
    if ui.format.is_json() {
        let rows: Result<Vec<Row>, CliError> = specs
            .iter()
            .map(|spec| {
                let json = serde_json::to_value(spec)?;
                Ok(Row { json, cells: Vec::new(), id: spec.id.to_string() })
            })
            .collect();
        ui.list(&[], &rows?)?;
    } else {
        let text = toml::to_string(&ScheduleFile::new(&specs)).map_err(wrong)?;
        ui.raw(text.as_bytes())?;
    }
    if masked.is_empty() {
        return Ok(Exit::Done);
    }
    ui.warn(&format!(
        "what is secret is masked (`{MASK}`) in {}: write the values in before `apply`, which refuses \
         masks",
        masked.join(", ")
    ));
    Ok(Exit::Partial)
}

/// What the server would do; what it refuses is named with its place.
async fn dry_run(session: &Session, written: &Written) -> Result<ScheduleChangeAnswer, CliError> {
    let answer = session.client.put_schedule(&put(written.spec.clone(), true)).await;
    answer.map_err(|error| {
        let refused = matches!(error, ClientError::Problem(_));
        let error = CliError::from(error);
        match refused {
            true => CliError { message: format!("{}: {}", written.place, error.message), ..error },
            false => error,
        }
    })
}

/// The line and what was expected there. Nothing of the file is quoted: a schedule may hold secrets.
fn explain(text: &str, error: &toml::de::Error) -> String {
    let message = error.message();
    let wrong_value = ["invalid type", "invalid value", "invalid length"];
    let told = match message.split_once(", expected ") {
        Some((found, expected)) if wrong_value.iter().any(|start| found.starts_with(start)) => {
            format!("expected {expected}")
        }
        _ => message.replace('\n', ", "),
    };
    // serde names the key that it found and those that it knows, in backticks.
    let near = message.strip_prefix("unknown field ").and_then(|rest| {
        let mut names = rest.split('`').skip(1).step_by(2);
        nearest(names.next()?, names)
    });
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let start = error.span().map(|span| span.start).and_then(|start| text.get(..start));
    match start {
        Some(before) => format!("line {}: {told}{near}", before.matches('\n').count() + 1),
        None => format!("{told}{near}"),
    }
}

/// Schedules of the server that no file has.
async fn strangers(session: &Session, specs: &[Written]) -> Result<Vec<ScheduleView>, CliError> {
    let known: BTreeSet<&Name> = specs.iter().map(|it| &it.spec.id).collect();
    let mut all = every_schedule(session).await?;
    all.retain(|view| !known.contains(&view.id));
    Ok(all)
}

pub(super) async fn apply(args: ApplyArgs, session: &Session) -> Result<Exit, CliError> {
    let ui = &session.ui;
    let specs = read_specs(&args.files)?;
    // All of them are looked at by the server before the first is changed.
    let mut would = Vec::new();
    for spec in &specs {
        would.push(dry_run(session, spec).await?);
    }
    let gone = if args.prune { strangers(session, &specs).await? } else { Vec::new() };
    if args.dry_run {
        would.extend(gone.iter().map(removed));
        report(ui, &would)?;
        return Ok(Exit::Done);
    }
    if !gone.is_empty() && !args.yes {
        let ids: Vec<&str> = gone.iter().map(|view| view.id.as_str()).collect();
        let question =
            format!("remove {} schedules that no file has: {}?", ids.len(), ids.join(", "));
        if !ui.confirm(&question)? {
            return Ok(Exit::Done);
        }
    }
    let mut done = Vec::new();
    for (Written { spec, .. }, would) in specs.into_iter().zip(would) {
        done.push(match would.change {
            ScheduleChanged::Unchanged => ScheduleChangeAnswer { dry_run: false, ..would },
            _ => session.client.put_schedule(&put(spec, false)).await?,
        });
    }
    for view in &gone {
        let query = RemoveScheduleQuery { version: None };
        done.push(session.client.remove_schedule(view.id.as_str(), &query).await?);
    }
    report(ui, &done)?;
    Ok(Exit::Done)
}

pub(super) async fn diff(args: DiffArgs, session: &Session) -> Result<Exit, CliError> {
    let specs = read_specs(&args.files)?;
    let mut would = Vec::new();
    for spec in &specs {
        would.push(dry_run(session, spec).await?);
    }
    if args.prune {
        let gone = strangers(session, &specs).await?;
        would.extend(gone.iter().map(removed));
    }
    let differs = |it: &ScheduleChangeAnswer| it.change != ScheduleChanged::Unchanged;
    let exit = if would.iter().any(differs) { Exit::Failed } else { Exit::Done };
    // A person is told how many are the same, too.
    if !session.ui.format.is_human() {
        would.retain(differs);
    }
    report(&session.ui, &would)?;
    Ok(exit)
}

/// What `--prune` would do.
fn removed(view: &ScheduleView) -> ScheduleChangeAnswer {
    ScheduleChangeAnswer {
        v: orx_model::wire::V,
        id: view.id.clone(),
        change: ScheduleChanged::Removed,
        dry_run: true,
        version: view.version,
        fields: Vec::new(),
        next: None,
        warning: None,
    }
}

pub(super) fn report(ui: &Ui, answers: &[ScheduleChangeAnswer]) -> Result<(), CliError> {
    for answer in answers {
        if let Some(warning) = &answer.warning {
            ui.warn(&format!("{}: {warning}", answer.id));
        }
    }
    if ui.format.is_human() {
        for answer in answers.iter().filter(|it| it.change != ScheduleChanged::Unchanged) {
            changed(ui, answer)?;
        }
        let count = |change| answers.iter().filter(|it| it.change == change).count();
        let (created, other) = (count(ScheduleChanged::Created), count(ScheduleChanged::Changed));
        let (same, gone) = (count(ScheduleChanged::Unchanged), count(ScheduleChanged::Removed));
        let dry = if answers.iter().any(|it| it.dry_run) { "would be: " } else { "" };
        let mut text = format!("{dry}{created} created, {other} changed, {same} unchanged");
        if gone > 0 {
            text.push_str(&format!(", {gone} removed"));
        }
        ui.note(&text);
        return Ok(());
    }
    let row = |answer: &ScheduleChangeAnswer| -> Result<Row, CliError> {
        let text = print::change_text(ui, answer);
        let fields: Vec<&str> = text.lines().skip(1).map(str::trim).collect();
        Ok(Row {
            json: serde_json::to_value(answer)?,
            id: answer.id.to_string(),
            cells: vec![
                Cell::new(answer.id.to_string()),
                Cell::new(answer.change.as_str()),
                Cell::new(answer.version.to_string()),
                Cell::new(fields.join("; ")),
            ],
        })
    };
    let columns: [Column; 4] =
        [("SCHEDULE", false), ("CHANGE", false), ("VERSION", false), ("FIELDS", false)];
    let rows: Result<Vec<Row>, CliError> = answers.iter().map(row).collect();
    ui.list(&columns, &rows?)
}
