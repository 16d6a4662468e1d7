//! An app that is loaded and asked in this process, and what is told of it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use runner_host::{
    App as Loaded, Body, Client, Engine, EngineOptions, Event, Refused, RequestId, Services,
};
use runner_manifest::{Manifest, Variables};
use runner_outbound::{Options, Outbound};
use runner_tests::guest;

/// What was told of one request: its lines, the calls that were denied, and how many of those its record counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) lines: Vec<String>,
    pub(crate) denied: usize,
    pub(crate) counted: u64,
}

/// An app that serves one component on every path, in this process.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) app: Arc<Loaded>,
    events: Arc<Mutex<Vec<(RequestId, Told)>>>,
}

impl Host {
    /// One with these limits.
    pub(crate) async fn of(guest: &str, limits: &str) -> Host {
        Host::with(guest, &format!("[component.guest.limits]\n{limits}\n")).await
    }

    pub(crate) async fn with(name: &str, lines: &str) -> Host {
        let manifest = format!(
            "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
             [[trigger.http]]\nroute = \"/...\"\ncomponent = \"guest\"\n\
             [component.guest]\nsource = \"{}\"\n{lines}\n",
            guest(name).display()
        );
        Host::serving(&manifest, EngineOptions::default()).await
    }

    pub(crate) async fn serving(manifest: &str, options: EngineOptions) -> Host {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("spin-like.toml");
        let manifest = Manifest::parse(manifest, &path, &Variables::default());
        let door = Outbound::new(Options {
            dns: vec![([127, 0, 0, 1], 53).into()],
            ..Options::default()
        });
        let refuse = |refused: &Refused<'_>| {
            let mut response = Response::new(Body::full(refused.error.to_string()));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        };
        let mut services = Services::new(door.expect("a door"), Arc::new(refuse));
        let events = Arc::<Mutex<Vec<(RequestId, Told)>>>::default();
        let telling = events.clone();
        services.events = Arc::new(move |event| tell(&telling, &event));
        let engine = Engine::new(options).expect("an engine");
        let app = Loaded::load(&engine, manifest.expect("a manifest"), 1, services).await;
        Host {
            engine,
            app: Arc::new(app.expect("it loads")),
            events,
        }
    }

    /// The head, with a body that is yet to be read.
    pub(crate) async fn head(&self, method: &str, target: &str, body: &str) -> Response<Body> {
        let request = Request::builder().method(method).uri(target);
        let request = request.body(Full::new(Bytes::from(body.to_owned())));
        let client = Client::of_program("story");
        self.app.handle(request.expect("a request"), client).await
    }

    /// The status and the whole body, or what came of it before it broke off.
    pub(crate) async fn get(&self, target: &str) -> (u16, String) {
        whole(self.head("GET", target, "").await).await
    }

    /// How many requests the instance that answers has served on this path.
    pub(crate) async fn counter(&self) -> String {
        self.get("/counter").await.1
    }

    /// What was told of each request since this was last asked.
    pub(crate) fn told(&self) -> Vec<Told> {
        let events = std::mem::take(&mut *self.events.lock().expect("no panic inside"));
        events.into_iter().map(|(_, told)| told).collect()
    }
}

fn tell(all: &Mutex<Vec<(RequestId, Told)>>, event: &Event<'_>) {
    let id = match event {
        Event::Line { request_id, .. } | Event::Denied { request_id, .. } => *request_id,
        Event::Request(record) => record.request_id,
        _ => return,
    };
    let mut all = all.lock().expect("no panic inside");
    let at = match all.iter().position(|(of, _)| *of == id) {
        Some(at) => at,
        None => {
            all.push((id, Told::default()));
            all.len() - 1
        }
    };
    let told = &mut all[at].1;
    match event {
        Event::Line { line, .. } => told.lines.push((*line).to_owned()),
        Event::Denied { .. } => told.denied += 1,
        Event::Request(record) => told.counted = record.denials,
        _ => {}
    }
}

/// The status and the body, or what came of it before it broke off.
pub(crate) async fn whole(response: Response<Body>) -> (u16, String) {
    let (head, mut body) = response.into_parts();
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => text.extend(frame.into_data().expect("no trailers")),
            Err(_) => break,
        }
    }
    let text = String::from_utf8(text).expect("text");
    (head.status.as_u16(), text)
}
