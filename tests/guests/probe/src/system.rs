//! What a guest sees of the machine: environment, clocks, random numbers, sockets, its own output.

use std::env;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use toolbox::{Query, json, wit_name};
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::http::types::ResponseOutparam;
use wasip2::random::{insecure, random};

use crate::reply;

pub fn environment() -> String {
    json::object(env::vars().map(|(name, value)| (name, json::string(&value))))
}

pub fn arguments() -> String {
    json::array(env::args().map(|argument| json::string(&argument)))
}

pub fn clock() -> String {
    let wall = wall_clock::now();
    json::object([
        ("monotonic", monotonic_clock::now().to_string()),
        ("resolution", monotonic_clock::resolution().to_string()),
        ("seconds", wall.seconds.to_string()),
        ("nanoseconds", wall.nanoseconds.to_string()),
    ])
}

/// `/random?bytes=`
pub fn random(query: &Query) -> String {
    let hex = |bytes: Vec<u8>| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let length = query.number("bytes", 16);
    json::object([
        (
            "random",
            json::string(&hex(random::get_random_bytes(length))),
        ),
        (
            "insecure",
            json::string(&hex(insecure::get_insecure_random_bytes(length))),
        ),
    ])
}

/// `/sockets?host=&port=&name=`: each way out of a guest that is not HTTP, with what became of it.
pub fn sockets(query: &Query) -> String {
    let host = query.text("host").unwrap_or("127.0.0.1");
    let to = (host, query.number("port", 9u16));
    let name = query.text("name").unwrap_or("localhost");
    // Only a literal: a name would be looked up, which is an attempt of its own.
    let literal: Result<std::net::IpAddr, _> = host.parse();
    let Ok(address) = literal else {
        return json::object([("lookup", outcome((host, to.1).to_socket_addrs()))]);
    };
    let to = (address, to.1);
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    json::object([
        ("tcp-connect", outcome(TcpStream::connect(to))),
        ("tcp-listen", outcome(TcpListener::bind((address, 0)))),
        ("udp-bind", outcome(UdpSocket::bind(any))),
        (
            "udp-connect",
            outcome(UdpSocket::bind(any).and_then(|socket| socket.connect(to))),
        ),
        (
            "udp-send",
            outcome(UdpSocket::bind(any).and_then(|socket| socket.send_to(b"probe", to))),
        ),
        ("lookup", outcome((name, 80).to_socket_addrs())),
    ])
}

fn outcome<T>(result: io::Result<T>) -> String {
    match result {
        Ok(_) => json::string("ok"),
        Err(error) => json::string(&format!(
            "{}: {error}",
            wit_name(&format!("{:?}", error.kind()))
        )),
    }
}

/// `/stdout?text=&n=&newline=0`
pub fn stdout(out: ResponseOutparam, query: &Query) {
    print(io::stdout(), query);
    reply::text(out, 200, "printed\n");
}

/// `/stderr?text=&n=&newline=0`
pub fn stderr(out: ResponseOutparam, query: &Query) {
    print(io::stderr(), query);
    reply::text(out, 200, "printed\n");
}

fn print(mut stream: impl Write, query: &Query) {
    let end = if query.text("newline") == Some("0") {
        ""
    } else {
        "\n"
    };
    let line = format!("{}{end}", query.text("text").unwrap_or("a line"));
    for _ in 0..query.number("n", 1u64) {
        let _ = stream.write_all(line.as_bytes());
    }
    let _ = stream.flush();
}
