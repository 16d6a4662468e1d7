//! What leaves in a request's head, and what comes back in a response's.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body::Frame;
use runner_manifest::{Inject, Origin, is_never_sent, is_ours};

use crate::{Error, Options};

/// Those that are ours and that a message's head may have all the same, under their exact names.
const TOLERATED_IN_HEAD: [&str; 3] = ["te", "content-length", "trailer"];

/// What a field adds to a head beside its name and value: `: ` and the line's end.
const FIELD_OVERHEAD: usize = 4;

/// How the connection that was found wants its requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    /// A path in the first line and a `Host` field.
    Http1,
    /// `:scheme`, `:authority` and `:path`.
    Http2,
}

/// Refuses what must not leave, and drops what is not the guest's to say.
pub(crate) fn prepare<B>(request: &mut Request<B>) -> Result<PathAndQuery, Error> {
    if is_never_sent(request.method()) {
        return Err(Error::Method(request.method().clone()));
    }
    let path = path(request.uri())?;
    clean(request.headers_mut());
    if request.headers().get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Err(Error::Repeated(CONTENT_LENGTH));
    }
    request.extensions_mut().clear();
    Ok(path)
}

/// Addresses the request to `origin`, whatever it said before.
pub(crate) fn address<B>(
    request: &mut Request<B>,
    origin: &Origin,
    path: &PathAndQuery,
    form: Form,
) {
    match form {
        Form::Http1 => {
            *request.version_mut() = Version::HTTP_11;
            *request.uri_mut() = Uri::from(path.clone());
            request.headers_mut().insert(HOST, host(origin));
        }
        Form::Http2 => {
            *request.version_mut() = Version::HTTP_2;
            *request.uri_mut() = absolute(origin, path);
            request.headers_mut().remove(HOST);
        }
    }
}

/// Adds what the permit's rule adds, in place of what the guest may have written there.
pub(crate) fn inject<B>(request: &mut Request<B>, inject: Option<&Inject>) {
    if let Some(inject) = inject {
        let (name, value) = (inject.name().clone(), inject.value().clone());
        remove(request.headers_mut(), |own| is_same(own, &name));
        request.headers_mut().insert(name, value);
    }
}

/// `x_key` is `x-key` to an upstream that speaks CGI.
fn is_same(own: &HeaderName, injected: &HeaderName) -> bool {
    let dashed = |name: &HeaderName| name.as_str().replace('_', "-");
    own == injected || dashed(own) == dashed(injected)
}

/// Checks a response's head against the caps, and drops what concerned the connection alone.
pub(crate) fn receive<B>(response: &mut Response<B>, options: &Options) -> Result<(), Error> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::Upgrade);
    }
    let fields = response.headers();
    if fields.len() > options.response_fields || size(fields) > options.response_head {
        return Err(Error::HeaderSize);
    }
    // Where both are said the chunks are the length, and the number is a trap for whoever passes it on.
    if fields.contains_key(TRANSFER_ENCODING) {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    clean(response.headers_mut());
    Ok(())
}

/// Drops from a request's trailers what would frame or route a message, and what the door injects.
pub(crate) fn clean_trailers(
    mut frame: Frame<Bytes>,
    injected: Option<&HeaderName>,
) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        let is_injected = |name: &HeaderName| injected.is_some_and(|own| is_same(name, own));
        remove(trailers, |name| is_ours(name.as_str()) || is_injected(name));
    }
    frame
}

fn path(uri: &Uri) -> Result<PathAndQuery, Error> {
    let Some(path) = uri.path_and_query() else {
        return Ok(PathAndQuery::from_static("/"));
    };
    let text = path.as_str();
    let rooted = match text.bytes().next() {
        Some(b'/') => return Ok(path.clone()),
        Some(b'?') => format!("/{text}").try_into().ok(),
        _ => None,
    };
    rooted.ok_or_else(|| Error::Path(text.into()))
}

fn host(origin: &Origin) -> HeaderValue {
    HeaderValue::try_from(origin.authority()).expect("an origin is letters, digits and `-_.:[]`")
}

fn absolute(origin: &Origin, path: &PathAndQuery) -> Uri {
    Uri::builder()
        .scheme(match origin.scheme {
            runner_manifest::Scheme::Http => http::uri::Scheme::HTTP,
            runner_manifest::Scheme::Https => http::uri::Scheme::HTTPS,
        })
        .authority(origin.authority())
        .path_and_query(path.clone())
        .build()
        .expect("an origin and a rooted path make a URI")
}

fn clean(fields: &mut HeaderMap) {
    let named = named_by_connection(fields);
    remove(fields, |name| {
        let text = name.as_str();
        named.contains(name) || (is_ours(text) && !TOLERATED_IN_HEAD.contains(&text))
    });
    if fields.get_all(TE).iter().any(|value| value != "trailers") {
        fields.remove(TE);
    }
}

/// The fields that `connection` declares to be for this connection only.
fn named_by_connection(fields: &HeaderMap) -> Vec<HeaderName> {
    let values = fields.get_all(CONNECTION).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(','))
        .filter_map(|token| token.trim().parse().ok())
        .collect()
}

fn remove(fields: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    let names: Vec<_> = fields
        .keys()
        .filter(|name| unwanted(name))
        .cloned()
        .collect();
    for name in names {
        fields.remove(name);
    }
}

fn size(fields: &HeaderMap) -> usize {
    let field = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + FIELD_OVERHEAD
    };
    fields.iter().map(field).sum()
}
