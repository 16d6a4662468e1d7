//! The four things that are tried, and what became of each.

use std::{env, fs, io};

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, OutgoingRequest, RequestOptions, Scheme,
};

/// What there is to take on a machine in the cloud.
const METADATA: &str = "169.254.169.254";
const FILE: &str = "/etc/passwd";
const VARIABLE: &str = "AWS_SECRET_ACCESS_KEY";

/// Two seconds, in nanoseconds: on a stage nobody waits for an address that does not answer.
const TIMEOUT: u64 = 2_000_000_000;

/// One attempt.
pub struct Attempt {
    /// `http`, `file` or `variable`.
    pub what: &'static str,
    pub target: String,
    pub outcome: Outcome,
    /// The error's name, or the status and the first line of what came back.
    pub detail: String,
    /// What would grant it: a rule for `http`, a manifest key for the others. A guest knows neither its own name nor where
    /// its manifest is, so the command is the host's to tell.
    pub grant: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Outcome {
    Allowed,
    Denied,
    NotThere,
    Failed,
}

impl Outcome {
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Allowed => "allowed",
            Outcome::Denied => "denied",
            Outcome::NotThere => "not there",
            Outcome::Failed => "failed",
        }
    }
}

/// Tries everything, in order.
pub fn all(port: u16) -> [Attempt; 4] {
    [
        http(&format!("127.0.0.1:{port}"), "/collect"),
        http(METADATA, "/latest/meta-data/"),
        file(FILE),
        variable(VARIABLE),
    ]
}

fn http(authority: &str, path: &str) -> Attempt {
    let (outcome, detail) = match fetch(authority, path) {
        Ok(answer) => (Outcome::Allowed, answer),
        Err(ErrorCode::HttpRequestDenied) => (Outcome::Denied, "HTTP-request-denied".into()),
        Err(error) => (Outcome::Failed, name(&error).into()),
    };
    Attempt {
        what: "http",
        target: format!("http://{authority}{path}"),
        grant: (outcome == Outcome::Denied).then(|| format!("http://{authority}")),
        outcome,
        detail,
    }
}

/// The status and the first line of the body.
fn fetch(authority: &str, path: &str) -> Result<String, ErrorCode> {
    let request = OutgoingRequest::new(Fields::new());
    let _ = request.set_scheme(Some(&Scheme::Http));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(path));
    let options = RequestOptions::new();
    let _ = options.set_connect_timeout(Some(TIMEOUT));
    let _ = options.set_first_byte_timeout(Some(TIMEOUT));

    let answer = outgoing_handler::handle(request, Some(options))?;
    answer.subscribe().block();
    let response = answer
        .get()
        .expect("it is ready")
        .expect("it is taken once")?;
    let status = response.status();
    Ok(format!("{status} {}", first_line(&response))
        .trim_end()
        .to_owned())
}

fn first_line(response: &IncomingResponse) -> String {
    let Ok(body) = response.consume() else {
        return String::new();
    };
    let text = read(&body).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(60)
        .collect()
}

/// The beginning is enough: one read.
fn read(body: &IncomingBody) -> Option<Vec<u8>> {
    body.stream().ok()?.blocking_read(1024).ok()
}

/// The usual ones by their own names; a name for every one would be a tenth of this component.
fn name(error: &ErrorCode) -> &'static str {
    match error {
        ErrorCode::ConnectionLimitReached => "connection-limit-reached",
        ErrorCode::ConnectionReadTimeout => "connection-read-timeout",
        ErrorCode::ConnectionRefused => "connection-refused",
        ErrorCode::ConnectionTerminated => "connection-terminated",
        ErrorCode::ConnectionTimeout => "connection-timeout",
        ErrorCode::DestinationIpProhibited => "destination-IP-prohibited",
        ErrorCode::DestinationNotFound => "destination-not-found",
        ErrorCode::HttpResponseTimeout => "HTTP-response-timeout",
        ErrorCode::InternalError(_) => "internal-error",
        _ => "another error",
    }
}

fn file(path: &str) -> Attempt {
    let (outcome, detail) = match fs::read(path) {
        Ok(bytes) => (Outcome::Allowed, format!("{} bytes", bytes.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            (Outcome::NotThere, "no such file".into())
        }
        Err(error) => (Outcome::Failed, error.to_string()),
    };
    let grant = (outcome != Outcome::Allowed).then(|| "files".into());
    Attempt {
        what: "file",
        target: path.into(),
        outcome,
        detail,
        grant,
    }
}

fn variable(name: &str) -> Attempt {
    let (outcome, detail) = match env::var_os(name) {
        Some(value) => (Outcome::Allowed, format!("{} bytes", value.len())),
        None => (Outcome::NotThere, "no such variable".into()),
    };
    let grant = (outcome != Outcome::Allowed).then(|| "environment".into());
    Attempt {
        what: "variable",
        target: name.into(),
        outcome,
        detail,
        grant,
    }
}

/// `{"attempts":[…]}`, in lines that fit a terminal of 80 columns.
pub fn to_json(attempts: &[Attempt]) -> String {
    let attempts: Vec<String> = attempts.iter().map(object).collect();
    format!("{{\"attempts\": [\n{}\n]}}\n", attempts.join(",\n"))
}

fn object(attempt: &Attempt) -> String {
    format!(
        "  {{\"what\": {}, \"target\": {},\n   \"outcome\": {}, \"detail\": {},\n   \"grant\": {}}}",
        quoted(attempt.what),
        quoted(&attempt.target),
        quoted(attempt.outcome.word()),
        quoted(&attempt.detail),
        attempt.grant.as_deref().map_or("null".into(), quoted),
    )
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            control if control < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(control))),
            plain => json.push(plain),
        }
    }
    json.push('"');
    json
}
