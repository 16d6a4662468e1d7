//! What the probes share: [`Query`], the [`Fetch`] that a query describes, a [`Tally`] of many, and a little JSON.

mod fetch;
pub mod json;
mod query;
mod tally;

pub use fetch::{Fetch, Scheme};
pub use query::Query;
pub use tally::Tally;

/// The name that WIT gives an error, from the name that the bindings give it:
/// `ErrorCode::HttpRequestDenied` is `HTTP-request-denied`.
pub fn wit_name(debug: &str) -> String {
    let name = debug
        .rsplit_once("ErrorCode::")
        .map_or(debug, |(_, name)| name);
    let name = name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .next()
        .unwrap_or_default();
    let mut words: Vec<String> = Vec::new();
    for character in name.chars() {
        match words.last_mut() {
            Some(word) if !character.is_ascii_uppercase() => word.push(character),
            _ => words.push(character.to_ascii_lowercase().into()),
        }
    }
    let words: Vec<String> = words.into_iter().map(acronym).collect();
    words.join("-")
}

fn acronym(word: String) -> String {
    match word.as_str() {
        "dns" | "http" | "ip" | "tls" | "uri" => word.to_ascii_uppercase(),
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::wit_name;

    #[test]
    fn names_are_those_of_wit() {
        for (debug, name) in [
            ("ErrorCode::HttpRequestDenied", "HTTP-request-denied"),
            (
                "ErrorCode::DnsError(DnsErrorPayload { rcode: None, info_code: None })",
                "DNS-error",
            ),
            (
                "ErrorCode::DestinationIpProhibited",
                "destination-IP-prohibited",
            ),
            (
                "ErrorCode::HttpRequestUriTooLong",
                "HTTP-request-URI-too-long",
            ),
            ("ErrorCode::InternalError(Some(\"oh\"))", "internal-error"),
            ("PermissionDenied", "permission-denied"),
        ] {
            assert_eq!(wit_name(debug), name);
        }
    }
}
