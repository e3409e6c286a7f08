//! What a shard counts, since its start.

use std::cell::RefCell;
use std::time::Duration;

use weeziq_core::metrics::Histogram;

#[derive(Clone)]
pub(crate) struct Counters {
    /// What clients said, by kind.
    pub(crate) events: Tally,
    /// What was refused of it unhandled, by code.
    pub(crate) refused: Tally,
    /// Connections that began, by transport.
    pub(crate) connected: Tally,
    /// Connections that we closed, by why.
    pub(crate) closed: Tally,
    /// Events times the members who were told them.
    pub(crate) deliveries: u64,
    /// To one connection alone: acknowledgements, histories, answers.
    pub(crate) replies: u64,
    /// Frames that were not sent, by why.
    pub(crate) dropped: Tally,
    /// How those who came back and said where they stood went on.
    pub(crate) resumed: Tally,
    /// The same of Socket.IO's connection state recovery.
    pub(crate) recovered: Tally,
    /// Questions to models, by provider.
    pub(crate) asked: Tally,
    pub(crate) turns: u64,
    /// In which the loop did not wait for anything to happen.
    pub(crate) busy: Duration,
    pub(crate) commits: Histogram,
    pub(crate) syncs: Histogram,
    pub(crate) commits_failed: u64,
}

impl Default for Counters {
    /// What may be alarmed at is told as zero before it happens: of a number that appears as 1 nobody sees that it rose.
    fn default() -> Self {
        Self {
            events: Tally::default(),
            refused: Tally::default(),
            connected: Tally::default(),
            closed: Tally::knowing(&["too-slow", "policy"]),
            deliveries: 0,
            replies: 0,
            dropped: Tally::knowing(&["slow-reader"]),
            resumed: Tally::knowing(&["resumed", "history"]),
            recovered: Tally::knowing(&["recovered", "afresh"]),
            asked: Tally::default(),
            turns: 0,
            busy: Duration::ZERO,
            commits: Histogram::default(),
            syncs: Histogram::default(),
            commits_failed: 0,
        }
    }
}

/// Counts by name. There are few names, and the frequent ones come first because they were first.
#[derive(Clone, Default)]
pub(crate) struct Tally(Vec<(&'static str, u64)>);

impl Tally {
    fn knowing(names: &[&'static str]) -> Self {
        Self(names.iter().map(|name| (*name, 0)).collect())
    }

    pub(crate) fn add(&mut self, name: &'static str, n: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += n,
            None => self.0.push((name, n)),
        }
    }

    pub(crate) fn one(&mut self, name: &'static str) {
        self.add(name, 1);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(name, count)| self.add(name, *count));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied()
    }
}

thread_local! {
    /// Of this thread, which is a shard: so what happens deep inside a socket or a queue is counted where it happens, without
    /// a lock and without being handed through all that lies between.
    static HERE: RefCell<Counters> = RefCell::default();
}

pub(crate) fn count(what: impl FnOnce(&mut Counters)) {
    HERE.with_borrow_mut(what);
}

/// What this thread has counted.
pub(crate) fn counted() -> Counters {
    HERE.with_borrow(Counters::clone)
}
