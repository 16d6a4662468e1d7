//! The door through real sockets: loopback upstreams, a DNS server of our own, and canaries that must stay silent.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod address;
mod caps;
mod failing;
mod http1;
mod http2;
mod pooling;
mod support;
mod timeouts;
mod tls;
