//! The signals that `up` obeys.

use std::io;

use tokio::signal::unix::{self, SignalKind};

use crate::exit::{Exit, Failure};

/// Heard from its making on; a signal before that ends the process as usual.
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
}

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Stop, and the exit code if this one cuts a drain short.
    Stop(Exit),
    /// SIGHUP: load the app anew.
    Reload,
}

impl Signals {
    /// Begins to listen.
    pub(crate) fn listen() -> Result<Signals, Failure> {
        Signals::try_listen()
            .map_err(|error| Failure::of_machine("signals cannot be heard", &error))
    }

    fn try_listen() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hangup: unix::signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Signal::Stop(Exit::Interrupted),
            Some(()) = self.terminate.recv() => Signal::Stop(Exit::Terminated),
            Some(()) = self.hangup.recv() => Signal::Reload,
        }
    }

    /// The next one that stops.
    pub(crate) async fn stop(&mut self) -> Exit {
        loop {
            if let Signal::Stop(exit) = self.next().await {
                return exit;
            }
        }
    }
}
