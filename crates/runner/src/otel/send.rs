//! The way to one collector: tries again what is worth it, and tells once what it cannot send.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use runner_outbound::{OperatorClient, Options};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::config::Endpoint;
use super::proto;
use crate::cli::DoorArgs;
use crate::telemetry::{Notice, Telemetry};

/// The wait before the second try; it doubles from there, within the time that an export has.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Losses are told no more often than this.
const BETWEEN: Duration = Duration::from_secs(60);

/// Sends one signal; told as `what`, in pieces called `each`.
pub(super) struct Sender {
    what: &'static str,
    each: &'static str,
    client: OperatorClient,
    place: String,
    headers: HeaderMap,
    timeout: Duration,
    telemetry: Telemetry,
    lost: Lost,
    is_failing: bool,
    told: Option<Instant>,
    stopping: watch::Receiver<bool>,
}

/// What nobody will ever collect.
#[derive(Clone, Default)]
pub(super) struct Lost(Arc<AtomicU64>);

impl Lost {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// Why a try has failed.
struct Failed {
    reason: String,
    /// Whether another one may do better, and not before what time.
    again: Option<Duration>,
}

impl Sender {
    /// Connects nowhere yet.
    ///
    /// # Errors
    /// The endpoint's certificate authorities are not usable.
    pub(super) fn new(
        (what, each): (&'static str, &'static str),
        endpoint: Endpoint,
        door: &DoorArgs,
        telemetry: Telemetry,
        stopping: watch::Receiver<bool>,
    ) -> Result<Sender, runner_outbound::Error> {
        let options = Options {
            ca_file: endpoint.ca_file.or_else(|| door.ca_file.clone()),
            dns: door.dns.clone(),
            ..Options::default()
        };
        let place = format!("{}{}", endpoint.origin, endpoint.path.path());
        let mut headers = endpoint.headers;
        let own = HeaderValue::from_static(concat!("runner/", env!("CARGO_PKG_VERSION")));
        headers.entry(USER_AGENT).or_insert(own);
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-protobuf"),
        );
        Ok(Sender {
            what,
            each,
            client: OperatorClient::new(endpoint.origin, endpoint.path, options)?,
            place,
            headers,
            timeout: endpoint.timeout,
            telemetry,
            lost: Lost::default(),
            is_failing: false,
            told: None,
            stopping,
        })
    }

    /// Where losses are counted that happen elsewhere.
    pub(super) fn lost(&self) -> Lost {
        self.lost.clone()
    }

    /// Sends a message of so many pieces, within the time that there is, or counts them as lost.
    pub(super) async fn send(&mut self, message: Vec<u8>, count: u64) {
        match self.deliver(Bytes::from(message)).await {
            Ok(rejected) => {
                self.is_failing = false;
                self.lost.add(rejected);
                self.tell_lost();
            }
            Err(reason) => {
                self.lost.add(count);
                self.tell_failing(&reason);
            }
        }
    }

    async fn deliver(&mut self, body: Bytes) -> Result<u64, String> {
        let deadline = Instant::now() + self.timeout;
        let mut wait = FIRST_WAIT;
        loop {
            let post = self.client.post(self.headers.clone(), body.clone());
            let failed = match timeout_at(deadline, post).await {
                Err(_) => return Err(format!("no answer within {:?}", self.timeout)),
                Ok(Ok(response)) => match judge(&response) {
                    Ok(rejected) => return Ok(rejected),
                    Err(failed) => failed,
                },
                Ok(Err(error)) => Failed {
                    reason: error.to_string(),
                    again: Some(Duration::ZERO),
                },
            };
            let Some(at_least) = failed.again else {
                return Err(failed.reason);
            };
            // Many servers lose their collector at once, and should not come back at once.
            let until = Instant::now() + at_least.max(wait.mul_f64(0.5 + fastrand::f64()));
            if until >= deadline || self.stops_before(until).await {
                return Err(failed.reason);
            }
            wait *= 2;
        }
    }

    /// Waits; whether the process ends before that is over.
    async fn stops_before(&mut self, until: Instant) -> bool {
        let mut stopping = self.stopping.clone();
        let stops = async move {
            // Nobody who could say so is left: the process has ended.
            let _ = stopping.wait_for(|stops| *stops).await;
        };
        tokio::select! {
            () = stops => true,
            () = sleep(until - Instant::now()) => false,
        }
    }

    fn tell_failing(&mut self, reason: &str) {
        if std::mem::replace(&mut self.is_failing, true) {
            return;
        }
        let (what, place) = (self.what, &self.place);
        let text = format!(
            "{what} cannot be sent to `{place}`: {reason}; serving goes on, and they are lost meanwhile"
        );
        self.telemetry.say(&Notice::warning(text));
    }

    fn tell_lost(&mut self) {
        if self.told.is_none_or(|told| told.elapsed() >= BETWEEN) {
            self.tell_all_lost();
        }
    }

    /// At the end there is no later time to tell.
    pub(super) fn tell_all_lost(&mut self) {
        let count = self.lost.take();
        if count > 0 {
            self.told = Some(Instant::now());
            let text = format!("{count} {} could not be sent and are lost", self.each);
            self.telemetry
                .say(&Notice::warning(text).with("lost", count));
        }
    }
}

/// How much of a message its collector rejected, or why it took none of it.
fn judge(response: &Response<Bytes>) -> Result<u64, Failed> {
    let status = response.status();
    if status.is_success() {
        // Whatever else it says, it has taken it.
        return Ok(proto::rejected(response.body()));
    }
    let is_transient = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    Err(Failed {
        reason: format!("it answers {}", status.as_u16()),
        again: is_transient.then(|| retry_after(response.headers())),
    })
}

/// In seconds; a date is as good as nothing.
fn retry_after(headers: &HeaderMap) -> Duration {
    let value = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let seconds: Option<u32> = value.and_then(|value| value.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_was_taken_and_whether_to_try_again() {
        let partly = [0x0a, 2, 0x08, 3];
        let reason = |text: &str| text.to_owned();
        for (status, body, after, expected) in [
            (200, &b""[..], None, Ok(0)),
            (202, &b"<html>garbage"[..], None, Ok(0)),
            (200, &partly[..], None, Ok(3)),
            (400, b"", None, Err((reason("it answers 400"), None))),
            (500, b"", None, Err((reason("it answers 500"), None))),
            (302, b"", None, Err((reason("it answers 302"), None))),
            (503, b"", None, Err((reason("it answers 503"), Some(0)))),
            (
                429,
                b"",
                Some("7"),
                Err((reason("it answers 429"), Some(7))),
            ),
            (
                502,
                b"",
                Some("soon"),
                Err((reason("it answers 502"), Some(0))),
            ),
            (
                504,
                b"",
                Some("-1"),
                Err((reason("it answers 504"), Some(0))),
            ),
        ] {
            let mut response = Response::new(Bytes::copy_from_slice(body));
            *response.status_mut() = StatusCode::from_u16(status).expect("three digits");
            if let Some(after) = after {
                let after = HeaderValue::from_static(after);
                response.headers_mut().insert(RETRY_AFTER, after);
            }
            let found = judge(&response);
            let found = found.map_err(|failed| (failed.reason, failed.again.map(|d| d.as_secs())));
            assert_eq!(found, expected, "{status}");
        }
    }
}
