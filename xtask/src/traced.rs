//! The stories once more, every `runner` of theirs under `strace`: each connect must be one that the door announced, or
//! lead to a Unix socket that a traced `runner` itself has bound, its control socket.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
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
    let traces = traces(folder)?;
    let mut bound = BTreeSet::new();
    for path in &traces {
        bound.extend(fs::read_to_string(path)?.lines().filter_map(bound_by));
    }
    let (processes, mut connects, mut asked, mut others) = (traces.len(), 0, 0, Vec::new());
    for path in traces {
        let announced = fs::read_to_string(path.with_extension("announced")).unwrap_or_default();
        let announced: BTreeSet<SocketAddr> = announced
            .lines()
            .filter_map(|line| line.parse().ok())
            .collect();
        for line in fs::read_to_string(&path)?.lines() {
            match destination(line) {
                Destination::None => {}
                Destination::Address(address) if announced.contains(&address) => connects += 1,
                Destination::Unix(path) if bound.contains(&path) => asked += 1,
                Destination::Address(_) | Destination::Unix(_) | Destination::Other => {
                    others.push(line.to_owned());
                }
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
        "{processes} processes, {connects} connects and sends, each announced by the door, \
         and {asked} connects to their own control sockets"
    ))
}

fn traces(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut traces = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "trace")
        {
            traces.push(path);
        }
    }
    Ok(traces)
}

/// The Unix socket that a line of `strace` binds, if it does.
fn bound_by(line: &str) -> Option<String> {
    if !is_bind(line) {
        return None;
    }
    match family(line)? {
        ("AF_UNIX", rest) => unix_path(rest),
        _ => None,
    }
}

/// `7 bind(9, …`, where a path in a `connect` may hold any word.
fn is_bind(line: &str) -> bool {
    let call = line.split('(').next().unwrap_or_default();
    call.ends_with("bind")
}

/// The family of a line's address, and what follows it.
fn family(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once("sa_family=")?;
    Some((rest.split([',', '}']).next()?, rest))
}

/// A whole path; one that `strace` cut is none.
fn unix_path(rest: &str) -> Option<String> {
    let (_, path) = rest.split_once("sun_path=\"")?;
    let (path, end) = path.split_once('"')?;
    end.starts_with('}').then(|| path.to_owned())
}

enum Destination {
    /// The call names no address: the socket was connected before.
    None,
    Address(SocketAddr),
    /// A Unix socket with a path.
    Unix(String),
    /// Some other family, or a line that says more than we read.
    Other,
}

/// Where a line of `strace` goes: `connect(12, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("…")}, 16)`.
fn destination(line: &str) -> Destination {
    let Some((family, rest)) = family(line).filter(|_| !is_bind(line)) else {
        return Destination::None;
    };
    let after = |mark: &str, end: char| {
        rest.split_once(mark)
            .and_then(|(_, rest)| rest.split(end).next())
    };
    let address = match family {
        "AF_INET" => after("inet_addr(\"", '"'),
        "AF_INET6" => after("inet_pton(AF_INET6, \"", '"'),
        // Undoing a connect; and a question to the kernel itself about its interfaces.
        "AF_UNSPEC" | "AF_NETLINK" => return Destination::None,
        "AF_UNIX" => return unix_path(rest).map_or(Destination::Other, Destination::Unix),
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
            Destination::Unix(path) => path,
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
            "/run/nscd",
        );
        goes_to(
            r#"7 connect(9, {sa_family=AF_UNIX, sun_path=@"bind(abstract"}, 110) = 0"#,
            "elsewhere",
        );
        goes_to(
            r#"7 connect(9, {sa_family=AF_UNIX, sun_path="/cut"...}, 110) = 0"#,
            "elsewhere",
        );
        goes_to(
            r#"7 bind(9, {sa_family=AF_INET, sin_port=htons(0), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#,
            "nowhere",
        );
        goes_to(
            r#"7 connect(9, {sa_family=AF_UNSPEC, sa_data="\0"}, 16) = 0"#,
            "nowhere",
        );
    }

    #[test]
    fn only_a_socket_that_was_bound_by_its_path_may_be_asked() {
        let table = [
            (
                r#"7 bind(9, {sa_family=AF_UNIX, sun_path="/run/a.sock"}, 14) = 0"#,
                Some("/run/a.sock"),
            ),
            (
                r#"7 connect(9, {sa_family=AF_UNIX, sun_path="/bind(/a.sock"}, 14) = 0"#,
                None,
            ),
            (
                r#"7 bind(9, {sa_family=AF_INET, sin_port=htons(0)}, 16) = 0"#,
                None,
            ),
            (
                r#"7 bind(9, {sa_family=AF_UNIX, sun_path=@"abstract"}, 14) = 0"#,
                None,
            ),
        ];
        for (line, path) in table {
            assert_eq!(bound_by(line).as_deref(), path, "{line}");
        }
    }
}
