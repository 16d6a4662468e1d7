//! What is written down is true of what is there.

use std::fs;
use std::path::Path;

use runner_manifest::{Manifest, Variables};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("in the workspace")
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The TOML blocks of a page.
fn blocks(page: &str) -> Vec<String> {
    page.split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

/// A block as a whole manifest: what it leaves out is what the page's first block says.
fn whole(block: &str) -> String {
    let mut text = String::new();
    if !block.contains("spin_manifest_version") {
        text.push_str("spin_manifest_version = 2\n[application]\nname = \"doc\"\n");
    }
    text.push_str(block);
    if !block.contains("[[trigger.http]]") {
        text.push_str("\n[[trigger.http]]\nroute = \"/...\"\ncomponent = \"shop\"\n");
    }
    for id in ["shop", "billing"] {
        if !block.contains(&format!("[component.{id}]")) {
            text.push_str(&format!("\n[component.{id}]\nsource = \"{id}.wasm\"\n"));
        }
    }
    text
}

#[test]
fn every_toml_block_of_the_manifest_page_is_a_manifest() {
    let page = read("docs/manifest.md");
    let mut provided = Variables::default();
    provided.insert("token", "secret");
    assert!(blocks(&page).len() >= 5);
    for block in blocks(&page) {
        if let Err(error) = Manifest::parse(&whole(&block), Path::new("spin-like.toml"), &provided)
        {
            panic!("{error}\n\nin:\n{block}");
        }
    }
}

#[test]
fn every_manifest_in_the_tree_is_one() {
    for name in [
        "spin-like.toml",
        "demo/upstream/spin-like.toml",
        "templates/http-rust/spin-like.toml",
    ] {
        if let Err(error) = Manifest::parse(&read(name), Path::new(name), &Variables::default()) {
            panic!("{name}: {error}");
        }
    }
}

#[tokio::test]
async fn the_denial_in_the_readme_is_the_one_that_is_printed() {
    let explained = runner_tests::run(root(), &["explain", "thief", "http://127.0.0.1:9100"]).await;
    assert_eq!(explained.code, 1);
    let printed = if explained.stdout.is_empty() {
        explained.stderr
    } else {
        explained.stdout
    };
    assert!(read("README.md").contains(printed.trim_end()), "{printed}");
}

#[tokio::test]
async fn the_schemas_in_the_tree_are_what_runner_prints() {
    let printed = runner_tests::run(root(), &["schema"]).await;
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
    for name in [
        "docs/schema/spin-like.schema.json",
        "templates/http-rust/spin-like.schema.json",
    ] {
        assert!(
            read(name) == printed.stdout,
            "{name} is old; run `runner schema > {name}`"
        );
    }
    let template = read("templates/http-rust/spin-like.toml");
    assert!(template.starts_with("#:schema ./spin-like.schema.json\n"));
}

#[test]
fn the_guests_are_what_their_sources_say() {
    let differences =
        xtask::guests::check(xtask::root()).expect("the lock and the sources can be read");
    assert_eq!(differences, [""; 0], "run `cargo xtask guests`");
}
