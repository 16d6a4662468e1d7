//! What of its grants a component has used since its app was loaded: counters, each one relaxed add.
//!
//! They say that something was used, never what for. What nobody can know is not counted: which of its environment a
//! component looks at, for it is handed over whole.

use std::sync::atomic::{AtomicU64, Ordering};

use runner_manifest::{AllowList, AllowedHost};

/// The counters of one component.
#[derive(Default)]
pub(crate) struct Usage {
    requests: AtomicU64,
    /// The calls that each rule of its list allowed.
    rules: Vec<AtomicU64>,
    environment: AtomicU64,
    opened: AtomicU64,
}

/// What one component has used since its app was loaded.
#[derive(Debug, Clone, Default)]
pub struct Used {
    /// Requests it was given.
    pub requests: u64,
    /// Calls out that were denied.
    pub denied: u64,
    /// Each rule of its list, in the order of the file.
    pub rules: Vec<RuleUse>,
    /// Each of its variables, and how often it was read.
    pub variables: Vec<(String, u64)>,
    /// How often its environment was asked for, as a whole.
    pub environment: u64,
    /// How often it opened a file or folder of those it was granted, or tried to.
    pub opened: u64,
}

/// A rule, and how many calls it allowed by name. An address may have been denied after that.
#[derive(Debug, Clone)]
pub struct RuleUse {
    /// The rule.
    pub rule: AllowedHost,
    /// Calls that it allowed.
    pub calls: u64,
}

impl Usage {
    pub(crate) fn of(list: &AllowList) -> Usage {
        Usage {
            rules: list.rules().iter().map(|_| AtomicU64::new(0)).collect(),
            ..Usage::default()
        }
    }

    pub(crate) fn request(&self) {
        add(&self.requests);
    }

    pub(crate) fn environment(&self) {
        add(&self.environment);
    }

    pub(crate) fn opened(&self) {
        add(&self.opened);
    }

    /// Counts a call for the rule that allowed it, by its place in the list.
    pub(crate) fn allowed(&self, rule: usize) {
        if let Some(calls) = self.rules.get(rule) {
            add(calls);
        }
    }

    pub(crate) fn used(
        &self,
        list: &AllowList,
        denied: u64,
        variables: &runner_variables::Session,
    ) -> Used {
        let counted = list.rules().iter().zip(&self.rules);
        let rules = counted.map(|(rule, calls)| RuleUse {
            rule: rule.clone(),
            calls: calls.load(Ordering::Relaxed),
        });
        Used {
            requests: self.requests.load(Ordering::Relaxed),
            denied,
            rules: rules.collect(),
            variables: variables.reads().collect(),
            environment: self.environment.load(Ordering::Relaxed),
            opened: self.opened.load(Ordering::Relaxed),
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use runner_manifest::{Call, Destination};
    use runner_outbound::{Grants, permit};

    use super::*;

    #[test]
    fn a_call_counts_for_the_rule_that_allowed_it() {
        let rules = [
            "https://a.test",
            "https://*.b.test",
            "https://c.b.test",
            "http://self",
        ];
        let grants = Arc::new(Grants {
            component: "shop".parse().unwrap(),
            allow: AllowList::parse(rules).unwrap(),
            place: None,
            generation: 1,
        });
        let usage = Usage::of(&grants.allow);
        for url in [
            "https://a.test/x",
            "https://a.test/y",
            "https://c.b.test",
            "http://self/z",
            "http://other.test",
        ] {
            let to = Destination::from_url(url).unwrap();
            if let Ok(permitted) = permit(&grants, &Call::get(&to)) {
                usage.allowed(permitted.rule_at());
            }
        }
        let used = usage.used(&grants.allow, 0, &runner_variables::Session::default());
        let calls: Vec<_> = used.rules.iter().map(|rule| rule.calls).collect();
        assert_eq!(
            calls,
            [2, 1, 0, 1],
            "the first that fits is the one that allows"
        );
    }
}
