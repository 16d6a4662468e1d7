//! A client that says what it likes in frames of HTTP/2.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection, on which the preface and empty SETTINGS have been sent.
pub struct Frames {
    stream: TcpStream,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// 0 is DATA, 1 HEADERS, 3 RST_STREAM, 7 GOAWAY.
    pub kind: u8,
    /// 1 ends the stream, 4 ends its headers.
    pub flags: u8,
    /// The stream.
    pub stream: u32,
    /// Everything behind the frame's head.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Its bytes.
    pub fn bytes(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    /// HEADERS with these fields, neither indexed nor compressed.
    pub fn headers(flags: u8, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            push(&mut block, name);
            push(&mut block, value);
        }
        Frame::bytes(1, flags, stream, &block)
    }

    /// The code of a RST_STREAM or GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == 7 { 4 } else { 0 };
        let code = self.payload[at..at + 4].try_into().expect("four bytes");
        u32::from_be_bytes(code)
    }

    /// The status in HEADERS, the first of their connection.
    pub fn status(&self) -> u16 {
        match &self.payload[..] {
            [indexed @ 0x88..=0x8e, ..] => {
                [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]
            }
            [0x48, length, rest @ ..] => digits(&rest[..usize::from(length & 0x7f)]),
            other => panic!("no status: {other:?}"),
        }
    }
}

fn push(block: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    if length < 127 {
        block.push(length as u8);
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push((length % 128 + 128) as u8);
            length /= 128;
        }
        block.push(length as u8);
    }
    block.extend(text.as_bytes());
}

/// Three digits in Huffman code: 0 to 2 have five bits, the others six.
fn digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u16> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)))
        .collect();
    let value = |bits: &[u16]| bits.iter().fold(0, |value, bit| value * 2 + bit);
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let short = value(&bits[at..at + 5]);
        let (digit, length) = if short < 3 {
            (short, 5)
        } else {
            (value(&bits[at..at + 6]) - 25 + 3, 6)
        };
        at += length;
        number = number * 10 + digit;
    }
    number
}

impl Frames {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Frames {
        let stream = crate::client::dial(address).await;
        let mut frames = Frames { stream };
        frames.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        frames.send(&Frame::bytes(4, 0, 0, &[])).await;
        frames
    }

    /// The client's own address, as logs have it.
    pub fn me(&self) -> String {
        self.stream.local_addr().expect("connected").to_string()
    }

    /// Sends bytes. A server that has had enough need not take them.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next frame that is no SETTINGS, PING or WINDOW_UPDATE. `None` at the end, however it comes.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            if ![4, 6, 8].contains(&kind) {
                let stream = u32::from_be_bytes(stream);
                return Some(Frame {
                    kind,
                    flags,
                    stream,
                    payload,
                });
            }
        }
    }

    /// All that comes until the end.
    pub async fn rest(&mut self) -> Vec<Frame> {
        let mut all = Vec::new();
        while let Some(frame) = self.next().await {
            all.push(frame);
        }
        all
    }
}
