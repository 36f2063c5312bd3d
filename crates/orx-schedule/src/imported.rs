//! Repeated imports: matches the lines of a crontab with the schedules of earlier imports.
//!
//! An import owns the schedules it created: each stores the source, the line, and a digest of what was
//! written ([`Imported`]). [`reconcile`] finds the current line of each schedule, also where lines moved,
//! were edited or removed. It decides and changes nothing.

use std::collections::BTreeSet;

use orx_model::Name;
use orx_model::schedule::{Imported, ScheduleSpec};

use crate::crontab::CrontabEntry;
use crate::timing::{hash, mix};

/// Checks the length and characters of the import's texts; the error is in words.
pub(crate) fn check(imported: &Imported) -> Result<(), String> {
    for text in [&imported.source, &imported.key, &imported.fingerprint] {
        if text.len() > Imported::TEXT_BYTES || text.chars().any(char::is_control) {
            let most = Imported::TEXT_BYTES;
            return Err(format!("expected texts of at most {most} bytes in one line"));
        }
    }
    Ok(())
}

/// The name of the program that a key begins with.
pub(crate) fn program_of(key: &str) -> &str {
    key.rsplit_once('-').map_or(key, |(program, _)| program)
}

/// Digest of a schedule without its import source.
#[must_use]
pub fn fingerprint(spec: &ScheduleSpec) -> String {
    let bare = ScheduleSpec { imported: None, ..spec.clone() };
    let text = serde_json::to_string(&bare).unwrap_or_default();
    format!("{:016x}", mix(hash(text.as_bytes())))
}

/// Whether it was changed after its import.
#[must_use]
pub fn is_edited(spec: &ScheduleSpec) -> bool {
    spec.imported.as_ref().is_some_and(|imported| imported.fingerprint != fingerprint(spec))
}

/// An existing schedule.
#[derive(Debug, Clone, Copy)]
pub struct ExistingSchedule<'a> {
    /// The schedule; its secrets may be masked.
    pub spec: &'a ScheduleSpec,
    /// Its version.
    pub version: u64,
    /// The result of [`is_edited`] on the unmasked schedule.
    pub edited: bool,
}

/// The decision on a line, or on a schedule whose line was removed.
#[derive(Debug, Clone)]
pub struct ImportStep {
    /// The line; `None` where it was removed.
    pub line: Option<usize>,
    /// The schedule to write; the existing one where its line was removed.
    pub spec: ScheduleSpec,
    /// The version of the existing schedule.
    pub version: Option<u64>,
    /// The action.
    pub what: ImportAction,
}

/// The action of an import on a line or an earlier schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportAction {
    /// Create the schedule, or change it to match the line.
    Write,
    /// The schedule was changed and its line was not: it stays.
    Edited,
    /// The schedule and its line were both changed.
    Conflict,
    /// A schedule with this id exists that no import created.
    Stranger,
    /// A schedule with this id exists that another source created.
    Foreign,
    /// The line was removed.
    Gone,
    /// The line was removed, and the schedule was changed.
    GoneEdited,
}

/// Compares a crontab with the existing schedules: one step for each line, then the removed ones.
#[must_use]
pub fn reconcile(
    entries: Vec<CrontabEntry>,
    source: &str,
    there: &[ExistingSchedule<'_>],
) -> Vec<ImportStep> {
    let mut owned: Vec<(ExistingSchedule<'_>, &Imported)> = there
        .iter()
        .filter_map(|one| Some((*one, one.spec.imported.as_ref()?)))
        .filter(|(_, imported)| imported.source == source)
        .collect();
    owned.sort_by_key(|(_, imported)| imported.line);
    let matched = matches(&entries, &owned);
    let mut ids: BTreeSet<Name> = owned.iter().map(|(there, _)| there.spec.id.clone()).collect();
    let mut steps = Vec::new();
    for (entry, place) in entries.into_iter().zip(&matched) {
        let before = place.map(|place| owned[place]);
        let id = match before {
            Some((there, _)) => there.spec.id.clone(),
            None => free(&entry.spec.id, &ids),
        };
        ids.insert(id.clone());
        let line = Some(entry.line);
        let spec = entry.written(id, source);
        let (version, what) = match before {
            Some((there, imported)) => {
                let same =
                    spec.imported.as_ref().is_some_and(|it| it.fingerprint == imported.fingerprint);
                let what = match (there.edited, same) {
                    (false, _) => ImportAction::Write,
                    (true, true) => ImportAction::Edited,
                    (true, false) => ImportAction::Conflict,
                };
                (Some(there.version), what)
            }
            None => match there.iter().find(|one| one.spec.id == spec.id) {
                None => (None, ImportAction::Write),
                Some(one) if one.spec.imported.is_none() => {
                    (Some(one.version), ImportAction::Stranger)
                }
                Some(one) => (Some(one.version), ImportAction::Foreign),
            },
        };
        steps.push(ImportStep { line, spec, version, what });
    }
    let left = (0..owned.len()).filter(|place| !matched.contains(&Some(*place)));
    steps.extend(left.map(|place| {
        let (there, _) = owned[place];
        let what = if there.edited { ImportAction::GoneEdited } else { ImportAction::Gone };
        ImportStep { line: None, spec: there.spec.clone(), version: Some(there.version), what }
    }));
    steps
}

/// For each entry, the index of its earlier schedule.
fn matches(
    entries: &[CrontabEntry],
    owned: &[(ExistingSchedule<'_>, &Imported)],
) -> Vec<Option<usize>> {
    type Same = fn(&CrontabEntry, &ScheduleSpec, &Imported) -> bool;
    fn when(entry: &CrontabEntry, spec: &ScheduleSpec) -> bool {
        entry.spec.timing == spec.timing && entry.spec.zone == spec.zone
    }
    fn line(entry: &CrontabEntry, imported: &Imported) -> bool {
        entry.line as u64 == imported.line
    }
    fn program(entry: &CrontabEntry, imported: &Imported) -> bool {
        entry.program() == program_of(&imported.key)
    }
    // The surest match first: several lines with one command keep their own times.
    const SAME: [Same; 6] = [
        |entry, spec, old| entry.key == old.key && when(entry, spec) && line(entry, old),
        |entry, spec, old| entry.key == old.key && when(entry, spec),
        |entry, _, old| entry.key == old.key,
        |entry, spec, old| program(entry, old) && when(entry, spec),
        |entry, _, old| program(entry, old) && line(entry, old),
        // An edited schedule keeps its id, and a line may return to an earlier text.
        |entry, spec, _| entry.spec.id == spec.id,
    ];
    let mut found: Vec<Option<usize>> = vec![None; entries.len()];
    let mut free: BTreeSet<usize> = (0..owned.len()).collect();
    for same in SAME {
        for (entry, found) in entries.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
            let is = |place: &usize| same(entry, owned[*place].0.spec, owned[*place].1);
            *found = free.iter().copied().find(is);
            if let Some(place) = found {
                free.remove(place);
            }
        }
    }
    // A line that moved and was edited, where the match is unique.
    for at in 0..entries.len() {
        let alike = |other: &CrontabEntry| other.program() == entries[at].program();
        let others = entries.iter().zip(&found).filter(|(it, found)| found.is_none() && alike(it));
        let mut left = free.iter().filter(|place| program(&entries[at], owned[**place].1));
        if let (None, 1, Some(place), None) =
            (found[at], others.count(), left.next().copied(), left.next())
        {
            found[at] = Some(place);
            free.remove(&place);
        }
    }
    found
}

/// An id that no other line uses.
fn free(wanted: &Name, taken: &BTreeSet<Name>) -> Name {
    let mut id = wanted.clone();
    let mut number = 1;
    while taken.contains(&id) {
        number += 1;
        id = Name::from_any(&format!("{wanted}-{number}"));
    }
    id
}
