//! The host in a program that is not `runner`: `crates/host/examples/plugin_host.rs`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use runner_tests::guest;

/// Cargo says where it is, to tests it runs.
fn example() -> PathBuf {
    std::env::var_os("CARGO_BIN_EXE_plugin-host-under-test")
        .expect("run by `cargo test`")
        .into()
}

#[test]
fn every_plugin_of_a_folder_reaches_what_it_was_granted_and_nobody_elses() {
    let folder = tempfile::tempdir().expect("a folder");
    for (plugin, from) in [("one", "probe"), ("two", "probe"), ("three", "probe3")] {
        let file = folder.path().join(plugin).with_extension("wasm");
        fs::copy(guest(from), file).expect("writable");
    }
    let said = Command::new(example())
        .arg(folder.path())
        .output()
        .expect("it starts");

    let names = ["one", "three", "two"];
    let call = |own: &&str, other: &&str| {
        format!(
            "{own} calls the server of {other}: it came there is {}",
            own == other
        )
    };
    let calls = names
        .iter()
        .flat_map(|own| names.iter().map(move |other| call(own, other)));
    let mut expected: Vec<String> = calls.chain(["6 calls denied".to_owned()]).collect();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    expected.sort();
    lines.sort();
    assert_eq!((lines, said.status.code()), (expected, Some(0)), "{said:?}");
}
