//! Every `.wasm` of a folder is a plugin, which may call a server of its own and nobody else's.
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use runner_host::{App, Body, BoxError, Client, CompileProcess, Compiler, Engine, EngineOptions};
use runner_host::{Event, Refused, Services, compile_if_asked};
use runner_manifest::{AllowList, Component, Manifest, Source};
use runner_outbound::Outbound;

#[expect(clippy::print_stderr, reason = "a program")]
fn main() -> ExitCode {
    // The processes that compile are this very program.
    compile_if_asked(std::env::args_os()).unwrap_or_else(|| {
        let folder = std::env::args().nth(1).unwrap_or_else(|| ".".into());
        let runtime = tokio::runtime::Runtime::new().expect("there are threads");
        let held = runtime.block_on(each_is_held_to_its_grants(&folder));
        let told = held.inspect_err(|error| eprintln!("{error}"));
        told.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
    })
}

#[expect(clippy::print_stdout, reason = "a program")]
async fn each_is_held_to_its_grants(folder: &str) -> Result<(), BoxError> {
    let compiler = Compiler::Process(CompileProcess::this());
    let options = EngineOptions {
        compiler,
        ..EngineOptions::default()
    };
    let engine = Engine::new(options)?;
    let (denials, mut plugins) = (Arc::new(AtomicUsize::new(0)), Vec::new());
    for entry in std::fs::read_dir(folder)? {
        let (file, (url, visits)) = (entry?.path(), server()?);
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let mut plugin = Component::new(name.parse()?, Source::bytes(std::fs::read(&file)?));
        plugin.allow = AllowList::parse([&*url])?;
        plugin.limits.memory = Some(64 << 20);
        let app = Manifest::new(&name).with(plugin, &["/..."])?;
        let app = App::load(&engine, app, 1, services(&denials)?).await?;
        plugins.push((name.into_owned(), Arc::new(app), url, visits));
    }
    for (own, app, ..) in &plugins {
        for (other, _, url, visits) in &plugins {
            let before = visits.load(SeqCst);
            let request = Request::get(format!("/fetch?url={url}/")).body(Empty::new())?;
            let client = Client::of_program("plugins");
            let answer = app.handle(request, client).await.into_body();
            answer.collect().await?;
            let came = visits.load(SeqCst) > before;
            println!("{own} calls the server of {other}: it came there is {came}");
            if came != (own == other) {
                return Err(format!("{own} is not held to its grants").into());
            }
        }
    }
    println!("{} calls denied", denials.load(SeqCst));
    Ok(())
}

/// An app's: its door out, how it refuses, and who is told of it.
fn services(denials: &Arc<AtomicUsize>) -> Result<Services, BoxError> {
    let refuse = |refused: &Refused<'_>| Response::new(Body::full(refused.error.to_string()));
    let mut services = Services::new(Outbound::new(Default::default())?, Arc::new(refuse));
    let denials = denials.clone();
    services.events = Arc::new(move |event| {
        denials.fetch_add(matches!(event, Event::Denied { .. }).into(), SeqCst);
    });
    Ok(services)
}

/// A server on this machine that counts who comes and says nothing.
fn server() -> std::io::Result<(String, Arc<AtomicUsize>)> {
    let (listener, visits) = (std::net::TcpListener::bind("127.0.0.1:0")?, Arc::default());
    let url = format!("http://{}", listener.local_addr()?);
    let count = Arc::<AtomicUsize>::clone(&visits);
    let each = move |_| count.store(count.load(SeqCst) + 1, SeqCst);
    std::thread::spawn(move || listener.incoming().for_each(each));
    Ok((url, visits))
}
