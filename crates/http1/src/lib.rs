//! HTTP/1 as bytes: heads and bodies read strictly, answers written. No sockets, no timers, no tasks.
//!
//! One reader decides where each request ends, and nothing else ever looks at the bytes. Where RFC 9112 lets a server
//! choose between repairing and refusing, this one refuses: each repair is a way for two servers in a row to disagree
//! about where a request ends. The grammar of a request line and of a field is [`httparse`]'s; what the bytes of a head
//! and of a body's framing may be is decided here.
//!
//! ```
//! use bytes::BytesMut;
//! use runner_http1::{Decoded, HeadReader, Limits};
//!
//! let mut bytes = BytesMut::from("POST /a HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
//! let head = HeadReader::default().read(&mut bytes, &Limits::default())?.expect("all of it is there");
//! assert_eq!(head.request.uri().path(), "/a");
//! let mut body = head.framing.decoder(&Limits::default());
//! let Decoded::Data(data) = body.decode(&mut bytes)? else { panic!() };
//! assert_eq!(&data[..], b"hi");
//! assert!(matches!(body.decode(&mut bytes)?, Decoded::End));
//! # Ok::<(), runner_http1::Error>(())
//! ```

mod answer;
mod body;
mod head;

pub use answer::{Encoder, Fit, Misfit, Persist, encode_head};
pub use body::{Decoded, Decoder};
pub use head::{Framing, Head, HeadReader};

/// How much of everything is read.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request's head, its line and the empty line included.
    pub head_bytes: usize,
    /// Header fields of a request, and fields of a trailer section.
    pub fields: usize,
    /// Bytes of a request's target.
    pub target_bytes: usize,
    /// Bytes of a trailer section.
    pub trailer_bytes: usize,
    /// Bytes of all chunk extensions of one body.
    pub chunk_extensions: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // Four times nginx's 8 KiB: a signed cookie plus a trace header pass, a flood does not.
            head_bytes: 32 * 1024,
            fields: MOST_FIELDS,
            target_bytes: 8 * 1024,
            trailer_bytes: 16 * 1024,
            chunk_extensions: 256,
        }
    }
}

/// No head has more fields than this, whatever [`Limits::fields`] says.
pub const MOST_FIELDS: usize = 100;

/// What is wrong with what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request line or a field is none (RFC 9112, 3 and 5), a line ends without CR LF, or the target has a byte
    /// that no target may have.
    #[error("not a request of HTTP/1")]
    NotHttp,
    /// Not HTTP/1.0 and not HTTP/1.1.
    #[error("a version of HTTP that is not spoken")]
    Version,
    /// More bytes than [`Limits::head_bytes`].
    #[error("the head is too large")]
    LargeHead,
    /// More fields than [`Limits::fields`].
    #[error("too many header fields")]
    ManyFields,
    /// More bytes than [`Limits::target_bytes`].
    #[error("the target is too long")]
    LongTarget,
    /// `content-length` twice, a list, or no number (RFC 9112, 6.3).
    #[error("not one length")]
    ContentLength,
    /// `transfer-encoding` that is not exactly `chunked`, twice, beside `content-length`, or in HTTP/1.0 (RFC 9112, 6.1).
    #[error("not a transfer coding that is understood")]
    TransferEncoding,
    /// `expect` that is not `100-continue` (RFC 9110, 10.1.1).
    #[error("an expectation that cannot be met")]
    Expectation,
    /// A chunk or a trailer section that is none, or is too large (RFC 9112, 7.1).
    #[error("the body breaks its own framing")]
    Body,
}
