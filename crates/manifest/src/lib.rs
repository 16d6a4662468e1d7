//! `spin-like.toml` as types: ids, routes, sources, grants, limits, and the allow-list.
//!
//! Everything here is a pure value. [`Manifest::load`] reads one file; after that nothing is parsed
//! again: a [`Destination`] is checked by an [`AllowList`] and dialled as it is, a [`NormalPath`] is
//! routed by a [`RouteTable`] and shown to the guest as it is.

mod address;
mod allow;
mod call;
mod code;
mod component;
mod destination;
mod diagnostic;
mod expect;
mod header;
mod host;
mod id;
mod limits;
mod manifest;
mod mount;
mod nearest;
mod operator;
mod path;
mod place;
mod punycode;
mod quote;
mod raw;
mod route;
pub mod schema;
mod template;
mod variables;

pub use address::{embedded_ipv4, is_global};
pub use allow::{AllowList, AllowedHost, Inject, Miss, Part, RuleError, Verdict};
pub use call::{Call, WrittenCall, is_never_sent};
pub use code::Code;
pub use component::{Build, Component, FileMount, Source, Unsupported};
pub use destination::{BadDestination, Destination, Origin, Scheme};
pub use diagnostic::{Diagnostic, Error, Level, Mark};
pub use expect::Expectation;
pub use header::is_ours;
pub use host::{BadHost, Host};
pub use id::{BadComponentId, ComponentId};
pub use limits::{Ceilings, InstanceReuse, Limits, Rate, Resolution};
pub use manifest::{Flawed, Manifest, NotAdded, veiled};
pub use mount::{Base, Mount, slug};
pub use operator::Operator;
pub use path::{BadPath, NormalPath};
pub use place::Place;
pub use route::{
    BadRoute, Executor, Match, Reply, Route, RoutePattern, RouteTable, StaticResponse,
};
pub use variables::{Value, Variable, Variables};
