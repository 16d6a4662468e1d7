//! The faults, one function each.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::up::{ADDRESS, Up, answered, ask, connect};
use super::{Scene, tool};

/// Its name and what it does.
type Step = (&'static str, fn(&Scene) -> Result<()>);

/// All of them.
pub(crate) const STEPS: [Step; 9] = [
    ("a cache on a full disk", cache_on_a_full_disk),
    ("a cache on a read-only disk", cache_on_a_read_only_disk),
    ("a log on a full disk", log_on_a_full_disk),
    ("accounts on a read-only disk", accounts_on_a_read_only_disk),
    ("sockets on a read-only disk", sockets_on_a_read_only_disk),
    ("no /etc/resolv.conf", no_resolv_conf),
    ("no IPv6", no_ipv6),
    ("stopped for 10 s with clients connected", stopped_for_long),
    ("no threads", no_threads),
];

/// What the guest says.
const HELLO: &str = "hello from probe\n";
/// Longer than most would wait, shorter than any limit of ours.
const LONG: Duration = Duration::from_secs(10);

fn serves(up: &mut Up) -> Result<()> {
    let said = up.get("/hello")?;
    ensure!(said.contains(HELLO), "{said}");
    Ok(())
}

/// Serves with this line in the log.
fn serves_warning(scene: &Scene, cache: &str, warning: &str) -> Result<()> {
    let log = scene.root().join("log");
    let mut up = Up::start(scene, &log, &["--cache-dir", cache])?;
    serves(&mut up)?;
    let said = up.stop()?;
    ensure!(said.lines().any(|line| line == warning), "{said}");
    Ok(())
}

fn cache_on_a_full_disk(scene: &Scene) -> Result<()> {
    let cache = scene.disk().join("cache").display().to_string();
    let log = scene.root().join("log");
    let mut up = Up::start(scene, &log, &["--cache-dir", &cache])?;
    serves(&mut up)?;
    let (said, told) = (
        up.stop()?,
        format!(
            "cannot write to the compile cache in {cache}: No space left on device (os error 28); \
             what is compiled is not kept"
        ),
    );
    ensure!(said.contains(&told), "{said}");
    fs::remove_dir_all(&cache)?;
    scene.fill_disk()?;
    let warning = format!(
        "warning: cannot use the cache directory {cache}: its key cannot be written: No space left on device \
         (os error 28); compiled code is not kept; make room, or let it be written to"
    );
    serves_warning(scene, &cache, &warning)
}

fn cache_on_a_read_only_disk(scene: &Scene) -> Result<()> {
    scene.protect_disk()?;
    let cache = scene.disk().join("cache").display().to_string();
    let warning = format!(
        "warning: cannot use the cache directory {cache}: Read-only file system (os error 30); \
         compiled code is not kept; name another with `--cache-dir`"
    );
    serves_warning(scene, &cache, &warning)
}

/// What could not be written is counted, and told when there is room again.
fn log_on_a_full_disk(scene: &Scene) -> Result<()> {
    let log = scene.disk().join("log");
    fs::write(&log, "")?;
    scene.fill_disk()?;
    let audit = scene.disk().join("audit").display().to_string();
    let flags = [
        "--disable-cache",
        "--log-format",
        "json",
        "--audit-log",
        &audit,
    ];
    let mut up = Up::start(scene, &log, &flags)?;
    for _ in 0..20 {
        serves(&mut up)?;
    }
    up.get("/fetch?url=http://a.test/")?;
    let silent = up.said()?;
    ensure!(silent.is_empty(), "{silent}");
    scene.empty_disk()?;
    serves(&mut up)?;
    let said = up.stop()?;
    let told = " lines of this log were dropped: its disk is full, or it is read more slowly than it is written";
    ensure!(said.contains(told), "{said}");
    Ok(())
}

fn accounts_on_a_read_only_disk(scene: &Scene) -> Result<()> {
    scene.protect_disk()?;
    let file = scene.disk().join("account").display().to_string();
    let why = "Read-only file system (os error 30)";
    for (flag, words) in [
        (
            "--audit-log",
            format!(
                "error: the audit log `{file}` cannot be written: {why}\n\
                 help: name a file in a folder of yours with `--audit-log`\n"
            ),
        ),
        (
            "--observe",
            format!(
                "error: `{file}` cannot be written: {why}\nhelp: name another file with `--observe`\n"
            ),
        ),
    ] {
        let log = scene.root().join("log");
        Up::start(scene, &log, &["--disable-cache", flag, &file])?.refuses(3, &words)?;
    }
    Ok(())
}

fn sockets_on_a_read_only_disk(scene: &Scene) -> Result<()> {
    scene.protect_disk()?;
    let log = scene.root().join("log");
    let child = Up::command(scene, &["--disable-cache"])
        .env("XDG_RUNTIME_DIR", scene.disk())
        .stderr(fs::File::create(&log)?)
        .spawn()?;
    let mut up = Up::of(child, log);
    serves(&mut up)?;
    let said = up.stop()?;
    ensure!(!said.contains("warning: "), "{said}");
    Ok(())
}

/// Only who looks a name up finds it missing.
fn no_resolv_conf(scene: &Scene) -> Result<()> {
    tool("mount", &["-t", "tmpfs", "none", "/etc"])?;
    let found = without_resolv_conf(scene);
    tool("umount", &["/etc"])?;
    found
}

fn without_resolv_conf(scene: &Scene) -> Result<()> {
    let log = scene.root().join("log");
    let mut up = Up::start(scene, &log, &["--disable-cache"])?;
    serves(&mut up)?;
    let report = up.get("/fetch?url=http://a.test/")?;
    ensure!(report.contains("DNS-error"), "{report}");
    serves(&mut up)?;
    up.stop().map(drop)
}

fn no_ipv6(scene: &Scene) -> Result<()> {
    fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1")?;
    let log = scene.root().join("log");
    let words = "error: cannot listen on `[::1]:3000`: Cannot assign requested address (os error 99)\n\
                 help: this machine does not have the address: choose another with `--listen`, such as `127.0.0.1:3000`\n";
    Up::start(scene, &log, &["--disable-cache", "--listen", "[::1]:3000"])?.refuses(3, words)?;
    let mut up = Up::start(scene, &log, &["--disable-cache"])?;
    serves(&mut up)?;
    up.stop().map(drop)
}

/// Nobody's time is up because the server slept.
fn stopped_for_long(scene: &Scene) -> Result<()> {
    let log = scene.root().join("log");
    let mut up = Up::start(scene, &log, &["--disable-cache"])?;
    serves(&mut up)?;
    let before: Vec<_> = (0..10).map(|_| connect()).collect::<Result<_, _>>()?;
    let halves = halves()?;
    // By then it has read them.
    serves(&mut up)?;
    tool("kill", &["-STOP", &up.pid()])?;
    let during: Vec<_> = (0..10).map(|_| connect()).collect::<Result<_, _>>()?;
    let mut all: Vec<_> = before.into_iter().chain(during).collect();
    for stream in &mut all {
        ask(stream, "/hello")?;
    }
    for (mut stream, rest) in halves {
        stream.write_all(rest.as_bytes())?;
        all.push(stream);
    }
    sleep(LONG);
    tool("kill", &["-CONT", &up.pid()])?;
    for stream in all {
        let said = answered(stream)?;
        ensure!(said.contains(HELLO), "{said}");
    }
    serves(&mut up)?;
    up.stop().map(drop)
}

/// Connections on which half a head or half a body was sent, and what is missing.
fn halves() -> Result<Vec<(TcpStream, &'static str)>> {
    let mut halves = Vec::new();
    for _ in 0..10 {
        for (half, rest) in [
            (
                "GET /hello HTTP/1.1\r\nhost: a\r\nconn",
                "ection: close\r\n\r\n",
            ),
            (
                "POST /echo HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 21\r\n\r\nhalf",
                HELLO,
            ),
        ] {
            let mut stream = connect()?;
            stream.write_all(half.as_bytes())?;
            halves.push((stream, rest));
        }
    }
    Ok(halves)
}

/// With so few threads that it cannot start, and with as many more as it takes: the port is taken, so it ends.
fn no_threads(scene: &Scene) -> Result<()> {
    let _taken = TcpListener::bind(ADDRESS)?;
    let taken = format!(
        "error: cannot listen on `{ADDRESS}`: Address already in use (os error 98)\n\
         help: free it, or choose another with `--listen`; port 0 takes a free one\n"
    );
    let mut refused = 0;
    for most in 1..24 {
        let output = Command::new("setpriv")
            .args(["--reuid=64123", "--clear-groups", "prlimit"])
            .arg(format!("--nproc={most}"))
            .arg("--")
            .arg(scene.runner())
            .args([
                "up",
                "--listen",
                ADDRESS,
                "--log-format",
                "text",
                "--disable-cache",
            ])
            .current_dir(scene.root())
            .env_remove("RUST_BACKTRACE")
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let is_told = said.contains("error: ");
        if output.status.code() != Some(3) || !is_told || said.contains("panicked") {
            bail!("{most} threads: {:?}: {said}", output.status);
        }
        refused += usize::from(!said.ends_with(&taken));
    }
    ensure!((1..23).contains(&refused), "{refused} of 23 refused");
    Ok(())
}
