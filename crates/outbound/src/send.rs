//! The door: from a permit and a request to a response.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use runner_manifest::Scheme;
use tokio::time::{Instant, timeout_at};

use crate::connect::dial;
use crate::connection::Connection;
use crate::error::BoxError;
use crate::options::Waits;
use crate::pool::{Key, Lease, Pool};
use crate::resolve::Resolver;
use crate::tls::{Tls, speaks_http2};
use crate::upload::{Hold, Upload};
use crate::{Body, Error, Options, Permit, Timeouts, head};

/// The only way out of the process: every outbound connection of every component starts here. Cheap to clone.
#[derive(Clone)]
pub struct Outbound {
    parts: Arc<Parts>,
    pool: Arc<Pool>,
}

struct Parts {
    options: Options,
    resolver: Resolver,
    tls: Tls,
}

impl Outbound {
    /// Reads what there is to read (certificate authorities, the system's DNS servers), and connects nowhere.
    pub fn new(options: Options) -> Result<Outbound, Error> {
        let parts = Parts {
            resolver: Resolver::new(&options.dns),
            tls: Tls::new(options.ca_file.as_deref())?,
            options,
        };
        Ok(Outbound {
            pool: Arc::new(Pool::new(&parts.options)),
            parts: Arc::new(parts),
        })
    }

    /// The same door, with no connection yet: none that was made through another is used through this one.
    pub fn with_own_pool(&self) -> Outbound {
        Outbound {
            pool: Arc::new(Pool::new(&self.parts.options)),
            parts: self.parts.clone(),
        }
    }

    /// Where a request with this permit would connect to, in the order in which it would try.
    pub async fn addresses(&self, permit: &Permit) -> Result<Vec<SocketAddr>, Error> {
        let waits = Waits::settle(Timeouts::default(), &self.parts.options);
        self.parts
            .resolve(permit, Instant::now() + waits.connect)
            .await
    }

    /// Sends a request to the permit's origin, whatever the request's own URI and `host` say. No redirect is
    /// followed. Dropping the future ends the attempt.
    pub async fn send<B>(
        &self,
        permit: Permit,
        mut request: Request<B>,
        timeouts: Timeouts,
    ) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        let parts = &*self.parts;
        let waits = Waits::settle(timeouts, &parts.options);
        let path = head::prepare(&mut request)?;
        if !permit.is_for(request.method(), path.path()) {
            return Err(Error::NotAsked);
        }
        head::inject(&mut request, permit.inject());
        let (head, body) = request.into_parts();
        let injected = permit.inject().map(|inject| inject.name().clone());
        let (upload, hold) = Upload::new(body, injected);
        let request = Request::from_parts(head, upload);
        let (mut response, lease) = self.exchange(&permit, request, &path, &hold, waits).await?;
        head::receive(&mut response, &parts.options)?;
        Ok(response.map(|incoming| Body::new(incoming, lease, hold, waits.between_bytes)))
    }
}

impl Outbound {
    /// Tries a connection that is there, then a new one. The second attempt is made only when nothing of the
    /// request had been sent on the first.
    async fn exchange(
        &self,
        permit: &Permit,
        mut request: Request<Upload>,
        path: &PathAndQuery,
        hold: &Hold,
        waits: Waits,
    ) -> Result<(Response<Incoming>, Lease), Error> {
        let key = Key::new(permit);
        if let Some(mut lease) = self.pool.take(&key) {
            match offer(&mut lease, permit, request, path, hold, waits.first_byte).await? {
                Offer::Answered(response) => return Ok((response, lease)),
                Offer::NotSent(returned, _) => request = returned,
            }
        }
        let connection = self.parts.connect(permit, waits.connect).await?;
        let mut lease = self.pool.adopt(key, connection);
        match offer(&mut lease, permit, request, path, hold, waits.first_byte).await? {
            Offer::Answered(response) => Ok((response, lease)),
            Offer::NotSent(_, error) => Err(error),
        }
    }
}

impl Parts {
    async fn connect(&self, permit: &Permit, wait: Duration) -> Result<Connection, Error> {
        let deadline = Instant::now() + wait;
        let addresses = self.resolve(permit, deadline).await?;
        timeout_at(deadline, self.open(permit, &addresses))
            .await
            .map_err(|_| Error::ConnectTimeout)?
    }

    async fn resolve(&self, permit: &Permit, deadline: Instant) -> Result<Vec<SocketAddr>, Error> {
        timeout_at(deadline, self.resolver.addresses(permit))
            .await
            .map_err(|_| Error::DnsTimeout {
                name: permit.origin().host.to_string().into(),
            })?
    }

    async fn open(&self, permit: &Permit, addresses: &[SocketAddr]) -> Result<Connection, Error> {
        let origin = permit.origin();
        let stream = dial(addresses, permit.component())
            .await
            .map_err(Error::Connect)?;
        let connection = match origin.scheme {
            Scheme::Http => Connection::http1(TokioIo::new(stream), &self.options).await,
            Scheme::Https => {
                let stream = self.tls.handshake(origin, stream).await?;
                if speaks_http2(&stream) {
                    Connection::http2(TokioIo::new(stream), &self.options).await
                } else {
                    Connection::http1(TokioIo::new(stream), &self.options).await
                }
            }
        };
        Ok(connection?)
    }
}

/// What became of a request on one connection.
enum Offer {
    Answered(Response<Incoming>),
    NotSent(Request<Upload>, Error),
}

async fn offer(
    lease: &mut Lease,
    permit: &Permit,
    mut request: Request<Upload>,
    path: &PathAndQuery,
    hold: &Hold,
    wait: Duration,
) -> Result<Offer, Error> {
    head::address(&mut request, permit.origin(), path, lease.connection.form());
    hold.begin();
    match first_byte(lease.connection.send(request), hold, wait).await? {
        Ok(response) => Ok(Offer::Answered(response)),
        Err(mut failed) => match failed.take_message() {
            Some(request) => Ok(Offer::NotSent(request, failed.into_error().into())),
            None => Err(failed.into_error().into()),
        },
    }
}

/// Waits for the response's head, as long as the request still gets on.
async fn first_byte<F: Future>(
    response: F,
    hold: &Hold,
    wait: Duration,
) -> Result<F::Output, Error> {
    let mut response = pin!(response);
    loop {
        let deadline = hold.moved() + wait;
        if let Ok(answer) = timeout_at(deadline, &mut response).await {
            return Ok(answer);
        }
        if hold.moved() + wait <= deadline {
            return Err(Error::FirstByteTimeout);
        }
    }
}
