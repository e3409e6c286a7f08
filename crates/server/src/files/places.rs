//! How many uploads there may be at a time: in all, since each holds memory, and from one address, so that nobody takes
//! the places of all others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use weeziq_core::access::address::subscriber;
use weeziq_core::protocol::error::ClientError;

const PER_ADDRESS_MAX: usize = 8;
const RETRY_AFTER_MS: u64 = 1_000;

pub(crate) struct Places {
    uploads_max: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// Given back when it is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    pub(super) fn new(uploads_max: usize) -> Arc<Self> {
        Arc::new(Self { uploads_max, taken: Mutex::default() })
    }

    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, ClientError> {
        let address = subscriber(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.entry(address).or_default();
        if *own >= PER_ADDRESS_MAX || all >= self.uploads_max {
            return Err(ClientError::rate_limited("uploads at a time", RETRY_AFTER_MS));
        }
        *own += 1;
        Ok(Place { places: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_takes_its_share_and_gives_it_back() {
        let places = Places::new(PER_ADDRESS_MAX + 2);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let own: Vec<Place> = (0..PER_ADDRESS_MAX).filter_map(|_| places.take(one).ok()).collect();
        assert_eq!(own.len(), PER_ADDRESS_MAX);
        assert!(places.take(one).is_err());
        let others: Vec<Place> = (0..3).filter_map(|_| places.take(other).ok()).collect();
        assert_eq!(others.len(), 2, "and all together what there is");
        drop(own);
        assert!(places.take(one).is_ok());
    }
}
