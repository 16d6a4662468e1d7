//! An app that is made in code: for programs that embed the host and have no manifest.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Manifest;
use crate::{
    BadRoute, Component, ComponentId, Executor, Limits, Mount, Place, Reply, Route, RoutePattern,
    RouteTable,
};

/// Why a component cannot be added to an app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdded {
    /// There is one of this name already.
    #[error("there is a component `{0}` already")]
    Taken(ComponentId),
    /// One of its routes is not one.
    #[error("`{route}` is not a route: {why}")]
    Route {
        /// As it was written.
        route: String,
        /// What is wrong with it.
        #[source]
        why: BadRoute,
    },
    /// One of its routes is answered already.
    #[error("the route `{0}` is answered already")]
    Answered(String),
}

impl Manifest {
    /// An app that is made in code, without components. Relative paths in it begin at the current folder.
    ///
    /// ```
    /// use runner_manifest::{Component, Manifest, Source};
    /// let shop = Component::new("shop".parse()?, Source::bytes(*b"\0asm"));
    /// let app = Manifest::new("plugins").with(shop, &["/shop/..."])?;
    /// assert_eq!(app.routes.routes().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(name: &str) -> Manifest {
        Manifest {
            path: PathBuf::new(),
            name: name.into(),
            named: Place::nowhere(),
            mount: Mount {
                hosts: Vec::new(),
                base: None,
                place: Place::nowhere(),
            },
            version: String::new(),
            description: String::new(),
            authors: Vec::new(),
            limits: Limits::default(),
            components: BTreeMap::new(),
            routes: RouteTable::default(),
            variables: BTreeMap::new(),
            expectations: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// An app of that name which is for no request at all: what stands in for one of which nothing can be read.
    pub fn for_nothing(name: &str) -> Manifest {
        let mut manifest = Manifest::new(name);
        // What no request can name: a host has no parentheses.
        manifest.mount.hosts.push(format!("({name})"));
        manifest
    }

    /// The same app, of which nothing is left but its name and which requests it is for.
    #[must_use]
    pub fn without_components(self) -> Manifest {
        Manifest {
            components: BTreeMap::new(),
            routes: RouteTable::default(),
            variables: BTreeMap::new(),
            expectations: Vec::new(),
            warnings: Vec::new(),
            ..self
        }
    }

    /// The same app with one component more, which answers these routes: `/shop`, `/shop/...`, `/shop/:id`.
    ///
    /// # Errors
    /// When there is a component of this name, or a route is none or is answered already.
    pub fn with(mut self, component: Component, routes: &[&str]) -> Result<Manifest, NotAdded> {
        let mut all = self.routes.routes().to_vec();
        for text in routes {
            all.push(route(text, &component.id)?);
            self.routes = RouteTable::new(all.clone(), None)
                .map_err(|_| NotAdded::Answered((*text).to_owned()))?;
        }
        if self.components.contains_key(&component.id) {
            return Err(NotAdded::Taken(component.id));
        }
        self.components.insert(component.id.clone(), component);
        Ok(self)
    }
}

fn route(text: &str, id: &ComponentId) -> Result<Route, NotAdded> {
    let pattern: RoutePattern = text.parse().map_err(|why| NotAdded::Route {
        route: text.to_owned(),
        why,
    })?;
    Ok(Route {
        pattern: Some(pattern),
        host: None,
        reply: Reply::Component(id.clone()),
        executor: Executor::Http,
        place: Place::nowhere(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, Diagnostic, Source};

    fn component(id: &str) -> Component {
        Component::new(id.parse().unwrap(), Source::bytes(*b""))
    }

    #[test]
    fn what_cannot_be_added_is_told() {
        let app = Manifest::new("app")
            .with(component("a"), &["/a/..."])
            .unwrap();
        for (id, route, said) in [
            ("a", "/b", "there is a component `a` already"),
            ("b", "/a/...", "the route `/a/...` is answered already"),
            (
                "b",
                "/.../b",
                "`/.../b` is not a route: a wildcard stands at the end of a route",
            ),
        ] {
            let error = app.clone().with(component(id), &[route]).unwrap_err();
            assert_eq!(error.to_string(), said);
        }
        let both = app.with(component("b"), &["/b", "/c"]).unwrap();
        assert_eq!(both.routes.routes().len(), 3);
    }

    #[test]
    fn what_is_in_no_file_is_not_marked() {
        let error = Diagnostic::error(Code::ComponentEmpty, "it is empty").at(Place::nowhere(), "");
        assert_eq!(
            (error.place.clone(), &*error.to_string()),
            (None, "error: it is empty")
        );
    }
}
