//! Where the admin listener is, as `--admin` says it.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// What a path of a Unix socket begins with.
const UNIX: &str = "unix:";

/// Where the admin listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdminAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for AdminAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<AdminAddress, &'static str> {
        match text.strip_prefix(UNIX) {
            Some("") => Err("expected a path behind `unix:`"),
            Some(path) => Ok(AdminAddress::Unix(path.into())),
            None => text.parse().map(AdminAddress::Tcp).map_err(
                |_| "expected an address and a port such as `127.0.0.1:9090`, or `unix:PATH`",
            ),
        }
    }
}

impl Display for AdminAddress {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            AdminAddress::Tcp(address) => address.fmt(f),
            AdminAddress::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, address) in [
            (
                "127.0.0.1:9090",
                Some(AdminAddress::Tcp(([127, 0, 0, 1], 9090).into())),
            ),
            (
                "[::1]:0",
                Some(AdminAddress::Tcp("[::1]:0".parse().expect("one"))),
            ),
            (
                "unix:/run/admin.sock",
                Some(AdminAddress::Unix("/run/admin.sock".into())),
            ),
            (
                "unix:admin.sock",
                Some(AdminAddress::Unix("admin.sock".into())),
            ),
            ("unix:", None),
            ("localhost:9090", None),
            ("9090", None),
            ("/run/admin.sock", None),
            ("", None),
        ] {
            let read: Result<AdminAddress, _> = text.parse();
            assert_eq!(read.clone().ok(), address, "{text}");
            if let Ok(read) = read {
                assert_eq!(read.to_string(), text);
            }
        }
    }
}
