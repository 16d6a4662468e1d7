//! A call as the policy sees it: where to, how, and for what.

use http::Method;

use crate::{BadDestination, Destination};

/// An outbound call, before anything of it has left: what an [`AllowList`](crate::AllowList) decides about.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Where to.
    pub to: &'a Destination,
    /// Its method.
    pub method: &'a Method,
    /// Its path as it would be sent, without the query.
    pub path: &'a str,
}

/// A call that a person wrote down, as `https://api.example.com/v1` or `POST https://api.example.com/v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenCall {
    to: Destination,
    method: Method,
    path: String,
}

impl<'a> Call<'a> {
    /// A call of `method` to a path of a destination.
    pub fn new(to: &'a Destination, method: &'a Method, path: &'a str) -> Call<'a> {
        // No path is the root, in a request line too.
        let path = if path.is_empty() { "/" } else { path };
        Call { to, method, path }
    }

    /// `GET /` of a destination.
    pub fn get(to: &'a Destination) -> Call<'a> {
        Call::new(to, &Method::GET, "/")
    }
}

impl WrittenCall {
    /// Reads a URL, with or without a method in front; `GET` where there is none.
    ///
    /// # Errors
    /// What follows the method is not a destination.
    pub fn parse(text: &str) -> Result<WrittenCall, BadDestination> {
        let (method, url) = match text.split_once(' ') {
            Some((method, url)) if is_method(method) => {
                (method.parse().unwrap_or(Method::GET), url)
            }
            _ => (Method::GET, text),
        };
        WrittenCall::new(method, url)
    }

    /// A call of `method` to a URL as a person types it.
    ///
    /// # Errors
    /// The URL is not a destination.
    pub fn new(method: Method, url: &str) -> Result<WrittenCall, BadDestination> {
        let to = Destination::from_url(url)?;
        let path = path_of(url).to_owned();
        Ok(WrittenCall { to, method, path })
    }

    /// The same, borrowed.
    pub fn as_call(&self) -> Call<'_> {
        Call::new(&self.to, &self.method, &self.path)
    }
}

/// A tunnel, which no rule sees into, and two echoes of a request's head. Some servers know them in any case.
const NEVER: [&str; 3] = ["CONNECT", "TRACE", "TRACK"];

/// Whether no request of this method leaves, whatever its destination.
pub fn is_never_sent(method: &Method) -> bool {
    NEVER
        .iter()
        .any(|never| never.eq_ignore_ascii_case(method.as_str()))
}

/// Letters only: what begins with anything else is no method that a person means.
fn is_method(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// The path of a URL, without query and fragment.
fn path_of(url: &str) -> &str {
    let after = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after
        .find(['/', '?', '#', '\\'])
        .map_or("", |at| &after[at..]);
    let end = path.find(['?', '#']).unwrap_or(path.len());
    &path[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_a_url_with_or_without_a_method() {
        let rows = [
            ("https://a.com", Ok(("GET", "https://a.com", "/"))),
            ("https://a.com/v1?x=/y", Ok(("GET", "https://a.com", "/v1"))),
            ("https://a.com?x=/y", Ok(("GET", "https://a.com", "/"))),
            ("https://a.com#/y", Ok(("GET", "https://a.com", "/"))),
            (
                "POST https://a.com/v1",
                Ok(("POST", "https://a.com", "/v1")),
            ),
            ("/own/path", Ok(("GET", "http://self", "/own/path"))),
            ("DELETE /own", Ok(("DELETE", "http://self", "/own"))),
            ("get https://a.com", Err(())),
            (" https://a.com", Err(())),
            ("POST", Err(())),
        ];
        for (text, expected) in rows {
            let call = WrittenCall::parse(text);
            let call = call.as_ref().map(WrittenCall::as_call).map_err(|_| ());
            let to = call.map(|call| call.to.to_string());
            let found = call.map(|call| (call.method.as_str(), call.path));
            assert_eq!(
                found,
                expected.map(|(method, _, path)| (method, path)),
                "{text}"
            );
            assert_eq!(to, expected.map(|(_, to, _)| to.to_owned()), "{text}");
        }
    }
}
