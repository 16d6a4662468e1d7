//! Clients that go away, and calls that call.

use std::net::TcpListener;

use runner_tests::{End, Frame, Frames, Oracle, Protocol, Wire};

use crate::{PROBES, fault};

const RST_STREAM: u8 = 3;
const CANCEL: u32 = 8;
/// Ends the stream, and its headers.
const WHOLE: u8 = 5;

/// An upstream that takes connections and says nothing.
fn silence() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, format!("http://{address}"))
}

#[tokio::test]
async fn e24_a_guest_goes_with_its_client_whatever_it_does() {
    let (_listener, url) = silence();
    for source in PROBES {
        let oracle = Oracle::start(source, &format!("allowed_outbound_hosts = [\"{url}\"]")).await;
        let address = oracle.server().address();
        let mut gone = 0.0;
        for path in [
            "/sleep?ms=600000".to_owned(),
            "/loop".to_owned(),
            format!("/fetch?url={url}/"),
            "/sleep-after-head?ms=600000".to_owned(),
            "/loop-after-head".to_owned(),
            "/big?bytes=1000000000000".to_owned(),
        ] {
            let mut wire = Wire::open(address).await;
            let request = format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n");
            wire.send(request.as_bytes()).await;
            oracle.reaches("runner_instances", 1.0).await;
            wire.reset();
            oracle.is_idle().await;

            let mut frames = Frames::open(address).await;
            let fields = [
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "a.test"),
                (":path", &path),
            ];
            frames.send(&Frame::headers(WHOLE, 1, &fields)).await;
            oracle.reaches("runner_instances", 1.0).await;
            let reset = Frame::bytes(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
            frames.send(&reset).await;
            oracle.is_idle().await;

            gone += 2.0;
            let name = "runner_client_gone_total{app=\"story\",component=\"guest\"}";
            oracle.reaches(name, gone).await;
        }
        oracle.over().await;
    }
}

/// An app in which `guest` and `other` may call each other and themselves.
fn both(source: &str) -> String {
    let rules = "allowed_outbound_hosts = [\"http://self\", \"http://*.spin.internal\"]";
    format!("{rules}\n[component.other]\nsource = \"{source}\"\n{rules}\n")
}

#[tokio::test]
async fn e42_components_that_call_each_other_in_a_circle_are_stopped() {
    for source in PROBES {
        let mut oracle = Oracle::start(source, &both(source)).await;
        let (to, back) = (
            "/proxy?url=http://other.spin.internal",
            "/proxy?url=http://guest.spin.internal",
        );
        let first = format!("{to}/hello");
        assert_eq!(oracle.attack(Protocol::Http1, &first).await.status, 200);
        oracle.is_normal().await;
        for (calls, status) in [(4, 200), (5, 508)] {
            let path = format!("{}/hello", format!("{to}{back}").repeat(calls));
            let seen = oracle.attack(Protocol::Http1, &path).await;
            assert_eq!(seen.status, status, "{source}: {calls}: {seen:?}");
        }
        oracle.is_idle().await;
        oracle.over().await;
    }
}

/// Asks itself for so many at once, each of which does the same, so many levels deep.
fn fan(width: usize, levels: usize) -> String {
    (0..levels).fold("/hello".to_owned(), |inner, _| {
        let inner = inner.replace('%', "%25").replace('&', "%26");
        format!("/fetch?n={width}&url={inner}")
    })
}

#[tokio::test]
async fn e42_a_request_leads_to_a_hundred_calls_and_no_more_however_they_fan_out() {
    let answered =
        "runner_inside_requests_total{app=\"story\",component=\"guest\",status_class=\"2xx\"}";
    for source in PROBES {
        let oracle = Oracle::start(source, "allowed_outbound_hosts = [\"http://self\"]").await;
        for (levels, sum) in [(1, 10.0), (2, 110.0), (5, 210.0)] {
            let seen = oracle.attack(Protocol::Http1, &fan(10, levels)).await;
            assert_eq!(seen.status, 200, "{seen:?}");
            oracle.is_idle().await;
            oracle.reaches(answered, sum).await;
        }
        oracle.over().await;
    }
}

/// A component that calls a component in it, which calls back.
const CALLS_BACK: &str = r#"(component
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))
  ))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $out))
  (component $inner
    (import "back" (func $back))
    (core func $lowered (canon lower (func $back)))
    (core module $code
      (import "" "back" (func $back))
      (func (export "there") (call $back)))
    (core instance $guest (instantiate $code (with "" (instance (export "back" (func $lowered))))))
    (func (export "there") (canon lift (core func $guest "there"))))
  (core module $first (func (export "back")))
  (core instance $first (instantiate $first))
  (func $back (canon lift (core func $first "back")))
  (instance $inner (instantiate $inner (with "back" (func $back))))
  (core func $there (canon lower (func $inner "there")))
  (core module $code
    (import "" "there" (func $there))
    (func (export "handle") (param i32 i32) (call $there)))
  (core instance $guest (instantiate $code (with "" (instance (export "there" (func $there))))))
  (func $handle (param "request" (own $request)) (param "response-out" (own $out))
    (canon lift (core func $guest "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler))
)"#;

#[tokio::test]
async fn e55_a_call_back_into_a_component_that_is_calling_is_a_trap() {
    let oracle = Oracle::start_text(CALLS_BACK, "").await;
    let entered = fault(
        "trap",
        "trapped: wasm trap: cannot enter component instance",
    );
    for protocol in Protocol::BOTH {
        oracle.fails(protocol, "/", 500, End::Clean, entered).await;
    }
    oracle.over().await;
}
