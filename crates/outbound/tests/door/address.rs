//! The second decision: what a permitted name may turn out to be.

use runner_outbound::{Error, Options};

use crate::support::{
    Dns, HELLO, Upstream, door, door_with, fetch, grants, refusal, refusing, remote, text,
};

#[tokio::test]
async fn c17_a_name_that_resolves_to_a_private_address_is_denied() {
    let canary = Upstream::canary("127.0.0.1").await;
    let url = format!("http://a.test:{}", canary.port());
    let grants = grants("thief", 1, &[&url]);
    for private in ["127.0.0.1", "10.0.0.5", "169.254.169.254", "0.0.0.0"] {
        let dns = Dns::answering(&[&[private]]).await;
        let result = fetch(&door_with(&dns), &grants, &url).await;
        assert!(matches!(result, Err(Error::Denied(_))), "{private}");
        let expected = format!(
            "denied: thief may not connect to {url}\nhelp: to allow exactly this, run\n      \
             runner allow thief http://{private}/32:{}",
            canary.port()
        );
        assert_eq!(refusal(result), expected);
    }
    assert!(canary.log.peers().is_empty());
}

#[tokio::test]
async fn c17_the_suggested_rule_opens_exactly_that_address() {
    let upstream = Upstream::answering("127.0.0.1", HELLO).await;
    let url = format!("http://a.test:{}", upstream.port());
    let dns = Dns::answering(&[&["127.0.0.1"]]).await;
    let rule = format!("http://127.0.0.1/32:{}", upstream.port());
    let response = fetch(&door_with(&dns), &grants("thief", 1, &[&url, &rule]), &url).await;
    assert_eq!(text(response.unwrap()).await, "hello");
    let other = format!("http://127.0.0.2/32:{}", upstream.port());
    let result = fetch(&door_with(&dns), &grants("thief", 1, &[&url, &other]), &url).await;
    assert!(matches!(result, Err(Error::Denied(_))));
}

#[tokio::test]
async fn c17_a_mapped_answer_is_the_address_it_maps() {
    let canary = Upstream::canary("127.0.0.1").await;
    let url = format!("http://a.test:{}", canary.port());
    let rules = grants("thief", 1, &[&url]);
    let literal = format!("http://127.0.0.1:{}", canary.port());
    let opened = grants("thief", 1, &[&url, &literal]);
    let dns = Dns::answering(&[&["127.0.0.1"]]).await;
    let addresses = door_with(&dns).addresses(&remote(&opened, &url)).await;
    assert_eq!(addresses.unwrap(), [canary.address]);
    let result = door_with(&dns).addresses(&remote(&rules, &url)).await;
    assert!(matches!(result, Err(Error::Denied(_))));
}

#[tokio::test]
async fn c18_of_a_mixed_answer_only_what_passes_is_dialled() {
    let canary = Upstream::canary("127.0.0.1").await;
    let _refusing = refusing("127.0.0.9", canary.port());
    let url = format!("http://a.test:{}", canary.port());
    let rule = format!("http://127.0.0.9/32:{}", canary.port());
    let grants = grants("thief", 1, &[&url, &rule]);
    for answer in [["127.0.0.9", "127.0.0.1"], ["127.0.0.1", "127.0.0.9"]] {
        let dns = Dns::answering(&[&answer]).await;
        let door = door_with(&dns);
        let addresses = door.addresses(&remote(&grants, &url)).await.unwrap();
        assert_eq!(
            addresses,
            [format!("127.0.0.9:{}", canary.port()).parse().unwrap()]
        );
        let result = fetch(&door, &grants, &url).await;
        assert!(
            matches!(result, Err(Error::Connect(_))),
            "{}",
            refusal(result)
        );
    }
    assert!(canary.log.peers().is_empty());
}

#[tokio::test]
async fn c18_the_next_permitted_address_is_tried_when_one_refuses() {
    let upstream = Upstream::answering("127.0.0.3", HELLO).await;
    let _refusing = refusing("127.0.0.8", upstream.port());
    let url = format!("http://a.test:{}", upstream.port());
    let rule = format!("http://127.0.0.0/8:{}", upstream.port());
    let dns = Dns::answering(&[&["127.0.0.8", "127.0.0.3"]]).await;
    let response = fetch(&door_with(&dns), &grants("shop", 1, &[&url, &rule]), &url).await;
    assert_eq!(text(response.unwrap()).await, "hello");
}

#[tokio::test]
async fn c19_one_lookup_per_connect_and_no_rebinding() {
    let closing = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    let upstream = Upstream::answering("127.0.0.2", closing).await;
    let url = format!("http://a.test:{}", upstream.port());
    let rule = format!("http://127.0.0.2/32:{}", upstream.port());
    let grants = grants("thief", 1, &[&url, &rule]);
    let dns = Dns::answering(&[&["127.0.0.2"], &["127.0.0.1"]]).await;
    let door = door_with(&dns);
    assert_eq!(
        text(fetch(&door, &grants, &url).await.unwrap()).await,
        "hello"
    );
    assert_eq!(dns.asked(), ["A a.test.", "AAAA a.test."]);
    let result = fetch(&door, &grants, &url).await;
    assert!(matches!(result, Err(Error::Denied(_))));
    assert_eq!(
        dns.asked(),
        ["A a.test.", "A a.test.", "AAAA a.test.", "AAAA a.test."]
    );
    assert_eq!(upstream.log.peers().len(), 1);
}

#[tokio::test]
async fn c50_names_are_absolute_and_localhost_needs_no_dns() {
    let upstream = Upstream::answering("127.0.0.1", HELLO).await;
    let dns = Dns::answering(&[&["127.0.0.1"]]).await;
    let door = door_with(&dns);
    let port = upstream.port();
    let local = format!("http://localhost:{port}");
    let response = fetch(&door, &grants("shop", 1, &[&local]), &local).await;
    assert_eq!(text(response.unwrap()).await, "hello");
    assert_eq!(dns.asked(), [""; 0]);
    let short = format!("http://allowed:{port}");
    let result = fetch(&door, &grants("shop", 1, &[&short]), &short).await;
    assert!(matches!(result, Err(Error::Denied(_))));
    assert_eq!(dns.asked(), ["A allowed.", "AAAA allowed."]);
}

#[tokio::test]
async fn a_name_without_addresses_is_a_dns_error() {
    let dns = Dns::answering(&[&[]]).await;
    let grants = grants("shop", 1, &["http://a.test"]);
    let result = fetch(&door_with(&dns), &grants, "http://a.test").await;
    assert!(matches!(&result, Err(Error::Dns { name, rcode: Some(0), .. }) if &**name == "a.test"));
}

#[tokio::test]
async fn a_door_without_dns_still_serves_addresses() {
    let upstream = Upstream::answering("127.0.0.1", HELLO).await;
    let url = format!("http://{}", upstream.address);
    let door = door(Options::default());
    let grants = grants("shop", 1, &[&url]);
    assert_eq!(
        text(fetch(&door, &grants, &url).await.unwrap()).await,
        "hello"
    );
}
