//! A guest's calls out: decide, then through the door, or to the guest's own app.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use runner_manifest::{Call, Destination};
use runner_outbound::{Denied, Grants, Permitted, Timeouts};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody, WasiHttpHooks};

use crate::app::{App, Target};
use crate::bucket::Bucket;
use crate::call::Ongoing;
use crate::event::{Decision, Event, RequestId, Verdict};
use crate::inside::Calls;
use crate::limit::{Hits, Limit};
use crate::trace::Trace;
use crate::usage::Usage;
use crate::{BoxError, caps, inside};

/// What is told of a method.
const SHOWN: usize = 64;

type Io = Box<dyn Future<Output = Result<(), HttpError>> + Send>;
type Sent = Result<(Response<WasiBody>, Io), HttpError>;

/// The calls out of one instance: what its component was granted, and the door.
pub(crate) struct Outgoing {
    pub(crate) app: Arc<App>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) request_id: RequestId,
    /// How many calls inside the app led to this instance.
    pub(crate) depth: u8,
    /// Those of the request that led here; none before a client's own request has led to one.
    pub(crate) calls: Option<Arc<Calls>>,
    pub(crate) interface: &'static str,
    pub(crate) of_instance: Arc<Semaphore>,
    pub(crate) of_component: Arc<Semaphore>,
    pub(crate) rate: Option<Arc<Bucket>>,
    pub(crate) hits: Arc<Hits>,
    pub(crate) denials: Arc<AtomicU64>,
    /// The span of this instance.
    pub(crate) trace: Trace,
    pub(crate) usage: Arc<Usage>,
}

impl Outgoing {
    fn begin(&self, method: &Method) -> Ongoing {
        Ongoing {
            app: self.app.clone(),
            grants: self.grants.clone(),
            request_id: self.request_id,
            method: shown(method),
            to: None,
            rule: None,
            started: Instant::now(),
            trace: self.trace.child(),
            outcome: Ongoing::UNHEARD,
        }
    }

    /// Decides where a request may go, and tells of a denial.
    fn decide(
        &self,
        request: &Request<WasiBody>,
        ongoing: &mut Ongoing,
    ) -> Result<Permitted, HttpError> {
        let uri = request.uri();
        let scheme = uri.scheme_str().unwrap_or_default();
        let authority = uri
            .authority()
            .map(|authority| authority.as_str())
            .unwrap_or_default();
        let asked = Asked::of(request);
        let to = match Destination::from_guest(scheme, authority) {
            Ok(to) => to,
            Err(bad) => return Err(self.teller().deny(&Denied::bad(&self.grants, bad), &asked)),
        };
        let to = ongoing.to.insert(to);
        let call = Call::new(to, request.method(), uri.path());
        match runner_outbound::permit(&self.grants, &call) {
            Ok(permitted) => {
                let rule = permitted.rule();
                self.usage.allowed(permitted.rule_at());
                ongoing.rule = Some(permitted.rule_at());
                self.teller().tell(&asked, Verdict::Allow { to, rule });
                Ok(permitted)
            }
            Err(denied) => Err(self.teller().deny(&denied, &asked)),
        }
    }

    /// Tells of an authority that `setter` did not take and this parser would not have taken either.
    pub(crate) fn refused(
        &self,
        setter: &'static str,
        scheme: &str,
        authority: &str,
        asked: &Asked,
    ) {
        if let Err(bad) = Destination::from_guest(scheme, authority) {
            let teller = Teller {
                interface: setter,
                ..self.teller()
            };
            let mut ongoing = self.begin(&asked.method);
            ongoing.failed(&teller.deny(&Denied::bad(&self.grants, bad), asked));
        }
    }

    /// The room that a call takes. One that finds none is told so, and is counted.
    fn slots(&self) -> Result<Slots, HttpError> {
        let refused = |limit| {
            self.hits.hit(limit, self.request_id);
            HttpError::ConnectionLimitReached
        };
        let take = |semaphore: &Arc<Semaphore>| {
            let slot = semaphore.clone().try_acquire_owned();
            slot.map_err(|_| refused(Limit::OutboundConcurrency))
        };
        let slots = Slots {
            _instance: take(&self.of_instance)?,
            _component: take(&self.of_component)?,
        };
        match &self.rate {
            Some(rate) if !rate.take(1) => Err(refused(Limit::OutboundRate)),
            _ => Ok(slots),
        }
    }

    fn teller(&self) -> Teller {
        Teller {
            app: self.app.clone(),
            grants: self.grants.clone(),
            request_id: self.request_id,
            interface: self.interface,
            denials: self.denials.clone(),
        }
    }
}

impl WasiHttpHooks for Outgoing {
    /// Which schemes there are is for the destination's parser to say, so that what it refuses is told like any denial.
    fn is_supported_scheme(&mut self, _: &http::uri::Scheme) -> bool {
        true
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        caps::BODY_CHUNK
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        caps::BODY_CHUNK
    }

    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        self.app.quota().charge_request();
        let mut ongoing = self.begin(request.method());
        let (permitted, slots) = match self
            .decide(&request, &mut ongoing)
            .and_then(|permitted| Ok((permitted, self.slots()?)))
        {
            Ok(both) => both,
            Err(error) => {
                ongoing.failed(&error);
                return Box::new(async move { Err(error) });
            }
        };
        let target = match permitted {
            Permitted::Remote(permit) => {
                if self.app.tracing().is_on() {
                    ongoing.trace.tell_upstream(request.headers_mut());
                }
                let teller = self.teller();
                return Box::new(dial(teller, permit, request, options, slots, ongoing));
            }
            Permitted::Own(_) => Target::Route,
            Permitted::Component(id, _) => Target::Component(id),
        };
        let (app, depth) = (self.app.clone(), self.depth + 1);
        let calls = self.calls.get_or_insert_default().clone();
        Box::new(async move {
            let caller = ongoing.trace.clone();
            match inside::call(app, target, request, depth, calls, caller).await {
                Ok(response) => Ok(sent(response, slots, ongoing)),
                Err(error) => {
                    ongoing.failed(&error);
                    Err(error)
                }
            }
        })
    }
}

/// Who calls out for an instance that serves nobody: its guest does not run then.
pub(crate) struct Nobody;

impl WasiHttpHooks for Nobody {
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(async { Err(HttpError::HttpRequestDenied) })
    }
}

async fn dial(
    teller: Teller,
    permit: runner_outbound::Permit,
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
    slots: Slots,
    mut ongoing: Ongoing,
) -> Sent {
    let asked = Asked::of(&request);
    let options = options.unwrap_or_default();
    let timeouts = Timeouts {
        connect: options.connect_timeout,
        first_byte: options.first_byte_timeout,
        between_bytes: options.between_bytes_timeout,
    };
    let request = request.map(|body| body.map_err(BoxError::from));
    let error = match teller.app.outbound().send(permit, request, timeouts).await {
        Ok(response) => return Ok(sent(response, slots, ongoing)),
        Err(runner_outbound::Error::Denied(denied)) => teller.deny(&denied, &asked),
        Err(error) => to_guest(&error),
    };
    ongoing.failed(&error);
    Err(error)
}

/// A response as the guest gets it; it holds its slots until its body ends or is dropped.
fn sent<B>(response: Response<B>, slots: Slots, mut ongoing: Ongoing) -> (Response<WasiBody>, Io)
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: IntoGuest,
{
    ongoing.answered(response.status());
    let response = response.map(|body| {
        Held {
            body: body.map_err(IntoGuest::into_guest).boxed_unsync(),
            ongoing: Some(ongoing),
            _slots: slots,
        }
        .boxed_unsync()
    });
    (response, Box::new(async { Ok(()) }))
}

/// An error inside a body, as a guest is told of it.
trait IntoGuest {
    fn into_guest(self) -> HttpError;
}

impl IntoGuest for runner_outbound::Error {
    fn into_guest(self) -> HttpError {
        to_guest(&self)
    }
}

impl IntoGuest for BoxError {
    fn into_guest(self) -> HttpError {
        HttpError::HttpResponseIncomplete
    }
}

/// What of an error outside the guest may know. An address it asked for by name is not part of it.
fn to_guest(error: &runner_outbound::Error) -> HttpError {
    use runner_outbound::Error as E;
    match error {
        E::Denied(_) | E::Method(_) => HttpError::HttpRequestDenied,
        E::Dns { rcode, .. } => HttpError::DnsError {
            rcode: rcode.map(|code| code.to_string()),
            info_code: None,
        },
        E::DnsTimeout { .. } => HttpError::DnsTimeout,
        E::Connect(_) => HttpError::ConnectionRefused,
        E::ConnectTimeout => HttpError::ConnectionTimeout,
        E::Tls(_) => HttpError::TlsProtocolError,
        E::Alert { code, name } => HttpError::TlsAlertReceived {
            alert_id: Some(*code),
            alert_message: Some(name.clone()),
        },
        E::Certificate(_) => HttpError::TlsCertificateError,
        E::FirstByteTimeout => HttpError::HttpResponseTimeout,
        E::BetweenBytesTimeout => HttpError::ConnectionReadTimeout,
        E::HeaderSize => HttpError::HttpResponseHeaderSectionSize(None),
        E::Path(_) | E::NotAsked => HttpError::HttpRequestUriInvalid,
        E::Upgrade => HttpError::HttpUpgradeFailed,
        E::Closed(_) => HttpError::ConnectionTerminated,
        E::Repeated(_) | E::RequestBody(_) | E::Protocol(_) => HttpError::HttpProtocolError,
        // Not about a call: the door itself could not be made.
        E::CaFile { .. } => HttpError::InternalError(None),
    }
}

/// The slots of one call: of its instance, and of its component.
struct Slots {
    _instance: OwnedSemaphorePermit,
    _component: OwnedSemaphorePermit,
}

/// A response's body while its call goes on.
struct Held {
    body: WasiBody,
    /// Until the body has ended.
    ongoing: Option<Ongoing>,
    _slots: Slots,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                if let Some(mut ongoing) = self.ongoing.take() {
                    ongoing.failed(error);
                }
            }
            None => drop(self.ongoing.take()),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What is said of a call in the log: never its query, which may hold secrets.
pub(crate) struct Asked {
    method: Method,
    path: String,
}

impl Asked {
    /// What is told of a method and a path, which has no query.
    pub(crate) fn new(method: &Method, path: &str) -> Asked {
        Asked {
            method: shown(method),
            path: path.to_owned(),
        }
    }

    fn of<B>(request: &Request<B>) -> Asked {
        Asked::new(request.method(), request.uri().path())
    }
}

/// A method as it is told: a guest's own can be megabytes long, and is never sent then.
fn shown(method: &Method) -> Method {
    let name = method.as_str();
    let cut = &name[..name.len().min(SHOWN)];
    Method::from_bytes(cut.as_bytes()).unwrap_or_default()
}

/// Tells of denials, counts them, and says what the guest gets.
struct Teller {
    app: Arc<App>,
    grants: Arc<Grants>,
    request_id: RequestId,
    interface: &'static str,
    denials: Arc<AtomicU64>,
}

impl Teller {
    /// Every decision, for whoever keeps an account of them.
    fn tell(&self, asked: &Asked, verdict: Verdict<'_>) {
        let loaded = self.app.components().get(&self.grants.component);
        (self.app.events())(Event::Decision(Decision {
            component: &self.grants.component,
            digest: loaded.map_or("", |loaded| &loaded.digest),
            generation: self.grants.generation,
            request_id: self.request_id,
            method: &asked.method,
            path: &asked.path,
            verdict,
        }));
    }

    fn deny(&self, denied: &Denied, asked: &Asked) -> HttpError {
        self.tell(asked, Verdict::Deny(denied));
        self.denials.fetch_add(1, Ordering::Relaxed);
        self.app.count_denial(&self.grants.component);
        let told =
            self.app
                .denials()
                .tell(&self.grants.component, &denied.subject(), Instant::now());
        if let Some(folded) = told {
            (self.app.events())(Event::Denied {
                denied,
                method: &asked.method,
                path: &asked.path,
                interface: self.interface,
                request_id: self.request_id,
                folded,
            });
        }
        HttpError::HttpRequestDenied
    }
}
