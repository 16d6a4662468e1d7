//! Reading the head of a request.

use std::mem::MaybeUninit;
use std::str;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::body::Decoder;
use crate::{Error, Limits, MOST_FIELDS};

/// A request without its body.
#[derive(Debug)]
pub struct Head {
    /// Method, target, version and fields, as they were sent.
    pub request: Request<()>,
    /// Where its body ends.
    pub framing: Framing,
    /// Whether its client wants to send another request on this connection.
    pub keep_alive: bool,
    /// Whether its client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// Where the body of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk and its trailers.
    Chunked,
}

impl Framing {
    /// What reads such a body.
    pub fn decoder(self, limits: &Limits) -> Decoder {
        match self {
            Framing::None => Decoder::length(0),
            Framing::Length(length) => Decoder::length(length),
            Framing::Chunked => Decoder::chunked(limits),
        }
    }
}

/// Finds the end of a head in bytes that come bit by bit, and looks at each of them once.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// So many bytes have been looked at.
    seen: usize,
    /// A blank line stood before the request, which one old client in the world sends after a body (RFC 9112, 2.2).
    blank: bool,
    /// Where the request line ended.
    line: Option<usize>,
    /// A head that was complete and is none.
    refused: Bytes,
}

impl HeadReader {
    /// Takes the head off the front of `bytes`, if all of it is there.
    ///
    /// # Errors
    /// What is wrong is said as soon as it is seen, so that a client is not waited for that has already failed.
    pub fn read(&mut self, bytes: &mut BytesMut, limits: &Limits) -> Result<Option<Head>, Error> {
        self.skip_blank(bytes);
        let Some(end) = self.end(bytes, limits)? else {
            return Ok(None);
        };
        let head = bytes.split_to(end).freeze();
        *self = HeadReader::default();
        parse(head.clone(), limits)
            .map(Some)
            .inspect_err(|_| self.refused = head)
    }

    /// After an error: what there is of the head. `bytes` is what [`HeadReader::read`] was given.
    pub fn refused<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        if self.refused.is_empty() {
            bytes
        } else {
            &self.refused
        }
    }

    fn skip_blank(&mut self, bytes: &mut BytesMut) {
        if self.seen == 0 && !self.blank && bytes.starts_with(b"\r\n") {
            bytes.advance(2);
            self.blank = true;
        }
    }

    /// The end of the head, once its empty line is there.
    fn end(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Error> {
        match bytes {
            // It may become a blank line.
            b"" | b"\r" => return Ok(None),
            [first, ..] if !is_token(*first) => return Err(Error::NotHttp),
            _ => {}
        }
        for at in memchr::memchr_iter(b'\n', &bytes[self.seen..]) {
            let feed = self.seen + at;
            let line = &bytes[..feed];
            if !line.ends_with(b"\r") {
                return Err(Error::NotHttp);
            }
            let first = *self.line.get_or_insert(feed);
            if first == feed && feed > longest_line(limits) {
                return Err(Error::LongTarget);
            }
            if line.ends_with(b"\r\n\r") {
                let end = feed + 1;
                return if end > limits.head_bytes {
                    Err(Error::LargeHead)
                } else {
                    Ok(Some(end))
                };
            }
        }
        self.seen = bytes.len();
        match self.line {
            None if bytes.len() > longest_line(limits) => Err(Error::LongTarget),
            _ if bytes.len() >= limits.head_bytes => Err(Error::LargeHead),
            _ => Ok(None),
        }
    }
}

/// A method of 32 bytes, two spaces and `HTTP/1.1` stand beside the target. What is longer is looked at no further.
fn longest_line(limits: &Limits) -> usize {
    limits.target_bytes + 32 + 2 + 8 + 1
}

fn parse(bytes: Bytes, limits: &Limits) -> Result<Head, Error> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let status = httparse::ParserConfig::default()
        .parse_request_with_uninit_headers(&mut parsed, &bytes, &mut fields)
        .map_err(|error| from_httparse(error, &bytes))?;
    let (true, Some(method), Some(target), Some(version)) = (
        status.is_complete(),
        parsed.method,
        parsed.path,
        parsed.version,
    ) else {
        return Err(Error::NotHttp);
    };
    let version = if version == 0 {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    };
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|_| Error::NotHttp)?;
    *request.uri_mut() = uri(&bytes, target, limits)?;
    *request.version_mut() = version;
    *request.headers_mut() = headers(&bytes, parsed.headers, limits)?;
    let headers = request.headers();
    let framing = framing(headers, version)?;
    Ok(Head {
        framing,
        keep_alive: keep_alive(headers, version),
        expects_continue: expects_continue(headers, version)?,
        request,
    })
}

fn from_httparse(error: httparse::Error, bytes: &[u8]) -> Error {
    match error {
        httparse::Error::TooManyHeaders => Error::ManyFields,
        httparse::Error::Version if names_a_version(bytes) => Error::Version,
        _ => Error::NotHttp,
    }
}

/// Whether the third and last word of the request line is a version of HTTP.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let version = words.next().and_then(|word| word.strip_prefix(b"HTTP/"));
    let is_version = |version: &[u8]| match version {
        [major] => major.is_ascii_digit(),
        [major, b'.', minor] => major.is_ascii_digit() && minor.is_ascii_digit(),
        _ => false,
    };
    words.next().is_none() && version.is_some_and(is_version)
}

/// A fragment is never sent (RFC 9112, 3.2), and a byte beyond ASCII is always escaped (RFC 3986): one who sends them
/// hopes for a reader that takes them for something else.
fn uri(bytes: &Bytes, target: &str, limits: &Limits) -> Result<Uri, Error> {
    if target.len() > limits.target_bytes {
        return Err(Error::LongTarget);
    }
    if target
        .bytes()
        .any(|byte| byte == b'#' || !byte.is_ascii_graphic())
    {
        return Err(Error::NotHttp);
    }
    Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes())).map_err(|_| Error::NotHttp)
}

fn headers(
    bytes: &Bytes,
    fields: &[httparse::Header<'_>],
    limits: &Limits,
) -> Result<HeaderMap, Error> {
    if fields.len() > limits.fields {
        return Err(Error::ManyFields);
    }
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Error::NotHttp)?;
        headers.append(name, value(bytes, field.value)?);
    }
    Ok(headers)
}

fn value(bytes: &Bytes, value: &[u8]) -> Result<HeaderValue, Error> {
    if value.is_empty() {
        return Ok(HeaderValue::from_static(""));
    }
    HeaderValue::from_maybe_shared(bytes.slice_ref(value)).map_err(|_| Error::NotHttp)
}

/// The fields of a trailer section, which ends in an empty line.
pub(crate) fn trailers(section: Bytes, limits: &Limits) -> Result<HeaderMap, Error> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    match httparse::parse_headers(&section, &mut fields) {
        Ok(httparse::Status::Complete((_, fields))) => {
            headers(&section, fields, limits).map_err(|_| Error::Body)
        }
        _ => Err(Error::Body),
    }
}

fn framing(headers: &HeaderMap, version: Version) -> Result<Framing, Error> {
    let length = only(headers, CONTENT_LENGTH, Error::ContentLength)?;
    let coding = only(headers, TRANSFER_ENCODING, Error::TransferEncoding)?;
    match (length, coding) {
        (None, None) => Ok(Framing::None),
        (Some(length), None) => Ok(match number(length)? {
            0 => Framing::None,
            length => Framing::Length(length),
        }),
        (None, Some(coding))
            if version == Version::HTTP_11
                && coding.as_bytes().eq_ignore_ascii_case(b"chunked") =>
        {
            Ok(Framing::Chunked)
        }
        (_, Some(_)) => Err(Error::TransferEncoding),
    }
}

/// The value of a field that may stand there once.
fn only(
    headers: &HeaderMap,
    name: HeaderName,
    twice: Error,
) -> Result<Option<&HeaderValue>, Error> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        Err(twice)
    } else {
        Ok(first)
    }
}

/// Digits only, so neither a sign nor a list; 18 of them never overflow.
fn number(value: &HeaderValue) -> Result<u64, Error> {
    let digits = value.as_bytes();
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Error::ContentLength);
    }
    let text = str::from_utf8(digits).map_err(|_| Error::ContentLength)?;
    text.parse().map_err(|_| Error::ContentLength)
}

fn keep_alive(headers: &HeaderMap, version: Version) -> bool {
    if version == Version::HTTP_11 {
        !has_option(headers, "close")
    } else {
        has_option(headers, "keep-alive") && !has_option(headers, "close")
    }
}

fn has_option(headers: &HeaderMap, option: &str) -> bool {
    let values = headers.get_all(CONNECTION).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(option))
}

fn expects_continue(headers: &HeaderMap, version: Version) -> Result<bool, Error> {
    // HTTP/1.0 does not know it (RFC 9110, 10.1.1).
    if version == Version::HTTP_10 {
        return Ok(false);
    }
    match only(headers, EXPECT, Error::Expectation)? {
        None => Ok(false),
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => Err(Error::Expectation),
    }
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
