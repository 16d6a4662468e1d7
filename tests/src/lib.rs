//! Starts the real parts: `runner` as a process of its own, on port 0, with real upstreams, and speaks real HTTP.
//!
//! A story reads as one: [`App`] is a folder with a manifest, [`Server`] a running `runner up`, [`Canary`] an upstream
//! that counts who came, [`Dns`] a name server that says what the story needs, [`Oracle`] a server whose guest attacks it.
//!
//! With `RUNNER_TESTS_TRACE` set, every `runner` is started under `strace`: see `cargo xtask traced`.

mod app;
mod canary;
mod client;
mod dns;
mod frames;
mod http2;
mod oracle;
mod process;
mod server;
mod sources;
mod text;
mod trace;
mod wire;

pub use app::{App, guest, guests};
pub use canary::Canary;
pub use client::{Connection, Reply, get, raw, without_id};
pub use dns::Dns;
pub use frames::{Frame, Frames};
pub use http2::Http2;
pub use oracle::{End, Fault, Oracle, Protocol, Seen};
pub use process::{Finished, binary, run, run_after, run_with};
pub use server::{Reader, Server, Stopped};
pub use sources::test_names;
pub use text::{around, module};
pub use wire::Wire;
