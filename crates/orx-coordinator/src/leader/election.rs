//! Decides when to ask the store for the lease, and how long to trust its answer, without I/O.
//!
//! The store holds the lease, on the store's clock. A node trusts it until its end less a margin,
//! counted on its own monotonic clock from when it *asked*, so a slow answer buys no time. A node that was
//! suspended for longer notices before it acts, and the store refuses the writes of an old term.

use std::time::Duration;

use orx_model::Incarnation;
use orx_store::{Lead, LeadRequest, Term};

use crate::Settings;

/// Pause after a request without an answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// A follower asks at least this often: the notification of a leader's end may be lost.
const FOLLOW: Duration = Duration::from_secs(5);
/// A leader that stepped down lets the other nodes lead for this long.
const STAND_BACK: Duration = Duration::from_secs(10);
/// A follower asks this long after the end of the leader's lease, so that the store finds it expired.
const AFTER_END: Duration = Duration::from_millis(50);

/// The lease, as the newest answer of the store shows it to this node.
#[derive(Debug)]
pub(crate) struct Election {
    node: Incarnation,
    settings: Settings,
    role: Role,
    /// When to ask next, on the monotonic clock.
    ask_at: Duration,
    /// The highest known epoch.
    highest_epoch: u64,
    /// Not to ask before this, on the monotonic clock.
    stands_back_until: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Following { leader: Option<Term> },
    Leading { term: Term, until: Duration },
}

/// The change that an answer of the store made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// This node leads in a new term, and has to read workers and attempts first.
    Won(Term),
    /// This node leads no longer.
    Lost,
    /// Nothing.
    Same,
}

impl Election {
    /// A follower that asks at once.
    #[must_use]
    pub(crate) fn new(node: Incarnation, settings: Settings) -> Self {
        let role = Role::Following { leader: None };
        Self {
            node,
            settings,
            role,
            ask_at: Duration::ZERO,
            highest_epoch: 0,
            stands_back_until: Duration::ZERO,
        }
    }

    /// When to ask the store, on the monotonic clock.
    #[must_use]
    pub(crate) fn ask_at(&self) -> Duration {
        self.ask_at
    }

    /// The leader may have changed: asks at once.
    pub(crate) fn ask_now(&mut self, now: Duration) {
        self.ask_at = self.ask_at.min(now.max(self.stands_back_until));
    }

    /// The request for the lease.
    #[must_use]
    pub(crate) fn request(&self) -> LeadRequest {
        LeadRequest { node: self.node, ttl: self.settings.leader_lease, above: self.highest_epoch }
    }

    /// The term in which this node leads, while it may trust that.
    #[must_use]
    pub(crate) fn leads(&self, now: Duration) -> Option<Term> {
        match self.role {
            Role::Leading { term, until } if now < until => Some(term),
            Role::Leading { .. } | Role::Following { .. } => None,
        }
    }

    /// Until when the own term may be trusted, on the monotonic clock.
    #[must_use]
    pub(crate) fn trusted_until(&self) -> Option<Duration> {
        match self.role {
            Role::Leading { until, .. } => Some(until),
            Role::Following { .. } => None,
        }
    }

    /// The term of the leader, by the newest answer of the store.
    #[must_use]
    pub(crate) fn leader(&self, now: Duration) -> Option<Term> {
        match self.role {
            Role::Leading { .. } => self.leads(now),
            Role::Following { leader } => leader,
        }
    }

    /// Takes over the answer to a request that was sent at `asked_at`.
    pub(crate) fn answered(&mut self, asked_at: Duration, now: Duration, answer: Lead) -> Turn {
        let before = self.role;
        match answer {
            Lead::Leading(term) => {
                self.highest_epoch = self.highest_epoch.max(term.epoch);
                let until = asked_at
                    + self.settings.leader_lease.saturating_sub(self.settings.leader_margin);
                self.role = Role::Leading { term, until };
                self.ask_at = asked_at + self.settings.leader_renew;
                match before {
                    // A node whose trust ended has followed since, though the store did not end its lease.
                    Role::Leading { term: same, until } if same == term && now < until => {
                        Turn::Same
                    }
                    Role::Leading { .. } | Role::Following { .. } => Turn::Won(term),
                }
            }
            Lead::Following { leader, left } => {
                self.highest_epoch = self.highest_epoch.max(leader.epoch);
                self.role = Role::Following { leader: Some(leader) };
                self.ask_at = now + (left + AFTER_END).min(FOLLOW);
                match before {
                    Role::Leading { .. } => Turn::Lost,
                    Role::Following { .. } => Turn::Same,
                }
            }
            Lead::Barred => {
                self.role = Role::Following { leader: None };
                self.ask_at = now + FOLLOW;
                match before {
                    Role::Leading { .. } => Turn::Lost,
                    Role::Following { .. } => Turn::Same,
                }
            }
        }
    }

    /// The store did not answer. A trusted term stays trusted until its time.
    pub(crate) fn unanswered(&mut self, now: Duration) {
        self.ask_at = now + ASK_AGAIN;
    }

    /// The node steps down: it follows, and lets others lead for a while.
    pub(crate) fn stand_back(&mut self, now: Duration) {
        self.role = Role::Following { leader: None };
        self.stands_back_until = now + STAND_BACK;
        self.ask_at = self.stands_back_until;
    }

    /// The store refused a write of this term, or the node gave it back.
    pub(crate) fn over(&mut self, now: Duration) {
        self.role = Role::Following { leader: None };
        self.ask_at = now + ASK_AGAIN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Incarnation = Incarnation(1);
    const OTHER: Incarnation = Incarnation(2);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn term(node: Incarnation, epoch: u64) -> Term {
        Term { node, epoch }
    }

    fn won() -> Election {
        let mut election = Election::new(ME, Settings::default());
        let answer = Lead::Leading(term(ME, 5));
        assert_eq!(election.answered(at(0), at(2), answer), Turn::Won(term(ME, 5)));
        election
    }

    #[test]
    fn a_lease_is_trusted_from_its_request_until_a_margin_before_its_end() {
        let election = won();
        assert_eq!(election.leads(at(24)), Some(term(ME, 5)));
        assert_eq!(election.leads(at(25)), None);
        assert_eq!(election.ask_at(), at(10));
    }

    #[test]
    fn a_leader_that_steps_down_lets_others_lead_for_a_while_whatever_wakes_it() {
        let mut election = won();
        election.stand_back(at(3));
        assert_eq!((election.leads(at(3)), election.trusted_until()), (None, None));
        election.ask_now(at(4));
        assert_eq!(election.ask_at(), at(13));
        election.ask_now(at(14));
        assert_eq!(election.ask_at(), at(13));
    }

    #[test]
    fn a_renewal_goes_on_with_the_same_term_and_a_new_epoch_begins_anew() {
        let mut election = won();
        assert_eq!(election.answered(at(10), at(10), Lead::Leading(term(ME, 5))), Turn::Same);
        assert_eq!(election.leads(at(34)), Some(term(ME, 5)));
        // The node was suspended until its lease expired, and no other node claimed the lease.
        let again = Lead::Leading(term(ME, 6));
        assert_eq!(election.answered(at(90), at(90), again), Turn::Won(term(ME, 6)));
    }

    #[test]
    fn a_lease_that_is_renewed_after_the_trust_in_it_ended_begins_anew() {
        let mut election = won();
        // The store did not answer for a while, and still holds the lease.
        election.unanswered(at(24));
        assert_eq!(election.leads(at(26)), None);
        let renewed = Lead::Leading(term(ME, 5));
        assert_eq!(election.answered(at(26), at(26), renewed), Turn::Won(term(ME, 5)));
        assert_eq!(election.leads(at(26)), Some(term(ME, 5)));
        // An answer that is too late to be trusted at all also begins a new term at this node.
        let mut election = Election::new(ME, Settings::default());
        assert_eq!(election.answered(at(0), at(27), renewed), Turn::Won(term(ME, 5)));
        assert_eq!(election.leads(at(27)), None);
        assert_eq!(election.answered(at(28), at(28), renewed), Turn::Won(term(ME, 5)));
    }

    #[test]
    fn a_node_that_may_not_lead_follows_and_asks_who_leads() {
        let mut election = won();
        assert_eq!(election.answered(at(26), at(26), Lead::Barred), Turn::Lost);
        assert_eq!((election.leads(at(26)), election.ask_at()), (None, at(26) + FOLLOW));
        assert_eq!(election.answered(at(31), at(31), Lead::Barred), Turn::Same);
        let answer = Lead::Following { leader: term(OTHER, 6), left: at(30) };
        assert_eq!(election.answered(at(32), at(32), answer), Turn::Same);
        assert_eq!(election.leader(at(32)), Some(term(OTHER, 6)));
    }

    #[test]
    fn a_follower_asks_when_the_lease_of_the_leader_ends() {
        let mut election = Election::new(ME, Settings::default());
        let answer = Lead::Following { leader: term(OTHER, 9), left: at(2) };
        assert_eq!(election.answered(at(0), at(1), answer), Turn::Same);
        assert_eq!(election.ask_at(), at(3) + AFTER_END);
        assert_eq!((election.leads(at(1)), election.leader(at(1))), (None, Some(term(OTHER, 9))));
        // The next epoch has to be above this one, even if the store lost its own record of it.
        assert_eq!(election.request().above, 9);
    }

    #[test]
    fn a_replaced_leader_follows() {
        let mut election = won();
        let answer = Lead::Following { leader: term(OTHER, 6), left: at(30) };
        assert_eq!(election.answered(at(10), at(10), answer), Turn::Lost);
        assert_eq!(election.leads(at(10)), None);
    }

    #[test]
    fn a_renewal_that_is_answered_when_the_trust_ends_begins_anew() {
        let mut election = won();
        let renewed = Lead::Leading(term(ME, 5));
        assert_eq!(election.answered(at(20), at(25), renewed), Turn::Won(term(ME, 5)));
    }

    #[test]
    fn a_node_asks_at_once_when_the_leader_may_have_changed() {
        let mut election = won();
        election.ask_now(at(3));
        assert_eq!(election.ask_at(), at(3));
        // It asks no later for being asked again.
        election.ask_now(at(4));
        assert_eq!(election.ask_at(), at(3));
    }

    #[test]
    fn a_leader_whose_write_was_refused_asks_after_a_pause() {
        let mut election = won();
        election.over(at(7));
        assert_eq!((election.ask_at(), election.leader(at(7))), (at(8), None));
    }

    #[test]
    fn an_unanswered_request_is_repeated_and_changes_nothing_until_the_trust_ends() {
        let mut election = won();
        election.unanswered(at(20));
        assert_eq!(election.ask_at(), at(21));
        assert_eq!(election.leads(at(24)), Some(term(ME, 5)));
        election.over(at(24));
        assert_eq!(election.leads(at(24)), None);
    }
}
