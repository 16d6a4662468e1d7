//! The limit: hyper alone, a thread for each core with a listener of its own, and no sandbox. It answers what the probe does.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context as Turn, Poll};
use std::thread;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

type Body = BoxBody<Bytes, hyper::Error>;

/// The chore that this is, which no usage names.
pub const NAME: &str = "bare-hyper";

/// What a piece of a streamed body is.
const PIECE: usize = 64 * 1024;

/// Connections that the kernel may keep for a thread.
const BACKLOG: u32 = 1024;

/// Serves on `address` until the process is ended.
///
/// # Errors
/// When it is no address, or cannot be listened on.
pub fn serve(address: &str) -> Result<String> {
    let address: SocketAddr = address.parse().context("it needs an address")?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = (0..cores).map(|_| thread::spawn(move || of_thread(address)));
    let threads: Vec<_> = threads.collect();
    for thread in threads {
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    }
    Ok(String::new())
}

fn of_thread(address: SocketAddr) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(accept(address)))
}

#[expect(
    clippy::disallowed_types,
    reason = "it listens, for the measure of a server, in a process of its own"
)]
async fn accept(address: SocketAddr) -> Result<()> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseport(true)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(async move {
            let served = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await;
            drop(served);
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(match request.uri().path() {
        "/hello" => full("hello from probe\n"),
        "/echo" => request.into_body().boxed(),
        "/big" => big(request.uri().query()),
        _ => {
            let mut response = Response::new(full("not found\n"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return Ok(response);
        }
    });
    let kind = http::HeaderValue::from_static("text/plain");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, kind);
    Ok(response)
}

fn full(text: &'static str) -> Body {
    Full::new(Bytes::from_static(text.as_bytes()))
        .map_err(|never| match never {})
        .boxed()
}

/// So many bytes as `bytes=` says, in pieces.
fn big(query: Option<&str>) -> Body {
    let length = query.and_then(|query| query.strip_prefix("bytes=")?.parse().ok());
    Pieces(length.unwrap_or(0)).boxed()
}

/// A body of which so much is left.
struct Pieces(usize);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Turn<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        static ONE: [u8; PIECE] = [b'x'; PIECE];
        let next = self.0.min(PIECE);
        self.0 -= next;
        let frame = Frame::data(Bytes::from_static(&ONE[..next]));
        Poll::Ready((next > 0).then_some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    /// Not told: the guest's length is not known either.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
