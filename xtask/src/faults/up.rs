//! A `runner up` in the network of its own, asked over one port.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Scene, tool};

/// Nobody else is in this network.
pub(crate) const ADDRESS: &str = "127.0.0.1:3000";

/// How long a step waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// A server, or one that has not come so far.
pub(crate) struct Up {
    child: Child,
    log: PathBuf,
}

impl Up {
    /// Starts it, with its log in a file.
    pub(crate) fn start(scene: &Scene, log: &Path, arguments: &[&str]) -> Result<Up> {
        let child = Up::command(scene, arguments)
            .stderr(fs::File::create(log)?)
            .spawn()?;
        Ok(Up::of(child, log.into()))
    }

    /// One that was started by [`Up::command`].
    pub(crate) fn of(child: Child, log: PathBuf) -> Up {
        Up { child, log }
    }

    /// What it is started by.
    pub(crate) fn command(scene: &Scene, arguments: &[&str]) -> Command {
        let mut command = Command::new(scene.runner());
        command
            .arg("up")
            .args(arguments)
            .current_dir(scene.root())
            .env_clear()
            .env("RUNNER_LISTEN", ADDRESS)
            .env("RUNNER_LOG_FORMAT", "text")
            .stdin(Stdio::null());
        command
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// What it answers, as soon as it does.
    pub(crate) fn get(&mut self, path: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match connect() {
                Ok(stream) => return answer(stream, path),
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => {}
            }
            if self.child.try_wait()?.is_some() {
                bail!("it has ended: {}", self.said()?);
            }
            sleep(PAUSE);
        }
    }

    /// All of its log.
    pub(crate) fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// Ends it as an operator does, and expects that all is well.
    pub(crate) fn stop(mut self) -> Result<String> {
        tool("kill", &["-TERM", &self.pid()])?;
        let code = self.ended()?;
        let said = self.said()?;
        if code != 0 || said.contains("panicked") {
            bail!("exit code {code}: {said}");
        }
        Ok(said)
    }

    /// Waits for its end and expects this code and these last words.
    pub(crate) fn refuses(mut self, expected: i32, words: &str) -> Result<()> {
        let code = self.ended()?;
        let said = self.said()?;
        if code != expected || !said.ends_with(words) {
            bail!("exit code {code}: {said}");
        }
        Ok(())
    }

    fn ended(&mut self) -> Result<i32> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code().unwrap_or(-1));
            }
            sleep(PAUSE);
        }
        bail!("it does not end: {}", self.said()?)
    }
}

/// A step that fails leaves nothing behind.
impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a client of the chore, in a network of its own"
)]
pub(crate) fn connect() -> io::Result<TcpStream> {
    TcpStream::connect(ADDRESS)
}

/// Asks, and reads the body of a 200.
pub(crate) fn answer(mut stream: TcpStream, path: &str) -> Result<String> {
    ask(&mut stream, path)?;
    answered(stream)
}

pub(crate) fn ask(stream: &mut TcpStream, path: &str) -> Result<()> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: {ADDRESS}\r\nconnection: close\r\n\r\n");
    Ok(stream.write_all(head.as_bytes())?)
}

pub(crate) fn answered(mut stream: TcpStream) -> Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("{answer}");
    }
    Ok(body.to_owned())
}
