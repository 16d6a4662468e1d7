//! A template is filled once, and no error shows what it was filled with.
//!
//! The input is text: the value of the variable `plain`, what follows in the value of the secret `token`, a template for
//! a variable of the component, a rule, the URL of a second rule, and the value of the header that this one adds.

use std::net::IpAddr;
use std::path::Path;

use runner_manifest::{AllowedHost, Manifest, Variables};

use crate::shown::is_fit_for_a_terminal;
use crate::toml::quoted;

/// Longer inputs say nothing new.
const MAX_INPUT: usize = 4096;

/// What the operator gave, and what a file has: a name of a host too, so that it gets far.
const GIVEN: &str = "kx9vq2given";
const WRITTEN: &str = "kx9vq2written";

/// Checks the property for one input.
///
/// # Panics
/// Where it does not hold.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if text.len() > MAX_INPUT || text.to_lowercase().contains("kx9vq2") {
        return;
    }
    let mut lines = text.split('\n');
    let [plain, tail, template, rule, url, header] =
        [(); 6].map(|()| lines.next().unwrap_or_default());
    let token = format!("{GIVEN}{tail}");
    let values = [
        ("plain", plain),
        ("token", token.as_str()),
        ("written", WRITTEN),
    ];
    fills_what_is_written(template, &values);
    fills_rules(rule, "", &values);
    fills_rules(url, header, &values);
}

/// As a second, slow reading fills it; or an error.
fn fills_what_is_written(template: &str, values: &[(&str, &str)]) {
    let lines = format!("variables = {{ v = {} }}", quoted(template));
    let read = read(&lines, values);
    let filled = read.as_ref().map(|manifest| {
        let component = &manifest.components["a"];
        component.variables["v"].expose().to_owned()
    });
    assert_eq!(filled, slow(template, values), "{template:?} {values:?}");
}

/// A rule that is filled is a rule by itself, for no more than was written.
fn fills_rules(rule: &str, header: &str, values: &[(&str, &str)]) {
    let inject = match header {
        "" => String::new(),
        header => format!(
            ", inject = {{ header = \"x-key\", value = {} }}",
            quoted(header)
        ),
    };
    for (entry, is_table) in [
        (quoted(rule), false),
        (format!("{{ url = {}{inject} }}", quoted(rule)), true),
    ] {
        let Some(manifest) = read(&format!("allowed_outbound_hosts = [{entry}]"), values) else {
            continue;
        };
        let rules = manifest.components["a"].allow.rules();
        if rules.is_empty() {
            continue;
        }
        let filled = slow(rule, values).expect("it was filled");
        if is_range(&filled) {
            // A template was cut before: there it is a path at an address, which is less.
            continue;
        }
        let by_itself = match is_table {
            true => AllowedHost::parse_url(&filled, &[]),
            false => AllowedHost::parse(&filled),
        };
        assert!(by_itself.is_ok(), "{rule:?} {filled:?}");
        // Only what is written out is a star.
        assert_eq!(
            filled.contains('*'),
            rule.contains('*'),
            "{rule:?} {filled:?}"
        );
    }
}

/// Whether what follows an address would be read as the length of a range's prefix.
fn is_range(rule: &str) -> bool {
    let server = rule
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'));
    server.is_some_and(|(host, after)| {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok()
            && after.starts_with(|c: char| c.is_ascii_digit() || "+{".contains(c))
    })
}

/// The manifest with these lines, unless there is an error; whatever is said shows no secret.
fn read(lines: &str, values: &[(&str, &str)]) -> Option<Manifest> {
    let text = format!(
        "spin_manifest_version = 2\n[application]\nname = \"a\"\n[variables]\n\
         plain = {{ default = \"\" }}\ntoken = {{ required = true, secret = true }}\n\
         written = {{ default = \"{WRITTEN}\", secret = true }}\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"a\"\n\
         [component.a]\nsource = \"a.wasm\"\n{lines}\n"
    );
    let provided: Variables = values
        .iter()
        .filter(|(name, _)| *name != "written")
        .copied()
        .collect();
    let read = Manifest::parse(&text, Path::new("spin-like.toml"), &provided);
    let said: Vec<_> = match &read {
        Ok(manifest) => manifest.warnings.iter().collect(),
        Err(error) => error.diagnostics.iter().collect(),
    };
    for said in said {
        let shown = said.to_string();
        is_fit_for_a_terminal(&shown);
        assert!(!shown.to_lowercase().contains("kx9vq2"), "{shown}");
        assert!(
            !format!("{said:?}").to_lowercase().contains(GIVEN),
            "{shown}"
        );
    }
    read.ok()
}

/// Fills a template character by character.
fn slow(template: &str, values: &[(&str, &str)]) -> Option<String> {
    let mut out = String::new();
    let mut at = 0;
    while at < template.len() {
        let rest = &template[at..];
        if !rest.starts_with("{{") {
            let next = rest.chars().next()?;
            out.push(next);
            at += next.len_utf8();
            continue;
        }
        let end = rest.find("}}").filter(|end| *end >= 2)?;
        let name = rest[2..end].trim();
        out.push_str(values.iter().find(|(own, _)| *own == name)?.1);
        at += end + 2;
    }
    Some(out)
}
