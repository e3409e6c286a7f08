//! The end of a shard, in two phases: what is under way ends and is released, and when that is so everywhere, the
//! goodbyes.

use weeziq_core::ai::model::{FinishReason, ModelEvent};
use weeziq_core::ids::{RoomId, RunId};
use weeziq_core::rooms::RoomInput;

use super::Shard;
use super::conn::{self, Link, State};
use crate::websocket::frame::CloseCode;

/// What one shard has released may still travel to another, and cause something there: so many looks into the mailbox
/// before the goodbyes.
const ROUNDS_AFTER_DRAIN: u32 = 4;
/// Somewhat more than half of the joins a second that docs/benchmarks.md shows, since those who return have missed something.
const RETURNS_PER_SECOND: u64 = 5_000;
const RETURN_WITHIN_MS_MIN: u64 = 500;

impl Shard {
    /// Ends what is being written, with what there is; the goodbyes follow once that has been released.
    pub(super) fn stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(self.now.plus(conn::CLOSE_MS_MAX));
        self.close_entrance();
        for (run, (room, task)) in std::mem::take(&mut self.runs) {
            task.abort();
            self.interrupt(room, run);
        }
    }

    pub(super) fn interrupt(&mut self, room: RoomId, run: RunId) {
        let event = ModelEvent::Finished(FinishReason::Interrupted);
        self.tell_room(room, RoomInput::Model { run, event });
    }

    /// Once stopping: says goodbye as soon as all shards have released what they had, then waits for the peers.
    pub(super) fn is_done(&mut self) -> bool {
        let Some(until) = self.stopping else { return false };
        let has_released = !self.gate.is_syncing() && self.gate.open.is_empty();
        if has_released && !std::mem::replace(&mut self.has_drained, true) {
            self.shards.has_drained();
        }
        self.rounds_after_drain += u32::from(self.shards.all_drained() && !self.has_mail);
        if self.rounds_after_drain < ROUNDS_AFTER_DRAIN && self.now < until {
            return false;
        }
        for slot in 0..self.conns.capacity() {
            match self.conns.get_mut(slot).map(|conn| &mut conn.link) {
                Some(Link::Socket(socket)) if socket.state == State::Open => {
                    let reason = self.come_back();
                    self.close_socket(slot, CloseCode::GOING_AWAY, &reason);
                }
                Some(Link::Request(_) | Link::Arrived(_) | Link::Gone) => self.drop_conn(slot),
                _ => {}
            }
        }
        self.flush();
        self.drop_unasked();
        self.conns.is_empty() || self.now >= until
    }

    /// When to be back, spread so that the next process is not met by all at once.
    fn come_back(&mut self) -> String {
        let all = self.conns.len() * self.shards.count();
        let spread_ms = (all as u64 * 1_000 / RETURNS_PER_SECOND).max(RETURN_WITHIN_MS_MIN);
        let (_, entropy) = self.context();
        format!("restarting; retryAfterMs={}", entropy % spread_ms)
    }
}
