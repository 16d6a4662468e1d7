//! The threads behind the others: they run guests, and what the host does for them, whose tenant has computed more than
//! its part of late. The system gives a processor to them when nobody else asks for it, also in the middle of what cannot be
//! interrupted otherwise.

use std::cell::Cell;
use std::sync::OnceLock;

use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::engine::cores;

/// How much less than the others they are worth: see setpriority(2). It is the most there is.
const NICENESS: i32 = 19;

/// A runtime of such threads, made when it is asked for first.
#[derive(Default)]
pub(crate) struct Behind {
    runtime: OnceLock<Option<Runtime>>,
}

impl Behind {
    /// Where to spawn; none where the system gives no threads.
    pub(crate) fn runtime(&self) -> Option<&Handle> {
        let make = || {
            let mut runtime = Builder::new_multi_thread();
            runtime
                .worker_threads(cores())
                .thread_name("runner-behind")
                .on_thread_start(step_back)
                .enable_all();
            let runtime = runtime.build();
            runtime
                .inspect_err(|error| tracing::warn!(%error, "no threads behind the others"))
                .ok()
        };
        self.runtime.get_or_init(make).as_ref().map(Runtime::handle)
    }
}

thread_local! {
    static IS_HERE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is one of those threads.
pub(crate) fn is_here() -> bool {
    IS_HERE.get()
}

/// This thread is worth less from now on. Nobody is forbidden that.
fn step_back() {
    IS_HERE.set(true);
    if let Err(error) = setpriority_process(Some(gettid()), NICENESS) {
        tracing::warn!(%error, "a thread behind the others is not behind them");
    }
}

impl Drop for Behind {
    /// May happen on a thread of a runtime, which must not wait.
    fn drop(&mut self) {
        if let Some(Some(runtime)) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;

    #[tokio::test]
    async fn its_threads_are_worth_less_than_the_others() {
        let nice = || getpriority_process(Some(gettid())).unwrap();
        let behind = Behind::default();
        let runtime = behind.runtime().unwrap();
        assert_eq!(
            runtime.spawn(async move { nice() }).await.unwrap(),
            NICENESS
        );
        assert!(runtime.spawn(async { is_here() }).await.unwrap());
        assert!(nice() < NICENESS && !is_here());
    }
}
