//! One request: refused here, or handed to the app and its response made fit for the wire.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::{Frame, SizeHint};
use runner_host::{Apps, Body, BoxError, Client, Forwarded, RequestId};

use crate::connection::Peer;
use crate::error::refuse_target;
use crate::received::{Asked, Received, Unreadable};
use crate::refusal::Refusal;
use crate::stats::Stats;
use crate::target::{self, Target};

/// What concerns this connection only. A guest that saw it could believe in an upgrade that never happens.
const OF_THE_CONNECTION: [HeaderName; 5] = [
    CONNECTION,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Answers one request. Dropping the future, or the body of its response, cancels the guest.
pub(crate) async fn answer(
    apps: Arc<Apps>,
    asked: Asked,
    peer: Peer,
    stats: Stats,
) -> Response<Reply> {
    match asked {
        Ok(request) => answer_request(&apps, request, peer, &stats).await,
        Err(unreadable) => refused_unread(&apps, unreadable, peer, &stats),
    }
}

async fn answer_request(
    apps: &Apps,
    request: Request<Received>,
    peer: Peer,
    stats: &Stats,
) -> Response<Reply> {
    let (mut head, body) = request.into_parts();
    let authority = match target::check(&head, peer.scheme, peer.local) {
        Ok(Target::App { authority }) => authority,
        Ok(Target::Server) => return refused(apps, head, peer, |_| no_content()),
        Err(refusal) => {
            stats.count_refusal(refusal);
            let version = head.version;
            return refused(apps, head, peer, |id| refuse_target(refusal, version, id));
        }
    };
    hide_connection(&mut head.headers);
    // hyper keeps its side of an upgrade here; nobody gets it.
    head.extensions.clear();
    head.uri = target::origin_form(head.uri);
    let method = head.method.clone();
    let client = Client {
        address: Some(peer.address),
        scheme: peer.client_scheme,
        authority,
        forwarded: if peer.is_proxy {
            Forwarded::Believed
        } else {
            Forwarded::Removed
        },
    };
    let (late, version) = (body.late(), head.version);
    let stats = stats.clone();
    let refusal = move || {
        late.is().then(|| {
            let stats = stats.clone();
            move |id| {
                stats.count_refusal(Refusal::SlowBody);
                refuse_target(Refusal::SlowBody, version, id)
            }
        })
    };
    let request = Request::from_parts(head, body);
    let response = apps.handle_unless(request, client, refusal).await;
    for_the_wire(&method, response)
}

/// What is answered here is in the access log like everything else.
fn refused(
    apps: &Apps,
    head: http::request::Parts,
    peer: Peer,
    answer: impl FnOnce(RequestId) -> Response<Body>,
) -> Response<Reply> {
    let path = head.uri.path().to_owned();
    let response = apps.refused(head.method.clone(), path, Some(peer.address), answer);
    for_the_wire(&head.method, response)
}

/// Bytes that are no request are in the access log too, with as much of a request as they had.
fn refused_unread(apps: &Apps, unread: Unreadable, peer: Peer, stats: &Stats) -> Response<Reply> {
    stats.count_refusal(unread.refusal);
    let Unreadable {
        method,
        path,
        refusal,
    } = unread;
    let response = apps.refused(method.clone(), path, Some(peer.address), |id| {
        refuse_target(refusal, Version::HTTP_11, id)
    });
    for_the_wire(&method, response)
}

fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn hide_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_THE_CONNECTION) {
        headers.remove(name);
    }
}

/// Keeps body bytes from where they may not be. Left to itself, hyper drops such a body, and that cancels a guest that
/// has done nothing wrong: here it is detached, so that the guest may finish.
fn for_the_wire(method: &Method, response: Response<Body>) -> Response<Reply> {
    let (mut head, body) = response.into_parts();
    if head.status == StatusCode::NO_CONTENT {
        head.headers.remove(CONTENT_LENGTH);
    }
    let bodiless = method == Method::HEAD
        || matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    let reply = Reply {
        body: if bodiless { body.detach() } else { body },
        declared: !bodiless && head.headers.contains_key(CONTENT_LENGTH),
        broken: None,
    };
    Response::from_parts(head, reply)
}

/// The body of a response, as hyper may see it.
pub(crate) struct Reply {
    body: Body,
    /// Its length is what `content-length` says. hyper must not know better: it asserts that both agree.
    declared: bool,
    /// How it broke off, while what came before is written.
    broken: Option<BoxError>,
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let Some(Err(error)) = frame else {
            return Poll::Ready(frame);
        };
        // hyper throws away what it has not written yet when a body fails. A turn without news makes it write: a
        // client then sees a response that breaks off, and not a server that has vanished.
        self.broken = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.broken.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.declared {
            SizeHint::new()
        } else {
            self.body.size_hint()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;
    use http_body_util::BodyExt;

    async fn sent(
        method: Method,
        status: u16,
        length: Option<&str>,
    ) -> (Option<String>, bool, Option<u64>, Bytes) {
        let mut response = Response::new(Body::full("hello"));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        if let Some(length) = length {
            response
                .headers_mut()
                .insert(CONTENT_LENGTH, length.parse().unwrap());
        }
        let (head, body) = for_the_wire(&method, response).into_parts();
        let length = head
            .headers
            .get(CONTENT_LENGTH)
            .map(|length| length.to_str().unwrap().to_owned());
        let (ended, exact) = (body.is_end_stream(), body.size_hint().exact());
        (
            length,
            ended,
            exact,
            body.collect()
                .await
                .map_err(|error| error.to_string())
                .unwrap()
                .to_bytes(),
        )
    }

    #[tokio::test]
    async fn d40_no_body_where_none_may_be() {
        for (method, status, length, kept) in [
            (Method::HEAD, 200, Some("5"), Some("5")),
            (Method::HEAD, 200, None, None),
            (Method::HEAD, 404, Some("5"), Some("5")),
            (Method::GET, 204, Some("5"), None),
            (Method::GET, 204, None, None),
            (Method::GET, 304, Some("5"), Some("5")),
            (Method::HEAD, 204, Some("5"), None),
        ] {
            let row = format!("{method} {status} {length:?}");
            let expected = (kept.map(str::to_owned), true, Some(0), Bytes::new());
            assert_eq!(sent(method, status, length).await, expected, "{row}");
        }
    }

    #[tokio::test]
    async fn a_declared_length_is_the_only_one() {
        let (length, _, exact, body) = sent(Method::GET, 200, Some("3")).await;
        assert_eq!(
            (length.as_deref(), exact, &body[..]),
            (Some("3"), None, &b"hello"[..])
        );
    }

    #[test]
    fn d43_nothing_of_the_connection_reaches_the_guest() {
        let mut headers = HeaderMap::new();
        for name in [
            "connection",
            "upgrade",
            "http2-settings",
            "keep-alive",
            "proxy-connection",
            "accept",
        ] {
            headers.append(HeaderName::from_static(name), "x".parse().unwrap());
            headers.append(HeaderName::from_static(name), "y".parse().unwrap());
        }
        hide_connection(&mut headers);
        let left: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(left, [("accept", "x"), ("accept", "y")]);
    }
}
