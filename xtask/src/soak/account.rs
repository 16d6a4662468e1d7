//! What the server itself has counted.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::siege::client::dial;
use crate::siege::ground::runtime;
use crate::siege::report::Measure;
use crate::siege::runner::Runner;

/// Requests and reloads since the server began.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Account {
    /// Over a connection or from inside an app.
    started: f64,
    active: f64,
    instances: f64,
    ended: f64,
    cancelled: f64,
    faulted: f64,
    /// Panicked connections.
    panicked: f64,
    pub(super) reloads: f64,
    pub(super) refused: f64,
}

/// Where its admin listener is.
pub(super) fn admin(runner: &Runner) -> Result<SocketAddr> {
    let lines = runner.lines("admin");
    let url = lines.first().and_then(|line| line["url"].as_str());
    let url = url.context("it does not say where its admin listener is")?;
    let authority = url.trim_start_matches("http://").trim_end_matches('/');
    Ok(authority.parse()?)
}

impl Account {
    /// Once nothing is under way any more, or this time is over.
    pub(super) fn once_quiet(admin: SocketAddr, patience: Duration) -> Result<Account> {
        let begun = Instant::now();
        loop {
            let account = Account::of(&page(admin)?);
            let is_quiet = account.active == 0.0 && account.instances == 0.0;
            if is_quiet || begun.elapsed() > patience {
                return Ok(account);
            }
            sleep(Duration::from_millis(200));
        }
    }

    fn of(page: &str) -> Account {
        let sum = |name: &str, label: &str| -> f64 {
            let samples = page.lines().filter(|line| !line.starts_with('#'));
            let own = samples.filter(|line| {
                let rest = line.strip_prefix(name);
                rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
            });
            let values = own.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
            values.sum()
        };
        let inside = sum("runner_inside_requests_total", "");
        Account {
            started: sum("runner_requests_started_total", "") + inside,
            active: sum("http_server_active_requests", ""),
            instances: sum("runner_instances", ""),
            ended: sum("http_server_request_duration_seconds_count", "") + inside,
            cancelled: sum("runner_client_gone_total", ""),
            faulted: sum("runner_responses_cut_total", ""),
            panicked: sum("runner_connections_closed_total", "reason=\"panicked\""),
            reloads: sum("runner_reloads_total", "result=\"done\""),
            refused: sum("runner_reloads_total", "result=\"failed\""),
        }
    }

    /// What was begun has finished, was cancelled or has failed.
    pub(super) fn measures(&self) -> Vec<Measure> {
        let finished = self.ended - self.cancelled - self.faulted;
        let lost = self.started - finished - self.cancelled - self.faulted;
        vec![
            Measure::told("started", self.started, "").at_least(1.0),
            Measure::told("finished", finished, ""),
            Measure::told("cancelled", self.cancelled, ""),
            Measure::told("faulted", self.faulted, ""),
            Measure::told("neither", lost, "").exactly(0.0),
            Measure::told("under way", self.active, "").exactly(0.0),
            Measure::told("instances", self.instances, "").exactly(0.0),
            Measure::told("connections that panicked", self.panicked, "").exactly(0.0),
        ]
    }
}

fn page(admin: SocketAddr) -> Result<String> {
    runtime()?.block_on(async {
        let mut stream = dial(None, admin).await?;
        let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await?;
        if !page.starts_with("HTTP/1.1 200 ") {
            bail!("its metrics could not be read: {page:.100}");
        }
        Ok(page)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_all_apps_are_added_up() {
        let page = "\
# HELP runner_requests_started_total x
runner_requests_started_total 10
runner_inside_requests_total{app=\"a\",component=\"p\",status_class=\"2xx\"} 2
http_server_request_duration_seconds_count{app=\"a\",component=\"p\"} 6
http_server_request_duration_seconds_count{app=\"b\",component=\"p\"} 3
http_server_request_duration_seconds_sum{app=\"b\",component=\"p\"} 99
http_server_active_requests 1
runner_instances 0
runner_client_gone_total{app=\"a\",component=\"p\"} 3
runner_responses_cut_total{app=\"a\",component=\"p\"} 1
runner_connections_closed_total{reason=\"panicked\"} 0
runner_connections_closed_total{reason=\"client\"} 7
runner_reloads_total{app=\"a\",result=\"done\"} 4
runner_reloads_total{app=\"b\",result=\"failed\"} 5
";
        let expected = Account {
            started: 12.0,
            active: 1.0,
            instances: 0.0,
            ended: 11.0,
            cancelled: 3.0,
            faulted: 1.0,
            panicked: 0.0,
            reloads: 4.0,
            refused: 5.0,
        };
        assert_eq!(Account::of(page), expected);
    }
}
