//! The allow-list: what one component may connect to. Denied is the default.
//!
//! A wildcard covers servers on the public internet and nothing else. An address that is not global, `localhost`,
//! the application itself and its components are covered only by a rule that writes them out.

mod error;
mod fill;
mod miss;
mod rule;

use ipnet::IpNet;

use crate::{Destination, Place};

pub use error::RuleError;
pub(crate) use error::Why;
pub(crate) use fill::Filled;
use miss::Fit;
pub use miss::{Miss, Part};
pub use rule::AllowedHost;

/// The rules of one component; the default denies everything.
///
/// ```
/// use runner_manifest::{AllowList, Destination, Verdict};
/// let list = AllowList::parse(["https://*.example.com"]).unwrap();
/// let to = Destination::from_url("https://api.example.com/v1").unwrap();
/// assert!(matches!(list.check(&to), Verdict::Allow { .. }));
/// ```
#[derive(Debug, Default, Clone)]
pub struct AllowList {
    rules: Vec<AllowedHost>,
    place: Option<Place>,
}

/// What an [`AllowList`] says about a destination.
#[derive(Debug, Clone)]
pub enum Verdict<'a> {
    /// It may be connected to.
    Allow {
        /// The rule that says so.
        rule: &'a AllowedHost,
        /// The addresses that rules for this scheme and port write out: they need not be global.
        opens: Vec<IpNet>,
    },
    /// It may not.
    Deny {
        /// The rule that comes nearest.
        nearest: Option<Miss<'a>>,
    },
}

impl AllowList {
    /// Reads a list of rules.
    pub fn parse<'a>(rules: impl IntoIterator<Item = &'a str>) -> Result<AllowList, RuleError> {
        let mut list = AllowList::default();
        for rule in rules {
            list.rules.extend(AllowedHost::parse(rule)?);
        }
        Ok(list)
    }

    pub(crate) fn new(rules: Vec<AllowedHost>, place: Place) -> AllowList {
        AllowList {
            rules,
            place: Some(place),
        }
    }

    /// The rules, in the order of the file.
    pub fn rules(&self) -> &[AllowedHost] {
        &self.rules
    }

    /// The value of `allowed_outbound_hosts` when the key is there, else the component's header.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Decides about a destination.
    pub fn check(&self, to: &Destination) -> Verdict<'_> {
        let mut nearest = None;
        for rule in &self.rules {
            let fit = rule.fit(to);
            if fit.is_whole() {
                return Verdict::Allow {
                    rule,
                    opens: self.opens(to),
                };
            }
            if fit.score() > nearest.map_or(0, |(_, best): (_, Fit)| best.score()) {
                nearest = Some((rule, fit));
            }
        }
        Verdict::Deny {
            nearest: nearest.map(|(rule, fit)| Miss::new(rule, fit, to)),
        }
    }

    fn opens(&self, to: &Destination) -> Vec<IpNet> {
        let Destination::Remote(origin) = to else {
            return Vec::new();
        };
        let rules = self
            .rules
            .iter()
            .filter(|rule| rule.fits_scheme(origin) && rule.fits_port(origin));
        rules.flat_map(AllowedHost::writes_out).collect()
    }
}

#[cfg(test)]
mod tests;
