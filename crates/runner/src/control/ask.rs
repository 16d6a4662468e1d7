//! The other end of the socket: a command that asks what runs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{is_private, sockets};
use crate::socket;

/// A process that takes longer has other worries than to be inspected.
const PATIENCE: Duration = Duration::from_secs(3);
/// Ten thousand components with their rules fit into this.
const ANSWER: u64 = 16 * 1024 * 1024;

/// What each process that serves `manifest` answers to a question. One that does not answer is left out.
pub(crate) async fn ask(folders: &[PathBuf], manifest: &Path, question: &str) -> Vec<Value> {
    let mut answers = Vec::new();
    let private = folders.iter().filter(|folder| is_private(folder).is_ok());
    for path in private.flat_map(|folder| sockets(folder, manifest)) {
        match timeout(PATIENCE, answer(&path, question)).await {
            Ok(Ok(answer)) if answer["schema"] == 1 => answers.push(answer),
            Ok(Ok(_)) => tracing::info!(path = %path.display(), "another version of runner"),
            Ok(Err(error)) => tracing::info!(path = %path.display(), %error, "no answer"),
            Err(_) => tracing::info!(path = %path.display(), "no answer in time"),
        }
    }
    answers
}

async fn answer(path: &Path, question: &str) -> io::Result<Value> {
    let mut stream = socket::reach(path).await?;
    stream.write_all(format!("{question}\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer).await?;
    serde_json::from_slice(&answer).map_err(io::Error::other)
}
