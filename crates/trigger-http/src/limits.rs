//! Every number that bounds what a client may take, in one table.
//!
//! All of them hold with no flag given. A number that a flag can set says so.

use std::time::Duration;

/// How long, how much and how many.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections that are open at a time. `--max-connections` sets it.
    pub connections: usize,
    /// Connections of one client that are open at a time, of one /64 where it speaks IPv6. `--max-connections-per-ip`
    /// sets it; trusted proxies are not counted, for they come for many.
    pub connections_per_ip: Option<usize>,
    /// What announces a client behind a proxy, from the accept: the header of the PROXY protocol.
    pub proxy_header: Duration,
    /// From the accept to the first byte, TLS handshake excluded.
    pub first_byte: Duration,
    /// A TLS handshake, from the accept.
    pub handshake: Duration,
    /// A request's head, from its first byte to its last: not for each byte.
    pub head: Duration,
    /// A kept connection without a request.
    pub keep_alive: Duration,
    /// Between two reads of a request's body, while a guest waits for it.
    pub body_idle: Duration,
    /// What a request's body may take before its rate counts; only waiting for the client is charged.
    pub body_grace: Duration,
    /// Bytes a second, after [`Limits::body_grace`].
    pub body_rate: u32,
    /// A request's body that its guest keeps, and has not read to its end, once its response is whole.
    pub kept_body: Duration,
    /// A response of which the client takes nothing.
    pub write_stall: Duration,
    /// A connection that was refused or cut is read for this long, so that its client can read why.
    pub linger: Duration,
    /// How long an idle HTTP/1 connection stays open for one more request after draining has begun.
    pub idle_window: Duration,
    /// Bytes of a request's head, its line included.
    pub head_bytes: usize,
    /// Header fields of a request.
    pub fields: usize,
    /// Bytes of a request's target.
    pub target_bytes: usize,
    /// Bytes of a trailer section, and [`Limits::fields`] of its fields.
    pub trailer_bytes: usize,
    /// Bytes of all chunk extensions of one body.
    pub chunk_extensions: usize,
    /// Streams of one HTTP/2 connection that are open at a time.
    pub streams: u32,
    /// HTTP/2: what a client may send for one stream before a guest reads it.
    pub stream_window: u32,
    /// HTTP/2: what a client may send for all streams of a connection.
    pub connection_window: u32,
    /// HTTP/2: between two pings of a connection, and how long its answer may take.
    pub ping: Duration,
    /// HTTP/2: what a head may be when it is unpacked, each field with 32 bytes on top, as the protocol counts it.
    pub header_list: usize,
    /// HTTP/2: bytes of one stream's response that may wait for its client.
    pub send_buffer: usize,
    /// HTTP/2: what a connection may spend on frames that ask for nothing; a PING costs 2, a request that is reset 6.
    pub frame_tokens: u32,
    /// HTTP/2: how many of [`Limits::frame_tokens`] come back in a second.
    pub frame_tokens_a_second: u32,
    /// HTTP/2: streams that may be reset for an error or refused in the life of one connection.
    pub failed_streams: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // Half of what a usual hard limit of descriptors is. `runner` sets half of the one it finds.
            connections: 2048,
            connections_per_ip: None,
            proxy_header: Duration::from_secs(10),
            first_byte: Duration::from_secs(10),
            // Three round trips to the other side of the world and a lost packet fit in a tenth of it.
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            // What browsers and proxies expect of a server that is not short of connections.
            keep_alive: Duration::from_secs(60),
            body_idle: Duration::from_secs(30),
            body_grace: Duration::from_secs(10),
            // Apache's `RequestReadTimeout` asks for twice as much; a modem gave ten times.
            body_rate: 240,
            write_stall: Duration::from_secs(30),
            kept_body: runner_host::caps::AFTER_RESPONSE,
            linger: Duration::from_secs(1),
            // Longer than a round trip: a request sent just before our FIN arrives is still answered.
            idle_window: Duration::from_secs(1),
            // Four times nginx's 8 KiB: a signed cookie plus a trace header pass, a flood does not.
            head_bytes: 32 * 1024,
            fields: 100,
            target_bytes: 8 * 1024,
            trailer_bytes: 16 * 1024,
            chunk_extensions: 256,
            // The least that the HTTP/2 specification recommends; each stream may hold a guest.
            streams: 100,
            stream_window: 64 * 1024,
            connection_window: 1024 * 1024,
            ping: Duration::from_secs(20),
            // What h2 and most others take; a hundred streams may each have one.
            header_list: 16 * 1024,
            send_buffer: 64 * 1024,
            // A page that is left with a hundred requests open costs 600; a flood of any kind is over in a millisecond.
            frame_tokens: 1000,
            frame_tokens_a_second: 100,
            // h2's own number: three connections' worth of streams that came before the client knew the limit.
            failed_streams: 1024,
        }
    }
}

impl Limits {
    /// Those that concern the bytes of HTTP/1.
    pub(crate) fn http1(&self) -> runner_http1::Limits {
        runner_http1::Limits {
            head_bytes: self.head_bytes,
            fields: self.fields,
            target_bytes: self.target_bytes,
            trailer_bytes: self.trailer_bytes,
            chunk_extensions: self.chunk_extensions,
        }
    }
}
