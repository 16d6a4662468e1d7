//! The page, family by family.

use runner_trigger_http::{Closed, Refusal, State};

use super::cells::{BOUNDS, Cells, Histogram, read};
use super::exposition::{Exposition, Kind, Label};
use super::{Gauges, Metrics, OTHER, process};
use crate::version;

/// The cells of one component, with its label.
type Row<'a> = (&'a str, &'a Cells);

impl Metrics {
    /// Everything, as it is now.
    pub(crate) fn render(&self, gauges: &Gauges) -> String {
        let mut page = Exposition::default();
        let components = self.0.components.load();
        let named = components.iter();
        let mut rows: Vec<Row<'_>> = named
            .map(|(id, found)| (id.as_str(), &*found.cells))
            .collect();
        rows.sort_by_key(|(id, _)| *id);
        rows.extend([("", &self.0.nobody), (OTHER, &self.0.others)]);
        requests(&mut page, &rows);
        self.outbound(&mut page, &rows);
        show_gauges(&mut page, gauges);
        self.of_the_server(&mut page);
        process::show(&mut page, self.0.started);
        page.into_text()
    }

    fn outbound(&self, page: &mut Exposition, rows: &[Row<'_>]) {
        counter(
            page,
            "runner_outbound_allowed_total",
            "Outbound calls that a rule allowed by their name, also where an address was denied then.",
            rows,
            |cells| read(&cells.allowed),
        );
        let name = "http_client_request_duration_seconds";
        page.family(
            name,
            Kind::Histogram,
            "Outbound calls, from their beginning to the response's end, by how they ended.",
        );
        for (component, cells) in rows {
            for (outcome, histogram) in cells.calls.all() {
                let labels = [("component", *component), ("outcome", outcome)];
                show_histogram(page, name, &labels, histogram);
            }
        }
        let name = "runner_denials_total";
        page.family(
            name,
            Kind::Counter,
            "Outbound calls that were denied, by the rule that came nearest.",
        );
        let components = self.0.components.load();
        for (id, component) in components.iter() {
            for (rule, count) in component.rules.counts() {
                page.sample(name, &[("component", id.as_str()), ("rule", rule)], count);
            }
        }
        let gone = read(&self.0.others.denied);
        if gone > 0 {
            page.sample(name, &[("component", OTHER), ("rule", OTHER)], gone);
        }
    }

    fn of_the_server(&self, page: &mut Exposition) {
        page.single(
            "runner_instances",
            Kind::Gauge,
            "Instances of components that exist now.",
            self.0.engine.instances(),
        );
        let name = "runner_reloads_total";
        page.family(name, Kind::Counter, "Reloads, by how they ended.");
        for (result, count) in ["done", "failed"].iter().zip(&self.0.reloads) {
            page.sample(name, &[("result", result)], read(count));
        }
        let name = "runner_log_lines_dropped_total";
        page.family(
            name,
            Kind::Counter,
            "Lines that nobody will read: the log was read more slowly than written, or its disk was full.",
        );
        for (log, dropped) in &self.0.dropped {
            page.sample(name, &[("log", log)], dropped.count());
        }
        let name = "runner_build_info";
        page.family(name, Kind::Gauge, "What runs: always 1.");
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("commit", env!("RUNNER_BUILD_COMMIT")),
            ("wasmtime", version::WASMTIME),
        ];
        page.sample(name, &labels, 1);
    }
}

fn requests(page: &mut Exposition, rows: &[Row<'_>]) {
    let name = "http_server_request_duration_seconds";
    page.family(
        name,
        Kind::Histogram,
        "From a request's head to its response's end.",
    );
    for (component, cells) in rows {
        for (method, class, histogram) in cells.requests() {
            let labels = [
                ("component", *component),
                ("http_request_method", method),
                ("status_class", class),
            ];
            show_histogram(page, name, &labels, histogram);
        }
    }
    let name = "runner_inside_requests_total";
    page.family(
        name,
        Kind::Counter,
        "Requests that came from inside the app; no connection carried them.",
    );
    for (component, cells) in rows {
        for (class, count) in cells.insides() {
            let labels = [("component", *component), ("status_class", class)];
            page.sample(name, &labels, count);
        }
    }
    let name = "runner_guest_faults_total";
    page.family(
        name,
        Kind::Counter,
        "Requests that failed for what their guest did, and guests that failed after their response, by why.",
    );
    for (component, cells) in rows {
        for (reason, count) in cells.faults() {
            page.sample(name, &[("component", component), ("reason", reason)], count);
        }
    }
    counter(
        page,
        "runner_client_gone_total",
        "Requests whose client went away before their response's end.",
        rows,
        |cells| read(&cells.client_gone),
    );
    counter(
        page,
        "runner_responses_cut_total",
        "Responses that were cut, because their guest failed in the middle.",
        rows,
        |cells| read(&cells.guest_failed),
    );
}

fn show_histogram(page: &mut Exposition, name: &str, labels: &[Label<'_>], found: &Histogram) {
    let counts = found.counts();
    let bucket = format!("{name}_bucket");
    let bounds = BOUNDS.iter().map(|bound| bound.as_secs_f64().to_string());
    for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(counts) {
        let labels: Vec<_> = labels.iter().copied().chain([("le", &*bound)]).collect();
        page.sample(&bucket, &labels, count);
    }
    page.sample(&format!("{name}_sum"), labels, found.seconds());
    page.sample(&format!("{name}_count"), labels, counts[BOUNDS.len()]);
}

/// One number of each component that has any.
fn counter(
    page: &mut Exposition,
    name: &str,
    help: &str,
    rows: &[Row<'_>],
    number: impl Fn(&Cells) -> u64,
) {
    page.family(name, Kind::Counter, help);
    for (component, cells) in rows {
        let count = number(cells);
        if count > 0 {
            page.sample(name, &[("component", component)], count);
        }
    }
}

fn show_gauges(page: &mut Exposition, gauges: &Gauges) {
    page.single(
        "http_server_active_requests",
        Kind::Gauge,
        "Requests that are being answered.",
        gauges.in_flight,
    );
    let name = "runner_connections";
    page.family(
        name,
        Kind::Gauge,
        "Connections of the public port, by where they are.",
    );
    for state in State::ALL {
        let count = gauges.stats.connections(*state);
        page.sample(name, &[("state", state.as_str())], count);
    }
    let name = "runner_connections_closed_total";
    page.family(
        name,
        Kind::Counter,
        "Connections of the public port that ended, by why.",
    );
    for reason in Closed::ALL {
        let count = gauges.stats.closed(*reason);
        page.sample(name, &[("reason", reason.as_str())], count);
    }
    let name = "runner_refusals_total";
    page.family(
        name,
        Kind::Counter,
        "Requests that were refused before the app saw them, by why.",
    );
    for reason in Refusal::ALL {
        let count = gauges.stats.refused(*reason);
        page.sample(name, &[("reason", reason.as_str())], count);
    }
}
