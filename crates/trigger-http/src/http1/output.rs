//! What is still to be written.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

/// Pieces of less than this are copied behind one another, so that they leave in one write.
const SMALL: usize = 4 * 1024;

/// More than this is not collected before it is written.
const ENOUGH: usize = 16 * 1024;

/// Small pieces, a large one, and what stands behind that.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) small: Vec<u8>,
    written: usize,
    large: Bytes,
    after: &'static [u8],
}

impl Output {
    /// Adds a piece of a body and what stands behind it. Only with [`Output::has_room`].
    pub(super) fn push(&mut self, data: Bytes, after: &'static [u8]) {
        if data.len() < SMALL {
            self.small.extend_from_slice(&data);
            self.small.extend_from_slice(after);
        } else {
            self.large = data;
            self.after = after;
        }
    }

    /// Whether more may be added before something is written.
    pub(super) fn has_room(&self) -> bool {
        self.large.is_empty() && self.after.is_empty() && self.small.len() - self.written < ENOUGH
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written == self.small.len() && self.large.is_empty() && self.after.is_empty()
    }

    /// Writes once. Ready with how many bytes the stream took, at least one.
    pub(super) fn poll_write(
        &mut self,
        mut stream: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let small = &self.small[self.written..];
        let count = if self.large.is_empty() && self.after.is_empty() {
            ready!(stream.as_mut().poll_write(cx, small))?
        } else {
            let pieces = [small, &self.large, self.after].map(IoSlice::new);
            ready!(stream.as_mut().poll_write_vectored(cx, &pieces))?
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.took(count);
        Poll::Ready(Ok(()))
    }

    fn took(&mut self, mut count: usize) {
        let small = count.min(self.small.len() - self.written);
        self.written += small;
        count -= small;
        if self.written == self.small.len() {
            self.small.clear();
            self.written = 0;
        }
        let large = count.min(self.large.len());
        self.large.advance(large);
        if self.large.is_empty() {
            // The chunk it came in may be larger than it is.
            self.large = Bytes::new();
        }
        self.after = &self.after[count - large..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, and never from two pieces of a write.
    struct Sip(Vec<u8>, usize);

    impl AsyncWrite for Sip {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = buf.len().min(self.1);
            self.0.extend_from_slice(&buf[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = bufs
                .iter()
                .flat_map(|piece| piece.iter().copied())
                .collect();
            let count = all.len().min(self.1);
            self.0.extend_from_slice(&all[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn every_byte_is_written_once_and_in_order() {
        let large = "l".repeat(SMALL);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for sip in [1, 2, 3, 7, 4096, 10_000] {
            let (mut output, mut stream) = (Output::default(), Sip(Vec::new(), sip));
            for round in 0..3 {
                output.small.extend_from_slice(b"head ");
                output.push(Bytes::from("small"), b"\r\n");
                assert!(output.has_room(), "{sip} {round}");
                output.push(Bytes::from(large.clone()), b"\r\n");
                assert!(!output.has_room(), "{sip} {round}");
                while !output.is_empty() {
                    assert!(output.poll_write(Pin::new(&mut stream), &mut cx).is_ready());
                }
            }
            let expected = format!("head small\r\n{large}\r\n").repeat(3);
            assert_eq!(String::from_utf8(stream.0).unwrap(), expected, "{sip}");
        }
    }
}
