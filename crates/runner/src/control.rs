//! The control socket of `runner up`, one for each app: whoever runs it can ask what the app has used of its grants, and put
//! another process in the place of this one, with all its apps.
//!
//! A Unix socket in a directory that only its owner can reach. One line is asked, `status` or `suggest`, one JSON document is
//! answered, and the connection is closed. `listener` is answered with the listening socket too, and `retire` makes the
//! process drain, as a signal would that its owner can send anyway. Nothing else can be changed through it. A process
//! without one serves as well as one that has it.

mod ask;
mod hand_over;
mod status;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use runner_trigger_http::Handle;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub(crate) use self::ask::ask;
pub(crate) use self::hand_over::Predecessor;
use crate::account::Account;
use crate::socket;

/// Who asks is a person or a script of theirs; more at once are turned away.
const CONNECTIONS: usize = 8;
/// For the question, and again for the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// After an accept that failed, as it does while there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(200);
/// What of their grants the components have used.
pub(crate) const STATUS: &str = "status";
/// What would have allowed what was denied.
pub(crate) const SUGGEST: &str = "suggest";
/// The listening socket.
const LISTENER: &str = "listener";
/// Drain: another process accepts on the same socket.
const RETIRE: &str = "retire";
/// The longest question.
const QUESTION: u64 = 64;
/// Sockets of one manifest that are looked at: each is a process that serves it, or was killed.
const SOCKETS: usize = 32;

/// What is asked about, and told.
#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) handle: Handle,
    /// The app's place among those that are served.
    pub(crate) at: usize,
    pub(crate) account: Account,
    /// Notified when another process has taken over.
    pub(crate) retire: Arc<Notify>,
}

/// Answers for as long as it lives; then the socket is removed.
pub(crate) struct Control {
    path: PathBuf,
    answering: JoinHandle<()>,
}

impl Control {
    /// Opens the socket in the first of `folders` that can have it. Must be called within a runtime.
    ///
    /// Without one there is no `used` in `runner inspect`, which is no reason to warn of it at every start.
    pub(crate) async fn open(
        folders: &[PathBuf],
        manifest: &Path,
        subject: Subject,
    ) -> Option<Control> {
        for folder in folders {
            match open(folder, manifest).await {
                Ok((path, listener)) => {
                    tracing::info!(path = %path.display(), "the control socket is open");
                    let answering = tokio::spawn(answer(listener, subject));
                    return Some(Control { path, answering });
                }
                Err(error) => tracing::info!(
                    folder = %folder.display(), %error,
                    "there is no control socket: `runner inspect` will not see what is used",
                ),
            }
        }
        None
    }
}

impl Control {
    /// Removes the socket, and lets go of the app.
    pub(crate) async fn close(mut self) {
        self.answering.abort();
        let _ = (&mut self.answering).await;
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.answering.abort();
        let _ = fs::remove_file(&self.path);
    }
}

async fn open(folder: &Path, manifest: &Path) -> io::Result<(PathBuf, UnixListener)> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.and_then(|()| is_private(folder))?;
    remove_stale(folder, manifest).await;
    let path = folder.join(format!("{}{}.sock", stem(manifest), std::process::id()));
    // Nobody else has our process id: what stands there was left behind.
    let _ = fs::remove_file(&path);
    let listener = socket::listen(&path)?;
    Ok((path, listener))
}

/// Removes the sockets of processes that were killed.
async fn remove_stale(folder: &Path, manifest: &Path) {
    for path in sockets(folder, manifest) {
        if socket::is_left_behind(&path).await {
            let _ = fs::remove_file(&path);
        }
    }
}

/// The sockets in `folder` of processes that serve `manifest`, those that were killed included.
fn sockets(folder: &Path, manifest: &Path) -> Vec<PathBuf> {
    let mut found = sockets_named(folder, &stem(manifest));
    found.truncate(SOCKETS);
    found
}

/// The sockets in `folder` whose names begin so.
fn sockets_named(folder: &Path, stem: &str) -> Vec<PathBuf> {
    let is_one = |name: &str| name.starts_with(stem) && name.ends_with(".sock");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_one))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// What the names of a manifest's sockets begin with. Short, for a socket's path has room for 107 bytes.
fn stem(manifest: &Path) -> String {
    let path = fs::canonicalize(manifest).unwrap_or_else(|_| manifest.to_owned());
    let digest = ring::digest::digest(&ring::digest::SHA256, path.as_os_str().as_encoded_bytes());
    let short = digest.as_ref().iter().take(8);
    let short: String = short.map(|byte| format!("{byte:02x}")).collect();
    format!("{short}-")
}

/// Whether a directory is ours and nobody else can reach what is in it.
fn is_private(folder: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(folder)?;
    let is_ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    if is_ours && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        "it is not a directory of yours alone",
    ))
}

async fn answer(listener: UnixListener, subject: Subject) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    // Connections have a weak one: an app that is over must not wait for who asks.
    let subject = Arc::new(subject);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        // Who comes when all slots are taken finds the connection closed.
        if let Ok(slot) = slots.clone().try_acquire_owned() {
            tokio::spawn(attend(stream, Arc::downgrade(&subject), slot));
        }
    }
}

async fn attend(mut stream: UnixStream, subject: Weak<Subject>, _slot: OwnedSemaphorePermit) {
    // The directory keeps others out; this is for one that was opened up since.
    if !socket::is_same_user(&stream) {
        return;
    }
    let Ok(Ok(question)) = timeout(PATIENCE, question(&mut stream)).await else {
        return;
    };
    let answering = respond(&mut stream, &question, &subject);
    // Who asked may have gone away.
    let _ = timeout(PATIENCE, answering).await;
}

async fn respond(
    stream: &mut UnixStream,
    question: &str,
    subject: &Weak<Subject>,
) -> io::Result<()> {
    let subject = || subject.upgrade().ok_or(io::ErrorKind::NotConnected);
    let answer = match question {
        STATUS => {
            let subject = subject()?;
            let apps = subject.handle.apps();
            let app = apps.all().get(subject.at);
            status::of(app.ok_or(io::ErrorKind::NotConnected)?)
        }
        SUGGEST => {
            let account = subject()?.account.clone();
            // It reads the manifest.
            tokio::task::spawn_blocking(move || account.suggest()).await?
        }
        LISTENER => {
            let handle = subject()?.handle.clone();
            return hand_over::pass(stream, &handle).await;
        }
        RETIRE => {
            subject()?.retire.notify_one();
            json!({ "schema": 1, "pid": std::process::id() })
        }
        _ => json!({ "schema": 1, "error": "the questions are `status` and `suggest`" }),
    };
    stream.write_all(format!("{answer}\n").as_bytes()).await
}

/// One line.
async fn question(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while (line.len() as u64) < QUESTION && stream.read(&mut byte).await? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_that_others_can_reach_or_a_link_to_one_is_not_used() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        for (name, mode) in [("own", 0o700), ("open", 0o755), ("group", 0o710)] {
            fs::create_dir(at(name)).expect("a folder");
            fs::set_permissions(at(name), Permissions::from_mode(mode)).expect("ours");
        }
        std::os::unix::fs::symlink(at("own"), at("link")).expect("a link");
        for (name, private) in [
            ("own", true),
            ("open", false),
            ("group", false),
            ("link", false),
        ] {
            assert_eq!(is_private(&at(name)).is_ok(), private, "{name}");
        }
    }

    #[test]
    fn the_same_manifest_has_the_same_name_however_it_is_reached() {
        let root = tempfile::tempdir().expect("a folder");
        let file = root.path().join("spin.toml");
        fs::write(&file, "").expect("a file");
        std::os::unix::fs::symlink(&file, root.path().join("link")).expect("a link");
        let name = stem(&file);
        assert_eq!(name.len(), 17);
        assert_eq!(stem(&root.path().join("link")), name);
        assert_eq!(stem(&root.path().join("./spin.toml")), name);
        assert_ne!(stem(&root.path().join("other.toml")), name);
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_removed_and_one_that_answers_stays() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("run");
        let manifest = root.path().join("spin.toml");
        let (own, listener) = open(&folder, &manifest).await.expect("a private folder");
        let stale = folder.join(format!("{}1.sock", stem(&manifest)));
        let other = folder.join("0000000000000000-1.sock");
        for path in [&stale, &other] {
            drop(UnixListener::bind(path).expect("a short path"));
        }
        remove_stale(&folder, &manifest).await;
        assert_eq!(
            [own.exists(), stale.exists(), other.exists()],
            [true, false, true],
            "another manifest's is not ours to judge"
        );
        assert_eq!(fs::metadata(&own).expect("there").mode() & 0o777, 0o600);
        drop(listener);
        assert!(open(&folder, &manifest).await.is_ok(), "our own name again");
        let long = root.path().join("long".repeat(30));
        assert!(
            open(&long, &manifest).await.is_err(),
            "no room for the path"
        );
    }
}
