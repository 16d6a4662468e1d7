//! Which addresses belong to the public internet, and which are never dialled without being written out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one of the public internet, also after the IPv4 address inside it is taken out.
///
/// ```
/// use runner_manifest::is_global;
/// assert!(is_global("93.184.215.14".parse().unwrap()));
/// assert!(!is_global("::ffff:169.254.169.254".parse().unwrap()));
/// ```
pub fn is_global(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_global_v4(ip),
        IpAddr::V6(ip) => is_global_v6(ip),
    }
}

/// Whether a rule may open an address that is not global: one host, and not dressed as another.
pub(crate) fn may_be_opened(ip: IpAddr) -> bool {
    is_one_host(ip) && !is_dressed(ip)
}

/// The IPv4 address that an IPv6 address carries: mapped, compatible, NAT64, 6to4 or Teredo.
pub fn embedded_ipv4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let join = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0] if (g, h) == (0, 0) || (g, h) == (0, 1) => None,
        // compatible, mapped, translated (RFC 2765)
        [0, 0, 0, 0, 0, 0] | [0, 0, 0, 0, 0, 0xffff] | [0, 0, 0, 0, 0xffff, 0] => join(g, h),
        // NAT64, the well-known prefix and the local one
        [0x64, 0xff9b, 0, 0, 0, 0] | [0x64, 0xff9b, 1, _, _, _] => join(g, h),
        // 6to4
        [0x2002, high, low, _, _, _] => join(high, low),
        // Teredo: the client's address, inverted
        [0x2001, 0, _, _, _, _] => join(!g, !h),
        // ISATAP
        [_, _, _, _, 0 | 0x200, 0x5efe] => join(g, h),
        _ => None,
    }
}

/// An IPv4 address that is not global, inside an IPv6 address; with the local NAT64 prefix one cannot know.
pub(crate) fn is_dressed(ip: IpAddr) -> bool {
    let IpAddr::V6(ip) = ip else { return false };
    is_mapped(ip)
        || is_local_nat64(ip)
        || embedded_ipv4(ip).is_some_and(|inner| !is_global_v4(inner))
}

/// Neither unspecified nor multicast nor broadcast.
pub(crate) fn is_one_host(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[0] != 0 && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    }
}

fn is_mapped(ip: Ipv6Addr) -> bool {
    ip.to_ipv4_mapped().is_some()
}

fn is_local_nat64(ip: Ipv6Addr) -> bool {
    ip.segments()[..3] == [0x64, 0xff9b, 1]
}

fn is_global_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_multicast();
    let shared = a == 100 && b & 0xc0 == 64;
    let protocol = (a, b, c) == (192, 0, 0);
    let relay = (a, b, c) == (192, 88, 99);
    let benchmark = a == 198 && b & 0xfe == 18;
    !(special || shared || protocol || relay || benchmark || a == 0 || a >= 240)
}

fn is_global_v6(ip: Ipv6Addr) -> bool {
    if let Some(inner) = embedded_ipv4(ip)
        && (is_mapped(ip) || !is_global_v4(inner))
    {
        return is_mapped(ip) && is_global_v4(inner);
    }
    let [a, b, c, d, e, f, ..] = ip.segments();
    if [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return true;
    }
    let unicast = a & 0xe000 == 0x2000;
    // Everything that IANA has set aside for protocols, Teredo and documentation among it.
    let protocol = a == 0x2001 && b < 0x200;
    let documentation = (a == 0x2001 && b == 0xdb8) || (a == 0x3fff && b < 0x1000);
    unicast && !protocol && !documentation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor() {
        let rows = [
            ("8.8.8.8", true),
            ("100.63.255.255", true),
            ("100.64.0.0", false),
            ("100.100.100.200", false), // c16, a metadata service
            ("100.127.255.255", false),
            ("100.128.0.0", true),
            ("0.0.0.0", false), // c15
            ("0.1.2.3", false),
            ("10.0.0.5", false),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("169.254.169.254", false), // c16
            ("172.15.255.255", true),
            ("172.16.0.1", false),
            ("172.32.0.0", true),
            ("192.0.0.8", false),
            ("192.0.2.1", false),
            ("192.88.99.1", false),
            ("192.168.1.1", false),
            ("198.17.255.255", true),
            ("198.18.0.1", false),
            ("198.19.255.255", false),
            ("198.51.100.1", false),
            ("203.0.113.1", false),
            ("224.0.0.1", false), // c15
            ("240.0.0.1", false),
            ("255.255.255.255", false), // c15
            ("::", false),
            ("::1", false),
            ("2606:4700::1111", true),
            ("::ffff:127.0.0.1", false), // c12
            ("::ffff:8.8.8.8", true),
            ("::127.0.0.1", false), // c12
            ("::8.8.8.8", false),
            ("::ffff:0:8.8.8.8", false),
            ("64:ff9b::7f00:1", false), // c13
            ("64:ff9b::808:808", true),
            ("64:ff9b:1::808:808", false),
            ("2002:7f00:1::", false), // c13
            ("2002:808:808::1", true),
            ("2001:0:1::80ff:fffe", false), // c13, 127.0.0.1 inverted
            ("2001:0:1::f7f7:f7f7", false), // Teredo at all
            ("2606:4700::5efe:7f00:1", false),
            ("2001:db8::1", false),
            ("3fff::1", false),
            ("2001:200::1", true),
            ("fc00::1", false),
            ("fd00:ec2::254", false), // c16
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
            ("100::1", false),
            ("4000::1", false),
        ];
        for (ip, expected) in rows {
            assert_eq!(is_global(ip.parse().expect("an address")), expected, "{ip}");
        }
    }
}
