//! Both directions of one connection, and the body of the request that is being answered.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use runner_http1::{Decoded, Decoder, Error, Framing};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::connection::BoxError;
use crate::limits::Limits;
use crate::pace::Pace;

/// What is read of a body at once.
const READ: usize = 16 * 1024;

/// What a client that waits before it sends its body is told.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A connection, shared between its task and whoever reads the body of its request. Usually both are polled by the
/// same task, and the lock is free.
#[derive(Debug)]
pub(super) struct Shared<S>(Arc<Mutex<Wire<S>>>);

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Shared<S> {
        Shared(self.0.clone())
    }
}

impl<S> Shared<S> {
    pub(super) fn new(stream: S, read: BytesMut) -> Shared<S> {
        Shared(Arc::new(Mutex::new(Wire {
            stream: Some(stream),
            read,
            upload: None,
            uploads: 0,
            interim: Bytes::new(),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Wire<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Shared<S> {
    /// The body of the request that is being answered.
    pub(super) fn upload(&self, framing: Framing, expects: bool, limits: &Limits) -> Body {
        let mut wire = self.lock();
        wire.uploads += 1;
        wire.upload = Some(Upload {
            number: wire.uploads,
            decoder: framing.decoder(&limits.http1()),
            pace: Pace::new(limits),
            owes_continue: expects,
            held: true,
            fault: None,
            waker: None,
        });
        Body {
            number: wire.uploads,
            wire: self.0.clone(),
        }
    }
}

/// A stream with what was read ahead of it.
#[derive(Debug)]
pub(super) struct Wire<S> {
    /// None once the connection has ended, whoever still holds a body of it.
    stream: Option<S>,
    pub(super) read: BytesMut,
    upload: Option<Upload>,
    /// How many bodies there have been.
    uploads: u64,
    /// What is left to be written of `100 Continue`.
    interim: Bytes,
}

/// How far the body of a request has been read.
#[derive(Debug)]
struct Upload {
    /// Which body of this connection it is: a guest may hold the last one while the next is read.
    number: u64,
    decoder: Decoder,
    pace: Pace,
    /// The client waits to be told that its body is wanted.
    owes_continue: bool,
    /// Somebody may still read it.
    held: bool,
    fault: Option<Fault>,
    /// The connection, when it waits for the reader to let go.
    waker: Option<Waker>,
}

/// Why a body cannot be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The client closed the connection.
    #[error("the client went away")]
    Gone,
    /// The client took too long.
    #[error("the client sent its body too slowly")]
    Slow,
    /// The client broke the framing.
    #[error("{0}")]
    Malformed(#[from] Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Reads what there is. 0 is the end.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(0));
        };
        self.read.reserve(room);
        pin!(stream.read_buf(&mut self.read)).poll(cx)
    }

    pub(super) fn stream(&mut self) -> Pin<&mut S> {
        let stream = self.stream.as_mut();
        Pin::new(stream.expect("its task ends the connection last"))
    }

    /// What must be written before the response. From now on nobody writes but the response.
    pub(super) fn begin_response(&mut self) -> Bytes {
        if let Some(upload) = &mut self.upload {
            upload.owes_continue = false;
        }
        std::mem::take(&mut self.interim)
    }

    /// The same; whoever asks is woken when there is one, for a guest may read on another thread.
    pub(super) fn watch(&mut self, cx: &Context<'_>) -> Option<Fault> {
        let fault = self.fault();
        if let (None, Some(upload)) = (&fault, &mut self.upload) {
            upload.waker = Some(cx.waker().clone());
        }
        fault
    }

    /// What went wrong with the body of the request.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.upload.as_ref().and_then(|upload| upload.fault)
    }

    /// Whether a client was promised to be told when to send, and was not.
    pub(super) fn owes_continue(&self) -> bool {
        self.upload
            .as_ref()
            .is_some_and(|upload| upload.owes_continue)
    }

    /// Ready when nobody can read the body any more, or all of it was read.
    pub(super) fn poll_released(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(upload) = &mut self.upload else {
            return Poll::Ready(());
        };
        if !upload.held || upload.fault.is_some() || upload.decoder.is_done() {
            return Poll::Ready(());
        }
        upload.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether all of the body was read.
    pub(super) fn is_read(&self) -> bool {
        self.upload
            .as_ref()
            .is_none_or(|upload| upload.decoder.is_done())
    }

    /// How much of the body is left, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        self.upload
            .as_ref()
            .map_or(Some(0), |upload| upload.decoder.left())
    }

    /// The next request's bytes begin here.
    pub(super) fn end_request(&mut self) {
        self.upload = None;
    }

    /// The next part of the body.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        loop {
            let Some(upload) = &mut self.upload else {
                return Poll::Ready(None);
            };
            if let Some(fault) = upload.fault {
                return Poll::Ready(Some(Err(fault)));
            }
            match upload.decoder.decode(&mut self.read) {
                Ok(Decoded::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Decoded::Trailers(trailers)) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Decoded::End) => return Poll::Ready(None),
                Ok(Decoded::More) => ready!(self.poll_more(cx)),
                Err(error) => self.fail(Fault::Malformed(error)),
            }
        }
    }

    /// Ready when there is more to decode, or a fault.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.say_continue(cx);
        let filled = self.poll_fill(cx, READ);
        let Some(upload) = &mut self.upload else {
            return Poll::Ready(());
        };
        match filled {
            Poll::Ready(Ok(count)) if count > 0 => upload.pace.came(count),
            Poll::Ready(_) => self.fail(Fault::Gone),
            Poll::Pending => {
                ready!(upload.pace.poll_wait(cx));
                self.fail(Fault::Slow);
            }
        }
        Poll::Ready(())
    }

    fn say_continue(&mut self, cx: &mut Context<'_>) {
        if let Some(upload) = self.upload.as_mut().filter(|upload| upload.owes_continue) {
            upload.owes_continue = false;
            self.interim = Bytes::from_static(CONTINUE);
        }
        let Some(stream) = &mut self.stream else {
            return;
        };
        let mut stream = Pin::new(stream);
        while !self.interim.is_empty() {
            match stream.as_mut().poll_write(cx, &self.interim) {
                Poll::Ready(Ok(count)) if count > 0 => drop(self.interim.split_to(count)),
                Poll::Ready(_) => return self.fail(Fault::Gone),
                Poll::Pending => return,
            }
        }
        let _ = stream.poll_flush(cx);
    }

    fn fail(&mut self, fault: Fault) {
        if let Some(upload) = &mut self.upload {
            upload.fault.get_or_insert(fault);
            upload.waker.take().into_iter().for_each(Waker::wake);
        }
    }
}

/// A [`Wire`] over any stream, as the reader of a body sees it. A body that is not the present one has ended.
trait Reading {
    fn poll(
        &mut self,
        number: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>>;
    fn left(&self, number: u64) -> Option<u64>;
    fn is_late(&self, number: u64) -> bool;
    fn release(&mut self, number: u64);
}

impl<S> Wire<S> {
    /// Closes the connection now. Who still reads a body of it is told that its client went away.
    pub(super) fn close(&mut self) {
        self.stream = None;
        let upload = self.upload.as_mut();
        if let Some(upload) = upload.filter(|upload| !upload.decoder.is_done()) {
            upload.fault.get_or_insert(Fault::Gone);
        }
    }

    fn is_present(&self, number: u64) -> bool {
        let upload = self.upload.as_ref();
        upload.is_some_and(|upload| upload.number == number)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Reading for Wire<S> {
    fn poll(
        &mut self,
        number: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if !self.is_present(number) {
            return Poll::Ready(None);
        }
        let polled = self.poll_body(cx);
        if self.is_read()
            && let Some(waker) = self.upload.as_mut().and_then(|upload| upload.waker.take())
        {
            waker.wake();
        }
        polled
    }

    fn left(&self, number: u64) -> Option<u64> {
        match self.is_present(number) {
            true => Wire::left(self),
            false => Some(0),
        }
    }

    fn is_late(&self, number: u64) -> bool {
        self.is_present(number) && self.fault() == Some(Fault::Slow)
    }

    fn release(&mut self, number: u64) {
        let upload = self.upload.as_mut();
        if let Some(upload) = upload.filter(|upload| upload.number == number) {
            upload.held = false;
            upload.waker.take().into_iter().for_each(Waker::wake);
        }
    }
}

/// The body of a request, read off its connection by whoever polls it.
pub(crate) struct Body {
    number: u64,
    wire: Arc<Mutex<dyn Reading + Send>>,
}

impl Body {
    fn lock(&self) -> MutexGuard<'_, dyn Reading + Send + 'static> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.lock().poll(self.number, cx).map_err(BoxError::from)
    }

    pub(crate) fn left(&self) -> Option<u64> {
        self.lock().left(self.number)
    }

    /// What knows whether it came too slowly, whoever has it.
    pub(crate) fn late(&self) -> Late {
        Late {
            number: self.number,
            wire: self.wire.clone(),
        }
    }
}

/// Whether the body of a request has come too slowly.
#[derive(Clone)]
pub(crate) struct Late {
    number: u64,
    wire: Arc<Mutex<dyn Reading + Send>>,
}

impl Late {
    pub(crate) fn is(&self) -> bool {
        let wire = self.wire.lock();
        let wire = wire.unwrap_or_else(PoisonError::into_inner);
        wire.is_late(self.number)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.lock().release(self.number);
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}
