//! Why a request is answered without the app.

use strum::VariantArray;

/// Why a request is refused before the app sees it. What a client is told is in `error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
#[repr(u8)]
pub enum Refusal {
    /// `CONNECT`: there are no tunnels here.
    Connect,
    /// `TRACE` would send a client's secrets back to whoever made it ask.
    Trace,
    /// A method of more than 32 bytes.
    LongMethod,
    /// A method that is not in capitals: methods are case-sensitive, so `get` is not `GET`.
    Method,
    /// The target is neither a path, nor a URL, nor the `*` of `OPTIONS`.
    Form,
    /// No `Host`, and no authority in its place.
    NoHost,
    /// Two `Host` headers.
    Hosts,
    /// Not a host, or not a port.
    Host,
    /// The `Host` header and the target name different hosts.
    Mismatch,
    /// A URL of another scheme than the listener's.
    Scheme,
    /// What was sent is no request: its line, a field, or an end of a line.
    NotHttp,
    /// Neither HTTP/1.0 nor HTTP/1.1, and not the preface of HTTP/2.
    Version,
    /// More bytes than a head may have.
    LargeHead,
    /// More fields than a head may have.
    ManyFields,
    /// A target of too many bytes.
    LongTarget,
    /// A `Content-Length` that is no number, or two.
    ContentLength,
    /// A `Transfer-Encoding` that is not exactly `chunked`, or beside a length, or in HTTP/1.0.
    TransferEncoding,
    /// An `Expect` that is not `100-continue`.
    Expectation,
    /// The head did not come in time.
    SlowHead,
    /// The body did not come in time.
    SlowBody,
    /// The body broke its own framing.
    Body,
    /// HTTP/2: what was sent is no request, and its stream was reset.
    Malformed,
    /// HTTP/2: what was sent is no HTTP/2, or too much that asks for nothing, and the connection was closed.
    Http2,
}

impl Refusal {
    /// Every reason.
    pub const ALL: &'static [Refusal] = Refusal::VARIANTS;

    /// Its name in a log line and in a metric.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl From<runner_http1::Error> for Refusal {
    fn from(error: runner_http1::Error) -> Refusal {
        use runner_http1::Error as E;
        match error {
            E::NotHttp => Refusal::NotHttp,
            E::Version => Refusal::Version,
            E::LargeHead => Refusal::LargeHead,
            E::ManyFields => Refusal::ManyFields,
            E::LongTarget => Refusal::LongTarget,
            E::ContentLength => Refusal::ContentLength,
            E::TransferEncoding => Refusal::TransferEncoding,
            E::Expectation => Refusal::Expectation,
            E::Body => Refusal::Body,
        }
    }
}
