//! The stories once more, every `runner` of theirs under `strace`: each connect must be one that the door announced.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Runs the stories and compares.
///
/// # Errors
/// When a story fails, `strace` is missing, or a process made a connect that nobody announced.
pub fn run(root: &Path) -> Result<String> {
    let folder = root.join("target").join("traced");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    Command::new("strace")
        .arg("--version")
        .output()
        .context("`strace` is not installed")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let stories = Command::new(cargo)
        .current_dir(root)
        .args(["test", "--quiet", "--package", "runner-tests", "--tests"])
        .env("RUNNER_TESTS_TRACE", &folder)
        .status()?;
    if !stories.success() {
        bail!("the stories fail under `strace`");
    }
    compare(&folder)
}

fn compare(folder: &Path) -> Result<String> {
    let (mut processes, mut connects, mut others) = (0, 0, Vec::new());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_none_or(|extension| extension != "trace")
        {
            continue;
        }
        processes += 1;
        let announced = fs::read_to_string(path.with_extension("announced")).unwrap_or_default();
        let announced: BTreeSet<SocketAddr> = announced
            .lines()
            .filter_map(|line| line.parse().ok())
            .collect();
        for line in fs::read_to_string(&path)?.lines() {
            match destination(line) {
                Destination::None => {}
                Destination::Address(address) if announced.contains(&address) => connects += 1,
                Destination::Address(_) | Destination::Other => others.push(line.to_owned()),
            }
        }
    }
    if !others.is_empty() {
        bail!(
            "{} calls that the door did not announce:\n{}",
            others.len(),
            others.join("\n")
        );
    }
    if processes == 0 || connects == 0 {
        bail!("nothing was traced: {processes} processes, {connects} connects");
    }
    Ok(format!(
        "{processes} processes, {connects} connects and sends, each announced by the door"
    ))
}

enum Destination {
    /// The call names no address: the socket was connected before.
    None,
    Address(SocketAddr),
    /// Some other family, or a line that says more than we read.
    Other,
}

/// Where a line of `strace` goes: `connect(12, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("…")}, 16)`.
fn destination(line: &str) -> Destination {
    let Some((_, rest)) = line.split_once("sa_family=") else {
        return Destination::None;
    };
    let after = |mark: &str, end: char| {
        rest.split_once(mark)
            .and_then(|(_, rest)| rest.split(end).next())
    };
    let family = rest.split([',', '}']).next().unwrap_or_default();
    let address = match family {
        "AF_INET" => after("inet_addr(\"", '"'),
        "AF_INET6" => after("inet_pton(AF_INET6, \"", '"'),
        // Undoing a connect; and a question to the kernel itself about its interfaces.
        "AF_UNSPEC" | "AF_NETLINK" => return Destination::None,
        _ => return Destination::Other,
    };
    let port = after("htons(", ')').and_then(|port| port.parse().ok());
    match (
        address.and_then(|address| address.parse::<IpAddr>().ok()),
        port,
    ) {
        (Some(address), Some(port)) => Destination::Address(SocketAddr::new(address, port)),
        _ => Destination::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_to(line: &str, expected: &str) {
        let found = match destination(line) {
            Destination::None => "nowhere".to_owned(),
            Destination::Address(address) => address.to_string(),
            Destination::Other => "elsewhere".to_owned(),
        };
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn a_line_of_strace_says_where_a_call_goes() {
        goes_to(
            r#"7 sendto(9, "x", 1, MSG_NOSIGNAL, NULL, 0) = 1"#,
            "nowhere",
        );
        goes_to(
            r#"7 connect(9, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, 16) = -1 EINPROGRESS"#,
            "127.0.0.1:80",
        );
        goes_to(
            r#"7 connect(9, {sa_family=AF_INET6, sin6_port=htons(8), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = 0"#,
            "[::1]:8",
        );
        goes_to(
            r#"7 connect(9, {sa_family=AF_UNIX, sun_path="/run/nscd"}, 110) = -1 ENOENT"#,
            "elsewhere",
        );
        goes_to(
            r#"7 connect(9, {sa_family=AF_UNSPEC, sa_data="\0"}, 16) = 0"#,
            "nowhere",
        );
    }
}
