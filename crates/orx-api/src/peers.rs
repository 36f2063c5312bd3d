//! Counts the connections of each peer address, and the wrong tokens from it. The address is that of the
//! connection; headers are not trusted.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use orx_model::Timestamp;
use parking_lot::Mutex;

use crate::limits::Limits;

/// The two addresses of a request's connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerAddrs {
    pub(crate) peer: IpAddr,
    pub(crate) own: IpAddr,
}

/// The address by which a peer is counted: an IPv6 host may use a whole /64, which counts as one.
pub(crate) fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        other => other,
    }
}

/// Counts connections by address.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionsPerIp {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Counts as one connection of an address until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    peers: ConnectionsPerIp,
    source: IpAddr,
}

impl ConnectionsPerIp {
    /// `None` if the address has `most` connections already.
    pub(crate) fn enter(&self, address: IpAddr, most: usize) -> Option<ConnectionPermit> {
        let source = source(address);
        let mut open = self.open.lock();
        let count = open.entry(source).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(ConnectionPermit { peers: self.clone(), source })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.peers.open.lock();
        if let Some(count) = open.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.source);
            }
        }
    }
}

/// Counts wrong tokens by address, within a window that begins with the first.
#[derive(Debug, Default)]
pub(crate) struct TokenFailures {
    /// Begin of the window, and the count.
    seen: Mutex<HashMap<IpAddr, (Timestamp, u32)>>,
}

impl TokenFailures {
    /// Records a wrong token. Returns whether it bars the address.
    pub(crate) fn record(&self, address: IpAddr, now: Timestamp, limits: &Limits) -> bool {
        let window = limits.failures_within;
        let mut seen = self.seen.lock();
        let source = source(address);
        if let Some((since, count)) = seen.get_mut(&source) {
            if now.saturating_since(*since) < window {
                *count = count.saturating_add(1);
            } else {
                (*since, *count) = (now, 1);
            }
            return *count == limits.failures;
        }
        if seen.len() >= limits.failing_peers {
            seen.retain(|_, (since, _)| now.saturating_since(*since) < window);
        }
        if seen.len() >= limits.failing_peers {
            // Forgets the address with the fewest failures.
            let least = seen.iter().min_by_key(|(_, (_, count))| *count).map(|(who, _)| *who);
            if let Some(least) = least {
                seen.remove(&least);
            }
        }
        seen.insert(source, (now, 1));
        limits.failures == 1
    }

    /// How long the address is barred; `None` if it is not.
    pub(crate) fn barred(
        &self,
        address: IpAddr,
        now: Timestamp,
        limits: &Limits,
    ) -> Option<Duration> {
        let seen = self.seen.lock();
        let (since, count) = seen.get(&source(address))?;
        let left = limits.failures_within.checked_sub(now.saturating_since(*since))?;
        (*count >= limits.failures && !left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn an_address_is_barred_after_its_failures_until_its_window_ends() {
        let (failures, limits) = (TokenFailures::default(), Limits::default());
        for _ in 0..limits.failures {
            assert_eq!(failures.barred(ip("10.0.0.1"), at(1), &limits), None);
            failures.record(ip("10.0.0.1"), at(1), &limits);
        }
        let left = failures.barred(ip("10.0.0.1"), at(11), &limits);
        assert_eq!(left, Some(Duration::from_secs(50)));
        assert_eq!(failures.barred(ip("10.0.0.2"), at(11), &limits), None);
        assert_eq!(failures.barred(ip("10.0.0.1"), at(61), &limits), None);
        failures.record(ip("10.0.0.1"), at(61), &limits);
        assert_eq!(failures.barred(ip("10.0.0.1"), at(61), &limits), None);
    }

    #[test]
    fn a_host_with_many_addresses_is_one_and_the_table_is_bounded() {
        let failures = TokenFailures::default();
        let limits = Limits { failures: 2, failing_peers: 8, ..Limits::default() };
        failures.record(ip("2001:db8::1"), at(0), &limits);
        failures.record(ip("2001:db8::2"), at(0), &limits);
        assert!(failures.barred(ip("2001:db8::3"), at(0), &limits).is_some());
        for last in 0..200_u8 {
            failures.record(ip(&format!("10.0.0.{last}")), at(0), &limits);
        }
        assert_eq!(failures.seen.lock().len(), 8);
        // A flood from other addresses does not forget one with more failures.
        assert!(failures.barred(ip("2001:db8::3"), at(0), &limits).is_some());
    }

    #[test]
    fn connections_are_counted_by_address_and_released() {
        let peers = ConnectionsPerIp::default();
        let first = peers.enter(ip("10.0.0.1"), 2);
        let second = peers.enter(ip("::ffff:10.0.0.1"), 2);
        assert!(first.is_some() && second.is_some());
        assert!(peers.enter(ip("10.0.0.1"), 2).is_none());
        assert!(peers.enter(ip("10.0.0.2"), 2).is_some());
        drop(first);
        assert!(peers.enter(ip("10.0.0.1"), 2).is_some());
        drop(second);
        assert!(peers.open.lock().is_empty());
    }
}
