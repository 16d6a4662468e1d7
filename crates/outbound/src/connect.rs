//! Where sockets are opened for components: the only place in the whole program.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use runner_manifest::ComponentId;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How long an address may stay silent before the next one is tried beside it (RFC 8305 says 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first of `addresses` that answers, in their order. All of them have been permitted; nothing
/// else is ever tried. Dropping the future ends every attempt.
pub(crate) async fn dial(
    addresses: &[SocketAddr],
    component: &ComponentId,
) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter().copied();
    let mut attempts = JoinSet::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = waiting.next() {
            attempts.spawn(open(address, component.clone()));
        }
        tokio::select! {
            attempt = attempts.join_next() => match attempt {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => last = error,
                Some(Err(panic)) => last = io::Error::other(panic),
                None => return Err(last),
            },
            () = sleep(HEAD_START), if waiting.len() > 0 => {}
        }
    }
}

/// The door itself.
#[expect(clippy::disallowed_methods, reason = "the one door")]
async fn open(address: SocketAddr, component: ComponentId) -> io::Result<TcpStream> {
    tracing::debug!(target: "runner::dial", %address, %component);
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
