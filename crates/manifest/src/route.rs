//! From a host and a path to the component that answers.

mod pattern;
mod read;
mod table;

use crate::{ComponentId, Place};

pub use pattern::{BadRoute, RoutePattern};
pub(crate) use read::{Target, Trigger, host};
pub(crate) use table::Duplicate;
pub use table::{Match, RouteTable};

/// One `[[trigger.http]]`.
#[derive(Debug, Clone)]
pub struct Route {
    /// The path; `None` when the route is private, reached only by other components.
    pub pattern: Option<RoutePattern>,
    /// The only host it answers for, lower case and without port; `None` is any.
    pub host: Option<String>,
    /// Who answers.
    pub reply: Reply,
    /// How the component is run.
    pub executor: Executor,
    /// Where it is written.
    pub place: Place,
}

/// Who answers a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A component.
    Component(ComponentId),
    /// The host itself, with what the manifest says.
    Static(StaticResponse),
}

/// A response written in the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticResponse {
    /// The status, 200 to 599.
    pub status: u16,
    /// Valid header names, in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// How a component is run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Executor {
    /// By its `wasi:http` export.
    #[default]
    Http,
    /// As a WAGI program.
    Wagi {
        /// The template of its arguments.
        argv: String,
        /// The function that is called.
        entrypoint: String,
    },
    /// As a CGI program.
    Cgi,
}
