//! The page's side of `/ws`.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::handshake::client::generate_key;
use async_tungstenite::tungstenite::http::Request;
use async_tungstenite::tungstenite::{Error, Message};
use futures_lite::{AsyncRead, AsyncWrite, StreamExt as _, future};
use futures_rustls::TlsConnector;
use serde_json::Value;
use smol::{Async, Timer};

use crate::world::{LIMIT, World};

/// TCP, or TLS on it.
trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

pub(crate) struct Socket(WebSocketStream<Box<dyn Stream>>);

impl Socket {
    /// Opens `/ws` with this query and origin; the status where the server refuses.
    pub(crate) fn open(world: &World, query: &str, origin: &str) -> Result<Self, u16> {
        let address = format!("localhost:{}", world.port);
        let request = Request::builder()
            .uri(format!("ws://{address}/ws{query}"))
            .header("Host", &address)
            .header("Origin", origin)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", generate_key())
            .body(())
            .unwrap();
        let opened = within_limit(async {
            let address = (Ipv4Addr::LOCALHOST, world.port);
            let stream = Async::<TcpStream>::connect(address).await.unwrap();
            let stream: Box<dyn Stream> = match world.client() {
                None => Box::new(stream),
                Some(client) => {
                    let name = "localhost".try_into().unwrap();
                    let connector = TlsConnector::from(client);
                    Box::new(connector.connect(name, stream).await.unwrap())
                }
            };
            async_tungstenite::client_async(request, stream).await
        });
        match opened {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Opens the socket of a session and shows the token.
    pub(crate) fn of(world: &World, session: &str, token: &str) -> Self {
        let mut socket =
            Self::open(world, &format!("?session={session}"), &world.origin()).unwrap();
        socket.say(&serde_json::json!({ "type": "auth", "token": token }));
        socket
    }

    pub(crate) fn say(&mut self, message: &Value) {
        self.say_text(&message.to_string());
    }

    pub(crate) fn say_text(&mut self, text: &str) {
        self.say_message(Message::text(text));
    }

    pub(crate) fn say_message(&mut self, message: Message) {
        // A socket that is closed meanwhile shows it in what is heard.
        let _closed = within_limit(self.0.send(message));
    }

    /// The next message; `None` when the socket is closed.
    pub(crate) fn hear(&mut self) -> Option<Value> {
        loop {
            match within_limit(self.0.next()) {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(other)) => panic!("{other:?}"),
            }
        }
    }

    /// The next message, which has this type.
    #[track_caller]
    pub(crate) fn expect(&mut self, kind: &str) -> Value {
        let message = self.hear().expect("the socket is open");
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    /// The last message, which is this error, and the end.
    #[track_caller]
    pub(crate) fn expect_error(&mut self, code: &str) {
        let message = self.expect("error");
        assert_eq!(message["code"], code, "{message}");
        assert_eq!(message["is_final"], true);
        assert!(message["message"].as_str().unwrap().len() > 8, "{message}");
        assert_eq!(self.hear(), None);
    }
}

fn within_limit<T>(work: impl Future<Output = T>) -> T {
    let late = async {
        Timer::after(LIMIT + Duration::from_secs(1)).await;
        panic!("nothing came within {LIMIT:?}")
    };
    smol::block_on(future::or(work, late))
}
