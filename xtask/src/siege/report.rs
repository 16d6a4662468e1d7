//! What was measured, what is promised, and whether it held.

use std::fmt;

use serde_json::{Value, json};

/// One attack and all that was measured of it.
#[derive(Debug)]
pub(crate) struct Finding {
    name: String,
    measures: Vec<Measure>,
    /// Why it was not done, where it was not.
    left_out: Option<String>,
    /// What goes beside the numbers: the first few things that went wrong.
    notes: Vec<String>,
    load: String,
}

/// One number, with the promise about it.
#[derive(Clone, Debug)]
pub(crate) struct Measure {
    what: &'static str,
    value: f64,
    unit: &'static str,
    promise: Promise,
}

/// What must hold for a number.
#[derive(Clone, Copy, Debug)]
enum Promise {
    /// Nothing: it is told for whoever reads.
    None,
    Exactly(f64),
    AtMost(f64),
    AtLeast(f64),
    Below(f64),
}

/// How many notes a line may have.
const NOTES: usize = 4;

impl Finding {
    pub(crate) fn new(name: impl Into<String>, measures: Vec<Measure>) -> Finding {
        Finding {
            name: name.into(),
            measures,
            left_out: None,
            notes: Vec::new(),
            load: load(),
        }
    }

    /// One that was not done, and why: neither held nor failed.
    pub(crate) fn left_out(name: impl Into<String>, why: impl Into<String>) -> Finding {
        Finding {
            left_out: Some(why.into()),
            ..Finding::new(name, Vec::new())
        }
    }

    pub(crate) fn noting(mut self, notes: impl IntoIterator<Item = String>) -> Finding {
        let room = NOTES.saturating_sub(self.notes.len());
        self.notes.extend(notes.into_iter().take(room));
        self
    }

    pub(crate) fn add(&mut self, measure: Measure) {
        self.measures.push(measure);
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn failed(&self) -> bool {
        self.measures.iter().any(|measure| !measure.holds())
    }

    pub(crate) fn is_left_out(&self) -> bool {
        self.left_out.is_some()
    }

    fn outcome(&self) -> &'static str {
        match (self.is_left_out(), self.failed()) {
            (true, _) => "left out",
            (false, true) => "NOT HELD",
            (false, false) => "held",
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "outcome": self.outcome().to_lowercase(),
            "why": self.left_out,
            "measures": self.measures.iter().map(Measure::json).collect::<Vec<_>>(),
            "notes": self.notes,
            "load": self.load,
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:<24} {:<8}  ", self.name, self.outcome())?;
        if let Some(why) = &self.left_out {
            return write!(f, "{why}");
        }
        for measure in &self.measures {
            write!(f, "{measure}; ")?;
        }
        write!(f, "load {}", self.load)?;
        for note in &self.notes {
            write!(f, "\n  {:<24} {:<8}  {note}", "", "")?;
        }
        Ok(())
    }
}

impl Measure {
    /// A number that is only told.
    pub(crate) fn told(what: &'static str, value: f64, unit: &'static str) -> Measure {
        Measure {
            what,
            value,
            unit,
            promise: Promise::None,
        }
    }

    pub(crate) fn exactly(self, value: f64) -> Measure {
        self.promised(Promise::Exactly(value))
    }

    pub(crate) fn at_most(self, value: f64) -> Measure {
        self.promised(Promise::AtMost(value))
    }

    pub(crate) fn at_least(self, value: f64) -> Measure {
        self.promised(Promise::AtLeast(value))
    }

    pub(crate) fn below(self, value: f64) -> Measure {
        self.promised(Promise::Below(value))
    }

    fn promised(self, promise: Promise) -> Measure {
        Measure { promise, ..self }
    }

    fn holds(&self) -> bool {
        match self.promise {
            Promise::None => true,
            Promise::Exactly(value) => self.value == value,
            Promise::AtMost(most) => self.value <= most,
            Promise::AtLeast(least) => self.value >= least,
            Promise::Below(limit) => self.value < limit,
        }
    }

    fn json(&self) -> Value {
        let promise = self.promise.to_string();
        json!({
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "promise": (!promise.is_empty()).then_some(promise),
            "held": self.holds(),
        })
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.holds() { "" } else { "!! " };
        write!(f, "{mark}{} {}", self.what, number(self.value))?;
        if !self.unit.is_empty() {
            write!(f, " {}", self.unit)?;
        }
        match self.promise {
            Promise::None => Ok(()),
            promise => write!(f, " ({promise})"),
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Promise::None => Ok(()),
            Promise::Exactly(value) => write!(f, "= {}", number(*value)),
            Promise::AtMost(value) => write!(f, "<= {}", number(*value)),
            Promise::AtLeast(value) => write!(f, ">= {}", number(*value)),
            Promise::Below(value) => write!(f, "< {}", number(*value)),
        }
    }
}

/// Whole numbers as such, others with two digits.
fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// How busy the machine is: the one-minute load, with the sieges' own part in it.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("?").to_owned()
}

/// All findings, for programs.
pub(crate) fn json(ground: &str, findings: &[Finding]) -> String {
    let findings: Vec<Value> = findings.iter().map(Finding::json).collect();
    format!("{:#}\n", json!({ "ground": ground, "findings": findings }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_measured_what_is_promised_and_whether_it_held() {
        let held = Measure::told("p99", 12.345, "ms").below(50.0);
        let not = Measure::told("closed", 9.0, "").exactly(10.0);
        let told = Measure::told("rate", 7.0, "/s");
        let mut finding = Finding::new("silent", vec![held.clone(), not, told]);
        finding.load = "0.50".into();
        let finding = finding.noting(["one reset".to_owned()]);
        let expected = format!(
            "  {:<24} NOT HELD  p99 12.35 ms (< 50); !! closed 9 (= 10); rate 7 /s; load 0.50\n  {:<34} one reset",
            "silent", ""
        );
        assert_eq!(finding.to_string(), expected);
        assert!(finding.failed());
        assert!(!Finding::new("silent", vec![held]).failed());
    }

    #[test]
    fn what_was_left_out_has_not_failed() {
        let finding = Finding::left_out("slow", "`slowhttptest` is not installed");
        assert!(finding.is_left_out() && !finding.failed());
    }
}
