//! An app in, `Request` to `Response` out: components, what they were granted, and the engine they run on.
//!
//! [`Engine`] compiles and runs. [`App`] holds the routes and the components of one manifest and answers requests,
//! from a socket or from a guest's call to its own app; [`Apps`] says which of several. Each request gets a fresh instance, which starts with nothing
//! but what the manifest grants; every call it makes goes through [`runner_outbound`].
//!
//! A program that embeds it needs no manifest's file: grants and limits are given in code, by the same types.
//!
//! ```
//! use std::sync::Arc;
//!
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{BodyExt, Empty};
//! use runner_host::{App, Body, Client, Engine, EngineOptions, Event, Refused, Services};
//! use runner_manifest::{AllowList, Component, Manifest, Source};
//! use runner_outbound::{Options, Outbound};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), runner_host::BoxError> {
//! # let wasm = include_bytes!("../../../tests/guests/probe/probe.wasm");
//! let mut plugin = Component::new("plugin".parse()?, Source::bytes(*wasm));
//! plugin.allow = AllowList::parse(["https://api.example.com"])?;
//! plugin.limits.memory = Some(64 << 20);
//! let manifest = Manifest::new("plugins").with(plugin, &["/..."])?;
//!
//! let door = Outbound::new(Options { dns: vec![([127, 0, 0, 1], 53).into()], ..Options::default() })?;
//! let refuse = |refused: &Refused<'_>| {
//!     let mut response = Response::new(Body::full(refused.error.to_string()));
//!     *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
//!     response
//! };
//! let mut services = Services::new(door, Arc::new(refuse));
//! services.events = Arc::new(|event| {
//!     if let Event::Denied { denied, .. } = event {
//!         println!("{denied}");
//!     }
//! });
//! let engine = Engine::new(EngineOptions::default())?;
//! let app = Arc::new(App::load(&engine, manifest, 1, services).await?);
//!
//! let request = Request::get("/hello").body(Empty::new())?;
//! let response = app.handle(request, Client::of_program("plugins")).await;
//! assert_eq!(response.status(), StatusCode::OK);
//! assert_eq!(response.into_body().collect().await?.to_bytes(), "hello from probe\n");
//! # Ok(())
//! # }
//! ```

mod admission;
mod answered;
mod apart;
mod app;
mod apps;
mod artifact;
mod behind;
mod body;
mod bucket;
mod cache;
mod call;
mod capabilities;
mod capped;
pub mod caps;
mod charges;
mod client;
mod clock;
mod compile;
mod component;
mod copies;
mod crew;
mod denials;
mod doors;
mod engine;
mod error;
mod event;
mod files;
mod gate;
mod guest;
mod handler;
mod holdings;
mod identity;
mod imports;
mod inside;
mod inspection;
mod instance;
mod limit;
mod log;
mod memory;
mod meter;
mod observed;
mod outgoing;
mod places;
mod pressure;
mod quota;
mod reason;
mod seat;
mod shelf;
mod state;
mod tenant;
mod ticker;
mod trace;
mod turns;
mod usage;
mod within;

use std::net::SocketAddr;

pub use crate::app::{App, Refuse, Refused, Services};
pub use crate::apps::Apps;
pub use crate::artifact::Form;
pub use crate::body::Body;
pub use crate::cache::CacheError;
pub use crate::compile::{CompileLimits, CompileProcess, Compiler, compile_if_asked};
pub use crate::component::{LoadError, Loaded, World};
pub use crate::copies::sweep_files;
pub use crate::engine::{CacheDir, Engine, EngineOptions, Instances};
pub use crate::error::Error;
pub use crate::event::{
    CallOutcome, Called, Decision, Event, Events, Execution, Outcome, Record, RequestId, Stream,
    Verdict,
};
pub use crate::inspection::{Extent, Inspection, List, Name, Unreadable};
pub use crate::limit::Limit;
pub use crate::reason::Reason;
pub use crate::tenant::{Tenant, TenantId};
pub use crate::trace::{Sampler, Share, SpanId, Trace, TraceId, Tracing};
pub use crate::usage::{RuleUse, Used};

/// Any error, where only its text matters.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Who makes a request.
#[derive(Debug, Clone)]
pub struct Client {
    /// Where from; none for a call from inside the app.
    pub address: Option<SocketAddr>,
    /// `http` or `https`, as the listener speaks it, or as a trusted proxy says that the client does.
    pub scheme: &'static str,
    /// The request's authority, checked: host, and port where there is one.
    pub authority: String,
    /// What becomes of headers that tell of a client behind a proxy.
    pub forwarded: Forwarded,
}

impl Client {
    /// A program that asks by itself, of a server of this name: there is no connection.
    pub fn of_program(authority: &str) -> Client {
        Client {
            address: None,
            scheme: "http",
            authority: authority.to_owned(),
            forwarded: Forwarded::Removed,
        }
    }
}

/// What becomes of `forwarded`, `x-forwarded-for`, `x-forwarded-host`, `x-forwarded-proto` and `x-real-ip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// Whoever sent them is not believed: no guest sees them.
    Removed,
    /// A trusted proxy sent them.
    Believed,
}
