//! Targets: the JSON of browsers, and what a person or a page hands to the client.

use sandbox_client::address::Address;
use sandbox_client::script::{Script, commands};
use sandbox_protocol::wire::{ctl, signal};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Target, valid, way};

const MEMORY_MAX: usize = 256 << 10;

pub(crate) const SIGNAL: Target = Target {
    name: "signal",
    valid: valid::signal,
    read: |it| both::<signal::ToServer, signal::ToPage>(it),
    memory_max: MEMORY_MAX,
    mutations: 20_000,
};

pub(crate) const CTL: Target = Target {
    name: "ctl",
    valid: valid::ctl,
    read: |it| both::<ctl::ToServer, ctl::ToPage>(it),
    memory_max: MEMORY_MAX,
    mutations: 20_000,
};

pub(crate) const ADDRESS: Target = Target {
    name: "address",
    valid: valid::address,
    read: read_address,
    memory_max: MEMORY_MAX,
    mutations: 20_000,
};

pub(crate) const SCRIPT: Target = Target {
    name: "script",
    valid: valid::script,
    read: read_script,
    memory_max: MEMORY_MAX,
    mutations: 20_000,
};

fn both<A, B>(bytes: &[u8]) -> String
where
    A: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug,
    B: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug,
{
    read::<A>(bytes) + &read::<B>(bytes)
}

/// What is read writes a text that reads as the same.
fn read<T>(bytes: &[u8]) -> String
where
    T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug,
{
    match serde_json::from_slice::<T>(bytes) {
        Ok(message) => {
            let text = serde_json::to_string(&message).unwrap();
            let again: T = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&again).unwrap(), text);
            way(&message)
        }
        Err(error) => format!("{:?}", error.classify()),
    }
}

/// What is shown of an address is one, of the same place.
fn read_address(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return "no text".to_owned();
    };
    match text.parse::<Address>() {
        Ok(address) => {
            let again: Address = address.to_string().parse().unwrap();
            assert_eq!((&again.host, again.port), (&address.host, address.port));
            let parts = (address.user.is_some(), address.pin.is_some());
            way(&parts)
        }
        Err(error) => way(&error),
    }
}

fn read_script(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return "no text".to_owned();
    };
    let mut script = match text.parse::<Script>() {
        Ok(script) => script,
        Err(error) => return way(&error),
    };
    let way = way(&script);
    let now = crate::orders::epoch();
    script.begin(now);
    // No more steps than lines.
    for _ in text.lines() {
        let due = script.poll_timeout(now).unwrap_or(now);
        if let Some(action) = script.poll_action(due, || 0) {
            let told = commands(action).unwrap_or_default();
            assert!(told.len() <= 2 * text.len());
        }
    }
    way
}
