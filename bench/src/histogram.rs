//! Latencies in log-linear buckets: 128 to a power of two, so a quantile is never more than 0.8 % too high.

pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    highest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; bucket(u64::MAX) + 1], total: 0, highest: 0 }
    }

    pub(crate) fn record(&mut self, value: u64) {
        if let Some(count) = self.counts.get_mut(bucket(value)) {
            *count += 1;
        }
        self.total += 1;
        self.highest = self.highest.max(value);
    }

    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
        self.highest = 0;
    }

    pub(crate) fn count(&self) -> u64 {
        self.total
    }

    pub(crate) fn highest(&self) -> u64 {
        self.highest
    }

    /// The smallest bucket bound with at least `per_mille` of the values at or under it; 0 if there are none.
    pub(crate) fn quantile(&self, per_mille: u64) -> u64 {
        let rank = (u128::from(self.total) * u128::from(per_mille)).div_ceil(1000).max(1);
        let mut seen = 0u128;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if *count > 0 && seen >= rank {
                return bucket_top(index).min(self.highest);
            }
        }
        self.highest
    }
}

const SUB_BITS: u32 = 7;

/// Values under 128 have a bucket each; above, the seven bits after the leading one choose it.
fn bucket(value: u64) -> usize {
    let shift = (63 - (value | 1).leading_zeros()).saturating_sub(SUB_BITS);
    let within = value >> shift;
    ((u64::from(shift) << SUB_BITS) + within) as usize
}

fn bucket_top(index: usize) -> u64 {
    let index = index as u64;
    let shift = (index >> SUB_BITS).saturating_sub(1);
    let within = index - (shift << SUB_BITS);
    (u128::from(within + 1) << shift).saturating_sub(1).min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_close_to_its_top() {
        let mut value = 0u64;
        while value < u64::MAX / 6 {
            for v in [value, value + 1, value * 2 + 1] {
                let top = bucket_top(bucket(v));
                assert!(top >= v, "{v} over its bucket's top {top}");
                assert!((top - v) as f64 <= v as f64 / 128.0, "{v} reported as {top}");
            }
            value = value * 5 / 3 + 1;
        }
        assert_eq!(bucket_top(bucket(u64::MAX)), u64::MAX);
    }

    #[test]
    fn buckets_are_contiguous() {
        for v in 0..100_000u64 {
            let step = bucket(v + 1) - bucket(v);
            assert!(step <= 1, "gap after {v}");
        }
    }

    #[test]
    fn quantiles_of_a_known_set() {
        let mut h = Histogram::new();
        assert_eq!(h.quantile(500), 0);
        for v in 1..=1000u64 {
            h.record(v * 1000);
        }
        for (per_mille, exact) in [(500, 500_000u64), (990, 990_000), (999, 999_000), (1000, 1_000_000)] {
            let got = h.quantile(per_mille);
            assert!(got >= exact && got as f64 <= exact as f64 * 1.008, "{per_mille}: {got}");
        }
        assert_eq!((h.count(), h.highest()), (1000, 1_000_000));
        h.clear();
        assert_eq!((h.count(), h.quantile(999)), (0, 0));
    }
}
