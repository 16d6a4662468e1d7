//! A new app beside the old one, then the swap. What is broken is told, and the old one goes on serving.

use std::sync::Arc;
use std::time::Instant;

use runner_host::App;
use runner_manifest::Manifest;
use runner_trigger_http::Handle;
use tokio::sync::mpsc::Receiver;

use crate::exit::{Exit, Failure};
use crate::metrics::Reload;
use crate::rights::Snapshot;
use crate::telemetry::{Notice, headed, took};
use crate::tenants::{self, Served};

/// Takes up wishes to reload one app, one at a time. What becomes of another is not its concern.
pub(crate) struct Reloads {
    pub(crate) app: Served,
    pub(crate) handle: Handle,
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
            let (notice, how) = match self.reload(started).await {
                Ok(notice) => (notice, Reload::Done),
                Err(failure) => (self.broken(&failure), Reload::Failed),
            };
            let counts = self.app.counts.iter();
            counts.for_each(|counts| counts.reloaded(how));
            self.app.telemetry.say(&notice);
        }
    }

    /// A certificate that is renewed has a new file, and nothing of the app need have changed.
    async fn reload_certificate(&self) {
        let handle = self.handle.clone();
        let reading = tokio::task::spawn_blocking(move || handle.reload_certificate());
        if let Ok(Err(error)) = reading.await {
            let text = format!("{error}; the old certificate goes on serving");
            self.app.telemetry.say(&Notice::warning(text));
        }
    }

    async fn reload(&mut self, started: Instant) -> Result<Notice, Failure> {
        let manifest = self.read().await?;
        // Before the work of loading it; what another reload does meanwhile is seen at the swap.
        let apps = self.handle.apps();
        let others = apps.all().iter().enumerate();
        let others = others.filter(|(at, _)| *at != self.app.at);
        let others = others.map(|(_, app)| app.manifest());
        tenants::check_clashes(others.chain([&manifest]))?;
        let app = self.app.load(manifest, self.generation).await?;
        self.swap(app, started)
    }

    async fn read(&self) -> Result<Manifest, Failure> {
        let app = self.app.clone();
        tokio::task::spawn_blocking(move || app.read())
            .await
            .unwrap_or_else(|error| Err(Failure::of(Exit::App, &error)))
    }

    fn swap(&mut self, app: Arc<App>, started: Instant) -> Result<Notice, Failure> {
        self.app.warn(app.manifest());
        let new = Snapshot::of(&app);
        // Its counts are there before it serves.
        let counts = self.app.counts.iter();
        counts.for_each(|counts| counts.follow(&app));
        if let Err(error) = self.handle.swap(self.app.at, app) {
            self.count_as_before();
            return Err(Failure::diagnosed(Exit::Usage, error));
        }
        let changes = std::mem::replace(&mut self.running, new.clone()).changes(&new);
        let what = if changes.is_empty() {
            "no right, no limit and no code changed".to_owned()
        } else {
            changes.join(", ")
        };
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Notice::new(
            "reloaded",
            format!("reloaded in {}, {what}", took(started.elapsed())),
        )
        .with("took_ms", took_ms)
        .with("generation", self.generation)
        .with("changes", changes))
    }
}

impl Reloads {
    /// What becomes of the app that is served, as the new one cannot be.
    fn kept(&self) -> &'static str {
        let apps = self.handle.apps();
        match apps.all().get(self.app.at) {
            Some(app) if !app.is_loaded() => "it answers 503 until a reload can load it",
            _ => "the old version goes on serving",
        }
    }

    fn broken(&self, failure: &Failure) -> Notice {
        let kept = self.kept();
        Notice::new(
            "reload-failed",
            format!("{}\n\nnot reloaded: {kept}", headed(&failure.text)),
        )
        .with("generation", self.generation)
        .with("message", kept)
        .with("text", failure.text.clone())
        .with_diagnostics(failure)
        .important()
    }

    fn count_as_before(&self) {
        if let (Some(counts), Some(app)) =
            (&self.app.counts, self.handle.apps().all().get(self.app.at))
        {
            counts.follow(app);
        }
    }
}
