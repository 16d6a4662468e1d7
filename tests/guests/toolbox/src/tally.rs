//! How often each outcome was had, where there are too many for a report of each.

use std::collections::BTreeMap;

use crate::json;

/// Outcomes by name.
#[derive(Default)]
pub struct Tally(BTreeMap<String, usize>);

impl Tally {
    /// One more of these.
    pub fn count(&mut self, outcome: String) {
        *self.0.entry(outcome).or_default() += 1;
    }

    /// As an object: `{"200":3,"HTTP-request-denied":1}`.
    pub fn json(&self) -> String {
        let members = self.0.iter().map(|(name, n)| (name, n.to_string()));
        json::object(members)
    }
}
