//! An app in, `Request` to `Response` out: components, what they were granted, and the engine they run on.
//!
//! [`Engine`] compiles and runs. [`App`] holds the routes and the components of one manifest and answers requests,
//! from a socket or from a guest's call to its own app; [`Apps`] says which of several. Each request gets a fresh instance, which starts with nothing
//! but what the manifest grants; every call it makes goes through [`runner_outbound`].

mod admission;
mod answered;
mod app;
mod apps;
mod artifact;
mod body;
mod bucket;
mod cache;
mod call;
mod capabilities;
mod capped;
pub mod caps;
mod client;
mod component;
mod denials;
mod engine;
mod error;
mod event;
mod files;
mod gate;
mod guest;
mod handler;
mod identity;
mod imports;
mod inside;
mod inspection;
mod limit;
mod log;
mod meter;
mod observed;
mod outgoing;
mod pressure;
mod reason;
mod seat;
mod state;
mod tenant;
mod ticker;
mod trace;
mod usage;

use std::net::SocketAddr;

pub use crate::app::{App, Refuse, Refused, Services};
pub use crate::apps::Apps;
pub use crate::artifact::Form;
pub use crate::body::Body;
pub use crate::cache::CacheError;
pub use crate::component::{LoadError, Loaded, World};
pub use crate::engine::{CacheDir, Engine, EngineOptions};
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

/// What becomes of `forwarded`, `x-forwarded-for`, `x-forwarded-host`, `x-forwarded-proto` and `x-real-ip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// Whoever sent them is not believed: no guest sees them.
    Removed,
    /// A trusted proxy sent them.
    Believed,
}
