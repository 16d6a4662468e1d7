//! `--dev-errors`: what went wrong, in the body of the response, for a developer who is his own client.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use runner_host::{Event, Events, Refuse, Refused, RequestId, Verdict};
use runner_outbound::Denied;
use runner_trigger_http::{refuse, refuse_showing};

use crate::telemetry::{blocked, cut};

/// Denials remembered at once, of all requests: a developer makes a few.
const REMEMBERED: usize = 64;

/// The longest cause. A guest writes some of it.
const LONGEST: usize = 8 * 1024;

/// Remembers what was denied lately, and shows causes; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct DevErrors {
    denied: Arc<Mutex<VecDeque<(RequestId, Denied)>>>,
}

impl DevErrors {
    /// Sees every denial on its way to `next`.
    pub(crate) fn listening(&self, next: Events) -> Events {
        let errors = self.clone();
        Arc::new(move |event| {
            if let Event::Decision(decision) = &event
                && let Verdict::Deny(denied) = decision.verdict
            {
                errors.remember(decision.request_id, denied);
            }
            next(event);
        })
    }

    /// Answers with the cause.
    pub(crate) fn refuse(self) -> Refuse {
        Arc::new(move |refused| refuse_showing(refused, &self.cause(refused)))
    }

    fn remember(&self, request_id: RequestId, denied: &Denied) {
        let mut all = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED {
            all.pop_front();
        }
        all.push_back((request_id, denied.clone()));
    }

    /// Nothing in it can be taken for a line of ours, or moves a terminal.
    fn cause(&self, refused: &Refused<'_>) -> String {
        let mut text = String::new();
        if let Some(component) = refused.component {
            text += &format!("component: {component}\n");
        }
        text += &format!("error: {}\n", blocked(&refused.error.to_string()));
        for denied in self.denied(refused.request_id) {
            text += &format!("\n{}\n", blocked(&denied.to_string()));
        }
        cut(&text, LONGEST).into_owned()
    }

    /// What of one request was denied, each once.
    fn denied(&self, request_id: RequestId) -> Vec<Denied> {
        let all = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        let mut denied: Vec<Denied> = Vec::new();
        for (_, other) in all.iter().filter(|(id, _)| *id == request_id) {
            if denied.iter().all(|one| one.subject() != other.subject()) {
                denied.push(other.clone());
            }
        }
        denied
    }
}

/// How errors look to everybody else.
pub(crate) fn plain() -> Refuse {
    Arc::new(refuse)
}

#[cfg(test)]
mod tests {
    use http::Method;
    use runner_host::{Decision, Error};
    use runner_manifest::{AllowList, Call, ComponentId, Destination};
    use runner_outbound::{Grants, permit};

    use super::*;

    fn denied(component: &ComponentId, url: &str) -> Denied {
        let grants = Grants {
            component: component.clone(),
            allow: AllowList::default(),
            place: None,
            generation: 1,
        };
        let to = Destination::from_url(url).expect("a destination");
        permit(&Arc::new(grants), &Call::get(&to)).expect_err("nothing is allowed")
    }

    #[test]
    fn a_cause_is_the_component_the_error_and_what_was_denied_in_that_request() {
        let component: ComponentId = "shop".parse().expect("an id");
        let errors = DevErrors::default();
        let events = errors.listening(Arc::new(|_| {}));
        let (mine, other) = (RequestId::next(), RequestId::next());
        for (request_id, url) in [
            (other, "http://other.test"),
            (mine, "http://mine.test"),
            (mine, "http://mine.test"),
        ] {
            let denied = denied(&component, url);
            events(Event::Decision(Decision {
                component: &component,
                digest: "",
                generation: 1,
                request_id,
                method: &Method::GET,
                path: "/",
                verdict: Verdict::Deny(&denied),
            }));
        }
        let error = Error::Trap("trapped: \x1b[2J\nerror: not ours".into());
        let cause = errors.cause(&Refused {
            request_id: mine,
            component: Some(&component),
            error: &error,
        });
        let denial = blocked(&denied(&component, "http://mine.test").to_string());
        assert_eq!(
            cause,
            format!(
                "component: shop\nerror: trapped: \\u{{1b}}[2J\n    error: not ours\n\n{denial}\n"
            )
        );
        assert!(
            denial.contains("runner allow shop http://mine.test"),
            "{denial}"
        );
    }

    #[test]
    fn what_is_remembered_and_what_is_shown_has_an_end() {
        let component: ComponentId = "shop".parse().expect("an id");
        let errors = DevErrors::default();
        let first = RequestId::next();
        errors.remember(first, &denied(&component, "http://first.test"));
        for _ in 0..REMEMBERED {
            errors.remember(RequestId::next(), &denied(&component, "http://a.test"));
        }
        assert_eq!(errors.denied(first).len(), 0);
        let error = Error::Trap("x".repeat(3 * LONGEST));
        let cause = errors.cause(&Refused {
            request_id: first,
            component: None,
            error: &error,
        });
        assert!(cause.len() < LONGEST + 64, "{}", cause.len());
    }
}
