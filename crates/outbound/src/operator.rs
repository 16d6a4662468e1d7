//! What the operator has sent to a place that he named himself: traces and metrics, to his collector.
//!
//! No guest, no manifest and no request has a say in where that is, so no permit is asked for and no address is held
//! back. Nothing is shared with what guests call: no connection, no resolver, no TLS session.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use runner_manifest::{Host, Origin, Scheme};
use tokio::net::TcpStream;

use crate::connection::Connection;
use crate::resolve::Resolver;
use crate::tls::{Tls, speaks_http2};
use crate::upload::{Hold, Upload};
use crate::{BoxError, Error, Options, head};

/// More than a collector has to say.
const MAX_ANSWER: usize = 64 * 1024;

/// Posts to one place, one request at a time. It sets no limit of time: whoever waits does, by dropping the wait.
pub struct OperatorClient {
    origin: Origin,
    path: PathAndQuery,
    options: Options,
    resolver: Resolver,
    tls: Tls,
    kept: Option<Connection>,
}

impl OperatorClient {
    /// Reads what there is to read, and connects nowhere.
    ///
    /// # Errors
    /// [`Options::ca_file`] is not usable.
    pub fn new(
        origin: Origin,
        path: PathAndQuery,
        options: Options,
    ) -> Result<OperatorClient, Error> {
        Ok(OperatorClient {
            origin,
            path,
            resolver: Resolver::of_operator(&options.dns),
            tls: Tls::new(options.ca_file.as_deref())?,
            options,
            kept: None,
        })
    }

    /// Sends a body. Of the answer's body, what is too long or breaks off is as good as none.
    ///
    /// # Errors
    /// There is no answer, or none that is HTTP.
    pub async fn post(
        &mut self,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, Error> {
        let (upload, hold) = Upload::new(Full::new(body).map_err(BoxError::from), None);
        let mut request = Request::new(upload);
        *request.method_mut() = Method::POST;
        *request.headers_mut() = headers;
        if let Some(connection) = self.kept.take().filter(Connection::is_ready) {
            match self.exchange(connection, request, &hold).await {
                Ok(response) => return Ok(response),
                Err(Failed::Sent(error)) => return Err(error),
                Err(Failed::NotSent(returned, _)) => request = *returned,
            }
        }
        let connection = self.connect().await?;
        let answer = self.exchange(connection, request, &hold).await;
        answer.map_err(|failed| match failed {
            Failed::Sent(error) | Failed::NotSent(_, error) => error,
        })
    }

    async fn exchange(
        &mut self,
        mut connection: Connection,
        mut request: Request<Upload>,
        hold: &Hold,
    ) -> Result<Response<Bytes>, Failed> {
        head::address(&mut request, &self.origin, &self.path, connection.form());
        hold.begin();
        let response = match connection.send(request).await {
            Ok(response) => response,
            Err(mut failed) => {
                let request = failed.take_message();
                let error = failed.into_error().into();
                return Err(match request {
                    Some(request) => Failed::NotSent(Box::new(request), error),
                    None => Failed::Sent(error),
                });
            }
        };
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, MAX_ANSWER).collect().await {
            Ok(body) => {
                self.kept = Some(connection);
                body.to_bytes()
            }
            Err(_) => Bytes::new(),
        };
        Ok(Response::from_parts(head, body))
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let stream = self.dial().await?;
        Ok(match self.origin.scheme {
            Scheme::Http => Connection::http1(TokioIo::new(stream), &self.options).await?,
            Scheme::Https => {
                let stream = self.tls.handshake(&self.origin, stream).await?;
                if speaks_http2(&stream) {
                    Connection::http2(TokioIo::new(stream), &self.options).await?
                } else {
                    Connection::http1(TokioIo::new(stream), &self.options).await?
                }
            }
        })
    }

    async fn dial(&self) -> Result<TcpStream, Error> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in self.addresses().await? {
            match open(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(Error::Connect(last))
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        let found = match &self.origin.host {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) if &**name == "localhost" => {
                vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            }
            Host::Name(name) => self.resolver.lookup_for_operator(name).await?,
        };
        let with_port = |ip| SocketAddr::new(ip, self.origin.port);
        Ok(found.into_iter().map(with_port).collect())
    }
}

/// How an attempt failed.
enum Failed {
    /// The other side may have seen it.
    Sent(Error),
    /// It has not.
    NotSent(Box<Request<Upload>>, Error),
}

/// The operator's own door.
#[expect(
    clippy::disallowed_methods,
    reason = "the operator's collector, which the environment of the process names and no guest or manifest can choose"
)]
async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    tracing::debug!(target: "runner::dial", %address, "for the operator");
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
