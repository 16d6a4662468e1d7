//! What an operator sets once ([`Options`]) and what a guest may wish for a request ([`Timeouts`]).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A wait shorter than this is a guest's mistake (0, 1 ns), not a deadline that anything could meet.
const SHORTEST: Duration = Duration::from_millis(1);

/// Longer than any request lives, and far from where adding it to a clock overflows.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The smallest read buffer that hyper accepts.
const SMALLEST_HEAD: usize = 8 * 1024;

/// How the door is set up; the default suits production.
#[derive(Clone, Debug)]
pub struct Options {
    /// A PEM file of certificate authorities that are trusted beside the public ones.
    pub ca_file: Option<PathBuf>,
    /// The DNS servers to ask; empty means those that the system is configured with.
    pub dns: Vec<SocketAddr>,
    /// The longest that lookup, connect and TLS handshake may take together.
    pub connect: Duration,
    /// The longest wait for a response's head, counted from the last byte of the request.
    pub first_byte: Duration,
    /// The longest silence within a response's body.
    pub between_bytes: Duration,
    /// The largest response head in bytes.
    pub response_head: usize,
    /// The largest number of fields in a response's head.
    pub response_fields: usize,
    /// How long an unused connection is kept.
    pub idle: Duration,
    /// How many unused connections are kept for one component and origin.
    pub idle_per_key: usize,
    /// How many unused connections are kept in all.
    pub idle_total: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            ca_file: None,
            dns: Vec::new(),
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(30),
            between_bytes: Duration::from_secs(30),
            response_head: 64 * 1024,
            response_fields: 100,
            idle: Duration::from_secs(90),
            idle_per_key: 32,
            idle_total: 1024,
        }
    }
}

impl Options {
    /// The head's cap as hyper can enforce it while it reads.
    pub(crate) fn head_buffer(&self) -> usize {
        self.response_head.max(SMALLEST_HEAD)
    }
}

/// A guest's wishes for one request. They lower the operator's ceilings and never raise them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timeouts {
    /// For lookup, connect and TLS handshake together.
    pub connect: Option<Duration>,
    /// For the response's head.
    pub first_byte: Option<Duration>,
    /// For each silence within the response's body.
    pub between_bytes: Option<Duration>,
}

/// The waits that hold for one request: wishes and ceilings, settled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Waits {
    pub(crate) connect: Duration,
    pub(crate) first_byte: Duration,
    pub(crate) between_bytes: Duration,
}

impl Waits {
    pub(crate) fn settle(wish: Timeouts, ceiling: &Options) -> Waits {
        Waits {
            connect: lower(wish.connect, ceiling.connect),
            first_byte: lower(wish.first_byte, ceiling.first_byte),
            between_bytes: lower(wish.between_bytes, ceiling.between_bytes),
        }
    }
}

fn lower(wish: Option<Duration>, ceiling: Duration) -> Duration {
    wish.unwrap_or(ceiling)
        .min(ceiling)
        .clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c45_a_wish_lowers_the_ceiling_and_never_raises_it() {
        let ceiling = Duration::from_secs(10);
        for (wish, holds) in [
            (None, ceiling),
            (Some(Duration::from_secs(3)), Duration::from_secs(3)),
            (Some(Duration::from_secs(11)), ceiling),
            (Some(Duration::MAX), ceiling),
            (Some(Duration::from_nanos(u64::MAX)), ceiling),
            (Some(Duration::ZERO), SHORTEST),
            (Some(Duration::from_nanos(1)), SHORTEST),
        ] {
            assert_eq!(lower(wish, ceiling), holds, "{wish:?}");
        }
        assert_eq!(lower(None, Duration::MAX), LONGEST);
    }
}
