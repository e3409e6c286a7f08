//! A shard's time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use weeziq_core::time::UnixMs;

use super::TICK_MS;

/// The time of day, made to run forward: when the system's clock is set back, this one slows down until they agree, so
/// that nothing that waits for a time waits for ever.
pub(super) struct Clock {
    begun: Instant,
    at_begin: UnixMs,
}

impl Clock {
    pub(super) fn new(now: UnixMs) -> Self {
        Self { begun: Instant::now(), at_begin: now }
    }

    pub(super) fn now(&self) -> UnixMs {
        self.at_begin.plus(i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// To be called once a tick.
    pub(super) fn follow(&mut self, wall: UnixMs) {
        let now = self.now();
        let next = now.plus(wall.since(now).max(-TICK_MS / 2));
        // The shard holds its last instant until this clock has passed it again.
        *self = Self::new(next);
    }
}

pub(crate) fn wall_clock() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
