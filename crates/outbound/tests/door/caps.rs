//! How much an upstream may say before its response begins.

use runner_outbound::{Error, Options};

use crate::support::{Upstream, door, fetch, grants, text};

async fn answer(head: String) -> Result<String, Error> {
    let answer = format!("HTTP/1.1 200 OK\r\n{head}content-length: 5\r\n\r\nhello");
    let upstream = Upstream::answering("127.0.0.1", answer).await;
    let url = format!("http://{}", upstream.address);
    let response = fetch(&door(Options::default()), &grants("shop", 1, &[&url]), &url).await?;
    Ok(text(response).await)
}

fn fields(count: usize) -> String {
    (0..count).map(|n| format!("x-{n}: 1\r\n")).collect()
}

fn field(size: usize) -> String {
    format!("x: {}\r\n", "y".repeat(size))
}

#[tokio::test]
async fn c43_a_head_has_at_most_100_fields() {
    assert_eq!(answer(fields(99)).await.unwrap(), "hello");
    assert!(matches!(answer(fields(100)).await, Err(Error::HeaderSize)));
    assert!(matches!(
        answer(fields(10_000)).await,
        Err(Error::HeaderSize)
    ));
}

#[tokio::test]
async fn c43_a_head_has_at_most_64_kib() {
    assert_eq!(answer(field(60 * 1024)).await.unwrap(), "hello");
    assert!(matches!(
        answer(field(64 * 1024)).await,
        Err(Error::HeaderSize)
    ));
    assert!(matches!(
        answer(field(10 * 1024 * 1024)).await,
        Err(Error::HeaderSize)
    ));
}
