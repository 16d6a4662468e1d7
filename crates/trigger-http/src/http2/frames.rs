//! Follows frames through the bytes of a connection, without keeping any of them.

/// The bytes before a frame's payload.
const HEAD: usize = 9;

/// What a client sends before its first frame.
const PREFACE: usize = 24;

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PUSH_PROMISE: u8 = 0x5;
pub(crate) const PING: u8 = 0x6;
pub(crate) const GOAWAY: u8 = 0x7;
pub(crate) const CONTINUATION: u8 = 0x9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// A connection is ended because its client does too much for nothing.
pub(crate) const ENHANCE_YOUR_CALM: u32 = 0xb;

/// A connection is ended, and nobody did anything wrong.
pub(crate) const NO_ERROR: u32 = 0x0;

/// A stream is ended for what came on it.
pub(crate) const PROTOCOL_ERROR: u32 = 0x1;

/// A stream is ended before anything was done for it.
pub(crate) const REFUSED_STREAM: u32 = 0x7;

/// A frame without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl Frame {
    fn parse(head: [u8; HEAD]) -> Frame {
        let [a, b, c, kind, flags, stream @ ..] = head;
        Frame {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        }
    }

    /// Whether its sender has nothing more to say on its stream.
    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    fn leaves_block_open(&self) -> bool {
        matches!(self.kind, HEADERS | PUSH_PROMISE | CONTINUATION) && self.flags & END_HEADERS == 0
    }
}

/// What a [`Follower`] meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A frame's head.
    Frame(Frame),
    /// The rest of an RST_STREAM.
    Reset(u32),
}

/// The last frame of a connection.
pub(crate) fn go_away(last_stream: u32, reason: u32) -> [u8; HEAD + 8] {
    let mut frame = [0; HEAD + 8];
    frame[2] = 8;
    frame[3] = GOAWAY;
    frame[HEAD..HEAD + 4].copy_from_slice(&last_stream.to_be_bytes());
    frame[HEAD + 4..].copy_from_slice(&reason.to_be_bytes());
    frame
}

/// Knows where in a frame one direction of a connection is.
#[derive(Debug)]
pub(crate) struct Follower {
    head: [u8; HEAD],
    have: usize,
    left: usize,
    kind: u8,
    /// A header block goes on in the next frame; or the first frame has not come, which is as urgent.
    open: bool,
    begun: u64,
    /// The last four bytes of the payload of an RST_STREAM: all it has.
    code: u32,
}

impl Follower {
    /// For what a client sends: the preface, then frames.
    pub(crate) fn of_client() -> Follower {
        Follower {
            left: PREFACE,
            kind: SETTINGS,
            open: true,
            ..Follower::of_server()
        }
    }

    /// For what a server sends: frames.
    pub(crate) fn of_server() -> Follower {
        Follower {
            head: [0; HEAD],
            have: 0,
            left: 0,
            kind: DATA,
            open: false,
            begun: 0,
            code: NO_ERROR,
        }
    }

    /// Reads on, and shows each frame as soon as its head is there. Where `goes_on` says no, the rest is not read:
    /// the returned count is what comes before that frame.
    pub(crate) fn follow(&mut self, bytes: &[u8], mut goes_on: impl FnMut(Frame) -> bool) -> usize {
        self.follow_all(bytes, |seen| match seen {
            Seen::Frame(frame) => goes_on(frame),
            Seen::Reset(_) => true,
        })
    }

    /// The same, and says why a stream is reset, behind the frame that does it.
    pub(crate) fn follow_all(
        &mut self,
        bytes: &[u8],
        mut goes_on: impl FnMut(Seen) -> bool,
    ) -> usize {
        let (mut at, mut began) = (0, 0);
        while at < bytes.len() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len() - at);
                self.left -= skipped;
                if self.kind == RST_STREAM {
                    for byte in &bytes[at..at + skipped] {
                        self.code = self.code << 8 | u32::from(*byte);
                    }
                    if self.left == 0 {
                        goes_on(Seen::Reset(self.code));
                    }
                }
                at += skipped;
                continue;
            }
            if self.have == 0 {
                began = at;
                self.begun += u64::from(!self.open);
            }
            let taken = (HEAD - self.have).min(bytes.len() - at);
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[at..at + taken]);
            self.have += taken;
            at += taken;
            if self.have < HEAD {
                break;
            }
            let frame = Frame::parse(self.head);
            self.have = 0;
            self.left = frame.length as usize;
            self.kind = frame.kind;
            self.open = frame.leaves_block_open();
            if !goes_on(Seen::Frame(frame)) {
                return began;
            }
        }
        at
    }

    /// Whether another frame could be written here.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.have == 0 && self.left == 0 && !self.open
    }

    /// Whether the last header block is not complete.
    pub(crate) fn is_in_block(&self) -> bool {
        let goes_on = self.left > 0 && matches!(self.kind, HEADERS | CONTINUATION);
        goes_on || self.open
    }

    /// Which of the things that must come in one go has begun and is not complete: a frame that is no DATA, or a
    /// header block in several. The number tells it from every other.
    pub(crate) fn unfinished(&self) -> Option<u64> {
        let waits = self.open || self.have > 0 || (self.left > 0 && self.kind != DATA);
        waits.then_some(self.begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: usize) -> Vec<u8> {
        let mut bytes = (payload as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.resize(HEAD + payload, 0);
        bytes
    }

    fn shown(follower: &mut Follower, bytes: &[u8]) -> Vec<(u8, u8, u32, u32)> {
        let mut seen = Vec::new();
        let read = follower.follow(bytes, |frame| {
            seen.push((frame.kind, frame.flags, frame.stream, frame.length));
            true
        });
        assert_eq!(read, bytes.len());
        seen
    }

    #[test]
    fn frames_are_seen_however_their_bytes_arrive() {
        let mut bytes = vec![b'x'; PREFACE];
        bytes.extend(frame(SETTINGS, 0, 0, 12));
        bytes.extend(frame(HEADERS, 5, 0x8000_0001, 300));
        bytes.extend(frame(DATA, 1, 3, 0));
        let expected = [(SETTINGS, 0, 0, 12), (HEADERS, 5, 1, 300), (DATA, 1, 3, 0)];
        for size in [1, 2, 7, 9, 10, 24, 33, 1000] {
            let mut follower = Follower::of_client();
            let mut seen = Vec::new();
            for part in bytes.chunks(size) {
                seen.extend(shown(&mut follower, part));
            }
            assert_eq!(seen, expected, "{size}");
            assert!(follower.is_between_frames(), "{size}");
        }
    }

    #[test]
    fn what_must_come_in_one_go_is_unfinished_until_it_is_whole() {
        let mut follower = Follower::of_client();
        let mut step = |bytes: &[u8]| {
            shown(&mut follower, bytes);
            follower.unfinished()
        };
        assert_eq!(step(&[]), Some(0));
        assert_eq!(step(&[0; PREFACE]), Some(0));
        let settings = frame(SETTINGS, 0, 0, 6);
        assert_eq!(step(&settings[..10]), Some(0));
        assert_eq!(step(&settings[10..]), None);
        assert_eq!(step(&frame(HEADERS, 0, 1, 3)), Some(1));
        assert_eq!(step(&frame(CONTINUATION, 0, 1, 3)), Some(1));
        assert_eq!(step(&frame(CONTINUATION, 4, 1, 3)), None);
        let ping = frame(PING, 0, 0, 8);
        assert_eq!(step(&ping[..3]), Some(2));
        assert_eq!(step(&[&ping[3..], &ping[..3]].concat()), Some(3));
        assert_eq!(step(&ping[3..]), None);
        let data = frame(DATA, 0, 1, 5);
        assert_eq!(step(&data[..8]), Some(4));
        assert_eq!(step(&data[8..10]), None);
    }

    #[test]
    fn nothing_is_read_from_the_frame_that_is_one_too_many() {
        let bytes = [frame(PING, 0, 0, 8), frame(PING, 0, 0, 8)].concat();
        let mut left = 1;
        let read = Follower::of_server().follow(&bytes, |_| {
            left -= 1;
            left >= 0
        });
        assert_eq!(read, HEAD + 8);
    }

    #[test]
    fn a_go_away_is_a_frame() {
        assert_eq!(
            go_away(7, ENHANCE_YOUR_CALM),
            [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 11]
        );
    }
}
