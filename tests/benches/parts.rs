//! What the parts of a request take, each alone: `cargo bench --package runner-tests`.
//!
//! A fresh instance is what `fresh` takes more than `reused`: the same request, with and without making one and dropping it.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use divan::Bencher;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use runner_host::{App, Body, CacheDir, Client, Engine, EngineOptions, Refused, Services};
use runner_manifest::{AllowList, Call, Destination, Manifest, NormalPath, Variables};
use runner_outbound::{Grants, Options, Outbound, permit};
use runner_tests::guest;
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [1, 100, 10_000];

fn manifest(text: &str, folder: &Path) -> Manifest {
    Manifest::parse(text, &folder.join("spin-like.toml"), &Variables::default()).expect("it is one")
}

/// So many routes, to one component.
fn routes(count: usize) -> String {
    let routes = (0..count)
        .map(|at| format!("[[trigger.http]]\nroute = \"/shop/r{at}/:item\"\ncomponent = \"c\"\n"));
    let head = "spin_manifest_version = 2\n[application]\nname = \"a\"\n";
    let routes: String = routes.collect();
    format!("{head}{routes}[component.c]\nsource = \"c.wasm\"\n")
}

/// One folder with a component for each that needs its file.
fn folder(component: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy(guest(component), folder.path().join("c.wasm")).expect("it is there");
    folder
}

#[divan::bench(args = SIZES)]
fn route_match(bencher: Bencher<'_, '_>, count: usize) {
    let folder = folder("probe");
    let manifest = manifest(&routes(count), folder.path());
    let path = NormalPath::parse(&format!("/shop/r{}/17", count / 2)).expect("a path");
    bencher.bench(|| black_box(manifest.routes.find(Some("example.com"), &path).is_some()));
}

#[divan::bench(args = SIZES)]
fn allow_list(bencher: Bencher<'_, '_>, count: usize) {
    let rules: Vec<String> = (0..count)
        .map(|at| format!("https://h{at}.example.com"))
        .collect();
    let grants = Arc::new(Grants {
        component: "c".parse().expect("an id"),
        allow: AllowList::parse(rules.iter().map(String::as_str)).expect("rules"),
        place: None,
        generation: 1,
    });
    let url = format!("https://h{}.example.com", count / 2);
    let to = Destination::from_url(&url).expect("a URL");
    bencher.bench(|| black_box(permit(&grants, &Call::get(&to)).is_ok()));
}

#[divan::bench(args = [1, 100, 1000])]
fn manifest_load(bencher: Bencher<'_, '_>, count: usize) {
    let folder = folder("probe");
    let text = routes(count);
    bencher.bench(|| black_box(manifest(&text, folder.path())));
}

/// An app of the probe, and what it runs on.
struct Served {
    runtime: Runtime,
    app: Arc<App>,
}

impl Served {
    fn load(engine: &Engine, limits: &str) -> Served {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let folder = folder("probe");
        let manifest = manifest(&format!("{}{limits}", routes(1)), folder.path());
        let app = runtime.block_on(App::load(engine, manifest, 1, services()));
        Served {
            runtime,
            app: Arc::new(app.expect("it loads")),
        }
    }

    fn hello(&self) {
        self.runtime.block_on(async {
            let request = Request::get("/shop/r0/1").body(Empty::new()).expect("one");
            let response = self.app.handle(request, Client::of_program("hello")).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND);
            let _ = response.into_body().collect().await.expect("whole");
        });
    }
}

fn services() -> Services {
    let door = Outbound::new(Options {
        dns: vec![([127, 0, 0, 1], 53).into()],
        ..Options::default()
    });
    let refuse = |refused: &Refused<'_>| http::Response::new(Body::full(refused.error.to_string()));
    Services::new(door.expect("a door"), Arc::new(refuse))
}

fn engine() -> Engine {
    Engine::new(EngineOptions::default()).expect("an engine")
}

#[divan::bench]
fn fresh(bencher: Bencher<'_, '_>) {
    let served = Served::load(&engine(), "");
    bencher.bench_local(|| served.hello());
}

#[divan::bench]
fn reused(bencher: Bencher<'_, '_>) {
    let limits = "[component.c.limits]\ninstance_reuse = \"serial\"\n";
    let served = Served::load(&engine(), limits);
    bencher.bench_local(|| served.hello());
}

/// Its component was compiled before.
#[divan::bench]
fn load_compiled(bencher: Bencher<'_, '_>) {
    let cache = tempfile::tempdir().expect("a folder");
    let engine = Engine::new(EngineOptions {
        cache: CacheDir::Usual(cache.path().join("cache")),
        ..EngineOptions::default()
    });
    let engine = engine.expect("an engine");
    drop(Served::load(&engine, ""));
    bencher.bench_local(|| black_box(Served::load(&engine, "")));
}
