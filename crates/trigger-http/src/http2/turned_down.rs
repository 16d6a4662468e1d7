//! What h2 does about a request before anybody here sees it, as far as that can be told from the frames.

use crate::http2::frames::{PROTOCOL_ERROR, REFUSED_STREAM};

/// Counts of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TurnedDown {
    /// Heads of requests that have come, good and bad.
    pub(crate) heads: u64,
    /// Those for which there were too many streams already.
    pub(crate) refused: u64,
    /// Streams that h2 has reset for what came on them, and not behind an answer of its own.
    pub(crate) malformed: u64,
}

/// Follows the frames of a connection.
#[derive(Debug, Default)]
pub(crate) struct TurningDown {
    counts: TurnedDown,
    /// The last header block that began is a request's, not its trailers.
    is_head: bool,
    /// The last stream that we reset had been answered.
    was_answered: bool,
}

impl TurningDown {
    /// The client begins a header block: a request's, or its trailers.
    pub(crate) fn begins(&mut self, is_head: bool) {
        self.is_head = is_head;
        self.counts.heads += u64::from(is_head);
    }

    /// We reset a stream, on which all was said or not.
    pub(crate) fn resets(&mut self, was_answered: bool) {
        self.was_answered = was_answered;
    }

    /// And this is why.
    pub(crate) fn because(&mut self, code: u32) {
        match code {
            REFUSED_STREAM => self.counts.refused += 1,
            PROTOCOL_ERROR if !self.was_answered => self.counts.malformed += 1,
            _ => {}
        }
    }

    /// What was counted; `in_block` says whether the last header block has not come to its end.
    pub(crate) fn so_far(&self, in_block: bool) -> TurnedDown {
        let unfinished = u64::from(self.is_head && in_block);
        TurnedDown {
            heads: self.counts.heads - unfinished,
            ..self.counts
        }
    }
}
