//! The HTTP port is a guess, or what somebody said: anything may be there.

use sandbox_client::net::{Arrival, Network, Way};
use sandbox_client::store::Store;

use crate::fake::Server;
use crate::fake::host::Host;
use crate::http_host::{Hostile, HttpHost};
use crate::{Folder, SIZE, finish, pinned};

/// What may be taken of one that never ends: buffers of two kernels, and a little.
const TAKEN_MAX: usize = 32 << 20;

/// The memory of a program that was told that the server's HTTP port is there, and tries both ways
/// at once.
fn memory(name: &str, hostile: Hostile, host: &Host, http: &HttpHost) -> Folder {
    let folder = Folder::new(&format!("{name}-{hostile:?}"));
    let store = Store::open(&folder.file("sandbox/client.db")).unwrap();
    let arrival = Arrival {
        key: host.server().fingerprint,
        way: Way::WebSocket,
        network: Some(Network::of(host.address.ip())),
        origin: Some(http.origin.clone()),
    };
    let address = host.address.to_string();
    store.remember_way(&address, &arrival, 1).unwrap();
    folder
}

#[test]
fn what_is_no_server_of_ours_ends_the_way_without_udp_with_its_reason() {
    let cases = [
        (Hostile::Silence, "no answer"),
        (Hostile::Drip, "no answer"),
        (Hostile::EndlessHeaders, "Too many headers"),
        (Hostile::EndlessLine, "Attack attempt"),
        (Hostile::Redirect, "302"),
        (Hostile::Noise, "HTTP"),
        (Hostile::NoTls, "corrupt message"),
        (Hostile::WrongAccept, "Sec-WebSocket-Accept"),
        (Hostile::Text, "text"),
        (Hostile::HugeFrame, "too long"),
        (Hostile::UnknownFrame, "opcode"),
        (Hostile::Close, "enough"),
    ];
    let host = Host::new(Server::new(SIZE));
    let begun = cases.map(|(hostile, words)| {
        let http = HttpHost::new(hostile);
        let folder = memory("reason", hostile, &host, &http);
        let mut program = folder.program(&["--transport", "websocket"]);
        let child = program.arg(pinned(&host)).spawn().unwrap();
        (hostile, words, http, (folder, child))
    });
    for (hostile, words, http, (_folder, child)) in begun {
        let (code, said) = finish(child);
        assert_eq!(code, Some(1), "{hostile:?}: {said}");
        assert!(said.contains(words), "{hostile:?}: {said}");
        let taken = http.finish();
        assert!(taken < TAKEN_MAX, "{hostile:?}: {taken} bytes");
    }
    assert!(host.server().methods.is_empty(), "nothing was said to it");
}

#[test]
fn udp_goes_on_beside_what_is_no_server_of_ours() {
    let all = [
        Hostile::Silence,
        Hostile::Drip,
        Hostile::EndlessHeaders,
        Hostile::EndlessLine,
        Hostile::Redirect,
        Hostile::Noise,
        Hostile::NoTls,
        Hostile::WrongAccept,
        Hostile::Text,
        Hostile::HugeFrame,
        Hostile::UnknownFrame,
        Hostile::EndlessPings,
        Hostile::EndlessPieces,
        Hostile::EndlessPackets,
        Hostile::Close,
    ];
    let begun = all.map(|hostile| {
        let (host, http) = (Host::new(Server::new(SIZE)), HttpHost::new(hostile));
        let folder = memory("beside", hostile, &host, &http);
        let script = format!("until-hash {:032x}\nend", host.server().hash());
        let script = folder.script(&script);
        let arguments = ["--transport", "auto", "--script", script.to_str().unwrap()];
        let mut program = folder.program(&arguments);
        program.arg(pinned(&host));
        // UDP is not answered before the other one was asked.
        let silence = host.server();
        let child = program.spawn().unwrap();
        http.until_asked();
        drop(silence);
        (hostile, host, http, folder, child)
    });
    for (hostile, _host, http, _folder, child) in begun {
        let (code, said) = finish(child);
        assert_eq!(code, Some(0), "{hostile:?}: {said}");
        http.finish();
    }
}
