//! The end of a run: all is mended, everybody comes back, time passes, and what must hold then is checked.

use std::collections::BTreeSet;

use super::{Due, START_MS, World};
use crate::checks::Checker;
use crate::client::Client;

/// All that may still be owed is due within it: a model's deadline of a minute, for each question that may wait.
const QUIET_MS: i64 = 80_000;

impl World {
    pub(super) fn calm_down(&mut self) {
        self.note(|| "all is mended".into());
        self.is_calm = true;
        self.host.store.heal();
        if !self.host.is_dead {
            self.host.dies = None;
        }
        self.pass(QUIET_MS);
        // What came of the time in which nobody did anything is behind; questions behind questions may still run.
        for _ in 0..20 {
            if self.is_quiet() {
                break;
            }
            self.pass(QUIET_MS);
        }
        self.pass(5_000);
    }

    pub(super) fn room_names(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.clients.iter().flat_map(|client| client.views.keys()).collect();
        names.into_iter().cloned().collect()
    }

    pub(super) fn is_quiet(&self) -> bool {
        !self.queue.values().any(|due| matches!(due, Due::Says { .. }))
    }

    pub(super) fn check_the_end(&mut self) {
        let visiting = self.check_visitors();
        let published = self.checks.published(&mut self.host.store);
        self.sane(published);
        let unanswered = self.checks.unanswered(&mut self.host.store);
        self.sane(unanswered);
        let last = match self.checks.log(&mut self.host.store) {
            Ok(last) => last,
            Err(error) => return self.checks.fail(Checker::Sanity, error.to_string()),
        };
        for room in self.room_names() {
            let present = self.clients.iter().filter(|c| c.views.get(&room).is_some_and(|v| v.is_member));
            let present: BTreeSet<String> = present.map(|client| client.user.clone()).collect();
            let last = last.get(&room).copied().unwrap_or_default();
            for view in self.clients.iter().filter_map(|client| client.views.get(&room)) {
                self.checks.require(view.is_member == view.is_wanted, Checker::Answered, || {
                    format!(
                        "somebody is {} {room} against their will",
                        if view.is_member { "in" } else { "out of" }
                    )
                });
                if view.is_member {
                    view.settle(&room, last, &present, &mut self.checks);
                }
            }
        }
        self.clients.iter().for_each(|client| client.settle(&mut self.checks));
        let hash = self.trace.hash;
        self.trace.note(self.now - START_MS, visiting as u64, || {
            format!("the end of seed {}: {hash:x}", self.seed)
        });
    }

    /// How many are on the sites.
    pub(super) fn check_visitors(&mut self) -> usize {
        let mut all = 0;
        for domain in ["shop-0", "shop-1"] {
            let here = self.clients.iter().filter_map(Client::visits).filter(|visit| visit.0 == domain);
            let here: BTreeSet<String> = here.map(|visit| visit.1.clone()).collect();
            all += here.len();
            self.clients.first_mut().into_iter().for_each(|client| client.look_at(domain));
            self.flush(0);
            self.pass(20_000);
            let listed = self.clients.first().and_then(|client| client.listed.clone());
            self.checks.require(listed.as_ref() == Some(&here), Checker::Visitors, || {
                format!("{here:?} are on {domain}, the statistics list {listed:?}")
            });
        }
        all
    }
}
