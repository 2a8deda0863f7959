//! Reads and writes an upgraded HTTP connection as the WebSocket library wants it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBuf, Write};
use hyper::upgrade::Upgraded;
use smol::io::{AsyncRead, AsyncWrite};

/// Bytes that are read in one turn. The library goes on reading while a message is not whole, and
/// one in empty pieces never is: whoever sends them fast enough must not keep the thread.
const TURN_BYTES: usize = 64 << 10;

/// hyper's traits on the inside, futures' on the outside.
#[derive(Debug)]
pub(super) struct SocketIo<S = Upgraded> {
    stream: S,
    /// Bytes until others have their turn.
    left: usize,
}

impl<S> SocketIo<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self {
            stream,
            left: TURN_BYTES,
        }
    }
}

impl<S: Read + Unpin> AsyncRead for SocketIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.left == 0 {
            self.left = TURN_BYTES;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut filled = ReadBuf::new(buffer);
        match Pin::new(&mut self.stream).poll_read(context, filled.unfilled()) {
            Poll::Ready(Ok(())) => {
                let length = filled.filled().len();
                self.left = self.left.saturating_sub(length);
                Poll::Ready(Ok(length))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.left = TURN_BYTES;
                Poll::Pending
            }
        }
    }
}

impl<S: Write + Unpin> AsyncWrite for SocketIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use async_tungstenite::WebSocketStream;
    use async_tungstenite::tungstenite::protocol::Role;
    use futures_lite::Stream as _;
    use hyper::rt::ReadBufCursor;

    use super::*;

    /// Sends the first pieces of a message for ever, each of them empty; takes everything.
    struct Pieces {
        has_begun: bool,
    }

    impl Read for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            mut buffer: ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            let has_begun = std::mem::replace(&mut self.has_begun, true);
            let kind = if has_begun { 0 } else { 2 };
            buffer.put_slice(&[kind, 0x80, 0, 0, 0, 0]);
            Poll::Ready(Ok(()))
        }
    }

    impl Write for Pieces {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_message_that_never_ends_lets_others_have_their_turn() {
        let io = SocketIo::new(Pieces { has_begun: false });
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, None);
        let mut socket = smol::block_on(socket);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(Pin::new(&mut socket).poll_next(&mut context).is_pending());
        }
    }
}
