//! Heads that are too large, bodies that never end, and requests that nobody reads.

use runner_tests::{End, Fault, Oracle, Protocol, Wire};

use crate::{PROBES, ROGUES, fault};

const HEADER_SIZE: Fault = fault("header_size", "wrote headers of more than 128 KiB");

/// More than fits into any buffer on the way.
const MUCH: usize = 256 << 20;

/// What a stream may take of the host while it is read.
const FLAT: u64 = 16 << 20;

#[tokio::test]
async fn e14_header_fields_have_an_end() {
    let oracle = Oracle::start("guest:rogue", "").await;
    let outside = fault(
        "trap",
        "failed: string pointer/length out of bounds of memory",
    );
    for protocol in Protocol::BOTH {
        for (path, fault) in [
            ("/fields?n=1000000", HEADER_SIZE),
            ("/fields?n=1000000&bytes=65536", HEADER_SIZE),
            ("/huge-value?bytes=8000000", HEADER_SIZE),
            ("/huge-name", outside),
        ] {
            oracle.fails(protocol, path, 500, End::Clean, fault).await;
        }
    }
    oracle.over().await;
}

#[tokio::test]
async fn e14_header_fields_have_an_end_that_a_guest_of_0_3_is_told_of() {
    let oracle = Oracle::start("guest:rogue3", "").await;
    let outside = fault(
        "trap",
        "failed: string pointer/length out of bounds of memory",
    );
    let refused = "HeaderError::SizeExceeded";
    for protocol in Protocol::BOTH {
        for (path, body) in [
            (
                "/fields?n=1000000",
                format!("{{\"taken\":1673,\"error\":\"{refused}\"}}"),
            ),
            (
                "/fields?n=1000000&bytes=65536",
                format!("{{\"taken\":1,\"error\":\"{refused}\"}}"),
            ),
            ("/huge-value?bytes=8000000", format!("\"Err({refused})\"")),
        ] {
            oracle.answers(protocol, path, &body).await;
        }
        oracle
            .fails(protocol, "/huge-name", 500, End::Clean, outside)
            .await;
    }
    oracle.over().await;
}

/// Reads so many bytes of a response, and no more.
async fn read(wire: &mut Wire, mut bytes: usize) {
    while bytes > 0 {
        let read = wire.some().await;
        assert_ne!(read, 0, "{bytes} are missing");
        bytes = bytes.saturating_sub(read);
    }
}

#[tokio::test]
async fn e12_a_body_without_an_end_takes_no_memory() {
    for source in PROBES {
        let oracle = Oracle::start(source, "").await;
        let server = oracle.server();
        let mut wire = Wire::open(server.address()).await;
        wire.send(b"GET /big?bytes=1000000000000 HTTP/1.1\r\nhost: a.test\r\n\r\n")
            .await;
        read(&mut wire, 1 << 20).await;
        server.forget_peak_memory();
        let before = server.peak_memory();

        read(&mut wire, MUCH).await;
        oracle.neighbour().await;

        let took = server.peak_memory().saturating_sub(before);
        assert!(took <= FLAT, "{source}: {took}");
        wire.reset();
        oracle.is_idle().await;
        oracle.over().await;
    }
}

#[tokio::test]
async fn e13_who_waits_for_a_reader_does_not_compute() {
    for source in PROBES {
        let oracle = Oracle::start(source, "limits = { cpu = \"100 ms\" }").await;
        let server = oracle.server();
        let mut wire = Wire::open(server.address()).await;
        let request =
            "GET /big?bytes=16000000 HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";
        wire.send(request.as_bytes()).await;
        wire.head().await;
        oracle.reaches("runner_instances", 1.0).await;
        let (started, before) = (std::time::Instant::now(), server.peak_memory());
        // Several times what it may compute for, of which it computes for nothing.
        while started.elapsed() < std::time::Duration::from_millis(500) {
            oracle.neighbour().await;
        }
        assert!(server.peak_memory() <= before + FLAT);

        let rest = wire.rest().await;

        let is_whole = rest.len() > 16_000_000 && rest.ends_with("\r\n0\r\n\r\n");
        assert!(is_whole, "{source}: {}", rest.len());
        oracle.over().await;
    }
}

/// A request whose body is said to be so long, and its first byte.
fn post(bytes: usize, length: u64) -> String {
    format!(
        "POST /read?bytes={bytes} HTTP/1.1\r\nhost: a.test\r\ncontent-length: {length}\r\n\r\nx"
    )
}

#[tokio::test]
async fn e15_a_request_that_nobody_reads_is_answered() {
    for source in ROGUES {
        let oracle = Oracle::start(source, "").await;
        for bytes in [0, 1] {
            let mut wire = Wire::open(oracle.server().address()).await;
            wire.send(post(bytes, 60_000).as_bytes()).await;
            let head = wire.head().await;
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{source}: {head}");
            wire.until("answered\n").await;
            // The rest is passed over, and the connection goes on.
            wire.send(&[b'x'; 59_999]).await;
            wire.send(b"GET /about HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n")
                .await;
            let rest = wire.rest().await;
            assert!(rest.contains("\"arguments\":[]"), "{source}: {rest}");

            let mut wire = Wire::open(oracle.server().address()).await;
            wire.send(post(bytes, 1 << 40).as_bytes()).await;
            wire.until("answered\n").await;
            // This one does not.
            wire.try_send(b"GET /about HTTP/1.1\r\nhost: a.test\r\n\r\n")
                .await;
            let rest = wire.rest().await;
            assert!(!rest.contains("HTTP/1.1"), "{source}: {rest}");
        }
        oracle.over().await;
    }
}
