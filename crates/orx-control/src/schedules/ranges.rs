//! Splits ranges of the ledger when some of their slots run.

use orx_model::Timestamp;
use orx_model::schedule::Slot;
use orx_schedule::{CatchUpRule, Timing};

/// The rows for the rest of each range of the ledger of which some slots are in `wanted`: the older
/// slots, at the place of the range, and the newer ones.
pub(super) fn rest_of_ranges(timing: &Timing, ledger: &[Slot], wanted: &[Timestamp]) -> Vec<Slot> {
    let mut rows = Vec::new();
    for range in ledger {
        let Some(last) = range.last else { continue };
        let from = wanted.partition_point(|slot| *slot < range.slot);
        let to = wanted.partition_point(|slot| *slot <= last);
        if let [first, ..] = wanted[from..to] {
            let newest = wanted[to - 1];
            rows.extend(split(timing, range, last, (first, newest), (to - from) as u64));
        }
    }
    rows
}

/// A range without the `taken` slots from `first` to `newest`.
fn split(
    timing: &Timing,
    range: &Slot,
    last: Timestamp,
    (first, newest): (Timestamp, Timestamp),
    taken: u64,
) -> Vec<Slot> {
    let mut rows = Vec::new();
    let mut older = 0;
    if range.slot < first {
        let (mut end, mut exact) = (range.slot, true);
        older = 1;
        while let Some(slot) = timing.next_after(end).filter(|slot| *slot < first) {
            if older >= CatchUpRule::COUNT_MAX {
                (end, exact) = (Timestamp::from_millis(first.as_millis() - 1), false);
                break;
            }
            (end, older) = (slot, older + 1);
        }
        let last = (end != range.slot).then_some(end);
        rows.push(Slot { last, count: older, exact, ..*range });
    }
    if let Some(slot) = timing.next_after(newest).filter(|slot| *slot <= last) {
        let count = range.count.saturating_sub(older + taken).max(1);
        rows.push(Slot { slot, last: (slot != last).then_some(last), count, ..*range });
    }
    rows
}

#[cfg(test)]
mod tests {
    use orx_model::schedule::SlotOutcome;
    use orx_schedule::{DueRule, NamedZone};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn range(first: i64, last: i64, count: u64) -> Slot {
        Slot {
            slot: at(first),
            last: Some(at(last)),
            count,
            exact: true,
            outcome: SlotOutcome::Missed,
            recorded_at: at(1_000_000),
        }
    }

    fn left(ledger: &[Slot], wanted: &[i64]) -> Vec<(i64, i64, u64)> {
        let timing =
            Timing::new(DueRule::Interval { every_ms: 10_000, offset_ms: 0 }, NamedZone::default());
        let wanted: Vec<Timestamp> = wanted.iter().map(|seconds| at(*seconds)).collect();
        let rows = rest_of_ranges(&timing, ledger, &wanted);
        let seconds = |at: Timestamp| at.as_millis() / 1_000;
        rows.iter()
            .map(|row| (seconds(row.slot), seconds(row.last.unwrap_or(row.slot)), row.count))
            .collect()
    }

    #[test]
    fn slots_that_run_leave_each_other_slot_of_their_range_in_one_row() {
        let ten = [range(100, 190, 10)];
        assert_eq!(left(&ten, &[]), []);
        assert_eq!(left(&ten, &[80, 90]), []);
        assert_eq!(left(&ten, &[90, 100, 110]), [(120, 190, 8)]);
        assert_eq!(left(&ten, &[130]), [(100, 120, 3), (140, 190, 6)]);
        assert_eq!(left(&ten, &[110, 120, 130]), [(100, 100, 1), (140, 190, 6)]);
        assert_eq!(left(&ten, &[180, 190, 200]), [(100, 170, 8)]);
        let all: Vec<i64> = (100..200).step_by(10).collect();
        assert_eq!(left(&ten, &all), []);
        let two = [range(200, 290, 10), range(100, 190, 10)];
        assert_eq!(left(&two, &[180, 190, 200]), [(210, 290, 9), (100, 170, 8)]);
    }

    #[test]
    fn the_older_part_of_a_range_is_counted_up_to_a_bound() {
        let first = i64::try_from(CatchUpRule::COUNT_MAX).expect("a number") * 20 + 100;
        let long = [Slot { exact: false, ..range(100, first + 1_000, CatchUpRule::COUNT_MAX) }];
        assert_eq!(
            left(&long, &[first]),
            [(100, first - 1, CatchUpRule::COUNT_MAX), (first + 10, first + 1_000, 1)]
        );
    }
}
