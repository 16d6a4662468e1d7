//! An nginx of our own, with a port and a log for each of its ways.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Protocol;

/// How requests come to it and how they leave it.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) clients: Protocol,
    /// Lines of its `location`; `UPSTREAM` is where the server is.
    location: &'static str,
    /// What it speaks to the server. In a path of HTTP/2 a fragment is gone before the server could refuse it; see
    /// `docs/security.md`.
    pub(crate) server: Protocol,
    /// Whether it has a body as a whole before it asks the server, and so knows its length.
    pub(crate) knows_bodies: bool,
}

const PLAIN: &str = "proxy_pass http://UPSTREAM; proxy_http_version 1.1; \
    proxy_set_header Connection ''; proxy_set_header Host $host;";

const STREAMING: &str = "proxy_pass http://UPSTREAM; proxy_http_version 1.1; \
    proxy_set_header Connection ''; proxy_set_header Host $host; proxy_request_buffering off;";

/// This nginx speaks HTTP/2 to servers only where it takes them for gRPC; any request does for that.
const HTTP2: &str = "grpc_pass grpc://UPSTREAM; grpc_set_header Host $host;";

/// The first of those with the same clients knows how long bodies are.
pub(crate) const WAYS: &[Way] = &[
    Way {
        name: "nginx, 1.1 to 1.1",
        clients: Protocol::Http1,
        location: PLAIN,
        server: Protocol::Http1,
        knows_bodies: true,
    },
    Way {
        name: "nginx, 1.1 streamed",
        clients: Protocol::Http1,
        location: STREAMING,
        server: Protocol::Http1,
        knows_bodies: false,
    },
    Way {
        name: "nginx, 1.1 to 2",
        clients: Protocol::Http1,
        location: HTTP2,
        server: Protocol::Http2,
        knows_bodies: false,
    },
    Way {
        name: "nginx, 2 to 1.1",
        clients: Protocol::Http2,
        location: PLAIN,
        server: Protocol::Http1,
        knows_bodies: true,
    },
    Way {
        name: "nginx, 2 streamed",
        clients: Protocol::Http2,
        location: STREAMING,
        server: Protocol::Http1,
        knows_bodies: false,
    },
    Way {
        name: "nginx, 2 to 2",
        clients: Protocol::Http2,
        location: HTTP2,
        server: Protocol::Http2,
        knows_bodies: false,
    },
];

/// One process, so that it goes when it is killed; short time limits, so that a case that is no whole request ends.
/// One kept connection to the server, so that what one request leaves behind meets the next.
const CONFIG: &str = r#"
daemon off;
master_process off;
USER
pid FOLDER/pid;
error_log FOLDER/error.log;
events { worker_connections 256; }
http {
  log_format seen escape=json '{"method":"$request_method","request":"$request","target":"$request_uri","host":"$host","status":"$status","done":"$request_completion","upstream":"$upstream_status","body":"$request_body","length":"$content_length","saw_method":"$upstream_http_x_method","saw_url":"$upstream_http_x_spin_full_url"}';
  client_header_timeout 500ms;
  client_body_timeout 500ms;
  keepalive_timeout 50ms;
  lingering_close off;
  client_max_body_size 2m;
  client_body_buffer_size 2m;
  proxy_buffer_size 32k;
  proxy_buffers 8 32k;
  grpc_buffer_size 32k;
  client_body_temp_path FOLDER/body;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi;
  scgi_temp_path FOLDER/scgi;
SERVERS}
"#;

/// Running; killed when it is dropped.
pub(crate) struct Nginx {
    child: Child,
    folder: PathBuf,
    ports: Vec<u16>,
}

impl Nginx {
    pub(crate) fn start(folder: &Path, upstream: SocketAddr) -> Result<Nginx> {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder)?;
        let ports = free_ports(WAYS.len())?;
        fs::write(folder.join("nginx.conf"), config(folder, upstream, &ports))?;
        let child = Command::new("nginx")
            .arg("-p")
            .arg(folder)
            .arg("-e")
            .arg(folder.join("error.log"))
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start `nginx`")?;
        let mut nginx = Nginx {
            child,
            folder: folder.to_owned(),
            ports,
        };
        nginx.wait_until_it_listens()?;
        Ok(nginx)
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline && self.child.try_wait()?.is_none() {
            if self.ports.iter().all(|&port| is_taken(port)) {
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        let said = fs::read_to_string(self.folder.join("error.log")).unwrap_or_default();
        bail!("`nginx` did not start: {}", said.trim());
    }

    pub(crate) fn address(&self, way: &Way) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[number(way)]))
    }

    /// What it has logged of requests that came this way.
    pub(crate) fn log(&self, way: &Way) -> Result<Vec<Value>> {
        let bytes = fs::read(self.folder.join(log_name(number(way))))?;
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().map(|line| {
            serde_json::from_str(line).with_context(|| format!("nginx logged no JSON: {line}"))
        });
        lines.collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number(way: &Way) -> usize {
    WAYS.iter()
        .position(|other| other.name == way.name)
        .expect("one of the table")
}

fn log_name(number: usize) -> String {
    format!("access-{number}.log")
}

fn config(folder: &Path, upstream: SocketAddr, ports: &[u16]) -> String {
    let mut servers = String::new();
    for (number, (way, port)) in WAYS.iter().zip(ports).enumerate() {
        let http2 = match way.clients {
            Protocol::Http1 => "",
            Protocol::Http2 => " http2",
        };
        let name = format!("server{number}");
        let location = way.location.replace("UPSTREAM", &name);
        let log = log_name(number);
        servers.push_str(&format!(
            "  upstream {name} {{ server {upstream}; keepalive 1; }}\n  \
               server {{ listen 127.0.0.1:{port}{http2}; access_log FOLDER/{log} seen; \
               location / {{ {location} }} }}\n"
        ));
    }
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    CONFIG
        .replace("USER", user)
        .replace("SERVERS", &servers)
        .replace("FOLDER", &folder.display().to_string())
}

/// Ports that were free a moment ago.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind(("127.0.0.1", 0)))
        .collect::<Result<_, _>>()?;
    held.iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}

fn is_taken(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_err()
}
