//! Rate limits that need one number a key (the generic cell rate algorithm, ITU-T I.371): exact, with no window
//! edges at which twice the limit passes.

use crate::time::UnixMs;

/// So many in a period, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// 0 switches the limit off.
    pub count: u32,
    pub period_ms: u32,
    pub burst: u32,
}

impl Quota {
    pub const fn per_minute(count: u32) -> Self {
        Self { count, period_ms: 60_000, burst: count }
    }

    pub const fn per_second(count: u32, burst: u32) -> Self {
        Self { count, period_ms: 1_000, burst }
    }

    fn interval_us(self) -> i64 {
        i64::from(self.period_ms) * 1_000 / i64::from(self.count.max(1))
    }
}

/// What a key has used of its quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// When the bucket would be full again, in microseconds since 1970.
    full_again_us: i64,
}

impl Usage {
    /// Takes one, or says in how many milliseconds one will be free.
    pub fn admit(&mut self, now: UnixMs, quota: Quota) -> Result<(), u64> {
        if quota.count == 0 {
            return Ok(());
        }
        let (now_us, interval) = (now.0.saturating_mul(1_000), quota.interval_us());
        let full_again = self.full_again_us.max(now_us) + interval;
        let excess = full_again - now_us - interval * i64::from(quota.burst.max(1));
        if excess > 0 {
            return Err((excess as u64).div_ceil(1_000));
        }
        self.full_again_us = full_again;
        Ok(())
    }

    /// As one number, for storage.
    pub fn to_micros(self) -> i64 {
        self.full_again_us
    }

    pub fn of_micros(full_again_us: i64) -> Self {
        Self { full_again_us }
    }

    /// Whether forgetting this loses nothing.
    pub fn is_fresh(&self, now: UnixMs) -> bool {
        self.full_again_us <= now.0.saturating_mul(1_000)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_passes_then_one_per_interval() {
        let (quota, mut used, start) = (Quota::per_minute(20), Usage::default(), UnixMs(1_000_000));
        assert!((0..20).all(|_| used.admit(start, quota).is_ok()));
        assert_eq!(used.admit(start, quota), Err(3_000));
        assert_eq!(used.admit(start.plus(2_999), quota), Err(1));
        assert_eq!(used.admit(start.plus(3_000), quota), Ok(()));
    }

    #[test]
    fn zero_switches_it_off() {
        let mut used = Usage::default();
        assert!((0..10_000).all(|_| used.admit(UnixMs(0), Quota::per_minute(0)).is_ok()));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_plus_rate(gaps in prop::collection::vec(0i64..500, 1..200), count in 1u32..100) {
            let quota = Quota::per_second(count, 2 * count);
            let (mut used, mut now, mut passed) = (Usage::default(), UnixMs(0), 0u64);
            for gap in gaps {
                now = now.plus(gap);
                passed += u64::from(used.admit(now, quota).is_ok());
                prop_assert!(passed <= u64::from(2 * count) + u64::from(count) * (now.0 as u64) / 1_000 + 1);
            }
        }
    }
}
