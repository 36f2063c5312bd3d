//! `orx schedule apply`, `diff` and `export`: schedules in TOML files.

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
use super::{every_schedule, print, print_change, put_request};
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, ListRow, Ui};

#[derive(Debug, clap::Args)]
pub(crate) struct ApplyArgs {
    /// TOML file, or folder of TOML files; repeatable
    #[arg(short = 'f', long = "file", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
    /// Remove schedules that no file contains
    #[arg(long)]
    prune: bool,
    /// Change nothing; print what would change
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation before removing schedules
    #[arg(short = 'y', long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// TOML file, or folder of TOML files; repeatable
    #[arg(short = 'f', long = "file", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
    /// Also report schedules that no file contains
    #[arg(long)]
    prune: bool,
}

/// Limit for the number of files.
const FILES: usize = 10_000;

/// A schedule from a file, and its location there.
pub(super) struct LocatedSpec {
    pub(super) spec: ScheduleSpec,
    /// The file, and the line of the schedule's id, for error messages.
    location: String,
}

/// Reads and checks all schedules of the files.
///
/// # Errors
/// A file cannot be read or parsed, or two schedules have the same id.
pub(super) fn read_specs(paths: &[PathBuf]) -> Result<Vec<LocatedSpec>, CliError> {
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
                let error = format!("the folder `{}` has no `.toml` file", path.display());
                return Err(CliError::usage(error));
            }
            found.sort();
            files.extend(found);
        } else {
            files.push(path.clone());
        }
    }
    if files.len() > FILES {
        return Err(CliError::usage(format!(
            "found {} files, at most {FILES} are read",
            files.len()
        )));
    }
    let mut specs: Vec<LocatedSpec> = Vec::new();
    let mut problems = Vec::new();
    let mut ids: BTreeSet<Name> = BTreeSet::new();
    for path in &files {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            CliError::usage(format!("could not read `{shown}`")).cause(error.to_string())
        })?;
        match toml::from_str::<ScheduleFile>(&text) {
            Err(error) => problems.push(format!("{shown}: {}", parse_error_text(&text, &error))),
            Ok(file) => match file.specs() {
                Err(found) => {
                    problems.extend(found.iter().map(|problem| format!("{shown}: {problem}")));
                }
                Ok(found) => {
                    let mut lines = id_lines(&text).into_iter();
                    for spec in found {
                        if has_mask(&spec)? {
                            problems.push(format!(
                                "{shown}: schedule `{}`: a value is masked (`{MASK}`); replace the \
                                 mask by the value",
                                spec.id
                            ));
                        }
                        if !ids.insert(spec.id.clone()) {
                            problems
                                .push(format!("{shown}: schedule `{}` is in two files", spec.id));
                        }
                        let line = lines.next().map(|line| format!("line {line}: "));
                        let line = line.unwrap_or_default();
                        let location = format!("{shown}: {line}schedule `{}`", spec.id);
                        specs.push(LocatedSpec { spec, location });
                    }
                }
            },
        }
    }
    if problems.is_empty() {
        return Ok(specs);
    }
    Err(CliError::usage("the files have errors; nothing was changed").cause(problems.join("\n")))
}

/// The line number of each schedule's id.
fn id_lines(text: &str) -> Vec<usize> {
    #[derive(serde::Deserialize)]
    struct Ids {
        #[serde(default)]
        schedule: Vec<SpannedId>,
    }
    #[derive(serde::Deserialize)]
    struct SpannedId {
        id: toml::Spanned<String>,
    }
    let ids = toml::from_str::<Ids>(text).map(|file| file.schedule).unwrap_or_default();
    // One pass over the text: a file may hold thousands.
    let (mut offset, mut line) = (0, 1);
    let mut lines = Vec::with_capacity(ids.len());
    for id in ids {
        let start = id.id.span().start;
        if let Some(between) = text.get(offset..start) {
            line += between.matches('\n').count();
            offset = start;
        }
        lines.push(line);
    }
    lines
}

/// Whether a value of the job is masked. A server masks secrets in its answers, so an export
/// contains masks.
fn has_mask(spec: &ScheduleSpec) -> Result<bool, CliError> {
    fn found(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::String(text) => {
                // The mask as part of a word, a URL, JSON in a text, or a header.
                let inner_prefixes = ["=", "=\"", "='", "://", ": \"", ":\""];
                let final_prefixes = ["Bearer ", "Basic ", ": "];
                let masked = |prefix: &&str| format!("{prefix}{MASK}");
                text == MASK
                    || text.contains(&format!(":{MASK}@"))
                    || inner_prefixes.iter().any(|prefix| text.contains(&masked(prefix)))
                    || final_prefixes.iter().any(|prefix| text.ends_with(&masked(prefix)))
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
    let failed = |error: toml::ser::Error| {
        CliError::new(Exit::Failed, "export", "could not write the schedules as TOML")
            .cause(error.to_string())
    };
    if ui.format.is_json() {
        let rows: Result<Vec<ListRow>, CliError> = specs
            .iter()
            .map(|spec| {
                let json = serde_json::to_value(spec)?;
                Ok(ListRow { json, cells: Vec::new(), id: spec.id.to_string() })
            })
            .collect();
        ui.list(&[], &rows?)?;
    } else {
        let text = toml::to_string(&ScheduleFile::new(&specs)).map_err(failed)?;
        ui.raw(text.as_bytes())?;
    }
    if masked.is_empty() {
        return Ok(Exit::Success);
    }
    ui.warn(&format!(
        "secrets are masked (`{MASK}`) in {}; replace the masks by the values before `apply`, \
         which rejects masks",
        masked.join(", ")
    ));
    Ok(Exit::Partial)
}

/// What the server would change. A refusal names the location in the file.
async fn dry_run(
    session: &Session,
    schedule: &LocatedSpec,
) -> Result<ScheduleChangeAnswer, CliError> {
    let answer = session.client.put_schedule(&put_request(schedule.spec.clone(), true)).await;
    answer.map_err(|error| {
        let refused = matches!(error, ClientError::Problem(_));
        let error = CliError::from(error);
        match refused {
            true => {
                CliError { message: format!("{}: {}", schedule.location, error.message), ..error }
            }
            false => error,
        }
    })
}

/// The line of a parse error, and what was expected there. Quotes nothing of the file, which may
/// contain secrets.
fn parse_error_text(text: &str, error: &toml::de::Error) -> String {
    let message = error.message();
    let wrong_value = ["invalid type", "invalid value", "invalid length"];
    let problem = match message.split_once(", expected ") {
        Some((found, expected)) if wrong_value.iter().any(|start| found.starts_with(start)) => {
            format!("expected {expected}")
        }
        _ => message.replace('\n', ", "),
    };
    // serde's message has the unknown key and the known ones in backticks.
    let near = message.strip_prefix("unknown field ").and_then(|rest| {
        let mut names = rest.split('`').skip(1).step_by(2);
        nearest(names.next()?, names)
    });
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let start = error.span().map(|span| span.start).and_then(|start| text.get(..start));
    match start {
        Some(before) => format!("line {}: {problem}{near}", before.matches('\n').count() + 1),
        None => format!("{problem}{near}"),
    }
}

/// Schedules of the server that no file contains.
async fn schedules_in_no_file(
    session: &Session,
    specs: &[LocatedSpec],
) -> Result<Vec<ScheduleView>, CliError> {
    let known: BTreeSet<&Name> = specs.iter().map(|it| &it.spec.id).collect();
    let mut all = every_schedule(session).await?;
    all.retain(|view| !known.contains(&view.id));
    Ok(all)
}

pub(super) async fn apply(args: ApplyArgs, session: &Session) -> Result<Exit, CliError> {
    let ui = &session.ui;
    let specs = read_specs(&args.files)?;
    // The server checks all schedules before the first is changed.
    let mut planned = Vec::new();
    for spec in &specs {
        planned.push(dry_run(session, spec).await?);
    }
    let surplus =
        if args.prune { schedules_in_no_file(session, &specs).await? } else { Vec::new() };
    if args.dry_run {
        planned.extend(surplus.iter().map(planned_removal));
        report(ui, &planned)?;
        return Ok(Exit::Success);
    }
    if !surplus.is_empty() && !args.yes {
        let ids: Vec<&str> = surplus.iter().map(|view| view.id.as_str()).collect();
        let question =
            format!("remove {} schedules that no file contains: {}?", ids.len(), ids.join(", "));
        if !ui.confirm(&question)? {
            return Ok(Exit::Success);
        }
    }
    let mut done = Vec::new();
    for (LocatedSpec { spec, .. }, planned) in specs.into_iter().zip(planned) {
        done.push(match planned.change {
            ScheduleChanged::Unchanged => ScheduleChangeAnswer { dry_run: false, ..planned },
            _ => session.client.put_schedule(&put_request(spec, false)).await?,
        });
    }
    for view in &surplus {
        let query = RemoveScheduleQuery { version: None };
        done.push(session.client.remove_schedule(view.id.as_str(), &query).await?);
    }
    report(ui, &done)?;
    Ok(Exit::Success)
}

pub(super) async fn diff(args: DiffArgs, session: &Session) -> Result<Exit, CliError> {
    let specs = read_specs(&args.files)?;
    let mut planned = Vec::new();
    for spec in &specs {
        planned.push(dry_run(session, spec).await?);
    }
    if args.prune {
        let surplus = schedules_in_no_file(session, &specs).await?;
        planned.extend(surplus.iter().map(planned_removal));
    }
    let differs = |it: &ScheduleChangeAnswer| it.change != ScheduleChanged::Unchanged;
    let exit = if planned.iter().any(differs) { Exit::Failed } else { Exit::Success };
    // The summary for people also counts the unchanged ones.
    if !session.ui.format.is_human() {
        planned.retain(differs);
    }
    report(&session.ui, &planned)?;
    Ok(exit)
}

/// The change that `--prune` would make.
fn planned_removal(view: &ScheduleView) -> ScheduleChangeAnswer {
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

/// Prints changes, with a summary for people.
pub(super) fn report(ui: &Ui, answers: &[ScheduleChangeAnswer]) -> Result<(), CliError> {
    for answer in answers {
        if let Some(warning) = &answer.warning {
            ui.warn(&format!("{}: {warning}", answer.id));
        }
    }
    if ui.format.is_human() {
        for answer in answers.iter().filter(|it| it.change != ScheduleChanged::Unchanged) {
            print_change(ui, answer)?;
        }
        let count = |change| answers.iter().filter(|it| it.change == change).count();
        let (created, other) = (count(ScheduleChanged::Created), count(ScheduleChanged::Changed));
        let (same, removed) = (count(ScheduleChanged::Unchanged), count(ScheduleChanged::Removed));
        let dry = if answers.iter().any(|it| it.dry_run) { "would be: " } else { "" };
        let mut text = format!("{dry}{created} created, {other} changed, {same} unchanged");
        if removed > 0 {
            text.push_str(&format!(", {removed} removed"));
        }
        ui.note(&text);
        return Ok(());
    }
    let row = |answer: &ScheduleChangeAnswer| -> Result<ListRow, CliError> {
        let text = print::change_text(ui, answer);
        let fields: Vec<&str> = text.lines().skip(1).map(str::trim).collect();
        Ok(ListRow {
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
    let rows: Result<Vec<ListRow>, CliError> = answers.iter().map(row).collect();
    ui.list(&columns, &rows?)
}
