//! Upstreams of bytes: one that writes down every byte it gets, and any that a story makes up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What a recorder answers each request with, and keeps the connection.
const COLLECTED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncollected";

/// How long a story waits for what must happen. Only a story that fails ever waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A listener on loopback.
pub(crate) struct Raw {
    port: u16,
    heard: Heard,
}

/// What it has heard.
#[derive(Clone, Default)]
pub(crate) struct Heard {
    messages: Arc<Mutex<Vec<Message>>>,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    ended: Arc<Notify>,
    close: Arc<Notify>,
}

/// A request, byte by byte.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    /// All of it came.
    Whole(String),
    /// The connection ended within it.
    Broken(String),
}

impl Raw {
    /// Does with each connection what a story says.
    pub(crate) async fn start<S, F>(serve: S) -> Raw
    where
        S: Fn(TcpStream, Heard) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let raw = Raw {
            port: listener.local_addr().expect("bound").port(),
            heard: Heard::default(),
        };
        let heard = raw.heard.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                heard.connections.fetch_add(1, Ordering::SeqCst);
                heard.open.fetch_add(1, Ordering::SeqCst);
                let (heard, serving) = (heard.clone(), serve(stream, heard.clone()));
                tokio::spawn(async move {
                    tokio::select! {
                        () = serving => {}
                        () = heard.close.notified() => {}
                    }
                    heard.open.fetch_sub(1, Ordering::SeqCst);
                    heard.ended.notify_waiters();
                });
            }
        });
        raw
    }

    /// Writes down every request, and answers it.
    pub(crate) async fn recorder() -> Raw {
        Raw::start(record).await
    }

    /// Answers the head of every request with these bytes, and keeps the connection.
    pub(crate) async fn answering(answer: impl Into<Vec<u8>>) -> Raw {
        let answer: Arc<[u8]> = answer.into().into();
        Raw::start(move |mut stream, _| {
            let answer = answer.clone();
            async move {
                while read_head(&mut stream).await.is_ok() {
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    pub(crate) fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.authority())
    }

    /// How many connections came.
    pub(crate) fn connections(&self) -> usize {
        self.heard.connections.load(Ordering::SeqCst)
    }

    /// How many of them are open.
    pub(crate) fn open(&self) -> usize {
        self.heard.open.load(Ordering::SeqCst)
    }

    /// Waits until none of them is open.
    pub(crate) async fn hushed(&self) {
        let hushing = async {
            loop {
                let ended = self.heard.ended.notified();
                if self.open() == 0 {
                    return;
                }
                ended.await;
            }
        };
        let hushed = tokio::time::timeout(PATIENCE, hushing).await;
        hushed.unwrap_or_else(|_| panic!("{} are open", self.open()));
    }

    /// Closes all that are open.
    pub(crate) fn close(&self) {
        self.heard.close.notify_waiters();
    }

    /// The requests so far, `HERE` in place of its own authority. Forgets them.
    pub(crate) fn take(&self) -> Vec<Message> {
        let mut messages = self.heard.messages.lock().expect("no panic inside");
        let here = |text: String| text.replace(&self.authority(), "HERE");
        let taken = messages.drain(..).map(|message| match message {
            Message::Whole(text) => Message::Whole(here(text)),
            Message::Broken(text) => Message::Broken(here(text)),
        });
        taken.collect()
    }
}

impl Heard {
    pub(crate) fn note(&self, message: Message) {
        let mut messages = self.messages.lock().expect("no panic inside");
        messages.push(message);
    }
}

async fn record(mut stream: TcpStream, heard: Heard) {
    loop {
        let message = read_message(&mut stream).await;
        let goes_on = matches!(message, Message::Whole(_));
        if message != Message::Broken(String::new()) {
            heard.note(message);
        }
        if !goes_on || stream.write_all(COLLECTED.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_message(stream: &mut TcpStream) -> Message {
    let mut text = match read_head(stream).await {
        Ok(head) => head,
        Err(part) => return Message::Broken(part),
    };
    let head = text.len();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
    let chunked = text.contains("\r\ntransfer-encoding: chunked\r\n");
    let is_whole = |text: &str| {
        let body = &text[head..];
        match chunked {
            true => format!("\r\n{body}").contains("\r\n0\r\n") && body.ends_with("\r\n\r\n"),
            false => body.len() == length,
        }
    };
    while !is_whole(&text) {
        match stream.read_u8().await {
            Ok(byte) => text.push(byte.into()),
            Err(_) => return Message::Broken(text),
        }
    }
    Message::Whole(text)
}

/// A request up to its empty line, or as much of it as came.
pub(crate) async fn read_head(stream: &mut TcpStream) -> Result<String, String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte.into()),
            Err(_) => return Err(head),
        }
    }
    Ok(head)
}

/// Waits until the other side has closed.
pub(crate) async fn closed(stream: &mut TcpStream) {
    while stream.read_u8().await.is_ok() {}
}
