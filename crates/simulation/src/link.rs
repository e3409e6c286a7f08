//! A connection's wire: in order both ways, slow at times, and at any moment cut with all that is under way on it.

use crate::rng::Rng;

pub(crate) struct Link {
    pub(crate) client: usize,
    /// What is under way is lost, and nothing more gets through.
    pub(crate) is_cut: bool,
    delay_ms_max: i64,
    last_up: i64,
    last_down: i64,
}

impl Link {
    pub(crate) fn new(client: usize, delay_ms_max: i64) -> Self {
        Self { client, is_cut: false, delay_ms_max, last_up: 0, last_down: 0 }
    }

    /// When what is sent to the host now arrives there.
    pub(crate) fn up(&mut self, now: i64, rng: &mut Rng) -> i64 {
        self.last_up = self.last_up.max(now + delay(self.delay_ms_max, rng));
        self.last_up
    }

    /// When what is sent to the client now arrives there.
    pub(crate) fn down(&mut self, now: i64, rng: &mut Rng) -> i64 {
        self.last_down = self.last_down.max(now + delay(self.delay_ms_max, rng));
        self.last_down
    }
}

/// Mostly quick, now and then as slow as it gets.
fn delay(max_ms: i64, rng: &mut Rng) -> i64 {
    if rng.chance(5) { rng.between(0, max_ms) } else { rng.between(0, max_ms / 10) }
}
