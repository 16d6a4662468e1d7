//! Who may use a connection again.

use runner_outbound::{Options, Outbound};

use crate::support::{HELLO, Upstream, door, fetch, grants, read_head, text};

fn plain() -> Outbound {
    door(Options::default())
}

#[tokio::test]
async fn one_component_uses_its_connection_again() {
    let upstream = Upstream::answering("127.0.0.1", HELLO).await;
    let url = format!("http://{}", upstream.address);
    let (door, grants) = (plain(), grants("shop", 1, &[&url]));
    for _ in 0..3 {
        assert_eq!(
            text(fetch(&door, &grants, &url).await.unwrap()).await,
            "hello"
        );
    }
    assert_eq!(upstream.log.peers().len(), 1);
    assert_eq!(upstream.log.heads().len(), 3);
}

#[tokio::test]
async fn c42_another_component_or_generation_gets_its_own_connection() {
    let upstream = Upstream::answering("127.0.0.1", HELLO).await;
    let url = format!("http://{}", upstream.address);
    let door = plain();
    for (component, generation) in [("a", 1), ("b", 1), ("a", 2), ("a", 1), ("b", 1), ("a", 2)] {
        let grants = grants(component, generation, &[&url]);
        assert_eq!(
            text(fetch(&door, &grants, &url).await.unwrap()).await,
            "hello"
        );
    }
    assert_eq!(upstream.log.peers().len(), 3);
    assert_eq!(upstream.log.heads().len(), 6);
}

#[tokio::test]
async fn c10_case_does_not_split_the_pool() {
    let upstream = Upstream::answering("127.0.0.1", HELLO).await;
    let port = upstream.port();
    let (door, grants) = (
        plain(),
        grants("shop", 1, &[&format!("http://localhost:{port}")]),
    );
    for url in ["http://localhost", "HTTP://LOCALHOST", "http://localhost."] {
        let response = fetch(&door, &grants, &format!("{url}:{port}"))
            .await
            .unwrap();
        assert_eq!(text(response).await, "hello");
    }
    assert_eq!(upstream.log.peers().len(), 1);
    for head in upstream.log.heads() {
        assert_eq!(
            head,
            format!("GET / HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n")
        );
    }
}

#[tokio::test]
async fn a_connection_that_the_upstream_closed_is_not_used_again() {
    let upstream = Upstream::start("127.0.0.1", |mut stream, log| async move {
        log.note(read_head(&mut stream).await.unwrap());
        tokio::io::AsyncWriteExt::write_all(&mut stream, HELLO.as_bytes())
            .await
            .unwrap();
    })
    .await;
    let url = format!("http://{}", upstream.address);
    let (door, grants) = (plain(), grants("shop", 1, &[&url]));
    for _ in 0..3 {
        assert_eq!(
            text(fetch(&door, &grants, &url).await.unwrap()).await,
            "hello"
        );
    }
    assert_eq!(upstream.log.peers().len(), 3);
}

#[tokio::test]
async fn a_response_that_was_not_read_to_its_end_takes_its_connection_along() {
    let upstream = Upstream::answering("127.0.0.1", HELLO).await;
    let url = format!("http://{}", upstream.address);
    let (door, grants) = (plain(), grants("shop", 1, &[&url]));
    for _ in 0..2 {
        drop(fetch(&door, &grants, &url).await.unwrap());
    }
    assert_eq!(upstream.log.peers().len(), 2);
}

#[tokio::test]
async fn the_pool_keeps_no_more_than_it_may() {
    let upstream = Upstream::answering("127.0.0.1", HELLO).await;
    let url = format!("http://{}", upstream.address);
    let grants = grants("shop", 1, &[&url]);
    for (per_key, total, connections) in [(1, 9, 3), (9, 1, 3), (2, 2, 2), (0, 9, 4), (9, 0, 4)] {
        let before = upstream.log.peers().len();
        let door = door(Options {
            idle_per_key: per_key,
            idle_total: total,
            ..Options::default()
        });
        for _ in 0..2 {
            let (one, two) = tokio::join!(fetch(&door, &grants, &url), fetch(&door, &grants, &url));
            text(one.unwrap()).await;
            text(two.unwrap()).await;
        }
        let opened = upstream.log.peers().len() - before;
        assert_eq!(opened, connections, "{per_key} per key, {total} in all");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let (closed, seen) = tokio::sync::oneshot::channel();
    let closed = std::sync::Mutex::new(Some(closed));
    let upstream = Upstream::start("127.0.0.1", move |mut stream, _| {
        let closed = closed.lock().unwrap().take();
        async move {
            read_head(&mut stream).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, HELLO.as_bytes())
                .await
                .unwrap();
            assert_eq!(read_head(&mut stream).await, None);
            closed.expect("one connection").send(()).unwrap();
        }
    })
    .await;
    let url = format!("http://{}", upstream.address);
    let (door, grants) = (plain(), grants("shop", 1, &[&url]));
    assert_eq!(
        text(fetch(&door, &grants, &url).await.unwrap()).await,
        "hello"
    );
    tokio::time::pause();
    seen.await.unwrap();
}
