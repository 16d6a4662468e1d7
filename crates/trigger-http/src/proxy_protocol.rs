//! The header of the PROXY protocol, versions 1 and 2: who connected to the proxy in front, before anything else.
//!
//! It is read to its last byte and no further, for what follows is TLS or HTTP. A header that is not exactly one ends the
//! connection. See the specification, <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, its end included.
const MAX_LINE: usize = 107;

/// What may follow the first 16 bytes of version 2. The specification asks for 536 less 16; what proxies say beside the
/// addresses, such as the name in a client's certificate, is more.
const MAX_REST: usize = 4096;

/// For whom a connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Announcement {
    /// For a client at `from`, which had connected to `to`.
    Client { from: SocketAddr, to: SocketAddr },
    /// For one that the proxy has no address of.
    Unknown,
    /// By the proxy for itself: it looks whether we live.
    Local,
}

/// Reads the header.
pub(crate) async fn read<S>(stream: &mut S) -> io::Result<Announcement>
where
    S: AsyncRead + Unpin,
{
    let mut first = [0; SIGNATURE.len()];
    stream.read_exact(&mut first).await?;
    if first == *SIGNATURE {
        return read_2(stream).await;
    }
    if !first.starts_with(b"PROXY ") {
        return Err(invalid());
    }
    let mut line = first.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_LINE {
            return Err(invalid());
        }
        // No more than the line: a long line costs a few reads once a connection.
        let least = if line.ends_with(b"\r") { 1 } else { 2 };
        let missing = least.min(MAX_LINE - line.len());
        let before = line.len();
        line.resize(before + missing, 0);
        stream.read_exact(&mut line[before..]).await?;
    }
    let line = std::str::from_utf8(&line[..line.len() - 2]).map_err(|_| invalid())?;
    parse_1(line).ok_or_else(invalid)
}

/// Version 1, without the end of its line.
fn parse_1(line: &str) -> Option<Announcement> {
    if line.contains(['\r', '\n']) {
        return None;
    }
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        // What follows is of no use, says the specification.
        ["PROXY", "UNKNOWN", ..] => Some(Announcement::Unknown),
        [
            "PROXY",
            family @ ("TCP4" | "TCP6"),
            from,
            to,
            from_port,
            to_port,
        ] => Some(Announcement::Client {
            from: SocketAddr::new(ip(family, from)?, port(from_port)?),
            to: SocketAddr::new(ip(family, to)?, port(to_port)?),
        }),
        _ => None,
    }
}

fn ip(family: &str, text: &str) -> Option<IpAddr> {
    let ip: IpAddr = text.parse().ok()?;
    (ip.is_ipv4() == (family == "TCP4")).then_some(ip)
}

fn port(text: &str) -> Option<u16> {
    let is_usual = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| is_usual)
}

/// Version 2, after its signature.
async fn read_2<S>(stream: &mut S) -> io::Result<Announcement>
where
    S: AsyncRead + Unpin,
{
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [command, family, high, low] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 || MAX_REST < length {
        return Err(invalid());
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    parse_2(command & 0xf, family, &rest).ok_or_else(invalid)
}

/// Version 2: addresses, and after them what nobody here asks for.
fn parse_2(command: u8, family: u8, rest: &[u8]) -> Option<Announcement> {
    match (command, family) {
        (0, _) => Some(Announcement::Local),
        (1, 0x11) => client::<4>(rest),
        (1, 0x21) => client::<16>(rest),
        // Datagrams, Unix sockets, and what the proxy does not know either.
        (1, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Some(Announcement::Unknown),
        _ => None,
    }
}

fn client<const N: usize>(rest: &[u8]) -> Option<Announcement>
where
    IpAddr: From<[u8; N]>,
{
    let (from, rest) = rest.split_first_chunk::<N>()?;
    let (to, rest) = rest.split_first_chunk::<N>()?;
    let (from_port, rest) = rest.split_first_chunk::<2>()?;
    let (to_port, _) = rest.split_first_chunk::<2>()?;
    Some(Announcement::Client {
        from: SocketAddr::new(IpAddr::from(*from), u16::from_be_bytes(*from_port)),
        to: SocketAddr::new(IpAddr::from(*to), u16::from_be_bytes(*to_port)),
    })
}

fn invalid() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "it does not begin with a header of the PROXY protocol",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of `bytes`, and what is left.
    async fn read_all(bytes: &[u8]) -> (Option<Announcement>, usize) {
        let mut rest = bytes;
        let read = read(&mut rest).await.ok();
        (read, rest.len())
    }

    fn client(from: &str, to: &str) -> Option<Announcement> {
        Some(Announcement::Client {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        })
    }

    #[tokio::test]
    async fn d34_version_1_is_one_line_in_one_spelling() {
        let unknown = Some(Announcement::Unknown);
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_LINE - 16));
        let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_LINE - 15));
        for (line, expected) in [
            (
                "PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n",
                client("192.0.2.1:4711", "10.0.0.1:80"),
            ),
            (
                "PROXY TCP6 2001:db8::1 ::1 0 65535\r\n",
                client("[2001:db8::1]:0", "[::1]:65535"),
            ),
            ("PROXY UNKNOWN\r\n", unknown),
            ("PROXY UNKNOWN ffff:f...f:ffff 65535 65535\r\n", unknown),
            (&long, unknown),
            (&too_long, None),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 4711\r\n", None),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 4711 80 \r\n", None),
            ("PROXY TCP4  192.0.2.1 10.0.0.1 4711 80\r\n", None),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 04711 80\r\n", None),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 +4711 80\r\n", None),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 65536 80\r\n", None),
            ("PROXY TCP4 192.0.2.01 10.0.0.1 4711 80\r\n", None),
            ("PROXY TCP4 2001:db8::1 10.0.0.1 4711 80\r\n", None),
            ("PROXY TCP6 192.0.2.1 10.0.0.1 4711 80\r\n", None),
            ("PROXY UDP4 192.0.2.1 10.0.0.1 4711 80\r\n", None),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\n\r\n", None),
            ("proxy TCP4 192.0.2.1 10.0.0.1 4711 80\r\n", None),
            ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", None),
            ("PROXY \r\n\r\n\r\n\r\n", None),
            ("PROXY TCP4 192.0.2.1", None),
            ("", None),
        ] {
            let (read, left) = read_all(format!("{line}GET /").as_bytes()).await;
            assert_eq!(read, expected, "{line:?}");
            if expected.is_some() {
                assert_eq!(left, 5, "{line:?}: what follows is not touched");
            }
        }
    }

    fn version_2(command: u8, family: u8, length: u16, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(length.to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    #[tokio::test]
    async fn d34_version_2_is_what_it_says_it_is_and_more_is_passed_over() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        let mut v6 = [0; 36];
        (v6[0], v6[15], v6[31]) = (0x20, 1, 1);
        (v6[33], v6[35]) = (7, 80);
        let with_more: Vec<u8> = v4.iter().copied().chain([0x20; 500]).collect();
        let from_v4 = client("192.0.2.1:4711", "10.0.0.1:80");
        let unknown = Some(Announcement::Unknown);
        for (bytes, expected) in [
            (version_2(0x21, 0x11, 12, &v4), from_v4),
            (
                version_2(0x21, 0x21, 36, &v6),
                client("[2000::1]:7", "[::1]:80"),
            ),
            (version_2(0x21, 0x11, 512, &with_more), from_v4),
            (version_2(0x20, 0x00, 0, &[]), Some(Announcement::Local)),
            (version_2(0x20, 0x11, 12, &v4), Some(Announcement::Local)),
            (version_2(0x21, 0x00, 0, &[]), unknown),
            (version_2(0x21, 0x31, 216, &[0; 216]), unknown),
            (version_2(0x21, 0x12, 12, &v4), unknown),
            (version_2(0x21, 0x11, 11, &v4), None),
            (version_2(0x21, 0x21, 12, &v4), None),
            (version_2(0x21, 0x41, 12, &v4), None),
            (version_2(0x22, 0x11, 12, &v4), None),
            (version_2(0x11, 0x11, 12, &v4), None),
            (version_2(0x21, 0x11, 4097, &[0; 4097]), None),
            (version_2(0x21, 0x11, 600, &v4), None),
        ] {
            let mut wire = bytes.clone();
            wire.extend(b"GET /");
            let (read, left) = read_all(&wire).await;
            assert_eq!(read, expected, "{bytes:?}");
            if expected.is_some() {
                assert_eq!(left, 5, "{bytes:?}: what follows is not touched");
            }
        }
    }
}
