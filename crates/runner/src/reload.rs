//! A new app beside the old one, then the swap. What is broken is told, and the old one goes on serving.

use std::sync::Arc;
use std::time::Instant;

use runner_host::App;
use runner_manifest::Manifest;
use runner_trigger_http::Handle;
use tokio::sync::mpsc::Receiver;

use crate::exit::{Exit, Failure};
use crate::load::{Loader, Reader, files};
use crate::metrics::{Metrics, Reload};
use crate::rights::Snapshot;
use crate::telemetry::{Notice, Telemetry, headed, took};
use crate::watch::Watch;

/// Takes up wishes to reload, one at a time.
pub(crate) struct Reloads {
    pub(crate) reader: Reader,
    pub(crate) loader: Loader,
    pub(crate) handle: Handle,
    pub(crate) telemetry: Telemetry,
    pub(crate) metrics: Option<Metrics>,
    pub(crate) watch: Option<Watch>,
    /// What the running app may do.
    pub(crate) running: Snapshot,
    /// The running policy's number; a try that failed uses up a number too.
    pub(crate) generation: u64,
}

impl Reloads {
    /// Reloads for each wish. Wishes that come while one is under way are one wish: the channel holds no more.
    pub(crate) async fn run(mut self, mut wishes: Receiver<()>) {
        while wishes.recv().await.is_some() {
            self.generation += 1;
            let started = Instant::now();
            self.reload_certificate().await;
            let (notice, how) = match self.load().await {
                Ok(app) => (self.swap(app, started), Reload::Done),
                Err(failure) => (broken(&failure, self.generation), Reload::Failed),
            };
            self.metrics
                .iter()
                .for_each(|metrics| metrics.reloaded(how));
            self.telemetry.say(&notice);
        }
    }

    /// A certificate that is renewed has a new file, and nothing of the app need have changed.
    async fn reload_certificate(&self) {
        let handle = self.handle.clone();
        let reading = tokio::task::spawn_blocking(move || handle.reload_certificate());
        if let Ok(Err(error)) = reading.await {
            let text = format!("{error}; the old certificate goes on serving");
            self.telemetry.say(&Notice::warning(text));
        }
    }

    async fn load(&self) -> Result<Arc<App>, Failure> {
        let manifest = self.read().await?;
        self.loader
            .load_telling(manifest, self.generation, &self.telemetry)
            .await
    }

    /// Reads the manifest and watches what it names, also when that turns out to be broken.
    async fn read(&self) -> Result<Manifest, Failure> {
        let (reader, watch) = (self.reader.clone(), self.watch.clone());
        let read = move || {
            let manifest = reader.read()?;
            if let Some(watch) = watch {
                watch.follow(&files(&manifest));
            }
            Ok(manifest)
        };
        tokio::task::spawn_blocking(read)
            .await
            .unwrap_or_else(|error| Err(Failure::of(Exit::App, &error)))
    }

    fn swap(&mut self, app: Arc<App>, started: Instant) -> Notice {
        for warning in &app.manifest().warnings {
            self.telemetry.say(&Notice::diagnostic(warning));
        }
        let new = Snapshot::of(&app);
        self.metrics.iter().for_each(|metrics| metrics.follow(&app));
        self.handle.swap(app);
        let changes = std::mem::replace(&mut self.running, new.clone()).changes(&new);
        let what = if changes.is_empty() {
            "no right and no code changed".to_owned()
        } else {
            changes.join(", ")
        };
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Notice::new(
            "reloaded",
            format!("reloaded in {}, {what}", took(started.elapsed())),
        )
        .with("took_ms", took_ms)
        .with("generation", self.generation)
        .with("changes", changes)
    }
}

fn broken(failure: &Failure, generation: u64) -> Notice {
    const KEPT: &str = "the old version goes on serving";
    Notice::new(
        "reload-failed",
        format!("{}\n\nnot reloaded: {KEPT}", headed(&failure.text)),
    )
    .with("generation", generation)
    .with("message", KEPT)
    .with("text", failure.text.clone())
    .with_diagnostics(failure)
    .important()
}
