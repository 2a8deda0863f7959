//! How the user proves who they are: by this device's key, by a code for it, or by password.

use sandbox_client::address::Address;
use sandbox_client::connection::{Credentials, Proof};
use sandbox_client::device::DeviceKey;
use sandbox_client::store::Store;
use sandbox_protocol::wire::control::Secret;

use super::{Failure, ask};

/// By a code, with which the server learns a fresh key of this device.
pub(super) fn by_code(address: &Address) -> Result<Credentials, Failure> {
    let user = user(address)?;
    let code = match std::env::var("SANDBOX_CODE") {
        Ok(code) => code,
        Err(_) => ask::code(&user, address)?,
    };
    let name = rustix::system::uname();
    let proof = Proof::Enrol {
        code: Secret(code.trim().to_owned()),
        key: DeviceKey::make().map_err(|error| Failure::failed(&error))?,
        name: name.nodename().to_string_lossy().into_owned(),
    };
    Ok(credentials(user, proof))
}

/// By this device's key where it was enrolled, else by password.
pub(super) fn by_what_there_is(address: &Address, store: &Store) -> Result<Credentials, Failure> {
    let user = user(address)?;
    let key = store
        .device_key(&address.to_string(), &user)
        .map_err(|error| Failure::failed(&error))?;
    let proof = match key {
        Some(bytes) => {
            let key = DeviceKey::from_pkcs8(&bytes).map_err(|error| Failure::failed(&error))?;
            Proof::Device(key)
        }
        None => Proof::Password(Secret(match std::env::var("SANDBOX_PASSWORD") {
            Ok(password) => password,
            Err(_) => ask::password(&user, address)?,
        })),
    };
    Ok(credentials(user, proof))
}

fn credentials(user: String, proof: Proof) -> Credentials {
    Credentials {
        user,
        proof,
        ticket: None,
    }
}

fn user(address: &Address) -> Result<String, Failure> {
    match &address.user {
        Some(user) => Ok(user.clone()),
        None => std::env::var("USER").map_err(|_| {
            Failure::usage("as whom? sandbox-client USER@HOST: USER is not set either")
        }),
    }
}
