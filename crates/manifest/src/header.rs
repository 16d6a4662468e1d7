//! Header fields that are the host's own to write.

/// Fields that belong to one connection, or to whoever frames the message: never a guest's, never a manifest's.
const OURS: [&str; 13] = [
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "trailer",
];

/// Whether a field, by its name in lower case, belongs to the connection or frames the message (RFC 9110, 7.6.1).
///
/// `transfer_encoding` is `transfer-encoding` to an upstream that speaks CGI.
pub fn is_ours(name: &str) -> bool {
    if name.contains('_') {
        return OURS.contains(&name.replace('_', "-").as_str());
    }
    OURS.contains(&name)
}
