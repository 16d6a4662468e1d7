//! The same report as a page: no asset from elsewhere, light and dark, legible from the last row.

use crate::attempt::{Attempt, Outcome};

const STYLE: &str = include_str!("page.css");

/// The page on `/`.
pub fn hello() -> String {
    page(
        "hello",
        "<h1>hello from thief</h1>\n<p class=\"lead\">A small component with no rights at all. <a href=\"/steal\">See what it tries to steal.</a></p>",
    )
}

/// The page on `/steal`.
pub fn report(attempts: &[Attempt]) -> String {
    let allowed = attempts
        .iter()
        .filter(|attempt| attempt.outcome == Outcome::Allowed)
        .count();
    let cards: String = attempts.iter().map(card).collect();
    page(
        "what thief tried to steal",
        &format!(
            "<h1>thief tried {} things</h1>\n<p class=\"lead\">{allowed} allowed, {} not. What is allowed stands in the manifest, line by line.</p>\n<ol>\n{cards}</ol>",
            attempts.len(),
            attempts.len() - allowed,
        ),
    )
}

fn card(attempt: &Attempt) -> String {
    let (class, sign) = match attempt.outcome {
        Outcome::Allowed => ("allowed", "✓"),
        Outcome::Denied | Outcome::NotThere | Outcome::Failed => ("refused", "✗"),
    };
    format!(
        "<li class=\"{class}\">\n<p class=\"outcome\"><span aria-hidden=\"true\">{sign}</span> {}</p>\n<div>\n<h2>{}</h2>\n<p class=\"target\"><code>{}</code></p>\n<p class=\"detail\">{}</p>\n{}</div>\n</li>\n",
        attempt.outcome.word(),
        title(attempt.what),
        escaped(&attempt.target),
        escaped(&attempt.detail),
        grant(attempt),
    )
}

fn title(what: &str) -> &str {
    match what {
        "http" => "call over HTTP",
        "file" => "read a file",
        _ => "read a variable",
    }
}

fn grant(attempt: &Attempt) -> String {
    let Some(grant) = attempt.grant.as_deref().map(escaped) else {
        return String::new();
    };
    match attempt.what {
        "http" => format!(
            "<p class=\"grant\">to allow exactly this, add the rule <kbd>{grant}</kbd>; the log has the command</p>\n"
        ),
        _ => format!(
            "<p class=\"grant\">to grant one, use the key <kbd>{grant}</kbd> of this component</p>\n"
        ),
    }
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
}

fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            plain => html.push(plain),
        }
    }
    html
}
