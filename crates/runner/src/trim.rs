//! What the allocator does with freed memory. A server that was busy is as small again as before, once it has nothing to do;
//! and one that is never at rest does not grow with each reload.

use std::time::Duration;

use runner_trigger_http::Handle;
use tokio::time::sleep;

/// How often it is looked at: a server is at rest before anybody wonders.
const EVERY: Duration = Duration::from_secs(5);

/// So few requests in that time are no work: who watches over a server asks it now and then.
const FEW: u64 = 10;

/// What is larger than this has pages of its own, which go back to the system when it is freed. Left to itself, glibc's
/// allocator puts what a reload reads and compiles among what lives on, once it has seen one such piece.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 256 * 1024;

/// Keeps large pieces apart. To be called before there is a second thread.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "a function of the C library that nothing wraps")]
pub(crate) fn keep_large_apart() {
    // SAFETY: a number for one of its parameters: see mallopt(3).
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}

/// Others do so by themselves.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn keep_large_apart() {}

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
