//! A bounded histogram of durations.

use orx_model::wire::Percentiles;

/// Each power of two is divided into this many buckets, so a percentile is at most 1/16 too large.
const PARTS: u64 = 16;
/// The first power of two that is divided: smaller durations have a bucket each.
const EXACT: u64 = 16;
/// About 34 years; longer durations count as this.
const MOST_MS: u64 = 1 << 40;
const BUCKETS: usize = bucket(MOST_MS) + 1;

const fn bucket(ms: u64) -> usize {
    if ms < EXACT {
        return ms as usize;
    }
    let power = ms.ilog2() as u64;
    let part = (ms >> (power - PARTS.ilog2() as u64)) - PARTS;
    (EXACT + (power - EXACT.ilog2() as u64) * PARTS + part) as usize
}

/// The longest duration of a bucket.
const fn longest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < EXACT {
        return bucket;
    }
    let power = (bucket - EXACT) / PARTS + EXACT.ilog2() as u64;
    let part = (bucket - EXACT) % PARTS;
    let width = 1_u64 << (power - PARTS.ilog2() as u64);
    (PARTS + part + 1) * width - 1
}

/// Counts durations by their length.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Box<[u32]>,
    longest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), longest: 0 }
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, ms: u64) {
        let count = &mut self.counts[bucket(ms.min(MOST_MS))];
        *count = count.saturating_add(1);
        self.longest = self.longest.max(ms);
    }

    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        self.longest = 0;
    }

    /// The percentiles of several histograms together.
    pub(crate) fn percentiles<'a>(all: impl Iterator<Item = &'a Self> + Clone) -> Percentiles {
        let counts = |at: usize| -> u64 { all.clone().map(|one| u64::from(one.counts[at])).sum() };
        let counts: Vec<u64> = (0..BUCKETS).map(counts).collect();
        let count: u64 = counts.iter().sum();
        let max_ms = all.map(|one| one.longest).max().unwrap_or_default();
        let of = |percent: u64| {
            let rank = (count * percent).div_ceil(100).max(1);
            let mut passed = 0;
            let found = counts.iter().position(|count| {
                passed += count;
                passed >= rank
            });
            found.map_or(0, |bucket| longest(bucket).min(max_ms))
        };
        Percentiles { count, p50_ms: of(50), p95_ms: of(95), p99_ms: of(99), max_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_in_a_bucket_that_ends_at_most_a_sixteenth_later() {
        for ms in (0..5_000)
            .chain((0..39).flat_map(|power| [(1 << power) - 1, 1 << power, 1 << power | 5]))
        {
            let end = longest(bucket(ms));
            assert!(end >= ms && end - ms <= ms / 16, "{ms} {end}");
            assert!(bucket(ms) == 0 || longest(bucket(ms) - 1) < ms, "{ms}");
        }
    }

    #[test]
    fn percentiles_are_of_all_durations() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        (1..=90).for_each(|_| one.add(10));
        (1..=10).for_each(|_| other.add(3_000));
        let found = Histogram::percentiles([&one, &other].into_iter());
        assert_eq!(
            (found.count, found.p50_ms, found.p95_ms, found.max_ms),
            (100, 10, 3_000, 3_000)
        );
        other.clear();
        assert_eq!(Histogram::percentiles([&other].into_iter()), Percentiles::default());
        other.add(u64::MAX);
        assert_eq!(Histogram::percentiles([&other].into_iter()).count, 1);
    }
}
