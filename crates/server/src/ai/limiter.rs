//! How many AI requests one address may make: the tap that would otherwise be open to strangers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use weeziq_core::access::address::subscriber;
use weeziq_core::access::rate::{Quota, Usage};
use weeziq_core::time::UnixMs;

pub(crate) struct AddressLimiter {
    quota: Quota,
    used: Mutex<HashMap<IpAddr, Usage>>,
}

/// Past this many, addresses that have not asked for a while are forgotten.
const ADDRESSES_KEPT: usize = 10_000;

impl AddressLimiter {
    pub(crate) fn new(quota: Quota) -> Self {
        Self { quota, used: Mutex::default() }
    }

    /// Takes one, or says in how many milliseconds one will be free.
    pub(crate) fn admit(&self, address: IpAddr, now: UnixMs) -> Result<(), u64> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= ADDRESSES_KEPT {
            used.retain(|_, usage| !usage.is_fresh(now));
        }
        used.entry(subscriber(address)).or_default().admit(now, self.quota)
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
