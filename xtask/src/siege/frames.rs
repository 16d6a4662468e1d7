//! Frames of HTTP/2, written by hand: no library would send what a siege has to.

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(crate) mod flag {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
}

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    let mut frame = Vec::with_capacity(9 + payload.len());
    frame.extend_from_slice(&length[1..]);
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The preface and empty settings.
pub(crate) fn greeting() -> Vec<u8> {
    [PREFACE, &frame(kind::SETTINGS, flag::NONE, 0, b"")].concat()
}

/// A block of header fields, each written out: no table, no Huffman, and nothing is checked.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name);
        string(&mut block, value);
    }
    block
}

fn string(block: &mut Vec<u8>, text: &str) {
    let mut rest = text.len();
    if rest < 127 {
        block.push(rest as u8);
    } else {
        block.push(127);
        rest -= 127;
        while rest >= 128 {
            block.push((rest % 128 + 128) as u8);
            rest /= 128;
        }
        block.push(rest as u8);
    }
    block.extend_from_slice(text.as_bytes());
}

/// The error code of the first GOAWAY in what a server sent.
pub(crate) fn goaway(mut sent: &[u8]) -> Option<u32> {
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = sent {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let payload = rest.get(..length)?;
        if *kind == kind::GOAWAY {
            return Some(u32::from_be_bytes(payload.get(4..8)?.try_into().ok()?));
        }
        sent = &rest[length..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_nine_bytes_and_its_payload() {
        let ping = frame(kind::PING, flag::NONE, 0, b"12345678");
        assert_eq!(ping, b"\0\0\x08\x06\0\0\0\0\x0012345678");
    }

    #[test]
    fn a_field_is_written_out_also_where_its_length_needs_more_bytes() {
        assert_eq!(block(&[("a", "bc")]), b"\0\x01a\x02bc");
        let long = "x".repeat(300);
        let expected = [b"\0\x01a\x7f\xad\x01".as_slice(), long.as_bytes()].concat();
        assert_eq!(block(&[("a", &long)]), expected);
    }

    #[test]
    fn the_first_goaway_is_found_among_others() {
        let sent = [
            frame(kind::SETTINGS, flag::NONE, 0, b""),
            frame(kind::GOAWAY, flag::NONE, 0, b"\0\0\0\0\0\0\0\x0b"),
            frame(kind::GOAWAY, flag::NONE, 0, b"\0\0\0\0\0\0\0\0"),
        ];
        assert_eq!(goaway(&sent.concat()), Some(11));
        assert_eq!(goaway(&sent[0]), None);
    }
}
