//! What is asked of whom, and what is promised of the answers.

use super::contender::Contender;
use super::numbers::{Number, Rounds, median, spread};
use crate::siege::report::Measure;

/// The same requests for several contenders.
pub(super) struct Workload {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// `{upstream}` in it is the address of the upstream.
    pub(super) path: &'static str,
    /// What wrk is told beside the path.
    pub(super) script: &'static str,
    pub(super) connections: u32,
    pub(super) contenders: &'static [Contender],
    pub(super) bars: &'static [Bar],
}

/// What a number of one contender has to be beside that of another.
pub(super) struct Bar {
    what: &'static str,
    pub(super) of: Contender,
    pub(super) over: Contender,
    number: Number,
    bound: Bound,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

use Bound::{AtLeast, AtMost};
use Contender::{
    Bare, Nginx, Other, Runner, RunnerConcurrent, RunnerMany, RunnerOne, RunnerRoutes,
    RunnerSerial, Wasmtime, WasmtimeConcurrent, WasmtimeReuse, WasmtimeTuned,
};

const fn bar(
    what: &'static str,
    (number, of, over): (Number, Contender, Contender),
    bound: Bound,
) -> Bar {
    Bar {
        what,
        of,
        over,
        number,
        bound,
    }
}

const HELLO: &[Contender] = &[
    Runner,
    RunnerSerial,
    RunnerConcurrent,
    Bare,
    Nginx,
    Wasmtime,
    WasmtimeTuned,
    WasmtimeReuse,
    WasmtimeConcurrent,
    Other,
];

const RATES: &[Bar] = &[
    bar("of bare hyper", (Number::Rate, Runner, Bare), AtLeast(0.45)),
    bar(
        "of wasmtime, tuned",
        (Number::Rate, Runner, WasmtimeTuned),
        AtLeast(2.0),
    ),
    bar(
        "of wasmtime",
        (Number::Rate, Runner, Wasmtime),
        AtLeast(4.0),
    ),
    bar(
        "processor of bare hyper's",
        (Number::Cpu, Runner, Bare),
        AtMost(3.3),
    ),
    bar(
        "RSS of wasmtime's",
        (Number::Resident, Runner, Wasmtime),
        AtMost(1.2),
    ),
    bar(
        "p99 of wasmtime's",
        (Number::P99, Runner, Wasmtime),
        AtMost(1.0 / 3.0),
    ),
    bar(
        "of bare hyper",
        (Number::Rate, RunnerSerial, Bare),
        AtLeast(0.7),
    ),
    bar(
        "of wasmtime, reuse",
        (Number::Rate, RunnerSerial, WasmtimeReuse),
        AtLeast(1.3),
    ),
    bar(
        "of bare hyper",
        (Number::Rate, RunnerConcurrent, Bare),
        AtLeast(0.7),
    ),
    bar(
        "of wasmtime, 0.3",
        (Number::Rate, RunnerConcurrent, WasmtimeConcurrent),
        AtLeast(1.3),
    ),
];

/// All that is asked by wrk.
pub(super) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "hello-16",
        about: "a few bytes, 16 connections",
        path: "/hello",
        script: "",
        connections: 16,
        contenders: HELLO,
        bars: RATES,
    },
    Workload {
        name: "hello-64",
        about: "a few bytes, 64 connections",
        path: "/hello",
        script: "",
        connections: 64,
        contenders: HELLO,
        bars: RATES,
    },
    Workload {
        name: "echo",
        about: "64 KiB there and back, 16 connections",
        path: "/echo",
        script: "wrk.method = 'POST'\nwrk.body = string.rep('x', 65536)\n",
        connections: 16,
        contenders: &[Runner, Bare, Wasmtime],
        bars: &[bar(
            "bytes of bare hyper's",
            (Number::Bytes, Runner, Bare),
            AtLeast(0.7),
        )],
    },
    Workload {
        name: "stream",
        about: "1 MiB in pieces, 16 connections",
        path: "/big?bytes=1048576",
        script: "",
        connections: 16,
        contenders: &[Runner, Bare, Wasmtime],
        bars: &[bar(
            "bytes of bare hyper's",
            (Number::Bytes, Runner, Bare),
            AtLeast(0.7),
        )],
    },
    Workload {
        name: "outbound",
        about: "a call to an upstream on this machine, 16 connections",
        path: "/fetch?url=http://{upstream}/hello",
        script: "",
        connections: 16,
        contenders: &[Runner, Wasmtime],
        bars: &[bar(
            "of wasmtime",
            (Number::Rate, Runner, Wasmtime),
            AtLeast(3.0),
        )],
    },
    Workload {
        name: "routes",
        about: "one component by one route, by one of 10,000, and 100 in turn; 16 connections",
        path: "/r50",
        script: "local at = 0\nrequest = function()\n  at = (at + 1) % 100\n  return wrk.format(nil, '/r' .. at)\nend\n",
        connections: 16,
        contenders: &[RunnerOne, RunnerRoutes, RunnerMany],
        bars: &[
            bar(
                "of one route",
                (Number::Rate, RunnerRoutes, RunnerOne),
                AtLeast(0.98),
            ),
            bar(
                "of one component",
                (Number::Rate, RunnerMany, RunnerOne),
                AtLeast(0.95),
            ),
        ],
    },
];

impl Bar {
    /// The ratio, with what is promised of it, and how it varied.
    pub(super) fn judge(&self, of: &Rounds, over: &Rounds) -> (Measure, String) {
        let ratios = of.over(over, self.number);
        let note = format!("{}: {}", self.what, spread(&ratios));
        let told = Measure::told(self.what, median(ratios), "");
        let measure = match self.bound {
            AtLeast(least) => told.at_least(least),
            AtMost(most) => told.at_most(most),
        };
        (measure, note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_compares_two_that_are_both_measured() {
        for workload in WORKLOADS {
            for bar in workload.bars {
                for contender in [bar.of, bar.over] {
                    let name = workload.name;
                    assert!(
                        workload.contenders.contains(&contender),
                        "{name}: {contender}"
                    );
                }
            }
        }
    }
}
