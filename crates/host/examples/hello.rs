//! Answers so many requests in this process, one after the other, and prints the nanoseconds of processor time of each: what
//! `cargo xtask cost` measures.
//!
//! The second argument is the component. The pool is left out where `RUNNER_ON_DEMAND` is set: whoever counts instructions
//! cannot have the address space of one.
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use runner_host::{
    App, Body, BoxError, Client, Engine, EngineOptions, Instances, Refused, Services,
};
use runner_manifest::{Component, Manifest, Source};
use runner_outbound::{Options, Outbound};
use rustix::time::{ClockId, clock_gettime};

#[expect(clippy::print_stderr, reason = "a program")]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().and_then(|count| count.parse().ok());
    let (Some(count), Some(file)) = (count, arguments.next()) else {
        eprintln!("usage: hello COUNT FILE.wasm");
        return ExitCode::FAILURE;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = runtime
        .map_err(BoxError::from)
        .and_then(|runtime| runtime.block_on(answer(count, &file)));
    let told = done.inspect_err(|error| eprintln!("{error}"));
    told.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "a program")]
async fn answer(count: u32, file: &str) -> Result<(), BoxError> {
    let component = Component::new("hello".parse()?, Source::bytes(std::fs::read(file)?));
    let manifest = Manifest::new("hello").with(component, &["/..."])?;
    let door = Outbound::new(Options {
        dns: vec![([127, 0, 0, 1], 53).into()],
        ..Options::default()
    })?;
    let refuse = |refused: &Refused<'_>| {
        let mut response = Response::new(Body::full(refused.error.to_string()));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    };
    let instances = match std::env::var_os("RUNNER_ON_DEMAND") {
        Some(_) => Instances::OnDemand,
        None => Instances::Pooled,
    };
    let engine = Engine::new(EngineOptions {
        instances,
        ..EngineOptions::default()
    })?;
    let services = Services::new(door, Arc::new(refuse));
    let app = Arc::new(App::load(&engine, manifest, 1, services).await?);
    let began = processor_time();
    for _ in 0..count {
        let request = Request::get("/hello").body(Empty::new())?;
        let response = app.handle(request, Client::of_program("hello")).await;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status != StatusCode::OK {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
        }
    }
    let took = processor_time().saturating_sub(began);
    println!("{}", took.as_nanos() / u128::from(count.max(1)));
    Ok(())
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let whole = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    whole + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}
