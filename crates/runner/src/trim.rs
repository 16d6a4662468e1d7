//! A server that was busy is as small again as before, once it has nothing to do: what its allocator keeps of freed memory
//! goes back to the system.

use std::time::Duration;

use runner_trigger_http::Handle;
use tokio::time::sleep;

/// How often it is looked at: a server is at rest before anybody wonders.
const EVERY: Duration = Duration::from_secs(5);

/// So few requests in that time are no work: who watches over a server asks it now and then.
const FEW: u64 = 10;

/// Gives memory back whenever there were requests and there are hardly any now.
pub(crate) async fn when_idle(handle: Handle) {
    let (mut trimmed, mut before) = (handle.started(), handle.started());
    loop {
        sleep(EVERY).await;
        let started = handle.started();
        let few = started - std::mem::replace(&mut before, started) <= FEW;
        if few && started != trimmed && handle.in_flight() == 0 {
            trimmed = started;
            let _ = tokio::task::spawn_blocking(trim).await;
        }
    }
}

/// What glibc's allocator holds of freed memory, in the arena of each thread, it keeps unless it is told to.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "a function of the C library that nothing wraps")]
fn trim() {
    // SAFETY: it may be called at any time, from any thread: see malloc_trim(3).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Others give it back by themselves.
#[cfg(not(target_env = "gnu"))]
fn trim() {}
