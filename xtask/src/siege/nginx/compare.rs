//! What nginx took requests for, against what the server answered.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Protocol;
use super::proxy::Way;
use crate::siege::report::{Finding, Measure};

/// What both sides told of one connection's bytes.
pub(crate) struct Round {
    /// nginx's log.
    pub(crate) proxied: Vec<Value>,
    /// The server's, of requests that reached a guest.
    pub(crate) served: Vec<Value>,
}

/// What was seen one way.
#[derive(Default)]
pub(crate) struct Tally {
    cases: usize,
    proxied: usize,
    refused: usize,
    unfinished: usize,
    served: usize,
    /// What was not the same on both sides, each with its case.
    pub(crate) differences: Vec<String>,
    /// How long the bodies are that nginx has had as a whole, by target. Where it passes a body on while it comes, it must
    /// have passed on as much.
    bodies: BTreeMap<String, usize>,
    knows_bodies: bool,
    /// The server never sees a fragment: it must have seen what is before it.
    cuts_fragments: bool,
    fragments: usize,
}

/// What the server may say to what it takes for no request; no guest sees that, and its log has no line of a request.
const REFUSALS: &[&str] = &[
    "400", "405", "408", "413", "414", "417", "421", "431", "501", "505",
];

/// How far a request came that nginx logged.
#[derive(Clone, Copy, PartialEq)]
enum Reached {
    /// The server has not seen it.
    Kept,
    /// The server took it for none.
    Refused,
    /// The server may have seen some of it: one of both gave it up.
    Begun,
    /// The server has answered it.
    Answered,
}

impl Round {
    /// How many requests the server may tell of.
    pub(crate) fn forwarded(&self) -> usize {
        let passed_on = |seen: &&Value| matches!(reached(seen), Reached::Begun | Reached::Answered);
        self.proxied.iter().filter(passed_on).count()
    }
}

fn reached(seen: &Value) -> Reached {
    match text(seen, "upstream").as_str() {
        "" => Reached::Kept,
        "-" | "502" | "504" => Reached::Begun,
        status if text(seen, "saw_url").is_empty() && REFUSALS.contains(&status) => {
            Reached::Refused
        }
        _ => Reached::Answered,
    }
}

impl Tally {
    /// Begins with another way; of the one before it is kept how long bodies are.
    pub(crate) fn begin(&mut self, way: &Way) {
        let bodies = match way.knows_bodies {
            true => BTreeMap::new(),
            false => std::mem::take(&mut self.bodies),
        };
        *self = Tally {
            bodies,
            knows_bodies: way.knows_bodies,
            cuts_fragments: way.server == Protocol::Http2,
            ..Tally::default()
        };
    }

    /// What came of a case.
    pub(crate) fn case(&mut self, name: &str, round: &Round) {
        self.cases += 1;
        self.compare(name, round);
    }

    /// What came of the ordinary request behind it, which must have been answered as any.
    pub(crate) fn follower(&mut self, name: &str, round: &Round) {
        let [seen] = &round.proxied[..] else {
            return self.differ(name, "nginx did not see the request behind it".to_owned());
        };
        if text(seen, "status") != "200" || round.served.len() != 1 {
            let status = text(seen, "status");
            self.differ(
                name,
                format!("the request behind it was answered with `{status}`"),
            );
        }
        self.compare(&format!("behind {name}"), round);
    }

    fn compare(&mut self, name: &str, round: &Round) {
        if self.knows_bodies {
            let known = round.proxied.iter();
            self.bodies
                .extend(known.map(|seen| (text(seen, "target"), text(seen, "body").len())));
        }
        let count = |wanted| {
            round
                .proxied
                .iter()
                .filter(|seen| reached(seen) == wanted)
                .count()
        };
        self.proxied += round.proxied.len();
        self.refused += count(Reached::Refused);
        self.served += round.served.len();
        let mut served: Vec<&Value> = round.served.iter().collect();
        for seen in &round.proxied {
            let outcome = match (reached(seen), take(&mut served, seen)) {
                (Reached::Kept | Reached::Refused, _) | (Reached::Begun, None) => Ok(()),
                (Reached::Answered, None) => Err("the server did not have it".to_owned()),
                (Reached::Answered, Some(line)) => self.answered(seen, line),
                (Reached::Begun, Some(line)) => self.begun(seen, line),
            };
            if let Err(how) = outcome {
                self.differ(name, format!("{how} (`{}`)", text(seen, "request")));
            }
        }
        for line in served {
            let (method, path) = (text(line, "method"), text(line, "path"));
            self.differ(name, format!("only the server had `{method} {path}`"));
        }
    }

    fn differ(&mut self, name: &str, how: String) {
        self.differences.push(format!("{name}: {how}"));
    }

    /// A request that nginx did not get to its end: nor has the server, unless it was whole without what nginx refused.
    fn begun(&mut self, seen: &Value, line: &Value) -> Result<(), String> {
        if is_whole(line) {
            return same("body", &text(seen, "length"), &line["bytes"].to_string());
        }
        self.unfinished += 1;
        Ok(())
    }

    /// A request that nginx has an answer to.
    fn answered(&mut self, seen: &Value, line: &Value) -> Result<(), String> {
        match (text(seen, "done") == "OK", is_whole(line)) {
            (true, true) => {}
            (false, false) => {
                self.unfinished += 1;
                return Ok(());
            }
            (true, false) => return Err("whole at nginx, broken off at the server".to_owned()),
            (false, true) => return Err("broken off at nginx, whole at the server".to_owned()),
        }
        let target = text(seen, "target");
        same(
            "status",
            &text(seen, "upstream"),
            &line["status"].to_string(),
        )?;
        if path(&target) != "/echo" {
            return Ok(());
        }
        // The guest says what it got, and its echo is as long as the body was.
        let sent = match target.split_once('#') {
            Some((sent, _)) if self.cuts_fragments => {
                self.fragments += 1;
                sent
            }
            _ => &target,
        };
        let url = format!("http://{}{sent}", text(seen, "host"));
        same(
            "method in the guest",
            &text(seen, "method"),
            &text(seen, "saw_method"),
        )?;
        same("URL in the guest", &url, &text(seen, "saw_url"))?;
        match self
            .bodies
            .get(&target)
            .filter(|_| text(seen, "method") != "HEAD")
        {
            Some(body) => same("body", &body.to_string(), &line["bytes"].to_string()),
            None => Ok(()),
        }
    }

    /// What it comes to.
    pub(crate) fn finding(&self, way: &Way) -> Finding {
        let measures = vec![
            Measure::told("cases", self.cases as f64, "").at_least(1.0),
            Measure::told("requests at nginx", self.proxied as f64, ""),
            Measure::told("at guests", self.served as f64, "").at_least(self.cases as f64),
            Measure::told("refused by the server", self.refused as f64, ""),
            Measure::told("broken off on both sides", self.unfinished as f64, ""),
            Measure::told("fragments cut off", self.fragments as f64, ""),
            Measure::told("differences", self.differences.len() as f64, "").exactly(0.0),
        ];
        Finding::new(way.name, measures).noting(self.differences.iter().cloned())
    }
}

/// The server's first line of a request with this method and path.
fn take<'a>(served: &mut Vec<&'a Value>, seen: &Value) -> Option<&'a Value> {
    let target = text(seen, "target");
    let wanted = (text(seen, "method"), path(&target).to_owned());
    let is_it = |line: &&Value| (text(line, "method"), text(line, "path")) == wanted;
    let passed_on = matches!(reached(seen), Reached::Begun | Reached::Answered);
    let at = served.iter().position(is_it).filter(|_| passed_on)?;
    Some(served.remove(at))
}

fn path(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or_default()
}

fn same(what: &str, nginx: &str, server: &str) -> Result<(), String> {
    if nginx == server {
        return Ok(());
    }
    Err(format!("{what}: nginx `{nginx}`, server `{server}`"))
}

/// The guest had all of the request, and the client all of the response.
fn is_whole(line: &Value) -> bool {
    text(line, "outcome") == "complete"
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences(seen: Value, line: Value) -> Vec<String> {
        let mut tally = Tally {
            knows_bodies: true,
            ..Tally::default()
        };
        let round = Round {
            proxied: vec![seen],
            served: vec![line],
        };
        tally.case("a case", &round);
        tally.differences
    }

    #[test]
    fn what_both_sides_saw_is_the_same_or_is_told() {
        let seen = |key: &str, value: &str| {
            let mut seen = json!({
                "method": "POST", "target": "/echo?x", "request": "POST /echo?x HTTP/1.1", "host": "h",
                "status": "200", "upstream": "200", "done": "OK", "body": "hello", "length": "5",
                "saw_method": "POST", "saw_url": "http://h/echo?x",
            });
            seen[key] = value.into();
            seen
        };
        let line = json!({
            "method": "POST", "path": "/echo", "status": 200, "bytes": 5, "outcome": "complete",
        });
        let not_there = [
            "the server did not have it (`POST /echo?x HTTP/1.1`)",
            "only the server had `POST /echo`",
        ];
        let table: [(&str, &str, &[&str]); 11] = [
            ("status", "200", &[]),
            ("method", "GET", &not_there),
            ("target", "/x", &not_there),
            (
                "upstream",
                "204",
                &["status: nginx `204`, server `200` (`POST /echo?x HTTP/1.1`)"],
            ),
            (
                "saw_method",
                "PUT",
                &["method in the guest: nginx `POST`, server `PUT` (`POST /echo?x HTTP/1.1`)"],
            ),
            (
                "host",
                "g",
                &[
                    "URL in the guest: nginx `http://g/echo?x`, server `http://h/echo?x` (`POST /echo?x HTTP/1.1`)",
                ],
            ),
            (
                "body",
                "hell",
                &["body: nginx `4`, server `5` (`POST /echo?x HTTP/1.1`)"],
            ),
            (
                "done",
                "",
                &["broken off at nginx, whole at the server (`POST /echo?x HTTP/1.1`)"],
            ),
            ("upstream", "", &["only the server had `POST /echo`"]),
            ("upstream", "502", &[]),
            ("upstream", "-", &[]),
        ];
        for (key, value, expected) in table {
            let expected: Vec<String> = expected
                .iter()
                .map(|how| format!("a case: {how}"))
                .collect();
            assert_eq!(
                differences(seen(key, value), line.clone()),
                expected,
                "{key}"
            );
        }
    }
}
