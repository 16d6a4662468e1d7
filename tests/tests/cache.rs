//! Compiled code is kept between starts, run only when it is what was written, and never worth a start.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use runner_tests::{App, Server, guest, run, run_with};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use serde_json::Value;

/// Components and what they are made from, each on a path of its own. `traps` compiles in no time.
fn app(components: &[(&str, &str)]) -> App {
    let tables = components.iter().map(|(id, source)| {
        format!(
            "[[trigger.http]]\nroute = \"/{id}\"\ncomponent = \"{id}\"\n\
             [component.{id}]\nsource = \"{source}\"\n"
        )
    });
    App::new(&format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n{}",
        tables.collect::<String>()
    ))
}

fn one() -> App {
    app(&[("one", "guest:traps")])
}

/// What a start said: each component and whether its code came from the cache, and each warning's component and text.
#[derive(Debug, Default, PartialEq)]
struct Said {
    cached: Vec<(String, bool)>,
    warnings: Vec<(Option<String>, String)>,
}

impl Said {
    fn of(log: &[Value]) -> Said {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let event = |name: &'static str| log.iter().filter(move |line| line["event"] == name);
        let listening = event("listening").next().expect("it started");
        let components = listening["components"].as_array().expect("a list");
        let cached = |component: &Value| {
            let id = text(&component["id"]).expect("an id");
            (id, component["cached"].as_bool().expect("yes or no"))
        };
        let warning = |line: &Value| {
            let message = text(&line["message"]).expect("a text");
            (text(&line["component"]), message)
        };
        Said {
            cached: components.iter().map(cached).collect(),
            warnings: event("warning").map(warning).collect(),
        }
    }

    fn new(cached: &[(&str, bool)], warnings: &[(Option<&str>, String)]) -> Said {
        let owned = |(id, cached): &(&str, bool)| ((*id).to_owned(), *cached);
        let warning = |(id, text): &(Option<&str>, String)| (id.map(str::to_owned), text.clone());
        Said {
            cached: cached.iter().map(owned).collect(),
            warnings: warnings.iter().map(warning).collect(),
        }
    }
}

/// Starts, asks each component for something, and stops.
async fn start(app: &App, dir: &Path) -> Said {
    let server = Server::start(app, &["--cache-dir", text(dir)]).await;
    answers(&server).await;
    let stopped = server.stop().await;
    assert_eq!(stopped.code, 0);
    Said::of(&stopped.log)
}

/// That a component answers, which `traps` does by failing.
async fn answers(server: &Server) {
    let id = server.log();
    let listening = id.iter().find(|line| line["event"] == "listening");
    let components = listening.expect("it started")["components"].as_array();
    for component in components.expect("a list") {
        let path = format!("/{}", component["id"].as_str().expect("an id"));
        let status = server.get(&path).await.status.as_u16();
        assert!(status == 200 || status == 500, "{path}: {status}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("ours");
}

/// The entries of a cache.
fn entries(dir: &Path) -> Vec<PathBuf> {
    files(dir)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "cwasm"))
        .collect()
}

/// What is in a cache; the folder of control sockets may be beside it.
fn files(dir: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(dir).expect("made by a start");
    let found = found.map(|file| file.expect("readable").path());
    let mut files: Vec<_> = found.filter(|path| !path.ends_with("run")).collect();
    files.sort_unstable();
    files
}

fn entry(dir: &Path) -> PathBuf {
    let [entry] = &entries(dir)[..] else {
        panic!("not one entry: {:?}", files(dir))
    };
    entry.clone()
}

fn change(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("readable");
    change(&mut bytes);
    fs::write(path, bytes).expect("writable");
}

/// What is warned of an entry.
fn anew(id: &str, what: &str, entry: &Path) -> String {
    format!(
        "the compiled code of `{id}` in the cache {what}; it is compiled anew ({})",
        entry.display()
    )
}

#[tokio::test]
async fn an_entry_that_is_not_what_was_written_is_replaced_with_one_warning() {
    /// What is done to the entry, in the folder of the app, and what is said of it.
    type Row = (fn(&Path, &Path), &'static str);
    let mut rows: Vec<Row> = vec![
        (
            |entry, _| change(entry, |b| *b.last_mut().expect("long") ^= 1),
            "was changed after it was written",
        ),
        (
            |entry, _| change(entry, |b| b[96] ^= 1),
            "was changed after it was written",
        ),
        (|entry, _| change(entry, Vec::clear), "is empty"),
        (
            |entry, _| change(entry, |b| b.truncate(b.len() / 2)),
            "is cut short",
        ),
        (
            |entry, _| change(entry, |b| b.push(0)),
            "is longer than what was written",
        ),
        (
            |entry, _| fs::write(entry, [b'x'; 4096]).expect("writable"),
            "is something else",
        ),
        // What begins as code of wasmtime's does.
        (
            |entry, _| {
                let mut code = b"\x7fELF\x02\x01\x01\xc8".to_vec();
                code.resize(4096, 0);
                fs::write(entry, code).expect("writable");
            },
            "is something else",
        ),
        (
            |entry, _| chmod(entry, 0o660),
            "is open to others (mode 0660)",
        ),
        (
            |entry, _| chmod(entry, 0o602),
            "is open to others (mode 0602)",
        ),
        (
            |entry, app| {
                fs::rename(entry, app.join("moved")).expect("same disk");
                symlink(app.join("moved"), entry).expect("free");
            },
            "is a link",
        ),
        (
            |entry, _| {
                fs::remove_file(entry).expect("there");
                fs::create_dir(entry).expect("free");
            },
            "is not a regular file but a directory",
        ),
        (
            |entry, _| {
                fs::remove_file(entry).expect("there");
                mknodat(CWD, entry, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("free");
            },
            "is not a regular file but a pipe",
        ),
        (
            |entry, _| {
                let file = fs::OpenOptions::new().write(true).open(entry);
                file.expect("there").set_len(100 << 30).expect("holes");
            },
            "is longer than what was written",
        ),
    ];
    if rustix::process::geteuid().is_root() {
        rows.push((
            |entry, _| std::os::unix::fs::chown(entry, Some(12345), None).expect("as root"),
            "belongs to user 12345",
        ));
    }
    let app = one();
    let dir = app.path().join("cache");
    assert_eq!(start(&app, &dir).await, Said::new(&[("one", false)], &[]));
    for (done, what) in rows {
        let entry = entry(&dir);
        done(&entry, app.path());

        let told = Said::new(
            &[("one", false)],
            &[(Some("one"), anew("one", what, &entry))],
        );
        assert_eq!(start(&app, &dir).await, told);
        assert_eq!(start(&app, &dir).await, Said::new(&[("one", true)], &[]));
        assert_eq!(files(&dir), [entry, dir.join("key")], "{what}");
    }
}

#[tokio::test]
async fn entries_that_were_swapped_or_came_from_elsewhere_are_not_run() {
    let app = app(&[("one", "guest:traps"), ("two", "guest:c")]);
    let [dir, elsewhere] = ["cache", "elsewhere"].map(|name| app.path().join(name));
    let new = Said::new(&[("one", false), ("two", false)], &[]);
    assert_eq!(start(&app, &dir).await, new);
    assert_eq!(start(&app, &elsewhere).await, new);
    let [a, b] = &entries(&dir)[..] else {
        panic!("two entries")
    };
    // By its size: that of `guest:c` is many times the other.
    let length = |path: &PathBuf| fs::metadata(path).expect("there").len();
    let (one, two) = if length(a) < length(b) {
        (a, b)
    } else {
        (b, a)
    };
    let swap = || {
        let aside = app.path().join("aside");
        for (from, to) in [(one, &aside), (two, one), (&aside, two)] {
            fs::rename(from, to).expect("same disk");
        }
    };
    let bring = || {
        for entry in [one, two] {
            let name = entry.file_name().expect("a name");
            fs::copy(elsewhere.join(name), entry).expect("the same name");
        }
    };
    let table: [(&dyn Fn(), &str); 2] = [
        (&swap, "was written for another component or engine"),
        (
            &bring,
            "was written with another key, by another installation",
        ),
    ];
    for (done, what) in table {
        done();
        let mut said = start(&app, &dir).await;
        said.warnings.sort_unstable();
        let told =
            [("one", one), ("two", two)].map(|(id, entry)| (Some(id), anew(id, what, entry)));
        let expected = Said::new(&[("one", false), ("two", false)], &told);
        assert_eq!(said, expected);
        let kept = Said::new(&[("one", true), ("two", true)], &[]);
        assert_eq!(start(&app, &dir).await, kept);
    }
}

#[tokio::test]
async fn a_warning_of_the_cache_is_one_line_for_people_too() {
    let app = one();
    let dir = app.path().join("cache");
    start(&app, &dir).await;
    let entry = entry(&dir);
    let warning = format!("warning: {}", anew("one", "is empty", &entry));
    let warnings = |lines: Vec<&str>| -> Vec<String> {
        let said = lines.iter().filter(|line| line.contains("warning"));
        said.map(|line| (*line).to_owned()).collect()
    };

    change(&entry, Vec::clear);
    let checked = run(app.path(), &["check", "--cache-dir", text(&dir)]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    assert_eq!(warnings(checked.stderr.lines().collect()), [&*warning]);

    change(&entry, Vec::clear);
    let server = Server::start_text(&app, &["--cache-dir", text(&dir)]).await;
    let log = server.stop().await.log;
    let lines = log.iter().map(|line| line.as_str().expect("a text"));
    assert_eq!(warnings(lines.collect()), [warning]);
}

#[tokio::test]
async fn a_key_that_others_could_have_read_is_replaced_with_one_warning() {
    let app = app(&[("one", "guest:traps"), ("two", "guest:c")]);
    let dir = app.path().join("cache");
    let both = |cached| [("one", cached), ("two", cached)];
    assert_eq!(start(&app, &dir).await, Said::new(&both(false), &[]));
    chmod(&dir.join("key"), 0o604);
    let told = format!(
        "the key of the compile cache in {} is open to others (mode 0604); it was replaced, and everything is \
         compiled anew",
        dir.display()
    );
    let expected = Said::new(&both(false), &[(None, told)]);
    assert_eq!(start(&app, &dir).await, expected);
    assert_eq!(start(&app, &dir).await, Said::new(&both(true), &[]));
}

#[tokio::test]
async fn a_directory_that_is_not_private_stops_a_start_where_it_was_chosen() {
    let app = one();
    for (mode, above, what, help) in [
        (
            0o755,
            0o755,
            "others can reach it (mode 0755)",
            "run `chmod 700 DIR/cache`, or name another with `--cache-dir`",
        ),
        (
            0o700,
            0o777,
            "others can write to DIR above it, and replace it",
            "run `chmod go-w DIR`, or name another with `--cache-dir`",
        ),
    ] {
        let root = tempfile::tempdir().expect("a temporary folder");
        let dir = root.path().join("cache");
        fs::create_dir(&dir).expect("free");
        chmod(&dir, mode);
        chmod(root.path(), above);

        let args = ["up", "--log-format", "text", "--cache-dir", text(&dir)];
        let finished = run(app.path(), &args).await;

        let expected =
            format!("error: cannot use the cache directory DIR/cache: {what}\nhelp: {help}\n");
        let expected = expected.replace("DIR", text(root.path()));
        assert_eq!((finished.code, finished.stderr), (3, expected));
        assert_eq!(files(&dir), [""; 0].map(PathBuf::from));
    }
}

#[tokio::test]
async fn the_usual_directory_never_stops_a_start() {
    let app = one();
    let root = tempfile::tempdir().expect("a temporary folder");
    let dir = root.path().join("runner");
    fs::create_dir(&dir).expect("free");
    chmod(&dir, 0o755);
    let open = format!(
        "cannot use the cache directory {0}: others can reach it (mode 0755); compiled code is not kept; \
         run `chmod 700 {0}`, or name another with `--cache-dir`",
        dir.display()
    );
    // Where not even root can make a directory.
    let nowhere = "cannot use the cache directory /proc/runner: No such file or directory (os error 2); \
                   compiled code is not kept; name another with `--cache-dir`";
    for (home, told) in [(text(root.path()), &*open), ("/proc", nowhere)] {
        let usual = [("RUNNER_CACHE_DIR", ""), ("XDG_CACHE_HOME", home)];
        for _ in 0..2 {
            let started = Server::try_start_with(&app, &[], &usual).await;
            let server = started.unwrap_or_else(|stopped| panic!("not started: {stopped:#?}"));
            answers(&server).await;
            let expected = Said::new(&[("one", false)], &[(None, told.to_owned())]);
            assert_eq!(Said::of(&server.stop().await.log), expected);
        }
        let checked = run_with(app.path(), &["check"], &usual).await;
        assert_eq!(
            (checked.code, &*checked.stderr),
            (0, &*format!("warning: {told}\n"))
        );
    }
    assert_eq!(files(&dir), [""; 0].map(PathBuf::from));
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_any_more_is_told_once_and_serving_goes_on() {
    let app = app(&[("one", "guest:traps"), ("two", "guest:c")]);
    let dir = app.path().join("cache");
    let server = Server::start(&app, &["--cache-dir", text(&dir)]).await;
    // As a disk that fails, for root too: nothing can be made in a directory that is gone.
    fs::remove_dir_all(&dir).expect("ours");
    for generation in 2..4 {
        server.signal(Signal::HUP);
        server
            .logged(|line| line["event"] == "reloaded" && line["generation"] == generation)
            .await;
        answers(&server).await;
    }
    let said = Said::of(&server.stop().await.log);
    let [(Some(_), told)] = &said.warnings[..] else {
        panic!("not one warning: {said:?}")
    };
    let expected = format!(
        "cannot write to the compile cache in {}: No such file or directory (os error 2); what is compiled is not kept",
        dir.display()
    );
    assert_eq!(*told, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_start_at_once_on_a_new_cache_share_it() {
    let same = [one(), one()];
    let different = [one(), app(&[("two", "guest:c"), ("three", "guest:traps")])];
    for apps in [same, different] {
        for _ in 0..5 {
            let root = tempfile::tempdir().expect("a temporary folder");
            let dir = root.path().join("cache");
            let (a, b) = tokio::join!(start(&apps[0], &dir), start(&apps[1], &dir));
            assert_eq!((a.warnings, b.warnings), (vec![], vec![]));
            for app in &apps {
                let said = start(app, &dir).await;
                assert!(said.cached.iter().all(|(_, cached)| *cached), "{said:?}");
                assert_eq!(said.warnings, []);
            }
            let others: Vec<_> = files(&dir)
                .into_iter()
                .filter(|file| !entries(&dir).contains(file))
                .collect();
            assert_eq!(others, [dir.join("key")]);
        }
    }
}

#[tokio::test]
async fn what_a_killed_process_left_and_what_nobody_used_for_long_is_removed_at_a_start() {
    const DAY: u64 = 24 * 60 * 60;
    let app = one();
    let dir = app.path().join("cache");
    start(&app, &dir).await;
    let kept = files(&dir);
    let entry = format!("{}-{}.cwasm", "0".repeat(64), "0".repeat(16));
    let draft = format!("{entry}.0123456789abcdef.new");
    for (name, days, stays) in [
        (&*entry, 89, true),
        (&*entry, 91, false),
        (&*draft, 0, true),
        (&*draft, 1, false),
        ("key.0123456789abcdef.new", 1, false),
    ] {
        let file = fs::File::create(dir.join(name)).expect("free");
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(days * DAY);
        file.set_modified(then).expect("ours");

        assert_eq!(start(&app, &dir).await, Said::new(&[("one", true)], &[]));

        assert_eq!(dir.join(name).exists(), stays, "{name} after {days} days");
        if stays {
            fs::remove_file(dir.join(name)).expect("there");
        }
        assert_eq!(files(&dir), kept);
    }
}

#[tokio::test]
async fn a_file_that_changes_after_it_was_read_changes_nothing_until_a_reload() {
    const OLD: &str = "hello from c\n";
    const NEW: &str = "hello from preview1\n";
    let (old, new) = (
        fs::read(guest("c")).expect("there"),
        fs::read(guest("preview1")).expect("there"),
    );
    let place = |at: &Path, bytes: &[u8]| {
        let beside = at.with_extension("new");
        fs::write(&beside, bytes).expect("writable");
        fs::rename(beside, at).expect("same disk");
    };
    type Change<'a> = (&'a dyn Fn(&Path), Option<&'a str>);
    let table: [Change<'_>; 5] = [
        (&|at| fs::write(at, &new).expect("writable"), None),
        (&|at| place(at, &new), None),
        (
            &|at| fs::write(at, "").expect("writable"),
            Some("it is empty"),
        ),
        (
            &|at| fs::write(at, &old[..1000]).expect("writable"),
            Some("it is cut short: unexpected end-of-file (at offset 0x127)"),
        ),
        (
            &|at| fs::remove_file(at).expect("there"),
            Some("there is no such file"),
        ),
    ];
    for (number, (change, refused)) in table.into_iter().enumerate() {
        let app = app(&[("hello", "hello.wasm")]);
        let at = app.path().join("hello.wasm");
        place(&at, &old);
        let server = Server::start(&app, &[]).await;
        let listening = server.logged(|line| line["event"] == "listening").await;
        let digest = xtask::guests::digest(&old);
        assert_eq!(listening["components"][0]["digest"], digest, "row {number}");

        change(&at);
        for _ in 0..3 {
            assert_eq!(server.get("/hello").await.body, OLD, "row {number}");
        }

        server.signal(Signal::HUP);
        let is_reload = |line: &Value| line["event"].as_str().is_some_and(|e| e.contains("reload"));
        let reload = server.logged(is_reload).await;
        let (event, answer) = match refused {
            None => ("reloaded", NEW),
            Some(_) => ("reload-failed", OLD),
        };
        assert_eq!(reload["event"], event, "row {number}: {reload}");
        match refused {
            None => {
                let digest = xtask::guests::digest(&new);
                let change = format!("hello new code {}", &digest[..8]);
                assert_eq!(reload["changes"][0], change, "row {number}");
            }
            Some(what) => {
                let head = format!(
                    "error: component `hello` cannot be loaded from `hello.wasm`: {what}\n"
                );
                let text = reload["text"].as_str().expect("a text");
                assert!(text.starts_with(&head), "row {number}: {text}");
            }
        }
        assert_eq!(server.get("/hello").await.body, answer, "row {number}");
    }
}
