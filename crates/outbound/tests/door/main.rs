//! The door through real sockets: loopback upstreams, a DNS server of our own, and canaries that must stay silent.

mod address;
mod caps;
mod http1;
mod http2;
mod pooling;
mod support;
mod timeouts;
mod tls;
