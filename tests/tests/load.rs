//! What cannot be run is refused at the start, with words that say what it is and what to do.

use std::fs;

use runner_tests::{App, Finished, Server, guest, guests, run};

/// `probe` on every path, from this file beside the manifest, with these lines in its table.
fn app(source: &str, lines: &str) -> App {
    App::new(&format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
         [component.probe]\nsource = {source}\n{lines}\n"
    ))
}

async fn up(app: &App) -> Finished {
    run(
        app.path(),
        &["up", "--listen", "127.0.0.1:0", "--log-format", "text"],
    )
    .await
}

/// Line 8 of the manifest with its source marked, as a diagnostic shows it.
fn refusal(message: &str, source: &str, label: &str, notes: &[&str], help: &str) -> String {
    let notes: String = notes.iter().map(|note| format!("  = {note}\n")).collect();
    let mark = format!("{} {label}", "^".repeat(source.len()));
    format!(
        "error: component `probe` {message}\n --> spin-like.toml:8:10\n  |\n8 | source = {source}\n  |          {}\n  |\n\
         {notes}help: {help}\n",
        mark.trim_end()
    )
}

/// The smallest file that wasmtime takes for code it has compiled: an ELF header of its own ABI.
fn precompiled() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\xc8".to_vec();
    bytes.resize(64, 0);
    bytes[16] = 1; // relocatable
    bytes[20] = 1; // the version
    bytes[48] = 2; // a component
    bytes[52] = 64; // the header's own size
    bytes
}

#[tokio::test]
async fn every_file_that_is_no_component_is_called_by_its_name() {
    let whole = fs::read(guest("probe")).expect("prebuilt");
    let rows: [(&str, &[u8], &str, &str); 10] = [
        (
            "empty.wasm",
            b"",
            "it is empty",
            "build the component again, or correct `source`",
        ),
        (
            "short.wasm",
            b"\0asm\x0d",
            "it is cut short: the header is incomplete",
            "build the component again, or correct `source`",
        ),
        (
            "cut.wasm",
            &whole[..1000],
            "it is cut short: unexpected end-of-file (at offset 0x213)",
            "build the component again, or correct `source`",
        ),
        (
            "elf.wasm",
            b"\x7fELF\x02\x01\x01\0",
            "it is a native program or library (ELF), not WebAssembly",
            "name the `.wasm` that the toolchain made",
        ),
        (
            "code.wasm",
            &precompiled(),
            "it is precompiled code, which is not accepted: an app's bytes are never run as machine code",
            "name the `.wasm` that the toolchain made",
        ),
        (
            "image.wasm",
            b"\x89PNG\r\n",
            "it is not WebAssembly",
            "name the `.wasm` that the toolchain made",
        ),
        (
            "text.wasm",
            b"fn main() {}\n",
            "it is text, not WebAssembly",
            "`source` names a `.wasm` file, not its source code",
        ),
        (
            "wat.wasm",
            b"(component)",
            "it is WebAssembly text, not a binary",
            "turn it into a binary with `wasm-tools parse`",
        ),
        (
            "new.wasm",
            b"\0asm\x07\0\x07\0",
            "it is damaged: it has the unknown version [07, 00, 07, 00]",
            "build it again with a current toolchain",
        ),
        (
            "module.wasm",
            b"\0asm\x01\0\0\0",
            "it is a core module without a `component-type` section, so nobody can tell what it imports and exports",
            "build for `wasm32-wasip2`, or run `wasm-tools component new` on it",
        ),
    ];
    for (name, bytes, what, help) in rows {
        let source = format!("\"{name}\"");
        let app = app(&source, "");
        fs::write(app.path().join(name), bytes).expect("writable");

        let finished = up(&app).await;

        let message = format!("cannot be loaded from `{name}`: {what}");
        assert_eq!(finished.stderr, refusal(&message, &source, "", &[], help));
        assert_eq!(finished.code, 1, "{name}");
    }
}

#[tokio::test]
async fn a_source_that_is_no_file_is_called_what_it_is() {
    let help = "build the component again, or correct `source`";
    for (name, what, help) in [
        ("gone.wasm", "there is no such file", help),
        (
            "folder",
            "it is a directory",
            "`source` names a `.wasm` file",
        ),
        (
            "/dev/null",
            "it is not a regular file",
            "`source` names a `.wasm` file",
        ),
    ] {
        let source = format!("\"{name}\"");
        let app = app(&source, "");
        fs::create_dir(app.path().join("folder")).expect("writable");

        let finished = up(&app).await;

        let message = format!("cannot be loaded from `{name}`: {what}");
        assert_eq!(finished.stderr, refusal(&message, &source, "", &[], help));
        assert_eq!(finished.code, 1, "{name}");
    }
}

#[tokio::test]
async fn a_component_that_does_not_fit_is_told_where() {
    let rows: [(&str, &str, &[&str], &str); 5] = [
        (
            "core-module",
            "cannot be loaded from `core-module.wasm`: it is a core module without a `component-type` section, so nobody can tell what it imports and exports",
            &[],
            "build for `wasm32-wasip2`, or run `wasm-tools component new` on it",
        ),
        (
            "exports-nothing",
            "exports no HTTP handler; it exports nothing",
            &[],
            "export `wasi:http/incoming-handler@0.2` or `wasi:http/handler@0.3`",
        ),
        (
            "both-handlers",
            "exports several HTTP handlers: `wasi:http/incoming-handler@0.2.0`, `wasi:http/handler@0.3.0`",
            &[],
            "export one of them",
        ),
        (
            "unknown-interface",
            "imports `acme:secret/vault@1.0.0`, which is not provided",
            &[],
            "remove the import, or the dependency that brings it",
        ),
        (
            "key-value",
            "imports `fermyon:spin/key-value@2.0.0`, which is not provided",
            &["this version of runner has no stores and no databases yet"],
            "remove the import, or the dependency that brings it",
        ),
    ];
    for (name, message, notes, help) in rows {
        let source = format!("\"{name}.wasm\"");
        let app = app(&source, "");
        let from = guests().join("broken").join(format!("{name}.wasm"));
        fs::copy(from, app.path().join(format!("{name}.wasm"))).expect("writable");

        let finished = up(&app).await;

        assert_eq!(finished.stderr, refusal(message, &source, "", notes, help));
        assert_eq!(finished.code, 1, "{name}");
    }
}

#[tokio::test]
async fn all_that_is_wrong_is_said_at_once() {
    let app = App::new(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"a\"\n\
         [component.a]\nsource = \"a.wasm\"\n[component.b]\nsource = \"b.wasm\"\n",
    );
    let finished = up(&app).await;
    assert_eq!(finished.code, 1);
    let errors: Vec<_> = finished
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(
        errors,
        [
            "error: component `a` cannot be loaded from `a.wasm`: there is no such file",
            "error: component `b` cannot be loaded from `b.wasm`: there is no such file"
        ]
    );
}

#[tokio::test]
async fn a_key_that_nothing_stands_behind_yet_is_refused_by_its_name() {
    let digest = "0".repeat(64);
    let remote =
        format!("{{ url = \"https://example.com/a.wasm\", digest = \"sha256:{digest}\" }}");
    let local = "\"probe.wasm\"";
    for (what, source, lines) in [
        (
            "key_value_stores",
            local,
            "key_value_stores = [\"default\"]",
        ),
        (
            "sqlite_databases",
            local,
            "sqlite_databases = [\"default\"]",
        ),
        ("ai_models", local, "ai_models = [\"llama\"]"),
        (
            "dependencies",
            local,
            "[component.probe.dependencies]\n\"a:b\" = \"1.0.0\"",
        ),
        ("source.url", &*remote, ""),
        (
            "source.package",
            "{ registry = \"example.com\", package = \"a:b\", version = \"1.0.0\" }",
            "",
        ),
    ] {
        let app = app(source, lines);
        fs::copy(guest("probe"), app.path().join("probe.wasm")).expect("writable");

        let finished = up(&app).await;

        let text = &finished.stderr;
        let head = format!(
            "error: component `probe` uses `{what}`, which this version of runner does not provide yet\n"
        );
        assert!(text.starts_with(&head), "{what}: {text}");
        assert!(text.contains(" not provided yet\n"), "{what}: {text}");
        let help =
            "\nhelp: remove it, and what `probe` does with it, to run the component without\n";
        assert!(text.ends_with(help), "{what}: {text}");
        assert_eq!(finished.code, 1, "{what}");
    }
}

#[tokio::test]
async fn a_mistake_in_the_manifest_is_shown_where_it_is() {
    let manifest = |lines: &str| app("\"probe.wasm\"", lines).text();
    for (text, stderr) in [
        (
            manifest("sources = 1"),
            "error: `sources` is not a key of `[component.probe]`\n --> spin-like.toml:9:1\n  |\n9 | sources = 1\n  | ^^^^^^^ unknown key\n  |\n\
             help: did you mean `source`?\n",
        ),
        (
            manifest("").replace("component = \"probe\"", "component = \"prob\""),
            "error: there is no component `prob`\n --> spin-like.toml:6:13\n  |\n6 | component = \"prob\"\n  |             ^^^^^^ not defined\n  |\n \
             ::: spin-like.toml:7:1\n  |\n7 | [component.probe]\n  | ----------------- `probe` is defined here\n  |\n\
             help: did you mean `probe`?\nhelp: the components are `probe`\n",
        ),
        (
            manifest("").replace("\"/...\"", "\"shop\""),
            "error: `shop` is not a route: a path begins with `/`\n --> spin-like.toml:5:9\n  |\n5 | route = \"shop\"\n  |         ^^^^^^ not a route\n  |\n\
             help: write `/shop`\n",
        ),
    ] {
        let app = App::new(&text);
        let finished = up(&app).await;
        assert_eq!((finished.code, &*finished.stderr), (2, stderr), "{text}");
    }
}

#[tokio::test]
async fn a_command_line_or_folder_that_is_wrong_is_the_users_to_mend() {
    let app = app("\"probe.wasm\"", "");
    let empty = tempfile::tempdir().expect("a temporary folder");
    for (dir, args) in [
        (empty.path(), &["up"][..]),
        (app.path(), &["up", "--nonsense"]),
        (app.path(), &["up", "--from", "gone.toml"]),
        (app.path(), &["up", "--listen", "nowhere"]),
        (app.path(), &["up", "--variable", "novalue"]),
        (app.path(), &["up", "--tls-cert", "cert.pem"]),
        (app.path(), &["upp"]),
    ] {
        let finished = run(dir, args).await;
        assert_eq!(finished.code, 2, "{args:?}: {}", finished.stderr);
        assert!(
            !finished.stderr.is_empty() && finished.stdout.is_empty(),
            "{args:?}: {finished:?}"
        );
    }
}

#[tokio::test]
async fn a_core_module_of_wasip1_with_its_types_is_made_a_component() {
    let app = App::new(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"old\"\n[component.old]\nsource = \"guest:preview1\"\n",
    );
    let server = Server::start(&app, &[]).await;
    let reply = server.get("/").await;
    assert_eq!(
        (reply.status.as_u16(), &*reply.body),
        (200, "hello from preview1\n")
    );
    let line = server.logged(|line| line["event"] == "line").await;
    assert_eq!(
        [&line["component"], &line["stream"], &line["line"]],
        ["old", "stdout", "a line through preview 1"]
    );
}

/// Whether the code of its one component came from the cache.
async fn was_cached(app: &App, args: &[&str]) -> bool {
    let server = Server::start(app, args).await;
    assert_eq!(server.get("/hello").await.status, 200);
    let line = server.logged(|line| line["event"] == "listening").await;
    assert_eq!(server.stop().await.code, 0);
    line["components"][0]["cached"]
        .as_bool()
        .expect("in the event")
}

#[tokio::test]
async fn what_was_compiled_once_is_kept_unless_told_otherwise() {
    let app = App::probe("");
    let dir = app.path().join("cache");
    let args = ["--cache-dir", dir.to_str().expect("text")];
    let entries = || {
        fs::read_dir(&dir).map_or(0, |entries| {
            entries
                .filter_map(Result::ok)
                .filter(|e| e.path().extension().is_some_and(|e| e == "cwasm"))
                .count()
        })
    };

    assert!(!was_cached(&app, &["--disable-cache", args[0], args[1]]).await);
    assert_eq!(entries(), 0);
    assert!(!was_cached(&app, &args).await, "the first start");
    assert_eq!(entries(), 1);
    assert!(was_cached(&app, &args).await, "the second start");
    assert!(!was_cached(&app, &["--disable-cache", args[0], args[1]]).await);
}

#[tokio::test]
async fn a_cache_entry_that_was_tampered_with_is_not_run() {
    let app = App::probe("");
    let dir = app.path().join("cache");
    let args = ["--cache-dir", dir.to_str().expect("text")];
    assert!(!was_cached(&app, &args).await);
    let entries = fs::read_dir(&dir)
        .expect("made by the start")
        .map(|entry| entry.expect("readable").path());
    let entry = entries
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "cwasm"))
        .expect("one");
    let mut code = fs::read(&entry).expect("readable");
    let middle = code.len() / 2;
    code[middle] ^= 1;
    fs::write(&entry, code).expect("writable");

    assert!(!was_cached(&app, &args).await, "it is compiled anew");
    assert!(was_cached(&app, &args).await, "and kept again");
}

#[tokio::test]
async fn a_component_that_was_changed_is_compiled_anew() {
    let app = app("\"probe.wasm\"", "");
    let dir = app.path().join("cache");
    let args = ["--cache-dir", dir.to_str().expect("text")];
    fs::copy(guest("probe"), app.path().join("probe.wasm")).expect("writable");
    assert!(!was_cached(&app, &args).await);
    fs::copy(guest("probe3"), app.path().join("probe.wasm")).expect("writable");
    assert!(!was_cached(&app, &args).await);
}
