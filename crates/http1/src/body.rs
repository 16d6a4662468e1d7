//! Reading the body of a request.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use crate::{Error, Limits, head};

/// Chunks of less than this are joined, so that a body in a million pieces is not handed over in as many.
const SMALL: usize = 1024;

/// Joined chunks are handed over at this size.
const ENOUGH: usize = 8 * 1024;

/// `ffffffffffffffff` is more than anybody sends; more digits could overflow.
const MAX_DIGITS: usize = 15;

/// Reads one body.
#[derive(Debug)]
pub struct Decoder(Kind);

#[derive(Debug)]
enum Kind {
    Length(u64),
    Chunked(Chunked),
}

/// What could be read.
#[derive(Debug, PartialEq)]
pub enum Decoded {
    /// Bytes of the body, at least one.
    Data(Bytes),
    /// The trailer section, once, before the end.
    Trailers(HeaderMap),
    /// The body is complete; what follows belongs to the next request.
    End,
    /// More bytes are needed.
    More,
}

impl Decoder {
    pub(crate) fn length(length: u64) -> Decoder {
        Decoder(Kind::Length(length))
    }

    pub(crate) fn chunked(limits: &Limits) -> Decoder {
        Decoder(Kind::Chunked(Chunked {
            state: State::Size,
            seen: 0,
            extensions: limits.chunk_extensions,
            limits: limits.clone(),
        }))
    }

    /// Whether all of the body has been read.
    pub fn is_done(&self) -> bool {
        match &self.0 {
            Kind::Length(left) => *left == 0,
            Kind::Chunked(chunked) => chunked.state == State::Done,
        }
    }

    /// How much is left, where that is known.
    pub fn left(&self) -> Option<u64> {
        match &self.0 {
            Kind::Length(left) => Some(*left),
            Kind::Chunked(chunked) => (chunked.state == State::Done).then_some(0),
        }
    }

    /// Takes what it can off the front of `bytes`.
    ///
    /// # Errors
    /// [`Error::Body`], and from then on always.
    pub fn decode(&mut self, bytes: &mut BytesMut) -> Result<Decoded, Error> {
        match &mut self.0 {
            Kind::Length(left) => Ok(take(left, bytes)),
            Kind::Chunked(chunked) => chunked
                .decode(bytes)
                .inspect_err(|_| chunked.state = State::Broken),
        }
    }
}

fn take(left: &mut u64, bytes: &mut BytesMut) -> Decoded {
    if *left == 0 {
        return Decoded::End;
    }
    if bytes.is_empty() {
        return Decoded::More;
    }
    let count = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
    *left -= count as u64;
    Decoded::Data(bytes.split_to(count).freeze())
}

/// RFC 9112, 7.1.
#[derive(Debug)]
struct Chunked {
    state: State,
    /// So many bytes of a line or section that is not complete have been looked at.
    seen: usize,
    /// Bytes of extensions that may still come.
    extensions: usize,
    limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the line with a chunk's size.
    Size,
    /// Within a chunk's data.
    Data(u64),
    /// Before the CR LF that ends a chunk's data.
    DataEnd,
    /// After the last chunk.
    Trailers,
    Done,
    Broken,
}

impl Chunked {
    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Decoded, Error> {
        let mut joined = BytesMut::new();
        loop {
            match self.step(bytes, &mut joined)? {
                Step::Go if joined.len() < ENOUGH => {}
                Step::Stop(decoded) if joined.is_empty() => return Ok(decoded),
                Step::Go | Step::Stop(_) => return Ok(Decoded::Data(joined.freeze())),
            }
        }
    }

    fn step(&mut self, bytes: &mut BytesMut, joined: &mut BytesMut) -> Result<Step, Error> {
        match self.state {
            State::Size => self.size(bytes),
            State::Data(left) => Ok(self.data(left, bytes, joined)),
            State::DataEnd => self.data_end(bytes),
            // What was joined goes first.
            State::Trailers | State::Done if !joined.is_empty() => Ok(Step::Stop(Decoded::More)),
            State::Trailers => self.trailers(bytes),
            State::Done => Ok(Step::Stop(Decoded::End)),
            State::Broken => Err(Error::Body),
        }
    }

    fn size(&mut self, bytes: &mut BytesMut) -> Result<Step, Error> {
        let Some(at) = memchr::memchr(b'\n', &bytes[self.seen..]) else {
            self.seen = bytes.len();
            let most = MAX_DIGITS + self.extensions + 1;
            return if bytes.len() > most {
                Err(Error::Body)
            } else {
                Ok(Step::MORE)
            };
        };
        let line = bytes.split_to(self.seen + at + 1);
        self.seen = 0;
        let size = self.size_line(&line)?;
        self.state = if size == 0 {
            State::Trailers
        } else {
            State::Data(size)
        };
        Ok(Step::Go)
    }

    fn size_line(&mut self, line: &[u8]) -> Result<u64, Error> {
        let line = line.strip_suffix(b"\r\n").ok_or(Error::Body)?;
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let (digits, extension) = line.split_at(digits);
        if digits.is_empty() || digits.len() > MAX_DIGITS {
            return Err(Error::Body);
        }
        self.extension(extension)?;
        let size = digits
            .iter()
            .filter_map(|digit| char::from(*digit).to_digit(16));
        Ok(size.fold(0, |size, digit| (size << 4) | u64::from(digit)))
    }

    fn extension(&mut self, extension: &[u8]) -> Result<(), Error> {
        let begins = extension.first().is_none_or(|first| *first == b';');
        let text = extension
            .iter()
            .all(|byte| *byte == b'\t' || !byte.is_ascii_control());
        if !begins || !text {
            return Err(Error::Body);
        }
        self.extensions = self
            .extensions
            .checked_sub(extension.len())
            .ok_or(Error::Body)?;
        Ok(())
    }

    fn data(&mut self, left: u64, bytes: &mut BytesMut, joined: &mut BytesMut) -> Step {
        if bytes.is_empty() {
            return Step::MORE;
        }
        let count = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        if count >= SMALL && !joined.is_empty() {
            // What was joined goes first.
            return Step::MORE;
        }
        let left = left - count as u64;
        self.state = if left == 0 {
            State::DataEnd
        } else {
            State::Data(left)
        };
        let data = bytes.split_to(count);
        if count >= SMALL {
            return Step::Stop(Decoded::Data(data.freeze()));
        }
        joined.extend_from_slice(&data);
        Step::Go
    }

    fn data_end(&mut self, bytes: &mut BytesMut) -> Result<Step, Error> {
        match &bytes[..] {
            [] | [b'\r'] => Ok(Step::MORE),
            [b'\r', b'\n', ..] => {
                bytes.advance(2);
                self.state = State::Size;
                Ok(Step::Go)
            }
            _ => Err(Error::Body),
        }
    }

    fn trailers(&mut self, bytes: &mut BytesMut) -> Result<Step, Error> {
        for at in memchr::memchr_iter(b'\n', &bytes[self.seen..]) {
            let feed = self.seen + at;
            let line = &bytes[..feed];
            if !line.ends_with(b"\r") {
                return Err(Error::Body);
            }
            if feed == 1 || line.ends_with(b"\r\n\r") {
                return self.trailer_section(bytes, feed + 1);
            }
        }
        self.seen = bytes.len();
        if bytes.len() > self.limits.trailer_bytes {
            return Err(Error::Body);
        }
        Ok(Step::MORE)
    }

    fn trailer_section(&mut self, bytes: &mut BytesMut, end: usize) -> Result<Step, Error> {
        if end > self.limits.trailer_bytes {
            return Err(Error::Body);
        }
        let section = bytes.split_to(end).freeze();
        self.state = State::Done;
        if section.len() == 2 {
            return Ok(Step::Go);
        }
        let trailers = head::trailers(section, &self.limits)?;
        Ok(Step::Stop(Decoded::Trailers(trailers)))
    }
}

/// How a decoder goes on.
enum Step {
    /// It knows more now.
    Go,
    /// This is all for now.
    Stop(Decoded),
}

impl Step {
    const MORE: Step = Step::Stop(Decoded::More);
}

#[cfg(test)]
mod tests;
