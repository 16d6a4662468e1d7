//! Prometheus's text format, version 0.0.4.

use std::fmt::{Display, Write};

/// What a family of metrics is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A label's name and value.
pub(super) type Label<'a> = (&'a str, &'a str);

/// The text, while it is written.
#[derive(Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// Begins a family: its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One line.
    pub(super) fn sample(&mut self, name: &str, labels: &[Label<'_>], value: impl Display) {
        self.0 += name;
        for (at, (name, value)) in labels.iter().enumerate() {
            self.0.push(if at == 0 { '{' } else { ',' });
            self.0 += name;
            self.0 += "=\"";
            self.escaped(value);
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn escaped(&mut self, value: &str) {
        for c in value.chars() {
            match c {
                '\\' => self.0 += "\\\\",
                '"' => self.0 += "\\\"",
                '\n' => self.0 += "\\n",
                c => self.0.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_families_of_samples_and_no_value_leaves_its_quotes() {
        let mut page = Exposition::default();
        page.single("up", Kind::Gauge, "Whether it is up.", 1);
        page.family("calls_total", Kind::Counter, "Calls.");
        for value in ["plain", "", "a\"} 1\nup 0", "back\\slash\\n", "日本"] {
            page.sample("calls_total", &[("to", value), ("how", "x")], 0.5);
        }
        let expected = concat!(
            "# HELP up Whether it is up.\n# TYPE up gauge\nup 1\n",
            "# HELP calls_total Calls.\n# TYPE calls_total counter\n",
            "calls_total{to=\"plain\",how=\"x\"} 0.5\n",
            "calls_total{to=\"\",how=\"x\"} 0.5\n",
            "calls_total{to=\"a\\\"} 1\\nup 0\",how=\"x\"} 0.5\n",
            "calls_total{to=\"back\\\\slash\\\\n\",how=\"x\"} 0.5\n",
            "calls_total{to=\"日本\",how=\"x\"} 0.5\n",
        );
        assert_eq!(page.into_text(), expected);
    }
}
