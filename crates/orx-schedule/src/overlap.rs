//! Decides what a slot does while earlier runs have not ended.

use orx_model::schedule::{Overlap, SkipReason};

use crate::catch_up::DueSlot;

/// The runs of a schedule that have not ended when a slot is fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PreviousRuns {
    /// All runs have ended.
    #[default]
    Ended,
    /// One run is live or about to start.
    Running,
    /// One run waits for the run before it.
    Waiting,
}

/// The action for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Create its job, due at once.
    Run,
    /// Create its job, which waits for the newest run that has not ended.
    Wait,
    /// Cancel every run that has not ended, and create its job, which waits for their ends.
    CancelThenRun,
    /// Create no job.
    Skip(SkipReason),
}

/// The actions for the slots of one [`super::CatchUpPlan`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decisions {
    /// The actions, in the order of the plan.
    pub slots: Vec<(DueSlot, Decision)>,
    /// Whether the last allowed run was created: later slots are not due.
    pub ended: bool,
}

/// The action for one slot, given the runs before it.
#[must_use]
pub fn decide(overlap: Overlap, before: PreviousRuns) -> Decision {
    match (overlap, before) {
        (_, PreviousRuns::Ended) | (Overlap::Allow, _) => Decision::Run,
        (Overlap::Skip, PreviousRuns::Running | PreviousRuns::Waiting) => {
            Decision::Skip(SkipReason::Overlap)
        }
        (Overlap::QueueOne, PreviousRuns::Running) => Decision::Wait,
        (Overlap::QueueOne, PreviousRuns::Waiting) => Decision::Skip(SkipReason::OneWaits),
        (Overlap::CancelOld, PreviousRuns::Running | PreviousRuns::Waiting) => {
            Decision::CancelThenRun
        }
    }
}

/// The action for every slot of a plan. `runs_left` is how many runs the schedule may still create; `None`
/// is without limit.
///
/// Unless runs may overlap, each slot that is caught up waits for the one before it, and so does a slot that
/// is due at that moment. Otherwise `all` would run one of them and skip or cancel the rest.
#[must_use]
pub fn decide_all(
    overlap: Overlap,
    firings: &[DueSlot],
    mut before: PreviousRuns,
    mut runs_left: Option<u64>,
) -> Decisions {
    let mut decided = Decisions { ended: runs_left == Some(0), ..Decisions::default() };
    let mut after_caught_up = false;
    for firing in firings {
        if decided.ended {
            break;
        }
        let decision = match (after_caught_up, overlap) {
            (true, Overlap::Skip | Overlap::QueueOne | Overlap::CancelOld) => Decision::Wait,
            (true, Overlap::Allow) | (false, _) => decide(overlap, before),
        };
        decided.slots.push((*firing, decision));
        if let Decision::Skip(_) = decision {
            continue;
        }
        after_caught_up = firing.caught_up;
        before = match decision {
            Decision::Wait => PreviousRuns::Waiting,
            Decision::Run | Decision::CancelThenRun | Decision::Skip(_) => PreviousRuns::Running,
        };
        runs_left = runs_left.map(|left| left - 1);
        decided.ended = runs_left == Some(0);
    }
    decided
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use orx_model::Timestamp;

    fn firings(caught_up: &[bool]) -> Vec<DueSlot> {
        let at = |place: usize| Timestamp::from_millis(place as i64 * 60_000);
        let firing = |(place, caught_up): (usize, &bool)| DueSlot {
            slot: at(place),
            fire_at: at(place),
            caught_up: *caught_up,
        };
        caught_up.iter().enumerate().map(firing).collect()
    }

    fn shown(
        overlap: Overlap,
        caught_up: &[bool],
        before: PreviousRuns,
        left: Option<u64>,
    ) -> String {
        let decided = decide_all(overlap, &firings(caught_up), before, left);
        let all: Vec<String> = decided.slots.iter().map(|(_, d)| format!("{d:?}")).collect();
        format!("{overlap}: {}{}", all.join(", "), if decided.ended { ", the end" } else { "" })
    }

    #[test]
    fn each_overlap_after_each_run() {
        let mut table = Vec::new();
        for overlap in Overlap::ALL {
            let row = [PreviousRuns::Ended, PreviousRuns::Running, PreviousRuns::Waiting]
                .map(|before| format!("{:?}", decide(overlap, before)));
            table.push(format!("{overlap}: {}", row.join(", ")));
        }
        insta::assert_snapshot!(table.join("\n"), @r"
        skip: Run, Skip(Overlap), Skip(Overlap)
        allow: Run, Run, Run
        queue-one: Run, Wait, Skip(OneWaits)
        cancel-old: Run, CancelThenRun, CancelThenRun
        ");
    }

    #[test]
    fn what_is_caught_up_runs_one_after_another_unless_overlap_is_allowed() {
        let rows = Overlap::ALL.map(|o| shown(o, &[true, true, false], PreviousRuns::Ended, None));
        insta::assert_snapshot!(rows.join("\n"), @r"
        skip: Run, Wait, Wait
        allow: Run, Run, Run
        queue-one: Run, Wait, Wait
        cancel-old: Run, Wait, Wait
        ");
        let rows =
            Overlap::ALL.map(|o| shown(o, &[true, true, false], PreviousRuns::Running, None));
        insta::assert_snapshot!(rows.join("\n"), @r"
        skip: Skip(Overlap), Skip(Overlap), Skip(Overlap)
        allow: Run, Run, Run
        queue-one: Wait, Wait, Wait
        cancel-old: CancelThenRun, Wait, Wait
        ");
        let rows =
            Overlap::ALL.map(|o| shown(o, &[false, false, false], PreviousRuns::Ended, None));
        insta::assert_snapshot!(rows.join("\n"), @r"
        skip: Run, Skip(Overlap), Skip(Overlap)
        allow: Run, Run, Run
        queue-one: Run, Wait, Skip(OneWaits)
        cancel-old: Run, CancelThenRun, CancelThenRun
        ");
    }

    #[test]
    fn after_the_last_run_nothing_is_due() {
        assert_eq!(
            shown(Overlap::Allow, &[true, true, false], PreviousRuns::Ended, Some(2)),
            "allow: Run, Run, the end"
        );
        assert_eq!(
            shown(Overlap::Skip, &[false, false], PreviousRuns::Running, Some(1)),
            "skip: Skip(Overlap), Skip(Overlap)",
            "a slot that is skipped is no run"
        );
        assert_eq!(shown(Overlap::Skip, &[false], PreviousRuns::Ended, Some(0)), "skip: , the end");
    }

    proptest! {
        /// At most one run at a time unless allowed, and never more than are left.
        #[test]
        fn runs_are_side_by_side_only_where_allowed(
            overlap in prop::sample::select(Overlap::ALL.to_vec()),
            caught_up in 0_usize..6, on_time in 0_usize..4, left in prop::option::of(0_u64..8),
            before in prop::sample::select(vec![PreviousRuns::Ended, PreviousRuns::Running, PreviousRuns::Waiting]),
        ) {
            let mut all = vec![true; caught_up];
            all.resize(caught_up + on_time, false);
            let decided = decide_all(overlap, &firings(&all), before, left);
            let mut going = u32::from(before != PreviousRuns::Ended);
            let mut made = 0;
            for (_, decision) in &decided.slots {
                match decision {
                    Decision::Run => going += 1,
                    Decision::CancelThenRun => going = 1,
                    Decision::Wait => prop_assert!(going > 0),
                    Decision::Skip(_) => continue,
                }
                made += 1;
                prop_assert!(going <= 1 || overlap == Overlap::Allow);
            }
            prop_assert!(left.is_none_or(|left| made <= left));
            prop_assert_eq!(decided.ended, left == Some(made));
            if !decided.ended {
                prop_assert_eq!(decided.slots.len(), all.len());
            }
            // Without an earlier run, every slot that is caught up runs.
            if before == PreviousRuns::Ended && left.is_none() {
                prop_assert!(made >= caught_up as u64);
            }
        }
    }
}
