//! Which rules could cover a call, found without looking at the others.
//!
//! The index only proposes: every rule it names is asked itself. A mistake here can deny, never allow.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::rule::{AllowedHost, HostPattern};
use crate::{ComponentId, Destination, Host};

/// The rules of a list by what their host says, each as its place in the list.
#[derive(Debug, Default, Clone)]
pub(super) struct Index {
    own: Vec<usize>,
    components: HashMap<ComponentId, Vec<usize>>,
    any_component: Vec<usize>,
    any: Ports,
    names: HashMap<Box<str>, Ports>,
    /// By the suffix with its dot.
    below: HashMap<Box<str>, Ports>,
    nets: HashMap<IpNet, Ports>,
    /// The lengths that [`Index::nets`] has prefixes of, for IPv4 and for IPv6.
    prefixes: [BTreeSet<u8>; 2],
}

/// Rules for one host by their port.
#[derive(Debug, Default, Clone)]
struct Ports {
    one: HashMap<u16, Vec<usize>>,
    /// For a range of ports, or for all of them.
    several: Vec<usize>,
}

impl Index {
    pub(super) fn new(rules: &[AllowedHost]) -> Index {
        let mut index = Index::default();
        for (at, rule) in rules.iter().enumerate() {
            index.insert(at, rule);
        }
        index
    }

    fn insert(&mut self, at: usize, rule: &AllowedHost) {
        let port = rule.one_port();
        match rule.host() {
            HostPattern::Own => self.own.push(at),
            HostPattern::AnyComponent => self.any_component.push(at),
            HostPattern::Component(id) => self.components.entry(id.clone()).or_default().push(at),
            HostPattern::Any => self.any.insert(at, port),
            HostPattern::Name(name) => {
                // `localhost` stands for its addresses too.
                for net in rule.writes_out() {
                    self.net(net).insert(at, port);
                }
                self.names.entry(name.clone()).or_default().insert(at, port);
            }
            HostPattern::Below(suffix) => self
                .below
                .entry(suffix.clone())
                .or_default()
                .insert(at, port),
            HostPattern::Net(net) => self.net(*net).insert(at, port),
        }
    }

    fn net(&mut self, net: IpNet) -> &mut Ports {
        self.prefixes[family(net.addr())].insert(net.prefix_len());
        self.nets.entry(net).or_default()
    }

    /// The rules whose host could be that of `to`, and whose port could be; in no order.
    pub(super) fn candidates<'a>(
        &'a self,
        to: &'a Destination,
    ) -> impl Iterator<Item = usize> + 'a {
        self.lists(to).into_iter().flatten().copied()
    }

    fn lists<'a>(&'a self, to: &'a Destination) -> Vec<&'a [usize]> {
        match to {
            Destination::Own => vec![&self.own],
            Destination::Component(id) => {
                let named = self.components.get(id).map(Vec::as_slice);
                named.into_iter().chain([&*self.any_component]).collect()
            }
            Destination::Remote(origin) => {
                let hosts: Vec<&Ports> = match &origin.host {
                    Host::Name(name) => self.of_name(name).collect(),
                    Host::Ip(ip) => self.of_address(*ip).collect(),
                };
                let ports = hosts.into_iter().chain([&self.any]);
                ports.flat_map(|ports| ports.lists(origin.port)).collect()
            }
        }
    }

    /// The rules that write out `ip` for a port, whatever name was asked for.
    pub(super) fn writing_out(&self, ip: IpAddr, port: u16) -> impl Iterator<Item = usize> + '_ {
        self.of_address(ip)
            .flat_map(move |ports| ports.lists(port))
            .flatten()
            .copied()
    }

    fn of_name<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Ports> {
        let suffixes = name.match_indices('.').map(|(dot, _)| &name[dot..]);
        let below = suffixes.filter_map(|suffix| self.below.get(suffix));
        self.names.get(name).into_iter().chain(below)
    }

    fn of_address(&self, ip: IpAddr) -> impl Iterator<Item = &Ports> {
        let prefixes = self.prefixes[family(ip)].iter();
        prefixes.filter_map(move |&length| {
            let net = IpNet::new(ip, length).ok()?.trunc();
            self.nets.get(&net)
        })
    }
}

impl Ports {
    fn insert(&mut self, at: usize, port: Option<u16>) {
        match port {
            Some(port) => self.one.entry(port).or_default().push(at),
            None => self.several.push(at),
        }
    }

    fn lists(&self, port: u16) -> [&[usize]; 2] {
        let one = self.one.get(&port).map(Vec::as_slice).unwrap_or_default();
        [one, &self.several]
    }
}

fn family(ip: IpAddr) -> usize {
    usize::from(ip.is_ipv6())
}
