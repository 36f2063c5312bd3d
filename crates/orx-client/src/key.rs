//! Keys for jobs that were given none.

use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A key that nobody else draws: the time in milliseconds, a count, and 64 random bits, as 32 hexadecimal
/// digits. Later keys are greater, so a store adds them at the end of its index.
#[must_use]
pub fn new_key() -> String {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = since.as_millis() as u64 & 0xffff_ffff_ffff;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{time:012x}{count:04x}{:016x}", rand::random::<u64>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_are_of_one_length_and_differ() {
        let keys: BTreeSet<String> = (0..100_000).map(|_| new_key()).collect();
        assert_eq!(keys.len(), 100_000);
        assert!(keys.iter().all(|key| key.len() == 32));
    }
}
