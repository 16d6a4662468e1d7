//! One process takes the place of another: it gets the listening socket, and tells the other when it may go.
//!
//! Both have the same open socket, not two at one address: its queue stays when the other closes its end, so that nobody
//! who connects is refused or reset. Until it is told to retire, the other serves as if nothing had happened.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use runner_trigger_http::Handle;
use rustix::cmsg_space;
use rustix::net::sockopt::socket_acceptconn;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{LISTENER, RETIRE, is_private, sockets, sockets_named};
use crate::inherited::fits;
use crate::socket::reach;

/// A process that takes longer is not asked again.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest answer.
const ANSWER: usize = 512;
/// Sockets that are looked at for one that listens elsewhere; processes that were killed leave theirs behind.
const SOCKETS: usize = 10_000;

/// Answers with the listening socket.
pub(super) async fn pass(stream: &UnixStream, handle: &Handle) -> io::Result<()> {
    let listener = handle.listener()?;
    let answer = json!({ "schema": 1, "pid": std::process::id(), "listen": handle.local_addr().to_string() });
    let answer = format!("{answer}\n");
    let send = || send_with(stream, answer.as_bytes(), listener.as_fd());
    stream.async_io(Interest::WRITABLE, send).await
}

/// A process that serves now, and whose place another can take.
pub(crate) struct Predecessor {
    /// Its process.
    pub(crate) pid: u64,
    /// Its listening socket.
    pub(crate) listener: TcpListener,
    socket: PathBuf,
}

impl Predecessor {
    /// The process that listens where `wanted` says, one of `manifests`' own first. Where `wanted` leaves it open, of these
    /// manifests only: somebody else's port is not to be taken by chance.
    pub(crate) async fn find(
        folders: &[PathBuf],
        manifests: &[&Path],
        wanted: Option<SocketAddr>,
    ) -> Option<Predecessor> {
        let folders: Vec<_> = folders
            .iter()
            .filter(|folder| is_private(folder).is_ok())
            .collect();
        let own = |folder: &&PathBuf| {
            let manifests = manifests.iter();
            let found = manifests.flat_map(|manifest| sockets(folder, manifest));
            found.collect::<Vec<_>>()
        };
        for path in folders.iter().flat_map(own) {
            if let Some(found) = Predecessor::at(path).await
                && wanted.is_none_or(|wanted| found.fits(wanted))
            {
                return Some(found);
            }
        }
        let wanted = wanted.filter(|wanted| wanted.port() != 0)?;
        let others = folders.iter().flat_map(|folder| sockets_named(folder, ""));
        for path in others.take(SOCKETS) {
            if let Some(found) = Predecessor::at(path).await
                && found.fits(wanted)
            {
                return Some(found);
            }
        }
        None
    }

    /// Tells it that its place is taken: it accepts no more, finishes what it has begun, and ends.
    pub(crate) async fn retire(self) -> io::Result<()> {
        timeout(PATIENCE, retire(&self.socket)).await?
    }

    async fn at(socket: PathBuf) -> Option<Predecessor> {
        match timeout(PATIENCE, listener(&socket)).await {
            Ok(Ok((pid, listener))) => Some(Predecessor {
                pid,
                listener,
                socket,
            }),
            Ok(Err(error)) => {
                tracing::info!(path = %socket.display(), %error, "nothing to take over");
                None
            }
            Err(_) => {
                tracing::info!(path = %socket.display(), "no answer in time");
                None
            }
        }
    }

    fn fits(&self, wanted: SocketAddr) -> bool {
        let address = self.listener.local_addr();
        address.is_ok_and(|address| fits(address, wanted))
    }
}

async fn listener(socket: &Path) -> io::Result<(u64, TcpListener)> {
    let mut stream = reach(socket).await?;
    stream.write_all(format!("{LISTENER}\n").as_bytes()).await?;
    let receive = || receive_with(&stream);
    let (answer, listener) = stream.async_io(Interest::READABLE, receive).await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    let pid = answer["pid"].as_u64();
    let (Some(pid), Some(listener)) = (pid, listener) else {
        return Err(io::Error::other("it does not hand over"));
    };
    if !socket_acceptconn(&listener)? {
        return Err(io::Error::other("what it hands over does not listen"));
    }
    Ok((pid, TcpListener::from(listener)))
}

async fn retire(socket: &Path) -> io::Result<()> {
    let mut stream = reach(socket).await?;
    stream.write_all(format!("{RETIRE}\n").as_bytes()).await?;
    let mut answer = [0; 1];
    stream.read_exact(&mut answer).await.map(drop)
}

fn send_with(stream: &UnixStream, bytes: &[u8], file: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = [file];
    if !control.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::Error::other("there is no room for a descriptor"));
    }
    sendmsg(
        stream,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// What came in one message, and the file that came with it.
fn receive_with(stream: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut bytes = vec![0; ANSWER];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let file = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    bytes.truncate(received.bytes);
    Ok((bytes, file))
}
