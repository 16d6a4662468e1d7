//! The first decision, by name: what a component's own list says about a destination.

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;
use runner_manifest::{
    AllowList, AllowedHost, Call, ComponentId, Destination, Inject, Origin, Place, is_never_sent,
};

use crate::Denied;

/// Longer than any method that is registered; a guest could send megabytes.
pub(crate) const MAX_METHOD: usize = 32;

/// What one component was granted; made when its app is loaded, shared by all its requests.
#[derive(Clone, Debug)]
pub struct Grants {
    /// Whose grants these are.
    pub component: ComponentId,
    /// Where it may connect to.
    pub allow: AllowList,
    /// The component's header in the manifest.
    pub place: Option<Place>,
    /// Which load of the app this is. Connections of an older one are not used again.
    pub generation: u64,
}

/// Where a permitted call goes.
#[derive(Debug)]
pub enum Permitted {
    /// To the component's own app, by its public routes.
    Own(Rule),
    /// To another component of the same app.
    Component(ComponentId, Rule),
    /// Out of the process.
    Remote(Permit),
}

/// A rule of a component's own list, which allowed a call.
#[derive(Clone, Debug)]
pub struct Rule {
    grants: Arc<Grants>,
    at: usize,
}

/// A destination that some list allowed: what [`Outbound::send`](crate::Outbound::send) asks for. [`permit`] is its
/// only source, and it is good for one request.
#[derive(Debug)]
pub struct Permit {
    origin: Origin,
    rule: Rule,
    /// Method and path, where the rule is for less than the whole server.
    only: Option<(Method, Box<str>)>,
}

/// Decides whether a component may make a call.
///
/// # Errors
/// No rule of the component's list covers it, or its method is for nobody.
pub fn permit(grants: &Arc<Grants>, call: &Call<'_>) -> Result<Permitted, Denied> {
    if is_never_sent(call.method) || call.method.as_str().len() > MAX_METHOD {
        return Err(Denied::method(grants, call));
    }
    let Some(at) = grants.allow.covering(call) else {
        return Err(Denied::by_rules(grants, call));
    };
    let grants = grants.clone();
    let rule = Rule { grants, at };
    Ok(match call.to {
        Destination::Own => Permitted::Own(rule),
        Destination::Component(id) => Permitted::Component(id.clone(), rule),
        Destination::Remote(origin) => {
            let only = rule.get().is_narrow();
            Permitted::Remote(Permit {
                origin: origin.clone(),
                rule,
                only: only.then(|| (call.method.clone(), call.path.into())),
            })
        }
    })
}

impl Permitted {
    /// The rule that allowed it.
    pub fn rule(&self) -> &AllowedHost {
        match self {
            Permitted::Own(rule) | Permitted::Component(_, rule) => rule.get(),
            Permitted::Remote(permit) => permit.rule(),
        }
    }

    /// The place of that rule in the component's list.
    pub fn rule_at(&self) -> usize {
        match self {
            Permitted::Own(rule) | Permitted::Component(_, rule) => rule.at,
            Permitted::Remote(permit) => permit.rule_at(),
        }
    }
}

impl Rule {
    fn get(&self) -> &AllowedHost {
        &self.grants.allow.rules()[self.at]
    }
}

impl Permit {
    /// What may be dialled.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whose permit this is.
    pub fn component(&self) -> &ComponentId {
        &self.rule.grants.component
    }

    /// The rule that allowed it.
    pub fn rule(&self) -> &AllowedHost {
        self.rule.get()
    }

    pub(crate) fn grants(&self) -> &Arc<Grants> {
        &self.rule.grants
    }

    /// The place of its rule in the list.
    pub(crate) fn rule_at(&self) -> usize {
        self.rule.at
    }

    /// The header that its rule adds.
    pub(crate) fn inject(&self) -> Option<&Inject> {
        self.rule().inject()
    }

    /// Whether this is the request that was asked about.
    pub(crate) fn is_for(&self, method: &Method, path: &str) -> bool {
        let same = |(own, its): &(Method, Box<str>)| own == method && **its == *path;
        self.only.as_ref().is_none_or(same)
    }

    /// The second decision, by address: global ones, and those that the component's own rules write out.
    pub(crate) fn covers(&self, address: IpAddr) -> bool {
        let list = &self.rule.grants.allow;
        list.may_dial(self.rule.at, &self.origin, address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Says {
        Allow,
        Deny,
        /// It is not even a destination.
        Bad,
    }
    use Says::{Allow, Bad, Deny};

    fn grants(rules: &[&str]) -> Arc<Grants> {
        Arc::new(Grants {
            component: "shop".parse().unwrap(),
            allow: AllowList::parse(rules.iter().copied()).unwrap(),
            place: None,
            generation: 1,
        })
    }

    fn says(rules: &[&str], scheme: &str, authority: &str) -> Says {
        match Destination::from_guest(scheme, authority) {
            Err(_) => Bad,
            Ok(to) => match permit(&grants(rules), &Call::get(&to)) {
                Ok(_) => Allow,
                Err(_) => Deny,
            },
        }
    }

    #[test]
    fn c1_to_c16_and_c46_to_c50_by_name() {
        let rules = [
            "https://allowed.com",
            "http://*.ok.test:8080",
            "http://127.0.0.1:9001",
        ];
        for (scheme, authority, expected) in [
            ("https", "allowed.com@evil.com", Bad),         // C1
            ("https", "allowed.com:443@evil.com", Bad),     // C2
            ("https", "user@evil.com:80@allowed.com", Bad), // C3
            ("https", "allowed.com.evil.com", Deny),        // C4
            ("https", "evilallowed.com", Deny),             // C5
            ("http", "evilok.test:8080", Deny),             // C5
            ("http", "ok.test:8080", Deny),                 // C6
            ("http", "a.b.ok.test:8080", Allow),            // C7
            ("https", "allowed.com.", Allow),               // C8
            ("https", "allowed.com..", Bad),                // C9
            ("https", "a..ok.test", Bad),                   // C9
            ("https", ".allowed.com", Bad),                 // C9
            ("HTTPS", "ALLOWED.COM", Allow),                // C10
            ("http", "127.1:9002", Bad),                    // C11
            ("http", "2130706433", Bad),                    // C11
            ("http", "0x7f000001", Bad),                    // C11
            ("http", "0177.0.0.1", Bad),                    // C11
            ("http", "127.0.0.1.", Bad),                    // C11
            ("http", "0", Bad),                             // C11
            ("http", "[::ffff:127.0.0.1]:9001", Bad),       // C12
            ("http", "[::ffff:7f00:1]:9001", Bad),          // C12
            ("http", "[fe80::1%25eth0]", Bad),              // C14
            ("http", "[fe80::1%eth0]", Bad),                // C14
            ("http", "[v1.fe80]", Bad),                     // C14
            ("http", "[::]", Bad),                          // C15
            ("http", "0.0.0.0:9001", Bad),                  // C15
            ("http", "127.0.0.1:9001", Allow),
            ("http", "127.0.0.1:9002", Deny),
            ("https", "\u{430}llowed.com", Bad),    // C46
            ("https", "allowed\u{3002}com", Bad),   // C46
            ("https", "xn--allowed-q1a.com", Deny), // C46
            ("https", "allowed%2ecom", Bad),        // C47
            ("https", "%61llowed.com", Bad),        // C47
            ("https", "allowed.com:", Allow),       // C48
            ("https", "allowed.com:00443", Allow),  // C48
            ("https", "allowed.com:0", Bad),        // C48
            ("https", "allowed.com:+443", Bad),     // C48
            ("https", "allowed.com: 443", Bad),     // C48
            ("https", "allowed.com:443:80", Bad),   // C48
            ("https", "allowed.com:65536", Bad),    // C48
            ("http", "allowed.com", Deny),          // C49
            ("http", "allowed.com:443", Deny),      // C49
            ("ws", "allowed.com", Bad),             // C49
            ("ftp", "allowed.com", Bad),            // C49
            ("", "allowed.com", Bad),               // C49
            ("http", "localhost:9001", Deny),       // C50
            ("http", "x.localhost:9001", Deny),     // C50
        ] {
            assert_eq!(
                says(&rules, scheme, authority),
                expected,
                "{scheme}://{authority}"
            );
        }
    }

    #[test]
    fn c13_c15_c16_the_widest_rule_covers_nothing_private() {
        for authority in [
            "127.0.0.1",
            "10.0.0.5",
            "[::1]",
            "localhost",
            "169.254.169.254",
            "[fd00:ec2::254]",
            "100.100.100.200",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "[::]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
        ] {
            assert_ne!(says(&["*://*:*"], "http", authority), Allow, "{authority}");
        }
        assert_eq!(says(&["*://*:*"], "http", "192.0.43.8"), Allow);
        assert_eq!(
            says(&["http://169.254.169.254"], "http", "169.254.169.254"),
            Allow
        );
    }

    #[test]
    fn c34_nothing_granted_is_nothing_permitted() {
        for to in [
            "/",
            "http://self",
            "http://cart.spin.internal",
            "https://example.com",
        ] {
            let to = Destination::from_url(to).unwrap();
            permit(&grants(&[]), &Call::get(&to)).unwrap_err();
        }
    }

    #[test]
    fn a_permit_covers_global_addresses_and_those_its_rules_write_out() {
        let rules = [
            "http://a.test:9001",
            "http://127.0.0.0/30:9001",
            "http://10.0.0.5:80",
        ];
        let to = Destination::from_url("http://a.test:9001").unwrap();
        let Ok(Permitted::Remote(permit)) = permit(&grants(&rules), &Call::get(&to)) else {
            panic!("it is granted");
        };
        for (address, covered) in [
            ("192.0.43.8", true),
            ("127.0.0.1", true),
            ("127.0.0.4", false), // outside of the range
            ("10.0.0.5", false),  // another port's rule
            ("::1", false),
        ] {
            assert_eq!(
                permit.covers(address.parse().unwrap()),
                covered,
                "{address}"
            );
        }
    }
}
