//! Who is measured.

use std::fmt;

/// A server, and how it is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contender {
    /// `runner` as it is: a fresh instance for each request.
    Runner,
    /// With `instance_reuse = "serial"`.
    RunnerSerial,
    /// With a component of 0.3 and `instance_reuse = "concurrent"`.
    RunnerConcurrent,
    /// With one route, to a smaller component.
    RunnerOne,
    /// With 10,000 routes to it.
    RunnerRoutes,
    /// With 100 routes, each to a component of its own.
    RunnerMany,
    /// hyper alone, without a sandbox.
    Bare,
    /// A static file.
    Nginx,
    /// `wasmtime serve` as it is.
    Wasmtime,
    /// With a pool whose slots stay resident.
    WasmtimeTuned,
    /// With the same, and instances of 0.2 that serve again.
    WasmtimeReuse,
    /// With a component of 0.3, whose instances serve again without being told.
    WasmtimeConcurrent,
    /// What the command line named.
    Other,
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Contender::Runner => "runner",
            Contender::RunnerSerial => "runner, serial",
            Contender::RunnerConcurrent => "runner, 0.3 concurrent",
            Contender::RunnerOne => "runner, one route",
            Contender::RunnerRoutes => "runner, 10,000 routes",
            Contender::RunnerMany => "runner, 100 components",
            Contender::Bare => "bare hyper",
            Contender::Nginx => "nginx",
            Contender::Wasmtime => "wasmtime serve",
            Contender::WasmtimeTuned => "wasmtime serve, tuned",
            Contender::WasmtimeReuse => "wasmtime serve, reuse",
            Contender::WasmtimeConcurrent => "wasmtime serve, 0.3",
            Contender::Other => "other",
        })
    }
}
