//! Prints the reports of commands, in every format. Data goes to stdout, notes and errors to
//! stderr. No byte that a job or a server sent reaches a terminal as a control code.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};

use orx_model::text::{cells, clean_line, escape_json, nearest, truncate_cells};
use orx_model::time::{TimeStyle, format_duration, format_time};
use orx_model::{JobStatus, Timestamp};
use orx_schedule::Zone;
use serde::Serialize;
use serde_json::Value;

use crate::error::CliError;

/// Output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Table,
    Wide,
    Json,
    Jsonl,
    Tsv,
    Id,
}

impl Format {
    #[must_use]
    pub(crate) fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Jsonl)
    }

    /// A format for people, not for programs.
    #[must_use]
    pub(crate) fn is_human(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// Value of `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    Auto,
    Always,
    Never,
}

/// How to print: decided once, from flags, environment and configuration.
#[derive(Debug, Clone)]
pub(crate) struct Ui {
    pub(crate) format: Format,
    pub(crate) fields: Option<Vec<String>>,
    pub(crate) header: bool,
    pub(crate) color: bool,
    pub(crate) ascii: bool,
    pub(crate) out_tty: bool,
    /// The width of the terminal, where the environment names it.
    pub(crate) columns: Option<usize>,
    pub(crate) quiet: bool,
    pub(crate) no_input: bool,
    pub(crate) time: Option<TimeStyle>,
    /// Zone of the times that the user types and reads, or why it could not be determined.
    pub(crate) zone: Result<Zone, CliError>,
}

/// Rows that human formats print without `--all`.
pub(crate) const HUMAN_ROWS: usize = 50;

/// A cell of a table: its text, and the SGR parameters that colour it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    sgr: &'static str,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), sgr: "" }
    }

    pub(crate) fn option(text: Option<impl ToString>) -> Self {
        Self::new(text.map(|text| text.to_string()).unwrap_or_default())
    }
}

/// A row of a list: JSON for programs, cells for people, and the id for `-o id`.
#[derive(Debug)]
pub(crate) struct ListRow {
    pub(crate) json: Value,
    pub(crate) cells: Vec<Cell>,
    pub(crate) id: String,
}

/// A column: its name, and `true` if only `wide` shows it.
pub(crate) type Column = (&'static str, bool);

impl Ui {
    /// Zone for parsing times.
    ///
    /// # Errors
    /// The machine's zone could not be determined, and no flag names one.
    pub(crate) fn zone(&self) -> Result<&Zone, CliError> {
        self.zone.as_ref().map_err(Clone::clone)
    }

    /// Zone for printing times; UTC if it could not be determined. The offset is always printed.
    pub(crate) fn shown_zone(&self) -> &Zone {
        const UTC: &Zone = &Zone::Utc;
        self.zone.as_ref().unwrap_or(UTC)
    }

    /// # Errors
    /// Times would be printed in the local zone, which could not be determined.
    pub(crate) fn check_zone(&self) -> Result<(), CliError> {
        let local = self.time == Some(TimeStyle::Local)
            || self.time.is_none() && self.out_tty && self.format.is_human();
        if local { self.zone().map(|_| ()) } else { Ok(()) }
    }

    /// A time in the style of `--time`; by default relative on a terminal, UTC elsewhere.
    #[must_use]
    pub(crate) fn time(&self, at: Timestamp) -> String {
        let style = self.time.unwrap_or(if self.out_tty && self.format.is_human() {
            TimeStyle::Relative
        } else {
            TimeStyle::Utc
        });
        format_time(at, style, crate::clock::wall(), self.shown_zone())
    }

    /// A time that identifies something, such as a due time: never printed as relative.
    #[must_use]
    pub(crate) fn exact(&self, at: Timestamp) -> String {
        let style = match self.time {
            Some(style) if style != TimeStyle::Relative => style,
            _ if self.out_tty && self.format.is_human() => TimeStyle::Local,
            _ => TimeStyle::Utc,
        };
        format_time(at, style, crate::clock::wall(), self.shown_zone())
    }

    /// Time since `at`; off a terminal, the time itself.
    #[must_use]
    pub(crate) fn age(&self, at: Timestamp) -> String {
        if self.time.is_some() || !self.out_tty || !self.format.is_human() {
            return self.time(at);
        }
        format_duration(crate::clock::wall().saturating_since(at))
    }

    /// A status as sign and word: neither the sign nor the colour carries the meaning alone.
    #[must_use]
    pub(crate) fn status(&self, status: JobStatus) -> Cell {
        let (sign, ascii, sgr) = match status {
            JobStatus::Created => ("⋅", ".", ""),
            JobStatus::Pending => ("◦", "o", ""),
            JobStatus::Scheduled => ("◔", "@", "35"),
            JobStatus::Dispatched => ("▹", ">", "36"),
            JobStatus::Running => ("▸", "*", "1;36"),
            JobStatus::Completed => ("✓", "+", "32"),
            JobStatus::Failed => ("✗", "X", "1;31"),
            JobStatus::TimedOut => ("⊠", "T", "1;33"),
            JobStatus::Cancelled => ("⊘", "-", "2"),
        };
        if !self.out_tty {
            return Cell::new(status.as_str());
        }
        let sign = if self.ascii { ascii } else { sign };
        Cell { text: format!("{sign} {}", status.words()), sgr }
    }

    /// Prints a list in the chosen format.
    ///
    /// # Errors
    /// `--fields` names an unknown field, or the output cannot be written.
    pub(crate) fn list(&self, columns: &[Column], rows: &[ListRow]) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Json => {
                self.check_json_fields(rows.iter().map(|row| &row.json))?;
                let all: Vec<Value> =
                    rows.iter().map(|row| self.select_fields(&row.json)).collect();
                self.json_line(&mut out, &Value::from(all))?;
            }
            Format::Jsonl => {
                self.check_json_fields(rows.iter().map(|row| &row.json))?;
                for row in rows {
                    self.json_line(&mut out, &self.select_fields(&row.json))?;
                }
            }
            Format::Id => {
                for row in rows {
                    writeln!(out, "{}", row.id)?;
                }
            }
            Format::Tsv => {
                let shown = self.visible_columns(columns, true)?;
                if self.header {
                    let names: Vec<String> =
                        shown.iter().map(|index| columns[*index].0.to_lowercase()).collect();
                    writeln!(out, "{}", names.join("\t"))?;
                }
                for row in rows {
                    let cells: Vec<String> =
                        shown.iter().map(|index| self.tsv(&row.cells[*index].text)).collect();
                    writeln!(out, "{}", cells.join("\t"))?;
                }
            }
            Format::Table | Format::Wide => self.table(&mut out, columns, rows)?,
        }
        out.flush()?;
        Ok(())
    }

    fn table(
        &self,
        out: &mut impl Write,
        columns: &[Column],
        rows: &[ListRow],
    ) -> Result<(), CliError> {
        let shown = self.visible_columns(columns, self.format == Format::Wide)?;
        if rows.is_empty() && self.out_tty {
            return Ok(());
        }
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        if self.header {
            table.set_header(shown.iter().map(|index| columns[*index].0));
        }
        let texts: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                shown.iter().map(|index| clean_line(&row.cells[*index].text).into_owned()).collect()
            })
            .collect();
        let limits = self.widths(columns, &shown, &texts);
        for (row, texts) in rows.iter().zip(&texts) {
            let cells = shown.iter().zip(texts).zip(&limits).map(|((index, text), most)| {
                let text = match most {
                    Some(most) => truncate_cells(text, *most, self.ascii).into_owned(),
                    None => text.clone(),
                };
                let sgr = row.cells[*index].sgr;
                if self.color && !sgr.is_empty() {
                    format!("\u{1b}[{sgr}m{text}\u{1b}[0m")
                } else {
                    text
                }
            });
            table.add_row(cells);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Limits for the columns, in cells. On a terminal the widest columns shrink until a row fits.
    fn widths(
        &self,
        columns: &[Column],
        shown: &[usize],
        texts: &[Vec<String>],
    ) -> Vec<Option<usize>> {
        if !self.out_tty {
            return vec![None; shown.len()];
        }
        let width = terminal_width(self.columns);
        let mut needed: Vec<usize> = (0..shown.len())
            .map(|index| {
                let head = cells(columns[shown[index]].0);
                texts.iter().map(|row| cells(&row[index])).max().unwrap_or(0).max(head)
            })
            .collect();
        while needed.iter().sum::<usize>() + 2 * needed.len() > width {
            let Some(widest) = needed.iter_mut().max_by_key(|cells| **cells) else { break };
            if *widest <= 8 {
                break;
            }
            *widest -= 1;
        }
        needed.into_iter().map(Some).collect()
    }

    /// Indexes of the columns to print.
    fn visible_columns(&self, columns: &[Column], wide: bool) -> Result<Vec<usize>, CliError> {
        let Some(fields) = &self.fields else {
            return Ok((0..columns.len()).filter(|index| wide || !columns[*index].1).collect());
        };
        let index = |field: &String| {
            let named = |column: &Column| column.0.eq_ignore_ascii_case(field);
            columns.iter().position(named).ok_or_else(|| {
                let names: Vec<String> =
                    columns.iter().map(|column| column.0.to_lowercase()).collect();
                unknown_field(field, &names)
            })
        };
        fields.iter().map(index).collect()
    }

    /// # Errors
    /// `--fields` contains a name that is not in `names`.
    pub(crate) fn check_fields(&self, names: &[&str]) -> Result<(), CliError> {
        let known = |field: &str| names.iter().any(|name| name.eq_ignore_ascii_case(field));
        match self.fields.iter().flatten().find(|field| !known(field)) {
            Some(field) => Err(unknown_field(field, names)),
            None => Ok(()),
        }
    }

    fn check_json_fields<'a>(
        &self,
        values: impl Iterator<Item = &'a Value>,
    ) -> Result<(), CliError> {
        if self.fields.is_none() {
            return Ok(());
        }
        let objects = values.filter_map(Value::as_object);
        let names: BTreeSet<&str> =
            objects.flat_map(|all| all.keys().map(String::as_str)).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let Err(error) = self.check_fields(&names) else { return Ok(()) };
        // Values omit empty optional fields, so the names of the API count as well.
        let api = api_fields();
        let all: Vec<&str> = names.iter().copied().chain(api.iter().map(String::as_str)).collect();
        match self.check_fields(&all) {
            Err(_) if !names.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    /// The object with the chosen fields only, and with `v`.
    fn select_fields(&self, value: &Value) -> Value {
        let mut selected = serde_json::Map::new();
        selected.insert("v".to_owned(), Value::from(orx_model::wire::V));
        if let Value::Object(all) = value {
            for (name, value) in all {
                let wanted = self.fields.as_ref().is_none_or(|fields| {
                    fields.iter().any(|field| field.eq_ignore_ascii_case(name))
                });
                if wanted {
                    selected.insert(name.clone(), value.clone());
                }
            }
        }
        Value::Object(selected)
    }

    /// One object as a line of JSON, for output that is printed as it arrives.
    pub(crate) fn json_text(&self, value: &impl Serialize) -> Result<String, CliError> {
        let text = self.select_fields(&serde_json::to_value(value)?).to_string();
        Ok(escape_json(&text).into_owned())
    }

    fn json_line(&self, out: &mut impl Write, value: &Value) -> Result<(), CliError> {
        let pretty = self.out_tty && self.format == Format::Json;
        let text = if pretty {
            serde_json::to_string_pretty(value)?
        } else {
            serde_json::to_string(value)?
        };
        writeln!(out, "{}", escape_json(&text))?;
        Ok(())
    }

    /// A cell of tab-separated values. On a terminal it contains no control codes.
    pub(crate) fn tsv(&self, text: &str) -> String {
        let escaped = escape_tsv(text);
        if self.out_tty { clean_line(&escaped).into_owned() } else { escaped }
    }

    /// The lines that `--fields` names, in its order.
    fn selected_lines<'a, 'b>(
        &self,
        lines: &'a [(&'b str, Cell)],
    ) -> Result<Vec<&'a (&'b str, Cell)>, CliError> {
        let Some(fields) = &self.fields else { return Ok(lines.iter().collect()) };
        let names: Vec<&str> = lines.iter().map(|(name, _)| *name).collect();
        self.check_fields(&names)?;
        let named = |field: &'_ String| {
            let field = field.clone();
            lines.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(&field))
        };
        Ok(fields.iter().flat_map(named).collect())
    }

    /// Prints one object: as JSON, as its id, or as lines of `name  value`.
    ///
    /// # Errors
    /// `--fields` names an unknown field, or the output cannot be written.
    pub(crate) fn one(
        &self,
        json: &impl Serialize,
        id: &str,
        lines: &[(&str, Cell)],
    ) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Json | Format::Jsonl => {
                let value = serde_json::to_value(json)?;
                self.check_json_fields(std::iter::once(&value))?;
                self.json_line(&mut out, &self.select_fields(&value))?;
            }
            Format::Id => writeln!(out, "{id}")?,
            Format::Tsv => {
                for (name, cell) in self.selected_lines(lines)? {
                    writeln!(out, "{name}\t{}", self.tsv(&cell.text))?;
                }
            }
            Format::Table | Format::Wide => {
                let lines = self.selected_lines(lines)?;
                let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
                for (name, cell) in lines.iter().filter(|(_, cell)| !cell.text.is_empty()) {
                    let text = clean_line(&cell.text);
                    if self.color && !cell.sgr.is_empty() {
                        writeln!(out, "{name:width$}  \u{1b}[{}m{text}\u{1b}[0m", cell.sgr)?;
                    } else {
                        writeln!(out, "{name:width$}  {text}")?;
                    }
                }
            }
        }
        out.flush()?;
        Ok(())
    }

    /// Writes bytes to stdout unchanged, for `result`, `completions` and the like.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()?;
        Ok(())
    }

    /// Prints a note to stderr, unless `--quiet` is given.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{}", clean_line(text));
        }
    }

    /// Prints a warning to stderr, also with `--quiet`.
    pub(crate) fn warn(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "warning: {}", clean_line(text));
    }

    /// Prints an error to stderr, as text or as JSON.
    pub(crate) fn error(format: Format, verbose: bool, error: &CliError) {
        let mut err = std::io::stderr().lock();
        // If stderr is closed, there is no other place to report that.
        let _ = if format.is_json() {
            let value = serde_json::json!({"error": {
                "code": error.code, "message": error.message, "cause": error.cause,
                "hint": error.hint, "next": error.next, "request_id": error.request_id,
            }});
            writeln!(err, "{}", escape_json(&value.to_string()))
        } else {
            let block = |text: &str| {
                let lines: Vec<String> =
                    text.lines().map(|line| clean_line(line).into_owned()).collect();
                lines.join("\n         ")
            };
            let mut text = format!("error: {}\n", block(&error.message));
            if let Some(cause) = &error.cause {
                text.push_str(&format!("  cause: {}\n", block(cause)));
            }
            if let Some(hint) = &error.hint {
                text.push_str(&format!("  hint: {}\n", block(hint)));
            }
            if let (true, Some(id)) = (verbose, &error.request_id) {
                text.push_str(&format!("  request: {id}\n"));
            }
            write!(err, "{text}")
        };
    }

    /// Whether a question can be asked: stdin and stderr are terminals, and `--no-input` is absent.
    pub(crate) fn can_ask(&self) -> bool {
        !self.no_input && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks a yes-or-no question on the terminal.
    ///
    /// # Errors
    /// There is no terminal to ask on: the command needs `--yes` there.
    pub(crate) fn confirm(&self, question: &str) -> Result<bool, CliError> {
        let stdin = std::io::stdin();
        if !self.can_ask() {
            return Err(CliError::usage(
                "this change needs a confirmation, which cannot be asked for here",
            )
            .cause(question.to_owned())
            .hint("`--yes` confirms it; `--dry-run` shows what it would change"));
        }
        let mut err = std::io::stderr().lock();
        write!(err, "{} y/N ", clean_line(question))?;
        err.flush()?;
        let mut answer = String::new();
        stdin.read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

fn unknown_field(field: &str, names: &[impl AsRef<str>]) -> CliError {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let hint = match nearest(field, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the fields are {}", names.join(", ")),
    };
    CliError::usage(format!("this output has no field `{field}`")).hint(hint)
}

/// The names of all fields in the API's schemas.
fn api_fields() -> BTreeSet<String> {
    let api: Value = serde_json::from_str(&orx_api::openapi_json()).unwrap_or_default();
    let mut names = BTreeSet::new();
    let mut values = vec![&api["components"]["schemas"]];
    while let Some(value) = values.pop() {
        match value {
            Value::Object(all) => {
                if let Some(Value::Object(properties)) = all.get("properties") {
                    names.extend(properties.keys().cloned());
                }
                values.extend(all.values());
            }
            Value::Array(all) => values.extend(all),
            _ => {}
        }
    }
    names
}

/// Width of the terminal in cells: `columns` from the environment, else what the terminal reports,
/// else 80.
fn terminal_width(columns: Option<usize>) -> usize {
    let size = || rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    columns
        .or_else(|| size().map(|size| usize::from(size.ws_col)))
        .filter(|width| *width >= 20)
        .unwrap_or(80)
}

fn escape_tsv(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}
