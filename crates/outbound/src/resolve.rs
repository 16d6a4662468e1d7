//! From a permitted origin to the addresses that may be dialled: asked once, filtered, and then final.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::{TokioResolver, system_conf};
use runner_manifest::Host;

use crate::denied::Denied;
use crate::{Error, Permit};

/// More than any sane service announces; a longer answer would only make a failure slower.
const MOST_ADDRESSES: usize = 16;

/// Lookups under way with one server before the next is told that it is busy.
const MOST_LOOKUPS: usize = 1024;

/// Asks DNS, and nothing but DNS: no `/etc/hosts`, no search domains.
pub(crate) struct Resolver {
    dns: Result<TokioResolver, String>,
}

impl Resolver {
    /// Reads the system's configuration once when `servers` is empty. A machine without one can still serve what
    /// needs no lookup, so that only fails the lookups.
    pub(crate) fn new(servers: &[SocketAddr]) -> Resolver {
        Resolver::of(settings(servers))
    }

    fn of(settings: Result<(Vec<NameServerConfig>, ResolverOpts), NetError>) -> Resolver {
        let dns = settings.and_then(|(servers, options)| build(servers, options));
        Resolver {
            dns: dns.map_err(unknown),
        }
    }

    /// The addresses of the permit's origin that the permit covers, in the order in which to try them.
    pub(crate) async fn addresses(&self, permit: &Permit) -> Result<Vec<SocketAddr>, Error> {
        let found = match &permit.origin().host {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) if &**name == "localhost" => {
                vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            }
            Host::Name(name) => self.lookup(name).await?,
        };
        filter(permit, &found)
    }

    /// For what the operator names: as this machine's own programs resolve a name, with its search domains and its
    /// `/etc/hosts`, unless `servers` are to be asked.
    pub(crate) fn of_operator(servers: &[SocketAddr]) -> Resolver {
        if !servers.is_empty() {
            return Resolver::new(servers);
        }
        let dns = system_conf::read_system_conf().and_then(|(config, options)| {
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
                .with_options(options)
                .build()
        });
        Resolver {
            dns: dns.map_err(unknown),
        }
    }

    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, Error> {
        let mut absolute = Name::from_ascii(name).map_err(|error| failure(name, error.into()))?;
        absolute.set_fqdn(true);
        self.ask(name, absolute).await
    }

    /// The addresses of a name that may be short of a domain.
    pub(crate) async fn lookup_for_operator(&self, name: &str) -> Result<Vec<IpAddr>, Error> {
        let relative = Name::from_ascii(name).map_err(|error| failure(name, error.into()))?;
        self.ask(name, relative).await
    }

    async fn ask(&self, name: &str, question: Name) -> Result<Vec<IpAddr>, Error> {
        let dns = self.dns.as_ref().map_err(|reason| Error::Dns {
            name: name.into(),
            rcode: None,
            source: reason.clone().into(),
        })?;
        let answer = dns.lookup_ip(question).await;
        Ok(answer
            .map_err(|error| failure(name, error))?
            .iter()
            .collect())
    }
}

/// What passes: global addresses, and those that the component's own rules write out. A mapped address is the one
/// that it maps, here and when it is dialled.
fn filter(permit: &Permit, found: &[IpAddr]) -> Result<Vec<SocketAddr>, Error> {
    let port = permit.origin().port;
    let passed: Vec<_> = found
        .iter()
        .map(IpAddr::to_canonical)
        .filter(|ip| permit.covers(*ip))
        .take(MOST_ADDRESSES)
        .map(|ip| SocketAddr::new(ip, port))
        .collect();
    if passed.is_empty() {
        return Err(Denied::at_address(permit, found).into());
    }
    Ok(passed)
}

fn unknown(error: NetError) -> String {
    format!("no name server is known: {}", reason(&error))
}

fn settings(servers: &[SocketAddr]) -> Result<(Vec<NameServerConfig>, ResolverOpts), NetError> {
    if servers.is_empty() {
        let (config, options) = system_conf::read_system_conf()?;
        return Ok((config.name_servers, options));
    }
    let servers = servers
        .iter()
        .map(|address| name_server(*address))
        .collect();
    Ok((servers, ResolverOpts::default()))
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .map(|mut connection| {
            connection.port = address.port();
            connection
        })
        .to_vec();
    NameServerConfig::new(address.ip(), true, connections)
}

fn build(
    servers: Vec<NameServerConfig>,
    mut options: ResolverOpts,
) -> Result<TokioResolver, NetError> {
    // The search domains and the machine's own domain stay behind with the configuration they came in.
    let config = ResolverConfig::from_name_servers(servers);
    options.ndots = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.max_active_requests = MOST_LOOKUPS;
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
}

/// Why the system's own configuration cannot be read.
fn reason(error: &NetError) -> String {
    match error {
        NetError::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

fn failure(name: &str, error: NetError) -> Error {
    let name = name.into();
    if matches!(error, NetError::Timeout) {
        return Error::DnsTimeout { name };
    }
    let rcode = match &error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => Some(u16::from(none.response_code)),
        NetError::Dns(DnsError::ResponseCode(code)) => Some(u16::from(*code)),
        _ => None,
    };
    Error::Dns {
        name,
        rcode,
        source: words(&error).into(),
    }
}

/// What happened, in words: the resolver's own are partly those of its code.
fn words(error: &NetError) -> String {
    let dns = match error {
        NetError::Dns(dns) => dns,
        NetError::Busy => return "too many names are being looked up".into(),
        NetError::NoConnections => return "no name server can be reached".into(),
        NetError::Io(error) => return format!("the name server cannot be reached: {error}"),
        other => return other.to_string(),
    };
    match dns {
        DnsError::NoRecordsFound(none) if none.response_code == ResponseCode::NXDomain => {
            "there is no such name".into()
        }
        DnsError::NoRecordsFound(none) if none.response_code == ResponseCode::NoError => {
            "it has no address".into()
        }
        DnsError::NoRecordsFound(NoRecords {
            response_code: code,
            ..
        })
        | DnsError::ResponseCode(code) => format!("the name server answers \"{code}\""),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::op::Query;
    use hickory_resolver::proto::rr::RecordType;

    use super::*;

    #[tokio::test]
    async fn a_machine_without_dns_servers_fails_the_lookup_alone() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        let resolver = Resolver::of(Err(missing.into()));
        let error = resolver.lookup("a.test").await.unwrap_err();
        let text = "`a.test` could not be resolved: no name server is known: entity not found";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn why_a_name_is_not_resolved_is_told_in_words() {
        let query = Query::query(Name::from_ascii("a.test.").unwrap(), RecordType::A);
        let none = |code| DnsError::NoRecordsFound(NoRecords::new(query.clone(), code)).into();
        let answered = |code| NetError::from(DnsError::ResponseCode(code));
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for (error, why) in [
            (none(ResponseCode::NXDomain), "there is no such name"),
            (none(ResponseCode::NoError), "it has no address"),
            (
                none(ResponseCode::ServFail),
                "the name server answers \"Server Failure\"",
            ),
            (
                answered(ResponseCode::Refused),
                "the name server answers \"Query Refused\"",
            ),
            (NetError::NoConnections, "no name server can be reached"),
            (NetError::Busy, "too many names are being looked up"),
            (
                refused.into(),
                "the name server cannot be reached: connection refused",
            ),
        ] {
            let text = format!("`a.test` could not be resolved: {why}");
            assert_eq!(failure("a.test", error).to_string(), text);
        }
    }

    #[test]
    fn c50_what_the_system_adds_to_names_stays_behind() {
        let text = "search evil.test\ndomain evil.test\noptions ndots:5\nnameserver 127.0.0.1\n";
        let (config, options) = system_conf::parse_resolv_conf(text).unwrap();
        let dns = build(config.name_servers, options).unwrap();
        assert_eq!(dns.options().ndots, 0);
        assert_eq!(dns.options().use_hosts_file, ResolveHosts::Never);
    }
}
