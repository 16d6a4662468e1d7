//! What a component may use, at most; `None` is the host's own default.

use std::time::Duration;

/// The limits of a component, or of all of them; what is not set is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory, summed over all of an instance's memories.
    pub memory: Option<u64>,
    /// Guest execution time of a request.
    pub cpu: Option<Duration>,
    /// Wall time until the response's head.
    pub request_timeout: Option<Duration>,
    /// Wall time until the response's end.
    pub response_timeout: Option<Duration>,
    /// Requests at a time.
    pub concurrency: Option<u32>,
    /// Requests that wait for their turn.
    pub queue: Option<u32>,
    /// Bytes of a request's body.
    pub request_body: Option<u64>,
    /// Bytes of a response's body.
    pub response_body: Option<u64>,
    /// Bytes of log.
    pub log_rate: Option<Rate>,
    /// Outbound requests at a time.
    pub outbound_concurrency: Option<u32>,
    /// Outbound requests.
    pub outbound_rate: Option<Rate>,
    /// How often an instance may serve.
    pub instance_reuse: Option<InstanceReuse>,
}

/// So many in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many, or how many bytes.
    pub amount: u64,
    /// In which time.
    pub per: Duration,
}

/// How often an instance may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceReuse {
    /// A fresh instance for each request.
    Never,
    /// At most so many requests.
    Requests(u32),
}
