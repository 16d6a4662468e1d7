//! Denials by the rule that came nearest.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use runner_outbound::{Denied, Grants};

use super::OTHER;
use super::cells::{add, read};

/// The denials of one component; a reload makes a new one, with the counts of rules that stayed.
#[derive(Clone, Default)]
pub(super) struct Rules {
    generation: u64,
    /// In the order of the component's list. Rules with the same text share a count.
    rules: Vec<(Arc<str>, Arc<AtomicU64>)>,
    /// No rule came near.
    none: Arc<AtomicU64>,
    /// The rule was one of an earlier load.
    others: Arc<AtomicU64>,
}

impl Rules {
    /// Counts for this list from now on.
    pub(super) fn follow(&self, grants: &Grants) -> Rules {
        let mut known: HashMap<Arc<str>, Arc<AtomicU64>> = self.rules.iter().cloned().collect();
        let rules = grants.allow.rules().iter().map(|rule| {
            let text: Arc<str> = rule.to_string().into();
            let count = known.entry(text.clone()).or_default().clone();
            (text, count)
        });
        Rules {
            generation: grants.generation,
            rules: rules.collect(),
            none: self.none.clone(),
            others: self.others.clone(),
        }
    }

    /// Counts a denial that was decided under `generation`.
    pub(super) fn denied(&self, generation: u64, denied: &Denied) {
        let count = match denied.nearest_at() {
            None => Some(&self.none),
            Some(at) if generation == self.generation => self.rules.get(at).map(|(_, count)| count),
            Some(_) => None,
        };
        add(count.unwrap_or(&self.others));
    }

    /// Those rules by which something was denied.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        let mut seen = std::collections::HashSet::new();
        let rules = self.rules.iter().map(|(rule, count)| (&**rule, count));
        let all = rules.chain([("", &self.none), (OTHER, &self.others)]);
        let counts = all.map(|(rule, count)| (rule, read(count)));
        counts.filter(move |(rule, count)| *count > 0 && seen.insert(*rule))
    }
}

#[cfg(test)]
mod tests {
    use runner_manifest::{AllowList, Call, Destination};
    use runner_outbound::permit;

    use super::*;

    fn grants(rules: &[&str], generation: u64) -> Arc<Grants> {
        Arc::new(Grants {
            component: "shop".parse().expect("an id"),
            allow: AllowList::parse(rules.iter().copied()).expect("rules"),
            place: None,
            generation,
        })
    }

    fn deny(rules: &Rules, grants: &Arc<Grants>, url: &str) {
        let to = Destination::from_url(url).expect("a destination");
        let denied = permit(grants, &Call::get(&to)).expect_err("not allowed");
        rules.denied(grants.generation, &denied);
    }

    #[test]
    fn a_denial_counts_for_the_nearest_rule_and_survives_a_reload_with_it() {
        let first = grants(&["https://a.test", "https://a.test", "https://*.b.test"], 1);
        let rules = Rules::default().follow(&first);
        for url in [
            "http://a.test",
            "https://a.test:444",
            "http://x.b.test",
            "http://c.test:81",
        ] {
            deny(&rules, &first, url);
        }
        let shown = |rules: &Rules| -> Vec<(String, u64)> {
            let counts = rules.counts();
            counts
                .map(|(rule, count)| (rule.to_owned(), count))
                .collect()
        };
        let own = |rows: &[(&str, u64)]| -> Vec<(String, u64)> {
            rows.iter()
                .map(|(rule, count)| ((*rule).to_owned(), *count))
                .collect()
        };
        let counted = [("https://a.test", 2), ("https://*.b.test", 1), ("", 1)];
        assert_eq!(shown(&rules), own(&counted));

        let second = grants(&["https://c.test", "https://a.test"], 2);
        let rules = rules.follow(&second);
        deny(&rules, &second, "http://a.test");
        deny(&rules, &first, "http://x.b.test");
        let counted = [("https://a.test", 3), ("", 1), (OTHER, 1)];
        assert_eq!(shown(&rules), own(&counted));
    }
}
