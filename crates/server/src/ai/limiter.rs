//! How many AI requests one address, or one subject of tokens, may make: the tap that would otherwise be open to
//! strangers.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use weeziq_core::access::address::subscriber;
use weeziq_core::access::rate::{Quota, Usage};
use weeziq_core::time::UnixMs;

/// By any key.
pub(crate) struct Limiter<K> {
    quota: Quota,
    used: Mutex<HashMap<K, Usage>>,
}

pub(crate) struct AddressLimiter(Limiter<IpAddr>);

/// Past this many, keys that have not asked for a while are forgotten.
const KEPT: usize = 10_000;

impl<K: Eq + Hash> Limiter<K> {
    pub(crate) fn new(quota: Quota) -> Self {
        Self { quota, used: Mutex::default() }
    }

    /// Takes one, or says in how many milliseconds one will be free.
    pub(crate) fn admit(&self, key: K, now: UnixMs) -> Result<(), u64> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= KEPT {
            used.retain(|_, usage| !usage.is_fresh(now));
        }
        used.entry(key).or_default().admit(now, self.quota)
    }
}

impl AddressLimiter {
    pub(crate) fn new(quota: Quota) -> Self {
        Self(Limiter::new(quota))
    }

    pub(crate) fn admit(&self, address: IpAddr, now: UnixMs) -> Result<(), u64> {
        self.0.admit(subscriber(address), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_subscribers_not_addresses() {
        let limiter = AddressLimiter::new(Quota::per_minute(1));
        let admit = |address: &str| limiter.admit(address.parse().unwrap(), UnixMs(0)).is_ok();
        assert!(admit("2001:db8::1"));
        assert!(!admit("2001:db8::2"));
        assert!(admit("2001:db8:0:1::1"));
        assert!(admit("192.0.2.1"));
        assert!(!admit("::ffff:192.0.2.1"));
    }
}
