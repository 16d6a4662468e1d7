//! The allow-list: what one component may connect to. Denied is the default.
//!
//! A rule is for a whole server, or in its table form for some paths and methods of it. A wildcard covers servers on the public internet and nothing else. An address that is not global, `localhost`,
//! the application itself and its components are covered only by a rule that writes them out.

mod error;
mod fill;
mod index;
mod inject;
mod miss;
mod narrow;
mod rule;

use std::net::IpAddr;

use crate::{Call, Origin, Place, is_global};

pub use error::RuleError;
pub(crate) use error::Why;
pub(crate) use fill::{Filled, Form};
use index::Index;
pub use inject::Inject;
use miss::Fit;
pub use miss::{Miss, Part};
pub(crate) use narrow::probably_meant;
pub use rule::AllowedHost;

/// Beyond these, a rule that differs in its host is not looked at to say which comes nearest.
const MAX_NEAREST: usize = 1000;

/// The rules of one component; the default denies everything.
///
/// ```
/// use runner_manifest::{AllowList, Call, Destination, Verdict};
/// let list = AllowList::parse(["https://*.example.com"]).unwrap();
/// let to = Destination::from_url("https://api.example.com/v1").unwrap();
/// assert!(matches!(list.check(&Call::get(&to)), Verdict::Allow { .. }));
/// ```
#[derive(Debug, Default, Clone)]
pub struct AllowList {
    rules: Vec<AllowedHost>,
    index: Index,
    has_narrow: bool,
    place: Option<Place>,
}

/// What an [`AllowList`] says about a call.
#[derive(Debug, Clone)]
pub enum Verdict<'a> {
    /// It may be made.
    Allow {
        /// The rule that says so.
        rule: &'a AllowedHost,
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
        let rules: Result<Vec<_>, _> = rules.into_iter().map(AllowedHost::parse).collect();
        Ok(AllowList::from(rules?))
    }

    pub(crate) fn at(mut self, place: Place) -> AllowList {
        self.place = Some(place);
        self
    }

    /// The rules, in the order of the file.
    pub fn rules(&self) -> &[AllowedHost] {
        &self.rules
    }

    /// Whether some rule is for less than a whole server.
    pub fn has_narrow(&self) -> bool {
        self.has_narrow
    }

    /// The value of `allowed_outbound_hosts` when the key is there, else the component's header.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Decides about a call. The time it takes does not depend on the number of rules, unless very many are for the
    /// same host and port.
    pub fn check(&self, call: &Call<'_>) -> Verdict<'_> {
        match self.covering(call) {
            Some(rule) => Verdict::Allow {
                rule: &self.rules[rule],
            },
            None => Verdict::Deny {
                nearest: self.nearest(call),
            },
        }
    }

    /// The place in [`AllowList::rules`] of the rule that allows a call: the first that injects a header, else the first.
    pub fn covering(&self, call: &Call<'_>) -> Option<usize> {
        let covers = |at: &usize| self.rules[*at].fit(call).is_whole();
        let covering = self.index.candidates(call.to).filter(covers);
        covering.min_by_key(|&at| (self.rules[at].inject().is_none(), at))
    }

    /// Whether an address may be dialled for a call that rule number `rule` allowed: a global one, or one that this rule
    /// writes out, or that another writes out which is for the whole server and the same scheme and port.
    ///
    /// An address that is no single host is never dialled, and neither is an IPv4 address dressed as IPv6 when it is not
    /// global: a range of IPv6 addresses opens no IPv4 address.
    pub fn may_dial(&self, rule: usize, origin: &Origin, ip: IpAddr) -> bool {
        let opens = |at: usize| {
            let other = &self.rules[at];
            (at == rule || !other.is_narrow())
                && other.fits_scheme(origin)
                && other.fits_port(origin)
        };
        is_global(ip)
            || (crate::address::may_be_opened(ip)
                && self.index.writing_out(ip, origin.port).any(opens))
    }

    /// The rule that comes nearest to a call that none covers. Among very many, one for another host may be overlooked.
    pub fn nearest(&self, call: &Call<'_>) -> Option<Miss<'_>> {
        let first = 0..self.rules.len().min(MAX_NEAREST);
        let near = self.index.candidates(call.to).chain(first);
        let mut nearest: Option<(usize, Fit)> = None;
        for at in near {
            let fit = self.rules[at].fit(call);
            let rank = |at: usize, fit: Fit| (fit.score(), std::cmp::Reverse(at));
            if fit.score() > 0 && nearest.is_none_or(|(best, its)| rank(at, fit) > rank(best, its))
            {
                nearest = Some((at, fit));
            }
        }
        nearest.map(|(at, fit)| Miss::new(&self.rules[at], fit, call))
    }
}

impl From<Vec<AllowedHost>> for AllowList {
    fn from(rules: Vec<AllowedHost>) -> AllowList {
        AllowList {
            index: Index::new(&rules),
            has_narrow: rules.iter().any(AllowedHost::is_narrow),
            rules,
            place: None,
        }
    }
}

#[cfg(test)]
mod tests;
