//! Unix sockets of our own: for their owner alone, and in place of one that a killed process has left behind.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use tokio::net::{UnixListener, UnixStream};

/// Opens a socket for its owner alone. Nothing may stand at `path`. Must be called within a runtime.
///
/// For a moment it has what the umask leaves: whoever accepts asks [`is_same_user`] too.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// The same where a process may have been killed before it could remove its socket. What else stands there stays.
pub(crate) async fn listen_anew(path: &Path) -> io::Result<UnixListener> {
    match listen(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_behind(path).await => {
            fs::remove_file(path)?;
            listen(path)
        }
        opened => opened,
    }
}

/// Whether a socket stands there that nobody listens on.
pub(crate) async fn is_left_behind(path: &Path) -> bool {
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    is_socket && reach(path).await.is_err_and(refused)
}

/// Connects to a socket of our own user.
#[expect(
    clippy::disallowed_methods,
    reason = "runner asks another runner, by a name that no guest and no manifest can choose"
)]
pub(crate) async fn reach(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path).await?;
    if is_same_user(&stream) {
        return Ok(stream);
    }
    Err(io::ErrorKind::PermissionDenied.into())
}

/// Whether the other end is a process of the same user.
pub(crate) fn is_same_user(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[tokio::test]
    async fn a_socket_replaces_one_that_nobody_listens_on_and_nothing_else() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        drop(UnixListener::bind(at("left")).expect("a short path"));
        let _live = UnixListener::bind(at("live")).expect("a short path");
        fs::write(at("file"), "mine").expect("a file");
        std::os::unix::fs::symlink(at("left"), at("link")).expect("a link");
        for (name, opens) in [
            ("link", false),
            ("left", true),
            ("live", false),
            ("file", false),
            ("new", true),
        ] {
            let opened = listen_anew(&at(name)).await;
            assert_eq!(opened.is_ok(), opens, "{name}: {opened:?}");
            if opens {
                let mode = fs::metadata(at(name)).expect("there").mode() & 0o777;
                assert_eq!(mode, 0o600, "{name}");
            }
        }
        assert_eq!(fs::read_to_string(at("file")).expect("there"), "mine");
    }
}
