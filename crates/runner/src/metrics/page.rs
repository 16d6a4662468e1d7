//! The page, family by family.

use std::sync::PoisonError;

use runner_manifest::ComponentId;
use runner_trigger_http::{Closed, Refusal, State};

use super::cells::{BOUNDS, Cells, Histogram, read};
use super::exposition::{Exposition, Kind, Label};
use super::{Component, Counts, Gauges, Metrics, OTHER, process};
use crate::version;

/// The cells of one component, with its labels.
struct Row<'a> {
    app: Option<&'a str>,
    component: &'a str,
    cells: &'a Cells,
}

impl<'a> Row<'a> {
    /// Its own labels, and then these.
    fn labels<const N: usize>(&self, more: [Label<'a>; N]) -> Vec<Label<'a>> {
        let app = self.app.map(|app| ("app", app));
        let own = [("component", self.component)];
        app.into_iter().chain(own).chain(more).collect()
    }
}

/// The components of an app as they are now, in order.
type Known = Vec<(ComponentId, Component)>;

impl Metrics {
    /// Everything, as it is now.
    pub(crate) fn render(&self, gauges: &Gauges) -> String {
        let mut page = Exposition::default();
        let apps = self.0.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let apps = apps.clone();
        let known: Vec<Known> = apps.iter().map(Counts::known).collect();
        let all: Vec<(&Counts, &Known)> = apps.iter().zip(&known).collect();
        let rows: Vec<Row<'_>> = all
            .iter()
            .flat_map(|(app, known)| app.rows(known))
            .collect();
        requests(&mut page, &rows);
        limits(&mut page, &rows);
        outbound(&mut page, &rows);
        denials(&mut page, &all);
        show_gauges(&mut page, gauges);
        self.of_the_server(&mut page, &apps);
        process::show(&mut page, self.0.started);
        page.into_text()
    }

    fn of_the_server(&self, page: &mut Exposition, apps: &[Counts]) {
        page.single(
            "runner_instances",
            Kind::Gauge,
            "Instances of components that exist now.",
            self.0.engine.instances(),
        );
        let name = "runner_reloads_total";
        page.family(name, Kind::Counter, "Reloads, by how they ended.");
        for app in apps.iter().filter(|app| app.is_one()) {
            for (result, count) in ["done", "failed"].into_iter().zip(&app.0.reloads) {
                let app = app.0.name.as_deref().map(|app| ("app", app));
                let labels: Vec<_> = app.into_iter().chain([("result", result)]).collect();
                page.sample(name, &labels, read(count));
            }
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

impl Counts {
    /// Whether it is an app, and not what is counted of requests for none.
    fn is_one(&self) -> bool {
        self.0.name.as_deref() != Some("")
    }

    fn known(&self) -> Known {
        let components = self.0.components.load();
        let known = components.iter();
        let mut known: Known = known
            .map(|(id, found)| (id.clone(), found.clone()))
            .collect();
        known.sort_by(|(a, _), (b, _)| a.cmp(b));
        known
    }

    fn rows<'a>(&'a self, known: &'a Known) -> impl Iterator<Item = Row<'a>> {
        let known = known.iter().map(|(id, found)| (id.as_str(), &*found.cells));
        let all = known.chain([("", &self.0.nobody), (OTHER, &self.0.others)]);
        let app = self.0.name.as_deref();
        all.map(move |(component, cells)| Row {
            app,
            component,
            cells,
        })
    }
}

fn outbound(page: &mut Exposition, rows: &[Row<'_>]) {
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
    for row in rows {
        for (outcome, histogram) in row.cells.calls.all() {
            let labels = row.labels([("outcome", outcome)]);
            show_histogram(page, name, &labels, histogram);
        }
    }
}

fn denials(page: &mut Exposition, all: &[(&Counts, &Known)]) {
    let name = "runner_denials_total";
    page.family(
        name,
        Kind::Counter,
        "Outbound calls that were denied, by the rule that came nearest.",
    );
    for (app, known) in all {
        for (row, (_, component)) in app.rows(known).zip(*known) {
            for (rule, count) in component.rules.counts() {
                page.sample(name, &row.labels([("rule", rule)]), count);
            }
        }
        let gone = read(&app.0.others.denied);
        if gone > 0 {
            let row = Row {
                app: app.0.name.as_deref(),
                component: OTHER,
                cells: &app.0.others,
            };
            page.sample(name, &row.labels([("rule", OTHER)]), gone);
        }
    }
}

fn requests(page: &mut Exposition, rows: &[Row<'_>]) {
    let name = "http_server_request_duration_seconds";
    page.family(
        name,
        Kind::Histogram,
        "From a request's head to its response's end.",
    );
    for row in rows {
        for (method, class, histogram) in row.cells.requests() {
            let labels = row.labels([("http_request_method", method), ("status_class", class)]);
            show_histogram(page, name, &labels, histogram);
        }
    }
    let name = "runner_inside_requests_total";
    page.family(
        name,
        Kind::Counter,
        "Requests that came from inside the app; no connection carried them.",
    );
    for row in rows {
        for (class, count) in row.cells.insides() {
            page.sample(name, &row.labels([("status_class", class)]), count);
        }
    }
    let name = "runner_guest_faults_total";
    page.family(
        name,
        Kind::Counter,
        "Requests that failed for what their guest did, and guests that failed after their response, by why.",
    );
    for row in rows {
        for (reason, count) in row.cells.faults() {
            page.sample(name, &row.labels([("reason", reason)]), count);
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

fn limits(page: &mut Exposition, rows: &[Row<'_>]) {
    let name = "runner_limit_hits_total";
    page.family(
        name,
        Kind::Counter,
        "Limits that a component hit, by their key in the manifest.",
    );
    for row in rows {
        for (limit, count) in row.cells.hits() {
            page.sample(name, &row.labels([("limit", limit)]), count);
        }
    }
    counter(
        page,
        "runner_log_dropped_bytes_total",
        "Bytes that a component wrote and nobody will read: beyond its rate, or in lines that were too long.",
        rows,
        |cells| read(&cells.log_dropped),
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
    for row in rows {
        let count = number(row.cells);
        if count > 0 {
            page.sample(name, &row.labels([]), count);
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
    page.single(
        "runner_requests_started_total",
        Kind::Counter,
        "Requests over connections that have begun, however they ended.",
        gauges.started,
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
