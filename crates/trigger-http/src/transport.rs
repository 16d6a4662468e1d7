//! The bytes of a connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection that can be watched while another owner reads and writes it.
#[derive(Clone, Debug)]
pub(crate) struct Socket(Arc<TcpStream>);

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Socket {
        Socket(Arc::new(stream))
    }

    /// Whether bytes have come that nobody has read, or its end.
    pub(crate) fn has_unread(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        recv(&*self.0, &mut [0], flags).is_ok()
    }

    /// Sends as much as there is room for, without waiting: on a new connection that is all of a short answer. Then says
    /// that no more will come.
    pub(crate) fn send_last(&self, bytes: &[u8]) {
        let _ = send(&*self.0, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        self.finish();
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Returns when the peer has reset the connection, also while nobody reads or writes it.
    ///
    /// A bare FIN does not count: it may be a half-close, and its sender may still be waiting for the response.
    pub(crate) async fn reset(&self) {
        // An error means that the runtime is shutting down: then the connection is as gone.
        let _ = self.0.ready(Interest::ERROR).await;
    }

    /// Sends FIN. What the peer sends can still be read.
    pub(crate) fn finish(&self) {
        // It fails where the peer has closed already.
        let _ = rustix::net::shutdown(&*self.0, rustix::net::Shutdown::Write);
    }

    /// Makes the end of this connection a reset: its peer must not take what it has for whole.
    pub(crate) fn reset_when_dropped(&self) {
        let _ = self.0.set_zero_linger();
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match read_some(&self.0, buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

/// Reads once. A read that did not fill the buffer has emptied the socket, so its readiness is cleared here, as
/// tokio's own `TcpStream` does: otherwise every request costs a second read that finds nothing.
fn read_some(stream: &TcpStream, buf: &mut ReadBuf<'_>) -> io::Result<()> {
    let room = buf.remaining();
    let mut read = None;
    let outcome = stream.try_io(Interest::READABLE, || {
        let count = stream.try_read_buf(buf)?;
        read = Some(count);
        let emptied = cfg!(target_os = "linux") && 0 < count && count < room;
        if emptied {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            Ok(())
        }
    });
    if read.is_some() { Ok(()) } else { outcome }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        poll_write(&self.0, cx, |stream| stream.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write(&self.0, cx, |stream| stream.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Nothing to do: whoever shuts down calls [`Socket::finish`] or drops the socket next, and that sends the FIN.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn poll_write(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    write: impl Fn(&TcpStream) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(cx))?;
        match write(stream) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}
