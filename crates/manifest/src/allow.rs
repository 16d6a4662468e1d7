//! The allow-list: what one component may connect to.

use std::fmt;

use ipnet::IpNet;

use crate::{Destination, Place};

/// One rule of `allowed_outbound_hosts`; `Display` is the user's own text.
#[derive(Debug, Clone)]
pub struct AllowedHost {
    text: String,
    place: Option<Place>,
}

/// Why a text is not a rule, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RuleError {
    message: String,
    help: String,
}

/// The rules of one component; the default denies everything.
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

/// The rule that nearly covers a destination, and what it misses by.
#[derive(Debug, Clone)]
pub struct Miss<'a> {
    /// The rule.
    pub rule: &'a AllowedHost,
    /// What differs first.
    pub part: Part,
    label: String,
}

/// A part of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The scheme.
    Scheme,
    /// The host.
    Host,
    /// The port.
    Port,
    /// The address is not global, and the rule does not write it out.
    PrivateAddress,
}

impl RuleError {
    /// What to write instead.
    pub fn help(&self) -> &str {
        &self.help
    }
}

impl AllowedHost {
    /// Reads one rule.
    pub fn parse(rule: &str) -> Result<Vec<AllowedHost>, RuleError> {
        Ok(vec![AllowedHost {
            text: rule.into(),
            place: None,
        }])
    }

    /// Where it is written.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }
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
        let to = to.to_string();
        match self.rules.iter().find(|rule| rule.text == to) {
            Some(rule) => Verdict::Allow {
                rule,
                opens: Vec::new(),
            },
            None => Verdict::Deny { nearest: None },
        }
    }
}

impl Miss<'_> {
    /// What differs, in words: `the port is 9101, this rule allows 9100`.
    pub fn label(&self) -> &str {
        &self.label
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
