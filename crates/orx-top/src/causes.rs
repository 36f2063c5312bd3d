//! Groups dead letters by their cause: the same error of the same kind of job, whatever numbers are in it.

use std::collections::BTreeMap;

use orx_model::text::{clean_line, truncate_cells};
use orx_model::wire::DeadLetter;

use crate::columns::Cause;

/// Cells of a cause.
const CELLS: usize = 120;

/// The cause of a dead letter: the first line of its error, with numbers and ids left out.
pub(crate) fn cause_of(letter: &DeadLetter) -> String {
    let error = letter.job.state.error.as_deref().unwrap_or_default();
    let line = error.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return letter.reason.as_str().replace('_', " ");
    }
    let line = clean_line(line);
    let words = line.split(' ').map(|word| {
        let digits = word.chars().filter(char::is_ascii_digit).count();
        // `exit 1` is a cause; `14233`, `7f3a9c` and `10:42:07` are of one case.
        if digits > 3 || (digits > 0 && word.len() >= 8) { "#" } else { word }
    });
    truncate_cells(&words.collect::<Vec<_>>().join(" "), CELLS, true).into_owned()
}

/// The causes, the most frequent first.
pub(crate) fn causes(letters: &[DeadLetter]) -> Vec<Cause> {
    let mut groups: BTreeMap<(String, String), Vec<&DeadLetter>> = BTreeMap::new();
    for letter in letters {
        let name = letter.job.spec.name.to_string();
        groups.entry((cause_of(letter), name)).or_default().push(letter);
    }
    let group = |((cause, name), letters): ((String, String), Vec<&DeadLetter>)| {
        let (first, last) = (
            letters.iter().map(|letter| letter.at).min().unwrap_or_default(),
            letters.iter().map(|letter| letter.at).max().unwrap_or_default(),
        );
        let queue = letters.first().map(|letter| letter.job.spec.queue.to_string());
        Cause { count: letters.len(), cause, name, queue: queue.unwrap_or_default(), last, first }
    };
    let mut causes: Vec<Cause> = groups.into_iter().map(group).collect();
    causes.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| b.last.cmp(&a.last)));
    causes
}

/// The key of a group in its list.
pub(crate) fn key(cause: &Cause) -> String {
    format!("{}\n{}", cause.name, cause.cause)
}

/// The letters of the groups with these keys.
pub(crate) fn letters_of<'a>(
    letters: &'a [DeadLetter],
    keys: &std::collections::BTreeSet<String>,
) -> Vec<&'a DeadLetter> {
    let of = |letter: &&DeadLetter| {
        keys.contains(&format!("{}\n{}", letter.job.spec.name, cause_of(letter)))
    };
    letters.iter().filter(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::letter;

    #[test]
    fn the_same_error_with_other_numbers_is_the_same_cause() {
        let letters = [
            letter(1, "exit 1: frame 10042 of clip-20260131.mp4"),
            letter(2, "exit 1: frame 99120 of clip-20260201.mp4"),
            letter(3, "exit 2: moov atom not found"),
        ];
        let causes = causes(&letters);
        let shown: Vec<_> = causes.iter().map(|one| (one.count, one.cause.as_str())).collect();
        assert_eq!(shown, [(2, "exit 1: frame # of #"), (1, "exit 2: moov atom not found")]);
        let keys = [key(&causes[0])].into();
        assert_eq!(letters_of(&letters, &keys).len(), 2);
    }
}
