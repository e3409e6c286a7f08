//! What breaks: connections, storage, the process, memory.

use weeziq_core::rooms::Farewell;

use super::{Due, World};
use crate::host::{Death, Flavour};

impl World {
    /// A connection dies: what is under way is lost both ways, and the host learns of it some time later.
    pub(super) fn cut(&mut self) {
        let Some((index, conn)) = self.pick_connected() else { return };
        self.note(|| format!("{conn:?} of c{index} is cut"));
        self.hang_up(index);
        if let Some(link) = self.links.get_mut(&conn) {
            link.is_cut = true;
        }
        let wait_ms = if self.rng.chance(20) { 6_000 } else { 300 };
        let wait_ms = self.rng.between(0, wait_ms);
        self.queue_in(wait_ms, Due::Gone { conn, how: Farewell::Died });
        if self.rng.chance(60) {
            self.connect(index);
        }
    }

    /// A close frame arrives behind all that was said before it.
    pub(super) fn say_goodbye(&mut self) {
        let Some((index, conn)) = self.pick_connected() else { return };
        self.note(|| format!("{conn:?} of c{index} says goodbye"));
        self.hang_up(index);
        let Some(link) = self.links.get_mut(&conn) else { return };
        let at = self.host.flavour.turn_at(link.up(self.now, &mut self.wire));
        self.enqueue(at, Due::Gone { conn, how: Farewell::Clean });
    }

    pub(super) fn break_store(&mut self) {
        match self.rng.below(3) {
            0 => self.host.store.refuses_commit = true,
            1 => self.host.store.fails_in = Some(self.rng.below(6) as u32),
            _ => {
                self.host.store.is_broken = true;
                let heal_ms = self.rng.between(10, 2_500);
                self.queue_in(heal_ms, Due::Heal);
            }
        }
        self.note(|| "the store breaks".into());
    }

    pub(super) fn kill(&mut self) {
        if self.host.is_dead {
            return;
        }
        let death = if self.rng.chance(50) { Death::BeforeCommit } else { Death::BeforeRelease };
        self.host.dies = Some(death);
        self.note(|| format!("the process will die: {death:?}"));
    }

    /// Objects only: memory goes, connections stay.
    pub(super) fn evict(&mut self) {
        if self.host.flavour == Flavour::Objects && !self.host.is_dead {
            let share = if self.rng.chance(30) { 100 } else { 40 };
            let rng = &mut self.rng;
            self.host.evict(|| rng.chance(share));
            self.tally.evictions += 1;
            self.note(|| "memory is evicted".into());
            self.drain_effects();
        }
    }
}
