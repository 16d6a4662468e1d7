//! Who serves connections: a thread for each processor, with a runtime of its own. What is done for a connection is done by
//! one of them, from its first byte to its last, and wakes nobody else.
//!
//! A guest that computes for long holds up no other connection of its thread: the host moves it to the runtime on which its
//! engine was made, where whoever has time goes on with it.

use std::io;
use std::thread;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// How long a thread is kept that has read a file for a guest: a server at rest has as many threads as at its start.
const BLOCKING_KEPT: Duration = Duration::from_secs(1);

/// The threads of one server, and whose turn it is.
pub(crate) struct Cores {
    cores: Vec<Core>,
    next: usize,
}

/// One of them.
pub(crate) struct Core {
    runtime: Handle,
    /// Its thread ends when this is dropped; none where it is not ours.
    _stop: Option<oneshot::Sender<()>>,
}

impl Cores {
    /// One for each processor. Where the system gives none, the runtime of whoever asks does their work.
    pub(crate) fn start() -> Cores {
        let count = thread::available_parallelism().map_or(1, usize::from);
        let cores: io::Result<Vec<Core>> = (0..count).map(|_| Core::start()).collect();
        match cores {
            Ok(cores) => Cores { cores, next: 0 },
            Err(error) => {
                tracing::warn!(%error, "no threads for connections; they share that of the others");
                Cores::here()
            }
        }
    }

    /// The runtime that this is called on.
    pub(crate) fn here() -> Cores {
        let core = Core {
            runtime: Handle::current(),
            _stop: None,
        };
        Cores {
            cores: vec![core],
            next: 0,
        }
    }

    /// Each in turn.
    pub(crate) fn next(&mut self) -> &Core {
        self.next = (self.next + 1) % self.cores.len();
        &self.cores[self.next]
    }
}

impl Core {
    fn start() -> io::Result<Core> {
        let runtime = Builder::new_current_thread()
            .thread_keep_alive(BLOCKING_KEPT)
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        thread::Builder::new()
            .name("runner-core".into())
            .spawn(move || {
                // An error says that it is to end.
                let _: Result<(), _> = runtime.block_on(stopped);
                runtime.shutdown_background();
            })?;
        Ok(Core {
            runtime: handle,
            _stop: Some(stop),
        })
    }

    /// Where it works.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Makes it the one that is told when bytes come.
    pub(crate) fn adopt(&self, stream: TcpStream) -> io::Result<TcpStream> {
        if self.runtime.id() == Handle::current().id() {
            return Ok(stream);
        }
        let stream = stream.into_std()?;
        let _there = self.runtime.enter();
        TcpStream::from_std(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::HashSet;

    #[tokio::test]
    async fn each_has_its_turn_on_a_thread_of_its_own() {
        let mut cores = Cores::start();
        let mut threads = HashSet::new();
        for _ in 0..cores.cores.len() * 2 {
            let thread = async { thread::current().id() };
            threads.insert(cores.next().runtime().spawn(thread).await.unwrap());
        }
        assert_eq!(threads.len(), cores.cores.len());
        assert!(!threads.contains(&thread::current().id()));
    }

    #[tokio::test]
    async fn what_it_works_at_ends_with_it() {
        let mut cores = Cores::start();
        let (held, gone) = oneshot::channel::<()>();
        cores.next().runtime().spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(cores);
        assert!(gone.await.is_err());
    }
}
