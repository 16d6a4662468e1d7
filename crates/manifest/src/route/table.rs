//! All routes, as one tree of segments for each host.

use std::collections::HashMap;

use super::pattern::Segment;
use super::{Reply, Route};
use crate::{Base, ComponentId, Host, NormalPath};

/// All routes of an application, found by host and path.
///
/// A route with a host goes before one without. Segment by segment, a literal goes before a `:parameter`, and
/// that before the wildcard; the longest prefix wins. A path may have one `/` more at its end than its route.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
    /// Each route's pattern below the base, where there is one.
    matched: Vec<String>,
    /// The base, without its slash at the end.
    base: String,
    /// How many segments it has.
    depth: usize,
    any: Node,
    hosts: HashMap<String, Node>,
}

/// A route that answers a path.
#[derive(Debug, Clone)]
pub struct Match<'a> {
    /// The route.
    pub route: &'a Route,
    /// What `spin-matched-route` says: the pattern as it is written, `/a/...`, below the app's base.
    pub matched_route: &'a str,
    /// The pattern as it is written: `/a/...`.
    pub raw_component_route: &'a str,
    /// The pattern without its trailing wildcard: `/a`.
    pub component_route: &'a str,
    /// What the trailing wildcard took, with its leading `/`; else empty.
    pub path_info: String,
    /// The path below which the app's routes begin, `/` where it has none.
    pub base: &'a str,
    /// What each `:name` took, still escaped.
    pub params: Vec<(&'a str, String)>,
}

/// Two routes for the same requests, as places in the list of routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Duplicate {
    pub(crate) first: usize,
    pub(crate) second: usize,
}

/// The routes that share their first segments.
#[derive(Debug, Clone, Default)]
struct Node {
    literals: HashMap<String, Node>,
    parameter: Option<Box<Node>>,
    exact: Option<usize>,
    wildcard: Option<usize>,
}

/// Which route, and how many segments came before its wildcard.
type Found = (usize, usize);

impl RouteTable {
    /// Builds the tree; on failure, all pairs of routes that are for the same requests.
    pub(crate) fn new(
        routes: Vec<Route>,
        base: Option<&Base>,
    ) -> Result<RouteTable, Vec<Duplicate>> {
        let mut table = RouteTable {
            base: base.map(ToString::to_string).unwrap_or_default(),
            depth: base.map_or(0, |base| base.segments().count()),
            ..RouteTable::default()
        };
        let mut duplicates = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            if let Err(first) = table.insert(route, index) {
                duplicates.push(Duplicate {
                    first,
                    second: index,
                });
            }
        }
        if base.is_some() {
            table.matched = routes.iter().map(|route| table.below(route)).collect();
        }
        table.routes = routes;
        if duplicates.is_empty() {
            Ok(table)
        } else {
            Err(duplicates)
        }
    }

    fn below(&self, route: &Route) -> String {
        let pattern = route
            .pattern
            .as_ref()
            .map_or("", |pattern| pattern.as_str());
        format!("{}{}", self.base, if pattern == "/" { "" } else { pattern })
    }

    fn insert(&mut self, route: &Route, index: usize) -> Result<(), usize> {
        let Some(pattern) = &route.pattern else {
            return Ok(());
        };
        let mut node = match &route.host {
            Some(host) => self.hosts.entry(host.clone()).or_default(),
            None => &mut self.any,
        };
        for segment in &pattern.segments {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Segment::Parameter(_) => node.parameter.get_or_insert_default(),
            };
        }
        let slot = if pattern.wildcard {
            &mut node.wildcard
        } else {
            &mut node.exact
        };
        match slot {
            Some(first) => Err(*first),
            None => {
                *slot = Some(index);
                Ok(())
            }
        }
    }

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
        // A base has no holes: what is not below it is for nobody here.
        let rest = path.as_str().strip_prefix(self.base.as_str())?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        let segments: Vec<&str> = path.as_str().split('/').skip(1 + self.depth).collect();
        let by_host = host
            .and_then(|host| self.tree(host))
            .and_then(|tree| tree.find(&segments, 0));
        let (index, depth) = by_host.or_else(|| self.any.find(&segments, 0))?;
        self.found(index, &segments, depth)
    }

    fn tree(&self, host: &str) -> Option<&Node> {
        if self.hosts.is_empty() {
            return None;
        }
        let (host, _) = crate::host::split_port(host);
        let host: Host = host.parse().ok()?;
        self.hosts.get(&host.to_string())
    }

    fn found(&self, index: usize, segments: &[&str], depth: usize) -> Option<Match<'_>> {
        let route = self.routes.get(index)?;
        let pattern = route.pattern.as_ref()?;
        let taken = pattern.segments.iter().zip(segments);
        let params = taken.filter_map(|(segment, text)| match segment {
            Segment::Parameter(name) => Some((name.as_str(), text.to_string())),
            Segment::Literal(_) => None,
        });
        let rest = if pattern.wildcard {
            &segments[depth..]
        } else {
            &[]
        };
        Some(Match {
            route,
            matched_route: self
                .matched
                .get(index)
                .map_or(pattern.as_str(), String::as_str),
            raw_component_route: pattern.as_str(),
            component_route: pattern.without_wildcard(),
            path_info: rest.iter().flat_map(|segment| ["/", segment]).collect(),
            base: if self.base.is_empty() {
                "/"
            } else {
                &self.base
            },
            params: params.collect(),
        })
    }
}

impl Node {
    /// Goes as deep as the deepest route, and over each node at most once.
    fn find(&self, segments: &[&str], depth: usize) -> Option<Found> {
        let rest = &segments[depth..];
        if let (Some(exact), [] | [""]) = (self.exact, rest) {
            return Some((exact, depth));
        }
        let deeper = rest
            .split_first()
            .filter(|(next, _)| !next.is_empty())
            .and_then(|(next, _)| {
                let literal = self
                    .literals
                    .get(*next)
                    .and_then(|node| node.find(segments, depth + 1));
                literal.or_else(|| self.parameter.as_ref()?.find(segments, depth + 1))
            });
        deeper.or(self.wildcard.map(|index| (index, depth)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::place::File;
    use crate::{Executor, StaticResponse};

    /// A table of `route` and `host route` texts.
    fn table(routes: &[&str]) -> Result<RouteTable, Vec<Duplicate>> {
        let file = File::new(Path::new("spin-like.toml"), "");
        let route = |text: &&str| {
            let (host, pattern) = text
                .split_once(' ')
                .map_or((None, *text), |(host, path)| (Some(host.into()), path));
            let reply = Reply::Static(StaticResponse {
                status: 200,
                headers: Vec::new(),
                body: String::new(),
            });
            let pattern = (pattern != "private").then(|| pattern.parse().expect(pattern));
            Route {
                pattern,
                host,
                reply,
                executor: Executor::Http,
                place: file.place(0..0),
            }
        };
        RouteTable::new(routes.iter().map(route).collect(), None)
    }

    fn find(table: &RouteTable, host: Option<&str>, path: &str) -> String {
        let path = NormalPath::parse(path).expect(path);
        let Some(found) = table.find(host, &path) else {
            return "404".into();
        };
        let params: String = found
            .params
            .iter()
            .map(|(name, value)| format!(" {name}={value}"))
            .collect();
        let host = found
            .route
            .host
            .as_deref()
            .map(|host| format!("{host} "))
            .unwrap_or_default();
        format!(
            "{host}{} [{}]{params}",
            found.raw_component_route, found.path_info
        )
    }

    #[test]
    fn the_nearest_route_answers() {
        let routes = [
            "/a/...",
            "/a/b",
            "/:id/x",
            "/:id/:x/z",
            "/a/:y/w/...",
            "/u/:name",
            "/b/*",
            "/c/",
        ];
        let rows = [
            ("/a", "/a/... []"),
            ("/a/", "/a/... [/]"),
            ("/a/b", "/a/b []"),
            ("/a/b/", "/a/b []"),
            ("/a/b/c", "/a/... [/b/c]"),
            ("/a/x", "/a/... [/x]"),
            ("/q/x", "/:id/x [] id=q"),
            ("/a/k/z", "/a/... [/k/z]"),
            ("/q/k/z", "/:id/:x/z [] id=q x=k"),
            ("/a/k/w/1/2", "/a/:y/w/... [/1/2] y=k"),
            ("/u/f%2fg", "/u/:name [] name=f%2fg"),
            ("/u/", "404"),
            ("/u", "404"),
            ("/u/a/b", "404"),
            ("/b/q", "/b/* [/q]"),
            ("/c", "/c/ []"),
            ("/", "404"),
            ("/A/b", "404"),
            ("//", "404"),
        ];
        let table = table(&routes).expect("all differ");
        for (path, expected) in rows {
            assert_eq!(find(&table, None, path), expected, "{path}");
        }
    }

    #[test]
    fn d29_d30_only_the_path_itself_reaches_the_secret() {
        let closed = table(&["/a/...", "/a/b", "/secret", "/:id/x"]).expect("all differ");
        let open = table(&["/secret", "/..."]).expect("all differ");
        let rows = [
            ("/secret", "/secret []", "/secret []"),
            (
                "/a/..%2fsecret",
                "/a/... [/..%2fsecret]",
                "/... [/a/..%2fsecret]",
            ),
            (
                "/a/..;/secret",
                "/a/... [/..;/secret]",
                "/... [/a/..;/secret]",
            ),
            ("//secret", "404", "/... [//secret]"),
            ("/secret//", "404", "/... [/secret//]"),
            ("///secret", "404", "/... [///secret]"),
            ("///a//b", "404", "/... [///a//b]"),
            ("/a//b", "/a/... [//b]", "/... [/a//b]"),
            ("/SECRET", "404", "/... [/SECRET]"),
            ("/secret%2f", "404", "/... [/secret%2f]"),
            ("//x", "404", "/... [//x]"),
        ];
        for (path, without, with) in rows {
            assert_eq!(
                (find(&closed, None, path), find(&open, None, path)),
                (without.into(), with.into()),
                "{path}"
            );
        }
    }

    #[test]
    fn a_route_with_a_host_goes_first() {
        let table = table(&[
            "/...",
            "/only",
            "a.com /a",
            "a.com /x/...",
            "private",
            "private",
        ])
        .expect("all differ");
        let rows = [
            (Some("a.com"), "/a", "a.com /a []"),
            (Some("A.com.:3000"), "/a", "a.com /a []"),
            (Some("b.com"), "/a", "/... [/a]"),
            (None, "/a", "/... [/a]"),
            (Some("a.com"), "/only", "/only []"),
            (Some("a.com"), "/x/y", "a.com /x/... [/y]"),
            (Some("[::1"), "/a", "/... [/a]"),
        ];
        for (host, path, expected) in rows {
            assert_eq!(find(&table, host, path), expected, "{host:?} {path}");
        }
    }

    #[test]
    fn routes_begin_at_the_base() {
        let mut table = table(&["/", "/a/:id", "/b/...", "a.com /..."]).expect("all differ");
        let base = "/shop/x".parse().expect("a base");
        table = RouteTable::new(table.routes, Some(&base)).expect("all differ");
        for (host, path, expected) in [
            (None, "/shop/x", "/ []"),
            (None, "/shop/x/", "/ []"),
            (None, "/shop/x/a/1", "/a/:id [] id=1"),
            (None, "/shop/x/b/c/d", "/b/... [/c/d]"),
            (Some("a.com"), "/shop/x/q", "a.com /... [/q]"),
            (Some("a.com"), "/shop/q", "404"),
            (None, "/", "404"),
            (None, "/a/1", "404"),
            (None, "/shop/xa/1", "404"),
            (None, "/shop/x2", "404"),
        ] {
            assert_eq!(find(&table, host, path), expected, "{host:?} {path}");
        }
        let path = NormalPath::parse("/shop/x/a/1").expect("a path");
        let found = table.find(None, &path).expect("it is there");
        assert_eq!(
            (found.base, found.matched_route),
            ("/shop/x", "/shop/x/a/:id")
        );
    }

    #[test]
    fn two_routes_for_the_same_requests_are_found() {
        type Row = (&'static [&'static str], &'static [(usize, usize)]);
        let rows: [Row; 7] = [
            (&["/a", "/b", "/a"], &[(0, 2)]),
            (&["/a", "/a/"], &[(0, 1)]),
            (&["/a/...", "/a/*"], &[(0, 1)]),
            (&["/:a", "/:b"], &[(0, 1)]),
            (&["/a", "h.com /a", "/a/...", "/:a", "/:a/..."], &[]),
            (&["h.com /a", "h.com /a"], &[(0, 1)]),
            (&["private", "private"], &[]),
        ];
        for (routes, expected) in rows {
            let seen = table(routes).err().unwrap_or_default();
            let seen: Vec<_> = seen
                .into_iter()
                .map(|pair| (pair.first, pair.second))
                .collect();
            assert_eq!(seen, expected, "{routes:?}");
        }
    }

    #[test]
    fn e52_ten_thousand_routes_are_a_tree() {
        let texts: Vec<String> = (0..10_000)
            .map(|n| format!("/api/v{}/item{n}/:id/...", n % 7))
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let table = table(&texts).expect("all differ");
        assert_eq!(
            find(&table, None, "/api/v3/item10/7/x"),
            "/api/v3/item10/:id/... [/x] id=7"
        );
        assert_eq!(find(&table, None, &"/a".repeat(5000)), "404");
    }
}
