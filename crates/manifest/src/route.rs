//! From a path to the component that answers it.

use std::fmt;
use std::str::FromStr;

use crate::{ComponentId, NormalPath, Place};

/// A route's path: literal segments, `:name` segments, and perhaps `/...` at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutePattern {
    text: String,
}

/// Why a text is not a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRoute {
    /// It does not begin with `/`.
    #[error("a route begins with `/`")]
    NotAbsolute,
}

/// One `[[trigger.http]]`.
#[derive(Debug, Clone)]
pub struct Route {
    /// The path; `None` when the route is private, reached only by other components.
    pub pattern: Option<RoutePattern>,
    /// The only host it answers for; `None` is any.
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
    /// Valid header names and values.
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

/// All routes of an application, found by host and path.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
}

/// A route that answers a path.
#[derive(Debug, Clone)]
pub struct Match<'a> {
    /// The route.
    pub route: &'a Route,
    /// The pattern as it is written: `/a/...`.
    pub matched_route: &'a str,
    /// The pattern with its trailing wildcard: `/a/...`.
    pub raw_component_route: &'a str,
    /// The pattern without its trailing wildcard: `/a`.
    pub component_route: &'a str,
    /// What the trailing wildcard took, with its leading `/`; else empty.
    pub path_info: String,
    /// What each `:name` took.
    pub params: Vec<(&'a str, String)>,
}

impl RouteTable {
    /// All routes, in the order of the file, the private ones too.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The routes that a component answers.
    pub fn of<'a>(&'a self, id: &'a ComponentId) -> impl Iterator<Item = &'a Route> {
        self.routes
            .iter()
            .filter(move |route| matches!(&route.reply, Reply::Component(own) if own == id))
    }

    /// The route for a request; `host` is the `Host` header, with or without a port.
    pub fn find(&self, host: Option<&str>, path: &NormalPath) -> Option<Match<'_>> {
        let _ = host;
        let is_it = |route: &&Route| {
            route
                .pattern
                .as_ref()
                .is_some_and(|pattern| pattern.text == path.as_str())
        };
        let route = self.routes.iter().find(is_it)?;
        let text = &route.pattern.as_ref()?.text;
        Some(Match {
            route,
            matched_route: text,
            raw_component_route: text,
            component_route: text,
            path_info: String::new(),
            params: Vec::new(),
        })
    }
}

impl RoutePattern {
    /// The pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for RoutePattern {
    type Err = BadRoute;

    fn from_str(text: &str) -> Result<RoutePattern, BadRoute> {
        if !text.starts_with('/') {
            return Err(BadRoute::NotAbsolute);
        }
        Ok(RoutePattern { text: text.into() })
    }
}

impl fmt::Display for RoutePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
