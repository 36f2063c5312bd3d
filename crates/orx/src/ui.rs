//! What commands print: one report behind every format. Data goes to stdout, talk to stderr; no
//! byte of what jobs or servers send reaches a terminal as a control code.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};

use orx_model::text::{cells, clean_line, escape_json, nearest, truncate_cells};
use orx_model::time::{TimeStyle, format_duration, format_time};
use orx_model::{JobStatus, Timestamp};
use orx_schedule::Zone;
use serde::Serialize;
use serde_json::Value;

use crate::error::CliError;

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

    #[must_use]
    pub(crate) fn is_human(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

/// How to print, decided once.
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
    /// Of the times that are written and read, or why it is not known.
    pub(crate) zone: Result<Zone, CliError>,
}

/// Rows that human formats print unasked.
pub(crate) const HUMAN_ROWS: usize = 50;

/// A cell of a table: text, and how it looks with colours.
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

/// A line of a list: its value for machines, its cells for people, its id.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) json: Value,
    pub(crate) cells: Vec<Cell>,
    pub(crate) id: String,
}

/// A column: its name, and whether only `wide` shows it.
pub(crate) type Column = (&'static str, bool);

impl Ui {
    /// For times that are read.
    pub(crate) fn zone(&self) -> Result<&Zone, CliError> {
        self.zone.as_ref().map_err(Clone::clone)
    }

    /// For times that are shown, with their offset beside them.
    pub(crate) fn shown_zone(&self) -> &Zone {
        const UTC: &Zone = &Zone::Utc;
        self.zone.as_ref().unwrap_or(UTC)
    }

    /// Where times would be shown in a zone, it must be known.
    pub(crate) fn check_zone(&self) -> Result<(), CliError> {
        let local = self.time == Some(TimeStyle::Local)
            || self.time.is_none() && self.out_tty && self.format.is_human();
        if local { self.zone().map(|_| ()) } else { Ok(()) }
    }

    /// Relative on a terminal, exact elsewhere, unless told.
    #[must_use]
    pub(crate) fn time(&self, at: Timestamp) -> String {
        let style = self.time.unwrap_or(if self.out_tty && self.format.is_human() {
            TimeStyle::Relative
        } else {
            TimeStyle::Utc
        });
        format_time(at, style, crate::clock::wall(), self.shown_zone())
    }

    /// A time that is a name, as a due time is: never how long ago.
    #[must_use]
    pub(crate) fn exact(&self, at: Timestamp) -> String {
        let style = match self.time {
            Some(style) if style != TimeStyle::Relative => style,
            _ if self.out_tty && self.format.is_human() => TimeStyle::Local,
            _ => TimeStyle::Utc,
        };
        format_time(at, style, crate::clock::wall(), self.shown_zone())
    }

    #[must_use]
    pub(crate) fn age(&self, at: Timestamp) -> String {
        if self.time.is_some() || !self.out_tty || !self.format.is_human() {
            return self.time(at);
        }
        format_duration(crate::clock::wall().saturating_since(at))
    }

    /// A word stands beside its sign: neither sign nor colour carries the meaning alone.
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

    /// A list in the format asked for.
    pub(crate) fn list(&self, columns: &[Column], rows: &[Row]) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Json => {
                self.known_json(rows.iter().map(|row| &row.json))?;
                let all: Vec<Value> = rows.iter().map(|row| self.picked(&row.json)).collect();
                self.json_line(&mut out, &Value::from(all))?;
            }
            Format::Jsonl => {
                self.known_json(rows.iter().map(|row| &row.json))?;
                for row in rows {
                    self.json_line(&mut out, &self.picked(&row.json))?;
                }
            }
            Format::Id => {
                for row in rows {
                    writeln!(out, "{}", row.id)?;
                }
            }
            Format::Tsv => {
                let shown = self.shown(columns, true)?;
                if self.header {
                    let names: Vec<String> =
                        shown.iter().map(|place| columns[*place].0.to_lowercase()).collect();
                    writeln!(out, "{}", names.join("\t"))?;
                }
                for row in rows {
                    let cells: Vec<String> =
                        shown.iter().map(|place| self.tsv(&row.cells[*place].text)).collect();
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
        rows: &[Row],
    ) -> Result<(), CliError> {
        let shown = self.shown(columns, self.format == Format::Wide)?;
        if rows.is_empty() && self.out_tty {
            return Ok(());
        }
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        if self.header {
            table.set_header(shown.iter().map(|place| columns[*place].0));
        }
        let texts: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                shown.iter().map(|place| clean_line(&row.cells[*place].text).into_owned()).collect()
            })
            .collect();
        let limits = self.widths(columns, &shown, &texts);
        for (row, texts) in rows.iter().zip(&texts) {
            let cells = shown.iter().zip(texts).zip(&limits).map(|((place, text), most)| {
                let text = match most {
                    Some(most) => truncate_cells(text, *most, self.ascii).into_owned(),
                    None => text.clone(),
                };
                let sgr = row.cells[*place].sgr;
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

    /// On a terminal the widest columns give way until a row fits.
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
            .map(|place| {
                let head = cells(columns[shown[place]].0);
                texts.iter().map(|row| cells(&row[place])).max().unwrap_or(0).max(head)
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

    /// Places of the columns to show.
    fn shown(&self, columns: &[Column], wide: bool) -> Result<Vec<usize>, CliError> {
        let Some(fields) = &self.fields else {
            return Ok((0..columns.len()).filter(|place| wide || !columns[*place].1).collect());
        };
        let place = |field: &String| {
            let named = |column: &Column| column.0.eq_ignore_ascii_case(field);
            columns.iter().position(named).ok_or_else(|| {
                let names: Vec<String> =
                    columns.iter().map(|column| column.0.to_lowercase()).collect();
                no_field(field, &names)
            })
        };
        fields.iter().map(place).collect()
    }

    /// # Errors
    /// One of the fields asked for is none of these.
    pub(crate) fn known_fields(&self, names: &[&str]) -> Result<(), CliError> {
        let known = |field: &str| names.iter().any(|name| name.eq_ignore_ascii_case(field));
        match self.fields.iter().flatten().find(|field| !known(field)) {
            Some(field) => Err(no_field(field, names)),
            None => Ok(()),
        }
    }

    fn known_json<'a>(&self, values: impl Iterator<Item = &'a Value>) -> Result<(), CliError> {
        if self.fields.is_none() {
            return Ok(());
        }
        let objects = values.filter_map(Value::as_object);
        let names: BTreeSet<&str> =
            objects.flat_map(|all| all.keys().map(String::as_str)).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let Err(error) = self.known_fields(&names) else { return Ok(()) };
        // A value leaves out what it has not: those names are known from the API.
        let api = api_fields();
        let all: Vec<&str> = names.iter().copied().chain(api.iter().map(String::as_str)).collect();
        match self.known_fields(&all) {
            Err(_) if !names.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    fn picked(&self, value: &Value) -> Value {
        let mut picked = serde_json::Map::new();
        picked.insert("v".to_owned(), Value::from(orx_model::wire::V));
        if let Value::Object(all) = value {
            for (name, value) in all {
                let wanted = self.fields.as_ref().is_none_or(|fields| {
                    fields.iter().any(|field| field.eq_ignore_ascii_case(name))
                });
                if wanted {
                    picked.insert(name.clone(), value.clone());
                }
            }
        }
        Value::Object(picked)
    }

    /// One object on a line, for what is printed as it comes.
    pub(crate) fn json_text(&self, value: &impl Serialize) -> Result<String, CliError> {
        let text = self.picked(&serde_json::to_value(value)?).to_string();
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

    /// A cell of tab-separated values, which acts on no terminal.
    pub(crate) fn tsv(&self, text: &str) -> String {
        let escaped = escape_tsv(text);
        if self.out_tty { clean_line(&escaped).into_owned() } else { escaped }
    }

    /// The lines of the fields asked for, in their order.
    fn chosen<'a, 'b>(
        &self,
        lines: &'a [(&'b str, Cell)],
    ) -> Result<Vec<&'a (&'b str, Cell)>, CliError> {
        let Some(fields) = &self.fields else { return Ok(lines.iter().collect()) };
        let names: Vec<&str> = lines.iter().map(|(name, _)| *name).collect();
        self.known_fields(&names)?;
        let named = |field: &'_ String| {
            let field = field.clone();
            lines.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(&field))
        };
        Ok(fields.iter().flat_map(named).collect())
    }

    /// One thing: as JSON, as its id, or as lines of `name  value`.
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
                self.known_json(std::iter::once(&value))?;
                self.json_line(&mut out, &self.picked(&value))?;
            }
            Format::Id => writeln!(out, "{id}")?,
            Format::Tsv => {
                for (name, cell) in self.chosen(lines)? {
                    writeln!(out, "{name}\t{}", self.tsv(&cell.text))?;
                }
            }
            Format::Table | Format::Wide => {
                let lines = self.chosen(lines)?;
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

    /// Data as it is, for `result`, `completions` and the like.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()?;
        Ok(())
    }

    /// Talk: on stderr, and not with `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{}", clean_line(text));
        }
    }

    pub(crate) fn warn(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "warning: {}", clean_line(text));
    }

    /// An error, in words or as JSON, on stderr.
    pub(crate) fn error(format: Format, verbose: bool, error: &CliError) {
        let mut err = std::io::stderr().lock();
        // Nobody may read it; there is nothing else to do about that.
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

    /// There is somebody to ask.
    pub(crate) fn can_ask(&self) -> bool {
        !self.no_input && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks on a terminal; elsewhere `--yes` must have been said.
    pub(crate) fn confirm(&self, question: &str) -> Result<bool, CliError> {
        let stdin = std::io::stdin();
        if !self.can_ask() {
            return Err(CliError::usage("this changes more than one thing")
                .cause(question.to_owned())
                .hint("`--yes` does it; `--dry-run` shows what it would do"));
        }
        let mut err = std::io::stderr().lock();
        write!(err, "{} y/N ", clean_line(question))?;
        err.flush()?;
        let mut answer = String::new();
        stdin.read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

fn no_field(field: &str, names: &[impl AsRef<str>]) -> CliError {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let hint = match nearest(field, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", names.join(", ")),
    };
    CliError::usage(format!("there is no field `{field}` here")).hint(hint)
}

/// All names that values of the API have.
fn api_fields() -> BTreeSet<String> {
    let api: Value = serde_json::from_str(&orx_api::openapi_json()).unwrap_or_default();
    let mut names = BTreeSet::new();
    let mut inside = vec![&api["components"]["schemas"]];
    while let Some(value) = inside.pop() {
        match value {
            Value::Object(all) => {
                if let Some(Value::Object(properties)) = all.get("properties") {
                    names.extend(properties.keys().cloned());
                }
                inside.extend(all.values());
            }
            Value::Array(all) => inside.extend(all),
            _ => {}
        }
    }
    names
}

/// In columns. `columns` is what the environment says of it.
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
