//! What is remembered of the networks from which a server was reached: by which way, and how much
//! they carry.

use rusqlite::{OptionalExtension as _, params};

use super::{Store, StoreError};
use crate::net::{Arrival, LinkRates, Memory, Network, Way};

/// Networks that are remembered for a server; those seen longest ago are forgotten.
const NETWORKS_MAX: u32 = 64;

impl Store {
    /// What is remembered of the ways to a server.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] when the file cannot be read.
    pub fn memory(&self, address: &str) -> Result<Memory, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT url FROM public_urls WHERE address = ?1")?;
        let found = statement.query_row([address], |row| row.get::<_, String>(0));
        // One that this version cannot read is told again by the server.
        let origin = found.optional()?.and_then(|it| it.parse().ok());
        let mut statement = self
            .connection
            .prepare("SELECT network FROM networks_without_udp WHERE address = ?1")?;
        let found = statement.query_map([address], |row| Ok(Network(row.get(0)?)))?;
        let without_udp = found.collect::<Result<_, _>>()?;
        Ok(Memory {
            origin,
            without_udp,
        })
    }

    /// Remembers how a server was reached.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] when the file cannot be written.
    pub fn remember_way(
        &self,
        address: &str,
        arrival: &Arrival,
        unix_seconds: i64,
    ) -> Result<(), StoreError> {
        if let Some(origin) = &arrival.origin {
            self.connection.execute(
                "INSERT OR REPLACE INTO public_urls VALUES (?1, ?2)",
                params![address, origin.to_string()],
            )?;
        }
        let Some(Network(network)) = &arrival.network else {
            return Ok(());
        };
        match arrival.way {
            Way::Udp => self.connection.execute(
                "DELETE FROM networks_without_udp WHERE address = ?1 AND network = ?2",
                params![address, network],
            )?,
            Way::WebSocket => self.connection.execute(
                "INSERT OR REPLACE INTO networks_without_udp VALUES (?1, ?2, ?3)",
                params![address, network, unix_seconds],
            )?,
        };
        self.connection.execute(
            "DELETE FROM networks_without_udp WHERE address = ?1 AND network NOT IN (
                SELECT network FROM networks_without_udp WHERE address = ?1
                ORDER BY last_seen DESC LIMIT ?2)",
            params![address, NETWORKS_MAX],
        )?;
        Ok(())
    }

    /// What each network has carried from a server, as it was remembered.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] when the file cannot be read.
    pub fn link_rates(&self, address: &str) -> Result<LinkRates, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT network, kbps FROM link_rates WHERE address = ?1")?;
        let rows = statement.query_map([address], |row| {
            Ok((Network(row.get(0)?), row.get::<_, u32>(1)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Remembers what networks have carried from a server, in the place of what was known of them.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] when the file cannot be written.
    pub fn remember_link_rates(
        &self,
        address: &str,
        rates: &LinkRates,
        unix_seconds: i64,
    ) -> Result<(), StoreError> {
        let change = self.connection.unchecked_transaction()?;
        for (network, kbps) in rates {
            change.execute(
                "INSERT OR REPLACE INTO link_rates VALUES (?1, ?2, ?3, ?4)",
                params![address, network.0, kbps, unix_seconds],
            )?;
        }
        change.execute(
            "DELETE FROM link_rates WHERE address = ?1 AND network NOT IN
             (SELECT network FROM link_rates WHERE address = ?1
              ORDER BY last_seen DESC LIMIT ?2)",
            params![address, NETWORKS_MAX],
        )?;
        change.commit()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Folder, OURS};
    use super::*;

    fn arrival(way: Way, network: u32, origin: Option<&str>) -> Arrival {
        Arrival {
            key: OURS,
            way,
            network: Some(Network(format!("192.0.{network}.0/24"))),
            origin: origin.map(|it| it.parse().unwrap()),
        }
    }

    #[test]
    fn the_ways_to_a_server_are_remembered_and_forgotten_with_it() {
        let folder = Folder::new("ways");
        let store = Store::open(&folder.file()).unwrap();
        let remember = |it: Arrival, at| store.remember_way("box:3478", &it, at).unwrap();
        let known = || store.memory("box:3478").unwrap();
        assert_eq!(known(), Memory::default());
        remember(arrival(Way::WebSocket, 1, Some("https://desk.example")), 1);
        remember(arrival(Way::WebSocket, 2, None), 2);
        let expected: [Network; 2] = [1, 2].map(|it| Network(format!("192.0.{it}.0/24")));
        assert_eq!(known().without_udp, expected.into());
        assert_eq!(known().origin.unwrap().to_string(), "https://desk.example");
        remember(arrival(Way::Udp, 1, None), 3);
        assert_eq!(known().without_udp.len(), 1);
        assert!(known().origin.is_some());
        assert_eq!(store.memory("box:1").unwrap(), Memory::default());
        store.remember("box:3478", OURS, 1_000).unwrap();
        assert!(store.forget("box:3478").unwrap());
        assert_eq!(known(), Memory::default());
    }

    #[test]
    fn a_traveller_is_remembered_in_the_networks_of_late() {
        let folder = Folder::new("traveller");
        let store = Store::open(&folder.file()).unwrap();
        for network in 0..NETWORKS_MAX + 1 {
            let arrival = arrival(Way::WebSocket, network, None);
            store
                .remember_way("box:3478", &arrival, network.into())
                .unwrap();
        }
        let known = store.memory("box:3478").unwrap().without_udp;
        assert_eq!(known.len(), NETWORKS_MAX as usize);
        assert!(!known.contains(&Network("192.0.0.0/24".to_owned())));
    }

    #[test]
    fn what_networks_carry_is_remembered_for_their_server_and_the_oldest_is_forgotten() {
        let folder = Folder::new("rates");
        let store = Store::open(&folder.file()).unwrap();
        let network = |it| Network(format!("10.0.{it}.0/24"));
        for second in 0..72_u32 {
            let rates = LinkRates::from([(network(second), second), (network(99), second)]);
            let now = second.into();
            store.remember_link_rates("box:3478", &rates, now).unwrap();
        }
        drop(store);
        let store = Store::open(&folder.file()).unwrap();
        let known = store.link_rates("box:3478").unwrap();
        assert_eq!(known.len(), 64);
        assert_eq!(known[&network(99)], 71);
        assert_eq!((known.get(&network(8)), known[&network(9)]), (None, 9));
        assert_eq!(store.link_rates("box:1").unwrap(), LinkRates::new());
        // What was remembered before goes on where nothing was measured.
        store
            .remember_link_rates("box:3478", &LinkRates::new(), 50)
            .unwrap();
        assert_eq!(store.link_rates("box:3478").unwrap(), known);
        store.forget("box:3478").unwrap();
        assert_eq!(store.link_rates("box:3478").unwrap(), LinkRates::new());
    }
}
