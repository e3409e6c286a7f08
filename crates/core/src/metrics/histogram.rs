//! How long things took.

use std::time::Duration;

/// From a tenth of a millisecond, which a commit takes, to a disk that stalls.
const BOUNDS_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000,
];

#[derive(Clone, Default)]
pub struct Histogram {
    /// Each of them counts what is no longer than its bound and longer than the one before; the last is what is longer than all.
    buckets: [u64; BOUNDS_US.len() + 1],
    sum: Duration,
}

impl Histogram {
    pub fn observe(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.sum += took;
    }

    /// How many took so many microseconds at most, for each bound.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.buckets.iter().scan(0, |all, count| {
            *all += count;
            Some(*all)
        });
        BOUNDS_US.into_iter().zip(counts)
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub(super) fn sum_seconds(&self) -> f64 {
        self.sum.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_falls_into_all_bounds_that_it_keeps() {
        let mut histogram = Histogram::default();
        for us in [0, 100, 101, 2_500_000, 9_000_000] {
            histogram.observe(Duration::from_micros(us));
        }
        let cumulative: Vec<_> = histogram.cumulative().collect();
        assert_eq!(cumulative.first(), Some(&(100, 2)));
        assert_eq!(cumulative.get(1), Some(&(250, 3)));
        assert_eq!(cumulative.last(), Some(&(2_500_000, 4)));
        assert_eq!(histogram.count(), 5);
        assert!((histogram.sum_seconds() - 11.500_201).abs() < 1e-9);
    }
}
