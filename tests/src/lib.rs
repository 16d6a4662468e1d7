//! Starts the real parts: `runner` as a process of its own, on port 0, with real upstreams, and speaks real HTTP.
//!
//! A story reads as one: [`App`] is a folder with a manifest, [`Server`] a running `runner up`, [`Canary`] an upstream
//! that counts who came, [`Dns`] a name server that says what the story needs.
//!
//! With `RUNNER_TESTS_WRAP` set, every `runner` is started under that command (`strace -f -o …`).

mod app;
mod canary;
mod client;
mod dns;
mod process;
mod server;

pub use app::{App, guest, guests};
pub use canary::Canary;
pub use client::{Connection, Reply, get, raw};
pub use dns::Dns;
pub use process::{Finished, run};
pub use server::{Server, Stopped};
