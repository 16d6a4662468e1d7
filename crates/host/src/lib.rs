//! An app in, `Request` to `Response` out.
#![allow(missing_docs, unused)]
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use runner_manifest::{ComponentId, Diagnostic, Manifest};
use runner_outbound::{Denied, Grants, Outbound};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
#[derive(Clone)]
pub struct Engine;
#[derive(Default)]
pub struct EngineOptions { pub cache_dir: Option<PathBuf> }
impl Engine { pub fn new(_: EngineOptions) -> Result<Engine, Error> { Ok(Engine) } }
#[derive(Clone)]
pub struct Services { pub outbound: Outbound, pub events: Events, pub refuse: fn(&Error) -> Response<Body> }
pub type Events = Arc<dyn Fn(Event<'_>) + Send + Sync>;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub u64);
impl std::fmt::Display for RequestId { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{:016x}", self.0) } }
#[derive(Clone, Copy, Debug)]
pub enum Stream { Stdout, Stderr }
#[derive(Clone, Copy, Debug)]
pub enum Outcome { Complete, ClientGone, GuestFailed }
#[derive(Clone, Copy, Debug)]
pub enum World { Http02, Http03 }
pub enum Event<'a> {
    Denied { denied: &'a Denied, method: &'a Method, path: &'a str, interface: &'static str, request_id: RequestId, folded: u64 },
    Line { component: &'a ComponentId, request_id: RequestId, stream: Stream, line: &'a str },
    Failed { component: &'a ComponentId, request_id: RequestId, error: &'a Error },
    Loading { component: &'a ComponentId },
    Request(&'a Record),
}
pub struct Record { pub request_id: RequestId, pub component: Option<ComponentId>, pub route: Option<String>, pub method: Method, pub path: String, pub status: StatusCode, pub bytes: u64, pub duration: Duration, pub denials: u64, pub outcome: Outcome, pub client: Option<SocketAddr> }
pub struct Client { pub address: Option<SocketAddr>, pub scheme: &'static str, pub authority: String }
#[derive(Debug, thiserror::Error)]
#[error("load")]
pub struct LoadError { pub diagnostics: Vec<Diagnostic> }
pub struct Loaded { pub id: ComponentId, pub digest: String, pub size: u64, pub took: Duration, pub cached: bool, pub world: World, pub imports: Vec<String>, pub audit: Vec<Diagnostic> }
pub struct App { manifest: Manifest, components: BTreeMap<ComponentId, Loaded>, services: Services }
impl App {
    pub async fn load(_engine: &Engine, manifest: Manifest, _generation: u64, services: Services) -> Result<App, LoadError> { Ok(App { manifest, components: BTreeMap::new(), services }) }
    pub fn manifest(&self) -> &Manifest { &self.manifest }
    pub fn components(&self) -> &BTreeMap<ComponentId, Loaded> { &self.components }
    pub fn grants(&self, _id: &ComponentId) -> Option<&Arc<Grants>> { None }
    pub async fn handle<B>(self: &Arc<App>, _request: Request<B>, _client: Client) -> Response<Body>
    where B: http_body::Body<Data = Bytes> + Send + 'static, B::Error: Into<BoxError> { (self.services.refuse)(&Error::NoRoute) }
    /// What the trigger refuses by itself, recorded like any other answer.
    pub fn refused(&self, _method: Method, _path: String, _client: Option<SocketAddr>, response: Response<Body>) -> Response<Body> { response }
}
pub struct Body(Bytes);
impl Body { pub fn empty() -> Body { Body(Bytes::new()) } pub fn full(b: impl Into<Bytes>) -> Body { Body(b.into()) } }
impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;
    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        if self.0.is_empty() { return Poll::Ready(None); }
        let b = std::mem::take(&mut self.0); Poll::Ready(Some(Ok(http_body::Frame::data(b))))
    }
}
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the path is not one")] BadPath,
    #[error("no route")] NoRoute,
    #[error("timeout")] Timeout,
    #[error("no response")] NoResponse,
    #[error("trap: {0}")] Trap(String),
    #[error("instantiate: {0}")] Instantiate(String),
    #[error("capacity")] Capacity,
    #[error("loop")] Loop,
    #[error("guest answered with an error: {0}")] Guest(String),
    #[error("engine: {0}")] Engine(String),
}
