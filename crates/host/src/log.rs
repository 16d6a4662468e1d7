//! A guest's standard output and error, as log lines, no more of them than its component may write.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::task::coop::poll_proceed;
use tokio::time::Instant;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::bucket::Bucket;
use crate::caps;
use crate::event::{Event, RequestId, Stream};
use crate::limit::{Hits, Limit};

/// What a guest may hand over in one write: the usual size of a pipe.
const WRITE: usize = 64 * 1024;

/// What is dropped of a component's log is told once in this time.
const WINDOW: Duration = Duration::from_secs(10);

/// What has been dropped for so long is told while its writer still writes.
const PATIENCE: Duration = Duration::from_secs(1);

/// A shorter line counts as this: it is not shorter in the log.
const LEAST: u64 = 64;

/// The log of one component: all of its instances write to it.
pub(crate) struct ComponentLog {
    hits: Arc<Hits>,
    bucket: Arc<Bucket>,
    dropped: Mutex<Dropped>,
    /// Whether some of it is not told yet.
    is_untold: AtomicBool,
}

/// Whether who wrote may write on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    Writes,
    HasEnded,
}

/// Bytes that were dropped, until they are told.
#[derive(Default)]
struct Dropped {
    bytes: u64,
    since: Option<Instant>,
    told: Option<Instant>,
}

/// One of a guest's output streams. Never a terminal, never full: what cannot be told is dropped.
#[derive(Clone)]
pub(crate) struct LogStream {
    lines: Arc<Mutex<Lines>>,
}

struct Lines {
    log: Arc<ComponentLog>,
    request_id: RequestId,
    stream: Stream,
    line: Vec<u8>,
    /// Bytes that were dropped since that was last said.
    lost: u64,
    /// Which limit the last of them were beyond.
    limit: Limit,
    /// Beside which it is, where it is one of 0.3.
    _beside: Weak<Mutex<Lines>>,
}

impl ComponentLog {
    pub(crate) fn new(hits: Arc<Hits>, bucket: Arc<Bucket>) -> ComponentLog {
        ComponentLog {
            hits,
            bucket,
            dropped: Mutex::default(),
            is_untold: AtomicBool::new(false),
        }
    }

    fn may_write(&self, bytes: u64) -> bool {
        self.bucket.take(bytes.max(LEAST))
    }

    /// So much was dropped. A writer that has ended may be the last for long.
    fn lose(&self, bytes: u64, limit: Limit, writer: Writer) {
        if bytes == 0 && !self.is_untold.load(Ordering::Relaxed) {
            return;
        }
        let untold = {
            let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            dropped.add(bytes, now);
            let untold = dropped.tell(now, writer);
            self.is_untold.store(dropped.bytes > 0, Ordering::Relaxed);
            untold
        };
        self.tell(bytes, limit, untold);
    }

    fn tell(&self, bytes: u64, limit: Limit, untold: Option<u64>) {
        if bytes > 0 || untold.is_some() {
            (self.hits.events)(Event::LogDropped {
                component: &self.hits.component,
                bytes,
                limit,
                untold,
            });
        }
    }
}

impl Drop for ComponentLog {
    fn drop(&mut self) {
        let dropped = self
            .dropped
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let rest = Some(dropped.bytes).filter(|bytes| *bytes > 0);
        self.tell(0, Limit::LogRate, rest);
    }
}

impl Dropped {
    fn add(&mut self, bytes: u64, now: Instant) {
        self.bytes += bytes;
        self.since.get_or_insert(now);
    }

    /// What is to be told now.
    fn tell(&mut self, now: Instant, writer: Writer) -> Option<u64> {
        let since = |at: Option<Instant>| at.map(|at| now.duration_since(at));
        let is_due =
            writer == Writer::HasEnded || since(self.since).is_some_and(|time| time >= PATIENCE);
        let is_too_soon = since(self.told).is_some_and(|time| time < WINDOW);
        if self.bytes == 0 || !is_due || is_too_soon {
            return None;
        }
        (self.since, self.told) = (None, Some(now));
        Some(std::mem::take(&mut self.bytes))
    }
}

impl LogStream {
    pub(crate) fn new(log: Arc<ComponentLog>, request_id: RequestId, stream: Stream) -> LogStream {
        LogStream::beside(Weak::new(), log, request_id, stream)
    }

    fn beside(
        beside: Weak<Mutex<Lines>>,
        log: Arc<ComponentLog>,
        request_id: RequestId,
        stream: Stream,
    ) -> LogStream {
        let lines = Lines {
            log,
            request_id,
            stream,
            line: Vec::new(),
            lost: 0,
            limit: Limit::LogRate,
            _beside: beside,
        };
        LogStream {
            lines: Arc::new(Mutex::new(lines)),
        }
    }

    /// What is written from now on is of this request. A line of another ends here.
    pub(crate) fn begin(&self, request_id: RequestId) {
        let mut lines = self.lines();
        if lines.request_id != request_id {
            lines.end();
            lines.request_id = request_id;
        }
    }

    /// Nothing more is written for its request.
    pub(crate) fn end(&self) {
        self.lines().end();
    }

    /// How often it is in its guest's hands: beside this one there is that of the guest's context.
    pub(crate) fn given(&self) -> usize {
        Arc::strong_count(&self.lines).saturating_sub(2)
    }

    /// How many streams of 0.3 there are beside it, each with a line of its own.
    pub(crate) fn streams(&self) -> usize {
        Arc::weak_count(&self.lines)
    }

    fn push(&self, bytes: &[u8]) {
        self.lines().push(bytes);
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            let room = caps::LOG_LINE
                .saturating_sub(self.line.len())
                .min(text.len());
            self.line.extend_from_slice(&text[..room]);
            self.lose(text.len() - room, Limit::LogLine);
            if ends {
                self.tell();
            }
        }
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            self.log.lose(lost, self.limit, Writer::Writes);
        }
    }

    fn lose(&mut self, bytes: usize, limit: Limit) {
        if bytes > 0 {
            self.lost += bytes as u64;
            self.limit = limit;
        }
    }

    /// Tells a line, or drops it where its component has written too much.
    fn tell(&mut self) {
        let bytes = self.line.len() + 1;
        if self.log.may_write(bytes as u64) {
            let line = String::from_utf8_lossy(&self.line);
            (self.log.hits.events)(Event::Line {
                component: &self.log.hits.component,
                request_id: self.request_id,
                stream: self.stream,
                line: &line,
            });
        } else {
            self.lose(bytes, Limit::LogRate);
        }
        self.line.clear();
    }

    /// The last line may have no line feed.
    fn end(&mut self) {
        if !self.line.is_empty() {
            self.tell();
        }
        let lost = std::mem::take(&mut self.lost);
        self.log.lose(lost, self.limit, Writer::HasEnded);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end();
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    /// What is written there is of the request that is served now, whichever is then.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        let lines = self.lines();
        let (log, id, stream) = (lines.log.clone(), lines.request_id, lines.stream);
        drop(lines);
        let beside = Arc::downgrade(&self.lines);
        Box::new(LogStream::beside(beside, log, id, stream))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for LogStream {
    /// Takes all of it, and now and then gives way: what is written may come from a file, by no code of its guest.
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let may_go_on = ready!(poll_proceed(cx));
        may_go_on.made_progress();
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
    use runner_manifest::Rate;

    use super::*;

    /// What was told: each line, and of what was dropped how much and, where it was told, `(so much)`.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<String>>>);

    impl Told {
        fn log(&self, amount: u64) -> Arc<ComponentLog> {
            let told = self.clone();
            let hits = Hits::new(
                Arc::new(move |event| told.take(&event)),
                "a".parse().unwrap(),
            );
            let per = Duration::from_secs(1);
            let bucket = Bucket::new(Rate { amount, per }, caps::LOG_BURST);
            Arc::new(ComponentLog::new(Arc::new(hits), Arc::new(bucket)))
        }

        fn take(&self, event: &Event<'_>) {
            let text = match event {
                Event::Line { line, .. } => (*line).to_owned(),
                Event::LogDropped {
                    bytes,
                    limit,
                    untold,
                    ..
                } => {
                    let untold = untold.map_or(String::new(), |bytes| format!(" ({bytes})"));
                    format!("{} -{bytes}{untold}", limit.as_str())
                }
                _ => return,
            };
            self.0.lock().unwrap().push(text);
        }

        fn all(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    fn stream(log: &Arc<ComponentLog>) -> LogStream {
        LogStream::new(log.clone(), RequestId::next(), Stream::Stdout)
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_told_whole_cut_at_their_limit_and_the_last_without_a_line_feed() {
        let told = Told::default();
        let stream = stream(&told.log(1 << 20));
        stream.push(b"one\ntw");
        stream.push(b"o\n\n");
        stream.push(&vec![b'x'; caps::LOG_LINE * 2]);
        stream.push(b"\nlast \xff");
        drop(stream);
        let told = told.all();
        assert_eq!(told[..4], ["one", "two", "", "log_line -8192"]);
        assert_eq!(told[4].len(), caps::LOG_LINE);
        assert_eq!(told[5..], ["last \u{fffd}", "log_line -0 (8192)"]);
    }

    #[tokio::test]
    async fn each_stream_of_0_3_is_counted_for_as_long_as_it_is_there() {
        let stream = stream(&Told::default().log(1 << 20));
        let beside = [stream.async_stream(), stream.async_stream()];
        assert_eq!(stream.streams(), 2);
        drop(beside);
        assert_eq!(stream.streams(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn e18_beyond_its_rate_whole_lines_are_dropped_and_counted() {
        let told = Told::default();
        let log = told.log(caps::LOG_BURST);
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        let first = stream(&log);
        first.push(&line.repeat(70));
        assert_eq!(told.all().split_off(64), ["log_rate -6144"]);
        drop(first);
        assert_eq!(told.all(), ["log_rate -0 (6144)"], "its writer has ended");

        tokio::time::advance(Duration::from_millis(500)).await;
        let second = stream(&log);
        second.push(&line.repeat(33));
        assert_eq!(told.all().split_off(32), ["log_rate -1024"]);
        drop(second);
        assert_eq!(told.all(), [""; 0], "it was told a moment ago");
        drop(log);
        assert_eq!(told.all(), ["log_rate -0 (1024)"], "the last is told too");
    }

    #[tokio::test(start_paused = true)]
    async fn e18_who_writes_on_and_on_is_told_of_after_a_second_and_then_every_ten() {
        let told = Told::default();
        let stream = stream(&told.log(caps::LOG_BURST));
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        let mut seconds = Vec::new();
        for second in 0..25 {
            stream.push(&line.repeat(200));
            let told = told.all();
            if told.last().is_some_and(|line| line.ends_with(')')) {
                seconds.push((second, told.last().cloned().unwrap_or_default()));
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let dropped = 136 * 1024;
        let line = |pushes: u64| format!("log_rate -{dropped} ({})", pushes * dropped);
        assert_eq!(seconds, [(1, line(2)), (11, line(10)), (21, line(10))]);
    }

    #[tokio::test(start_paused = true)]
    async fn e18_a_line_of_nothing_is_no_shorter_in_the_log() {
        let told = Told::default();
        let stream = stream(&told.log(caps::LOG_BURST));
        stream.push(&[b'\n'; 2000]);
        let told = told.all();
        assert_eq!(told.len(), 1025);
        assert_eq!(told[1024], "log_rate -976");
    }
}
