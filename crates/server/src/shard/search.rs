//! Searching what was said in the rooms of this shard. The index reads the log behind the shard's back, some milliseconds
//! each second, and the rest when somebody searches.

use std::time::{Duration, Instant};

use weeziq_core::Caller;
use weeziq_core::inbox::search::SearchQuery;
use weeziq_core::protocol::event::Event;
use weeziq_core::store::search as rows;

use super::Shard;

pub(super) const SEARCH_TICK: Duration = Duration::from_millis(5);
/// Nobody else in the shard waits longer than this for the index to read on, and as long again for what is found to be put in
/// order. What is not read by then is said to be missing; what is not in order is not told.
const SEARCH_PATIENCE: Duration = Duration::from_millis(250);

impl Shard {
    pub(super) fn search(&mut self, caller: Caller, query: &SearchQuery) {
        let is_partial = !self.follow_log(SEARCH_PATIENCE);
        match self.store.read_within(SEARCH_PATIENCE, |store| rows::find(store, query)) {
            Ok(Some(messages)) => self.answer(caller, Event::FoundHere { messages, is_partial }),
            Ok(None) => self.answer(caller, Event::error(&SearchQuery::finds_too_much(), self.now)),
            Err(error) => {
                self.pending.callers.push(caller);
                self.fail(&error);
            }
        }
    }

    /// True if the index has read all there is.
    pub(super) fn follow_log(&mut self, at_most: Duration) -> bool {
        if self.is_failing {
            return false;
        }
        let began = Instant::now();
        loop {
            match rows::follow(&mut self.store) {
                Ok(true) => return true,
                Ok(false) if began.elapsed() >= at_most => return false,
                Ok(false) => {}
                Err(error) => {
                    self.fail(&error);
                    return false;
                }
            }
        }
    }
}
