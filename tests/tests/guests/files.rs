//! Files: what lies outside is not reached, and what lies inside is not changed.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use runner_tests::{App, End, Oracle, Protocol};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

use crate::{ROGUES, fault};

/// Two folders.
const FILES: &str = "files = [{ source = \"one\", destination = \"/one\" }, \
                     { source = \"two\", destination = \"/two\" }]";

fn app(source: &str) -> App {
    let app = Oracle::app(source, FILES);
    for name in ["one/a.txt", "one/deep/b.txt", "two/c.txt"] {
        app.file(name, name);
    }
    app
}

/// `not-permitted`, as JSON.
const DENIED: &str = "\"not-permitted\"";

#[tokio::test]
async fn e36_so_many_files_may_be_open_and_no_more() {
    for source in ROGUES {
        let oracle = Oracle::serve(app(source)).await;
        for (query, opened) in [
            ("n=200", 200),
            ("n=1000", 256),
            ("n=1000&close=1", 1000),
            ("n=200&stream=1", 200),
        ] {
            let path = format!("/open-many?path=a.txt&{query}");
            let answer = format!("{{\"opened\":{opened}}}");
            oracle.answers(Protocol::Http1, &path, &answer).await;
        }
        let server = oracle.server();
        // A stream keeps its file open; the folders that the guest has count too.
        let body = server
            .get("/open-many?path=a.txt&n=1000&stream=1")
            .await
            .body;
        let opened: Value = serde_json::from_str(&body).expect("JSON");
        let opened = opened["opened"].as_u64().expect("a number");
        assert!((250..=256).contains(&opened), "{opened}");
        server
            .logged(|line| line["event"] == "limit" && line["limit"] == "open_files")
            .await;
        oracle.over().await;
    }
}

#[tokio::test]
async fn e36_folders_that_are_read_are_open_files_and_take_no_threads() {
    let oracle = Oracle::serve(app("guest:rogue3")).await;
    let server = oracle.server();
    let (threads, descriptors) = (server.threads(), server.descriptors());
    let listing = server.get("/list-many?n=1000&ms=1500");
    let looking = async {
        server
            .logged(|line| line["event"] == "limit" && line["limit"] == "open_files")
            .await;
        oracle.neighbour().await;
        (server.threads(), server.descriptors())
    };
    let (reply, (more_threads, more_descriptors)) = tokio::join!(listing, looking);
    assert_eq!(reply.body, "{\"began\":1000}");
    // A file of somebody else's may be looked at meanwhile.
    assert!(more_threads <= threads + 2, "{threads}, {more_threads}");
    assert!(
        more_descriptors <= descriptors + 256 + 16,
        "{descriptors}, {more_descriptors}"
    );
    oracle.over().await;
}

#[tokio::test]
async fn e01_what_the_host_does_for_a_guest_is_on_its_account() {
    let app = app("guest:rogue3");
    app.file("one/large", &"x".repeat(8 << 20));
    let oracle = Oracle::serve(app).await;
    let computed = fault("cpu", "computed for 1s");
    // Some 8 GB; the guest itself computes nothing.
    for protocol in Protocol::BOTH {
        oracle
            .fails(
                protocol,
                "/pour?path=large&n=1000",
                504,
                End::Clean,
                computed,
            )
            .await;
    }
    oracle.over().await;
}

#[tokio::test]
async fn e32_e36_no_path_leads_out() {
    let long = "a".repeat(4096);
    for source in ROGUES {
        let oracle = Oracle::serve(app(source)).await;
        for (path, outcome) in [
            ("a.txt", "\"done\""),
            ("deep/../a.txt", "\"done\""),
            ("../../etc/passwd", DENIED),
            ("/etc/passwd", DENIED),
            ("/", DENIED),
            ("..", DENIED),
            ("deep/../../two/c.txt", DENIED),
            ("deep/../..", DENIED),
            ("../one/a.txt", DENIED),
            ("/proc/self/mem", DENIED),
            ("/proc/self/maps", DENIED),
            ("/proc/self/environ", DENIED),
            ("/proc/self/fd/0", DENIED),
            ("../../../../../../../proc/self/environ", DENIED),
            ("/dev/zero", DENIED),
            ("/dev/stdin", DENIED),
            ("a.txt%00.png", "\"invalid\""),
            ("", "\"no-entry\""),
            ("a.txt/", "\"not-directory\""),
            ("a.txt/..", "\"not-directory\""),
            (&long, "\"name-too-long\""),
        ] {
            let path = format!("/open?path={path}");
            oracle.answers(Protocol::Http1, &path, outcome).await;
        }
        oracle.over().await;
    }
}

#[tokio::test]
async fn e33_e34_e35_e38_what_is_read_only_is_not_changed() {
    for source in ROGUES {
        let oracle = Oracle::serve(app(source)).await;
        let copies = oracle.folder().join("tmp");
        let before = state(&copies);
        let has = |name: &str| before.iter().any(|(path, ..)| path.ends_with(name));
        assert!(
            has("a.txt") && has("deep/b.txt") && has("c.txt"),
            "{before:?}"
        );
        for change in [
            "create&path=new",
            "create-only&path=new",
            "create-only&path=a.txt",
            "truncate&path=a.txt",
            "write&path=a.txt",
            "write-to&path=a.txt",
            "set-size&path=a.txt",
            "unlink&path=a.txt",
            "make-folder&path=new",
            "remove-folder&path=deep",
            "symlink&path=new&to=a.txt",
            "symlink&path=new&to=/etc",
            "symlink&path=new&to=../../..",
            "link&path=a.txt&to=b.txt",
            "link&path=a.txt&to=b.txt&to-folder=1",
            "link&path=c.txt&to=c.txt&folder=1",
            "rename&path=a.txt&to=b.txt",
            "rename&path=a.txt&to=b.txt&to-folder=1",
            "rename&path=c.txt&to=c.txt&folder=1",
        ] {
            let path = format!("/change?how={change}");
            oracle.answers(Protocol::Http1, &path, DENIED).await;
        }
        for (times, outcomes) in [
            ("seconds=1&nanoseconds=1", [DENIED; 2]),
            ("seconds=1&nanoseconds=1000000000", [DENIED, "\"invalid\""]),
            ("seconds=18446744073709551615", [DENIED, "\"overflow\""]),
            ("", [DENIED, "\"overflow\""]),
        ] {
            for how in ["set-times", "set-times-at"] {
                let path = format!("/change?how={how}&path=a.txt&{times}");
                let seen = oracle.attack(Protocol::Http1, &path).await;
                assert!(outcomes.contains(&&*seen.body), "{path}: {seen:?}");
            }
        }
        assert_eq!(state(&copies), before);
        oracle.over().await;
    }
}

/// Each file and folder below, with what would show that it was changed.
fn state(folder: &Path) -> Vec<(PathBuf, u64, u64, i64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        let about = fs::symlink_metadata(&path).expect("there");
        if about.is_dir() {
            found.extend(state(&path));
        }
        found.push((path, about.len(), about.nlink(), about.mtime_nsec()));
    }
    found.sort();
    found
}

#[tokio::test]
async fn e33_what_becomes_of_a_source_afterwards_is_not_seen() {
    for source in ROGUES {
        let oracle = Oracle::serve(app(source)).await;
        let one = oracle.folder().join("one");
        fs::remove_dir_all(&one).expect("ours");
        symlink("/etc", &one).expect("ours");
        for (path, outcome) in [
            ("a.txt", "\"done\""),
            ("passwd", "\"no-entry\""),
            ("deep/b.txt", "\"done\""),
        ] {
            let path = format!("/open?path={path}");
            oracle.answers(Protocol::Http1, &path, outcome).await;
        }
        oracle.over().await;
    }
}

#[tokio::test]
async fn e36_what_is_no_file_is_not_given() {
    for source in ROGUES {
        let app = app(source);
        let fifo = app.path().join("one/fifo");
        make_fifo(&fifo);
        let socket = app.path().join("one/socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("ours");
        let oracle = Oracle::serve(app).await;
        for path in ["fifo", "socket"] {
            let path = format!("/open?path={path}");
            oracle.answers(Protocol::Http1, &path, "\"no-entry\"").await;
        }
        oracle.over().await;
    }
}

fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).expect("ours");
    let kind = fs::symlink_metadata(path).expect("made").file_type();
    assert!(kind.is_fifo());
}
