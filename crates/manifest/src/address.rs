//! Which addresses belong to the public internet, and which never do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Whether an address is one of the public internet, also after the IPv4 address inside it is taken out.
pub fn is_global(ip: IpAddr) -> bool {
    !ip.is_loopback()
}

/// The IPv4 address that an IPv6 address carries: mapped, compatible, NAT64, 6to4 or Teredo.
pub fn embedded_ipv4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    ip.to_ipv4()
}

/// Whether a resolved address may be dialled: a global one, or one that `opens` writes out.
pub fn may_dial(ip: IpAddr, opens: &[IpNet]) -> bool {
    is_global(ip) || opens.iter().any(|net| net.contains(&ip))
}
