//! How many connections each address holds.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::names::counted;

/// Connections at once of all addresses: leaves descriptors for sessions and files.
const CONNECTIONS_MAX: usize = 4_096;

#[derive(Debug)]
struct Counts {
    by_address: BTreeMap<IpAddr, u32>,
    total: usize,
}

/// The counter.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    /// Of one address; 0: unlimited.
    per_address_max: u32,
    counts: Arc<Mutex<Counts>>,
}

/// One counted connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    connections: Connections,
    address: Option<IpAddr>,
}

impl Connections {
    pub(super) fn new(per_address_max: u32) -> Self {
        Self {
            per_address_max,
            counts: Arc::new(Mutex::new(Counts {
                by_address: BTreeMap::new(),
                total: 0,
            })),
        }
    }

    /// A place for a connection of this address.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Place> {
        let address = counted(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = counts.by_address.get(&address).copied().unwrap_or(0);
        let is_full = self.per_address_max != 0 && of_address >= self.per_address_max;
        if is_full || counts.total >= CONNECTIONS_MAX {
            return None;
        }
        counts.by_address.insert(address, of_address + 1);
        counts.total += 1;
        Some(Place {
            connections: self.clone(),
            address: Some(address),
        })
    }

    /// A place for a connection of a trusted proxy, which speaks for many.
    pub(super) fn enter_proxy(&self) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= CONNECTIONS_MAX {
            return None;
        }
        counts.total += 1;
        Some(Place {
            connections: self.clone(),
            address: None,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let counts = &self.connections.counts;
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        let Some(address) = self.address else {
            return;
        };
        if let Some(of_address) = counts.by_address.get_mut(&address) {
            *of_address -= 1;
            if *of_address == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn an_address_has_its_places_and_gets_them_back() {
        let connections = Connections::new(2);
        let first = connections.enter(A).unwrap();
        let _second = connections.enter(A).unwrap();
        assert!(connections.enter(A).is_none());
        assert!(connections.enter(B).is_some(), "another is untouched");
        drop(first);
        let third = connections.enter(A);
        assert!(third.is_some());
        drop((_second, third));
        assert!(connections.counts.lock().unwrap().by_address.is_empty());
    }

    #[test]
    fn all_together_are_bounded_even_where_one_is_not() {
        let connections = Connections::new(0);
        let places: Vec<Place> = std::iter::from_fn(|| connections.enter(A)).collect();
        assert_eq!(places.len(), CONNECTIONS_MAX);
        assert!(connections.enter_proxy().is_none());
    }
}
