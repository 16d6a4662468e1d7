//! Several apps behind one listener: which of them answers a request.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use runner_manifest::{Base, Host, Manifest, NormalPath};

use crate::app::{App, Services, default_answer, host_of, never};
use crate::event::RequestId;
use crate::{Body, BoxError, Client, Error};

/// The apps that one listener serves. What is exchanged at a reload is all of it, with one app replaced.
///
/// An app with a host goes before one without; of those for a host, the one whose base covers the path goes before the one
/// without a base.
pub struct Apps {
    apps: Vec<Arc<App>>,
    /// Who answers every request; where there is one, nothing is looked up.
    only: Option<Arc<App>>,
    hosts: HashMap<String, Below>,
    any: Below,
    /// Who is told of requests that are for none of them.
    nobody: Services,
}

/// The apps for one host, as places in the list.
#[derive(Default)]
struct Below {
    /// None of them covers another.
    bases: Vec<(Base, usize)>,
    rest: Option<usize>,
}

impl Apps {
    /// One app alone.
    pub fn one(app: Arc<App>) -> Apps {
        let nobody = app.services().clone();
        Apps::of(vec![app], nobody)
    }

    /// All of them; `nobody` is told of requests that are for none.
    ///
    /// # Errors
    /// Two of them are for the same requests, or have the same name: each such pair.
    pub fn new(apps: Vec<Arc<App>>, nobody: Services) -> Result<Apps, runner_manifest::Error> {
        let diagnostics = Manifest::clashes(apps.iter().map(|app| app.manifest()));
        match diagnostics.is_empty() {
            true => Ok(Apps::of(apps, nobody)),
            false => Err(runner_manifest::Error { diagnostics }),
        }
    }

    /// The same, with another app at a place of the list.
    ///
    /// # Errors
    /// As [`Apps::new`].
    pub fn with(&self, at: usize, app: Arc<App>) -> Result<Apps, runner_manifest::Error> {
        let mut apps = self.apps.clone();
        if let Some(old) = apps.get_mut(at) {
            *old = app;
        }
        Apps::new(apps, self.nobody.clone())
    }

    fn of(apps: Vec<Arc<App>>, nobody: Services) -> Apps {
        let (mut hosts, mut any) = (HashMap::<String, Below>::new(), Below::default());
        for (at, app) in apps.iter().enumerate() {
            let mount = &app.manifest().mount;
            if mount.hosts.is_empty() {
                any.add(mount.base.as_ref(), at);
            }
            for host in &mount.hosts {
                let below = hosts.entry(host.clone()).or_default();
                below.add(mount.base.as_ref(), at);
            }
        }
        let only = match &apps[..] {
            [app] if app.manifest().mount.is_everything() => Some(app.clone()),
            _ => None,
        };
        Apps {
            apps,
            only,
            hosts,
            any,
            nobody,
        }
    }

    /// All of them, in the order in which they were given.
    pub fn all(&self) -> &[Arc<App>] {
        &self.apps
    }

    /// Answers a request that came over a connection, by the app that it is for.
    pub async fn handle<B>(&self, request: Request<B>, client: Client) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.handle_unless(request, client, never).await
    }

    /// The same, with a say for whoever refuses it meanwhile: see [`App::handle_unless`].
    pub async fn handle_unless<B, R>(
        &self,
        request: Request<B>,
        client: Client,
        refusal: impl FnMut() -> Option<R> + Send + 'static,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        R: FnOnce(RequestId) -> Response<Body> + Send + 'static,
    {
        match self.find(&client.authority, request.uri().path()) {
            Ok(app) => app.handle_unless(request, client, refusal).await,
            Err(answer) => self.nobody.answer_for_nobody(&request, client, *answer),
        }
    }

    /// Records an answer that the trigger gives by itself, to a request that is none.
    pub fn refused(
        &self,
        method: Method,
        path: String,
        client: Option<SocketAddr>,
        answer: impl FnOnce(RequestId) -> Response<Body>,
    ) -> Response<Body> {
        self.nobody.refused(method, path, client, answer)
    }

    /// The app for a request, or what is answered where there is none.
    fn find(
        &self,
        authority: &str,
        path: &str,
    ) -> Result<&Arc<App>, Box<Result<Response<Body>, Error>>> {
        if let Some(app) = &self.only {
            return Ok(app);
        }
        let path = NormalPath::parse(path).map_err(|bad| Box::new(Err(bad.into())))?;
        let host: Option<Host> = host_of(authority).parse().ok();
        let below = host.and_then(|host| self.hosts.get(&host.to_string()));
        let at = below.and_then(|below| below.find(&path));
        let app = at.or_else(|| self.any.find(&path));
        let app = app.and_then(|at| self.apps.get(at));
        app.ok_or_else(|| Box::new(default_answer(&path)))
    }
}

impl Below {
    fn add(&mut self, base: Option<&Base>, at: usize) {
        match base {
            Some(base) => self.bases.push((base.clone(), at)),
            None => self.rest = Some(at),
        }
    }

    fn find(&self, path: &NormalPath) -> Option<usize> {
        let covering = self.bases.iter().find(|(base, _)| base.covers(path));
        covering.map(|(_, at)| *at).or(self.rest)
    }
}
