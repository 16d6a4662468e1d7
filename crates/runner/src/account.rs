//! The account that `up` keeps of outbound decisions: the audit log, and what to grant.

mod audit;
mod observe;

use std::path::Path;
use std::sync::Arc;

use runner_host::{Event, Events};
use serde_json::{Value, json};

use self::audit::Audit;
use self::observe::Observer;
use crate::cli::AccountArgs;
use crate::exit::Failure;
use crate::load::Reader;
use crate::telemetry::{Dropped, Notice, Telemetry};

/// What is kept of one app's decisions; cheap to clone.
#[derive(Clone)]
pub(crate) struct Account {
    audit: Option<Audit>,
    observer: Option<Observer>,
    /// Its name, where several are served.
    app: Option<Arc<str>>,
}

/// The audit log of all apps, if there is to be one.
#[derive(Clone)]
pub(crate) struct AuditLog(Option<Audit>);

impl AuditLog {
    /// Opens what the flag names.
    pub(crate) fn open(args: &AccountArgs, telemetry: &Telemetry) -> Result<AuditLog, Failure> {
        let path = args.audit_log.as_deref();
        let audit = path.map(|path| Audit::open(path, telemetry)).transpose()?;
        Ok(AuditLog(audit))
    }

    /// How many of its lines nobody will read.
    pub(crate) fn dropped(&self) -> Option<Dropped> {
        self.0.as_ref().map(Audit::dropped)
    }

    /// Writes what is left to write.
    pub(crate) fn finish(&self) {
        self.0.iter().for_each(Audit::finish);
    }
}

impl Account {
    /// Of the app that `reader` reads. Its patch is written to `observe`; `app` is its name, where several are served.
    pub(crate) fn of(
        log: &AuditLog,
        observe: Option<&Path>,
        reader: &Reader,
        app: Option<&str>,
    ) -> Result<Account, Failure> {
        Ok(Account {
            audit: log.0.as_ref().map(|audit| match app {
                Some(_) => audit.for_one_of_several(),
                None => audit.clone(),
            }),
            observer: observe
                .map(|path| Observer::new(path, reader))
                .transpose()?,
            app: app.map(Into::into),
        })
    }

    /// Sees every decision on its way to `next`.
    pub(crate) fn listening(&self, next: Events) -> Events {
        let account = self.clone();
        Arc::new(move |event| {
            if let Event::Decision(decision) = &event {
                let app = account.app.as_deref();
                account
                    .audit
                    .iter()
                    .for_each(|audit| audit.take(decision, app));
                account
                    .observer
                    .iter()
                    .for_each(|observer| observer.take(decision));
            }
            next(event);
        })
    }

    /// What `runner suggest` is answered. Reads the manifest.
    pub(crate) fn suggest(&self) -> Value {
        let Some(observer) = &self.observer else {
            return json!({ "schema": 1, "error": "the running server does not observe" });
        };
        match observer.patch() {
            Ok((patch, grants)) => json!({ "schema": 1, "grants": grants, "patch": patch }),
            Err(failure) => json!({ "schema": 1, "error": failure.to_string() }),
        }
    }

    /// Writes the patch.
    pub(crate) fn finish(&self, telemetry: &Telemetry) {
        if let Some(observer) = &self.observer {
            let telemetry = match &self.app {
                Some(app) => telemetry.of_app(app),
                None => telemetry.clone(),
            };
            telemetry.say(&match observer.write() {
                Ok(text) => Notice::new("observed", text.clone())
                    .with("message", text)
                    .important(),
                Err(failure) => Notice::failure(&failure),
            });
        }
    }
}
