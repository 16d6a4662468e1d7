//! The account that `up` keeps of outbound decisions: the audit log, and what to grant.

mod audit;
mod observe;

use std::sync::Arc;

use runner_host::{Event, Events};
use serde_json::{Value, json};

use self::audit::Audit;
use self::observe::Observer;
use crate::cli::AccountArgs;
use crate::exit::Failure;
use crate::load::Reader;
use crate::telemetry::{Dropped, Notice, Telemetry};

/// What is kept of decisions; cheap to clone.
#[derive(Clone)]
pub(crate) struct Account {
    audit: Option<Audit>,
    observer: Option<Observer>,
}

impl Account {
    /// Opens what the flags name.
    pub(crate) fn open(
        args: &AccountArgs,
        reader: &Reader,
        telemetry: &Telemetry,
    ) -> Result<Account, Failure> {
        let audit = args.audit_log.as_deref();
        let observe = args.observe.as_deref();
        Ok(Account {
            audit: audit.map(|path| Audit::open(path, telemetry)).transpose()?,
            observer: observe
                .map(|path| Observer::new(path, reader))
                .transpose()?,
        })
    }

    /// Sees every decision on its way to `next`.
    pub(crate) fn listening(&self, next: Events) -> Events {
        let account = self.clone();
        Arc::new(move |event| {
            if let Event::Decision(decision) = &event {
                account.audit.iter().for_each(|audit| audit.take(decision));
                account
                    .observer
                    .iter()
                    .for_each(|observer| observer.take(decision));
            }
            next(event);
        })
    }

    /// How many lines of the audit log nobody will read.
    pub(crate) fn dropped(&self) -> Option<Dropped> {
        self.audit.as_ref().map(Audit::dropped)
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

    /// Writes what is left to write.
    pub(crate) fn finish(&self, telemetry: &Telemetry) {
        self.audit.iter().for_each(Audit::finish);
        if let Some(observer) = &self.observer {
            telemetry.say(&match observer.write() {
                Ok(text) => Notice::new("observed", text.clone())
                    .with("message", text)
                    .important(),
                Err(failure) => Notice::failure(&failure),
            });
        }
    }
}
