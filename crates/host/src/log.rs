//! A guest's standard output and error, as log lines.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use runner_manifest::ComponentId;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::caps;
use crate::event::{Event, Events, RequestId, Stream};

/// What a guest may hand over in one write: the usual size of a pipe.
const WRITE: usize = 64 * 1024;

/// One of a guest's output streams. Never a terminal, never full: what cannot be told is dropped by whoever is told.
#[derive(Clone)]
pub(crate) struct LogStream {
    lines: Arc<Mutex<Lines>>,
}

struct Lines {
    events: Events,
    component: ComponentId,
    request_id: RequestId,
    stream: Stream,
    line: Vec<u8>,
}

impl LogStream {
    pub(crate) fn new(
        events: Events,
        component: ComponentId,
        request_id: RequestId,
        stream: Stream,
    ) -> LogStream {
        let lines = Lines {
            events,
            component,
            request_id,
            stream,
            line: Vec::new(),
        };
        LogStream {
            lines: Arc::new(Mutex::new(lines)),
        }
    }

    fn push(&self, bytes: &[u8]) {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(bytes);
    }
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            let room = caps::LOG_LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                self.tell();
            }
        }
    }

    fn tell(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        (self.events)(Event::Line {
            component: &self.component,
            request_id: self.request_id,
            stream: self.stream,
            line: &line,
        });
        self.line.clear();
    }
}

impl Drop for Lines {
    /// The last line may have no line feed.
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.tell();
        }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for LogStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_whole_cut_at_their_limit_and_the_last_without_a_line_feed() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let events: Events = {
            let told = told.clone();
            Arc::new(move |event| {
                let Event::Line { line, .. } = event else {
                    return;
                };
                told.lock().unwrap().push(line.to_owned());
            })
        };
        let stream = LogStream::new(
            events,
            "a".parse().unwrap(),
            RequestId::next(),
            Stream::Stdout,
        );
        stream.push(b"one\ntw");
        stream.push(b"o\n\n");
        stream.push(&vec![b'x'; caps::LOG_LINE * 2]);
        stream.push(b"\nlast \xff");
        drop(stream);
        let told = told.lock().unwrap();
        assert_eq!(told[..3], ["one", "two", ""]);
        assert_eq!(told[3].len(), caps::LOG_LINE);
        assert_eq!(told[4..], ["last \u{fffd}"]);
    }
}
