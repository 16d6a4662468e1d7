//! Which streams of a connection are owed frames that their client leaves no room for.

use crate::http2::frames::{Frame, RST_STREAM};

/// The streams on which the server has not said all, each with how many frames it has said.
///
/// A connection has about a hundred of them at most, so they are searched one by one.
#[derive(Debug, Default)]
pub(crate) struct Unread(Vec<Stream>);

#[derive(Debug)]
struct Stream {
    number: u32,
    frames: u64,
    /// How many that were when it was last looked at.
    before: Option<u64>,
}

impl Unread {
    /// The client begins a request.
    pub(crate) fn begins(&mut self, number: u32) {
        self.0.push(Stream {
            number,
            frames: 0,
            before: None,
        });
    }

    /// The client takes it back.
    pub(crate) fn taken_back(&mut self, number: u32) {
        self.0.retain(|stream| stream.number != number);
    }

    /// We send this. Whether not all was said before.
    pub(crate) fn sees(&mut self, frame: Frame) -> bool {
        let at = self
            .0
            .iter()
            .position(|stream| stream.number == frame.stream);
        let Some(at) = at else { return false };
        if frame.kind == RST_STREAM || frame.ends_stream() {
            self.0.swap_remove(at);
        } else {
            self.0[at].frames += 1;
        }
        true
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Of how many nothing was sent since this was last asked.
    pub(crate) fn stalled(&mut self) -> usize {
        let streams = self.0.iter_mut();
        streams
            .filter_map(|stream| {
                stream
                    .before
                    .replace(stream.frames)
                    .zip(Some(stream.frames))
            })
            .filter(|(before, now)| before == now)
            .count()
    }
}
