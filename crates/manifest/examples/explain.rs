//! Reads a manifest and says for each of its components whether a URL is allowed, and by which rule.
//!
//! `cargo run -p runner-manifest --example explain -- spin-like.toml https://api.example.com`

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use runner_manifest::{Call, Destination, Manifest, Variables, Verdict};

/// What is read when no file is named.
const SAMPLE: &str = r#"
spin_manifest_version = 2
[application]
name = "sample"
[[trigger.http]]
route = "/..."
component = "cart"
[component.cart]
source = "cart.wasm"
allowed_outbound_hosts = ["https://*.example.com", "http://127.0.0.1:9100"]
"#;

fn main() -> ExitCode {
    match explain() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn explain() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let manifest = match arguments.next() {
        Some(path) => Manifest::load(&PathBuf::from(path), &Variables::default())?,
        None => Manifest::parse(SAMPLE, &PathBuf::from("sample.toml"), &Variables::default())?,
    };
    let url = arguments
        .next()
        .unwrap_or_else(|| "http://127.0.0.1:9101/collect".into());
    let to = Destination::from_url(&url)?;
    let mut out = std::io::stdout();
    for (id, component) in &manifest.components {
        match component.allow.check(&Call::get(&to)) {
            Verdict::Allow { rule, .. } => writeln!(out, "{id}: {to} is allowed by {rule}")?,
            Verdict::Deny {
                nearest: Some(miss),
            } => writeln!(out, "{id}: {to} is denied; {}: {miss}", miss.rule)?,
            Verdict::Deny { nearest: None } => writeln!(out, "{id}: {to} is denied")?,
        }
    }
    Ok(())
}
