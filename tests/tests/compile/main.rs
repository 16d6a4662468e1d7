//! What cannot be compiled is refused, in its own time and memory, by a process that leaves nothing behind.

mod bombs;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use runner_host::{
    App as Loaded, CacheDir, CompileLimits, CompileProcess, Compiler, Engine, EngineOptions,
    Services,
};
use runner_manifest::{Code, Component, Manifest, Source};
use runner_outbound::{Options, Outbound};
use runner_tests::{App, Server, binary, guest, run};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// An app of one component, `bomb`, of these bytes.
fn app(bytes: &[u8]) -> App {
    let app = App::new(&manifest("bomb.wasm"));
    fs::write(app.path().join("bomb.wasm"), bytes).expect("writable");
    app
}

fn manifest(source: &str) -> String {
    format!(
        "spin_manifest_version = 2\n[application]\nname = \"story\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"bomb\"\n[component.bomb]\nsource = \"{source}\"\n"
    )
}

/// Code that takes minutes to compile.
fn long() -> Vec<u8> {
    bombs::deep_blocks(1_900_000)
}

/// Loads a component as a program does that embeds the host; on failure, the code of the message and the message.
async fn load(
    wasm: &[u8],
    cache: CacheDir,
    process: CompileProcess,
) -> Result<bool, (Code, String)> {
    let compiler = Compiler::Process(process);
    let engine = Engine::new(EngineOptions {
        cache,
        compiler,
        ..EngineOptions::default()
    })
    .expect("an engine");
    let component = Component::new("bomb".parse().expect("a name"), Source::bytes(wasm));
    let manifest = Manifest::new("story")
        .with(component, &["/..."])
        .expect("a route");
    let options = Options {
        dns: vec![([127, 0, 0, 1], 53).into()],
        ..Options::default()
    };
    let door = Outbound::new(options).expect("a door");
    let services = Services::new(door, Arc::new(|_| unreachable!("nothing is asked")));
    match Loaded::load(&engine, manifest, 1, services).await {
        Ok(app) => Ok(app.components().values().all(|loaded| loaded.cached)),
        Err(error) => {
            let [found] = &error.diagnostics[..] else {
                panic!("{error}");
            };
            Err((found.code, error.to_string()))
        }
    }
}

/// The usual process.
fn process(limits: CompileLimits) -> CompileProcess {
    CompileProcess {
        program: binary(),
        limits,
    }
}

/// One that does something else, of `tests/compilers`.
fn compiler(name: &str) -> CompileProcess {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("compilers");
    CompileProcess {
        program: folder.join(name),
        limits: CompileLimits::default(),
    }
}

/// Its name, its bytes, and what is said of it.
type Bomb = (&'static str, fn() -> Vec<u8>, &'static str);

#[tokio::test]
async fn e43_a_component_that_was_written_to_hurt_is_compiled_or_refused() {
    let nothing = "exports no HTTP handler; it exports nothing";
    let rows: [Bomb; 11] = [
        (
            "100,000 functions",
            || bombs::functions(100_000, &[0], &[]),
            nothing,
        ),
        (
            "a million locals",
            bombs::many_locals,
            "it is damaged: Invalid input WebAssembly code at offset 33: too many locals: locals exceed maximum",
        ),
        (
            "a million ways",
            bombs::wide_table,
            "it is damaged: Unsupported feature: `br_table` has 1000000 targets, which exceeds the implementation limit of 65520",
        ),
        ("100,000 types", bombs::many_types, nothing),
        ("wide types", bombs::wide_types, nothing),
        (
            "nested types",
            || bombs::nested_types(200 * 1024),
            "it is damaged: unexpected end-of-file (at offset 0x3200b)",
        ),
        (
            "too many nested types",
            || bombs::nested_types(300 * 1024),
            "it has a section of types of more than 256 KiB",
        ),
        (
            "100,000 imports",
            bombs::many_imports,
            "it is damaged: instances count exceeds limit of 1000 (at offset 0x1ee6)",
        ),
        (
            "100,000 components",
            bombs::many_components,
            "it is damaged: components count exceeds limit of 1000 (at offset 0x271a)",
        ),
        (
            "deep components",
            || bombs::deep_components(10_000),
            "it nests modules and components more than 64 deep",
        ),
        ("100 MB", bombs::much_data, nothing),
    ];
    for (name, bytes, said) in rows {
        let app = app(&bytes());
        let finished = run(app.path(), &["check"]).await;
        let line = finished.stderr.lines().next().unwrap_or_default();
        let loaded = "error: component `bomb` cannot be loaded from `bomb.wasm`: ";
        let own = line
            .strip_prefix("error: component `bomb` ")
            .unwrap_or(line);
        let own = line.strip_prefix(loaded).unwrap_or(own);
        assert_eq!((finished.code, own), (1, said), "{name}");
    }
}

#[tokio::test]
async fn e43_beyond_its_limits_a_compile_is_ended_and_told() {
    let limits = CompileLimits::default();
    let help = "\nhelp: build it with optimisation, or make several components of it";
    let rows = [
        (
            CompileLimits {
                cpu: Duration::from_secs(1),
                ..limits
            },
            Code::CompilingTakesTime,
            "compiling it takes more than 1s of computing",
        ),
        (
            CompileLimits {
                time: Duration::from_millis(50),
                ..limits
            },
            Code::CompilingTakesTime,
            "compiling it takes longer than 50ms",
        ),
        (
            CompileLimits {
                memory: 192 << 20,
                ..limits
            },
            Code::CompilingTakesMemory,
            "compiling it takes more than 192 MiB of memory",
        ),
    ];
    for (limits, code, what) in rows {
        let told = load(&long(), CacheDir::None, process(limits)).await;
        let text = format!("error: component `bomb` cannot be loaded: {what}{help}");
        assert_eq!(told.unwrap_err(), (code, text));
    }
}

#[tokio::test]
async fn a_process_that_does_not_answer_is_told_for_what_it_did() {
    let again = "build it again with another version of its toolchain";
    let rows = [
        (
            "is-killed",
            Code::CompilerKilled,
            "the process that compiled it was killed by signal 9",
            "look into the system's log who killed it: a machine without memory does; then try again",
        ),
        (
            "crashes",
            Code::CompilerFailed,
            "the process that compiled it failed: signal: 11 (SIGSEGV)",
            again,
        ),
        (
            "complains",
            Code::CompilerFailed,
            "the process that compiled it failed: thread panicked at here it went wrong",
            again,
        ),
        (
            "says-nothing",
            Code::CompilerFailed,
            "the process that compiled it failed: its answer is cut short",
            again,
        ),
        (
            "says-half",
            Code::CompilerFailed,
            "the process that compiled it failed: its answer is cut short",
            again,
        ),
        (
            "never-ends",
            Code::CompiledTooLarge,
            "what it is compiled to is larger than 256 MiB",
            "build it with optimisation, or make several components of it",
        ),
        (
            "is-not-there",
            Code::CompilerNotStarted,
            "no process could be started to compile it: No such file or directory (os error 2)",
            "each component is compiled by a process of its own: let it be started, with `/proc` mounted",
        ),
    ];
    let wasm = fs::read(guest("traps")).expect("prebuilt");
    for (program, code, what, help) in rows {
        let told = load(&wasm, CacheDir::None, compiler(program)).await;
        let text = format!("error: component `bomb` cannot be loaded: {what}\nhelp: {help}");
        assert_eq!(told.unwrap_err(), (code, text), "{program}");
    }
    let mut hangs = compiler("hangs");
    hangs.limits.time = Duration::from_millis(100);
    let told = load(&wasm, CacheDir::None, hangs).await;
    assert_eq!(told.unwrap_err().0, Code::CompilingTakesTime);
}

#[tokio::test]
async fn what_the_cache_has_starts_no_process() {
    let wasm = fs::read(guest("traps")).expect("prebuilt");
    let folder = tempfile::tempdir().expect("a folder");
    let cache = || CacheDir::Chosen(folder.path().join("cache"));
    let usual = process(CompileLimits::default());
    assert_eq!(load(&wasm, cache(), usual).await, Ok(false));
    assert_eq!(
        load(&wasm, cache(), compiler("is-not-there")).await,
        Ok(true)
    );
}

#[tokio::test]
async fn e06_a_table_beyond_what_one_may_have_is_refused_at_load() {
    for elements in [100_001, u32::MAX as usize] {
        let app = app(&bombs::large_table(elements));
        let finished = run(app.path(), &["check"]).await;
        let text = format!(
            "error: component `bomb` has {elements} elements in a table, and may have 100000\n --> spin-like.toml:8:10\n  |\n\
             8 | source = \"bomb.wasm\"\n  |          ^^^^^^^^^^^\n  |\nhelp: no limit raises that: make several components of it\n"
        );
        assert_eq!((finished.code, finished.stderr), (1, text));
    }
}

#[tokio::test]
async fn e43_while_another_version_is_compiled_the_old_one_serves_and_a_killed_compile_changes_nothing()
 {
    let app = App::new(&manifest("bomb.wasm"));
    let file = app.path().join("bomb.wasm");
    fs::copy(guest("probe"), &file).expect("writable");
    let server = Server::start(&app, &[]).await;
    assert_eq!(children(server.pid()), [0; 0]);

    fs::write(&file, long()).expect("writable");
    server.signal(Signal::HUP);
    let child = child(server.pid()).await;
    assert_eq!(server.get("/hello").await.status, 200);
    kill_process(pid(child), Signal::KILL).expect("it compiles");

    let refused = server.logged(|line| line["event"] == "reload-failed").await;
    let text = refused.to_string();
    assert!(
        text.contains("the process that compiled it was killed by signal 9"),
        "{text}"
    );
    assert_eq!(server.get("/hello").await.status, 200);
    assert_eq!(children(server.pid()), [0; 0], "it was waited for");
    assert_eq!(server.stop().await.code, 0);
}

#[tokio::test]
async fn a_process_that_compiles_ends_with_its_parent() {
    let app = app(&long());
    let mut parent = tokio::process::Command::new(binary())
        .arg("check")
        .current_dir(app.path())
        .spawn()
        .expect("it starts");
    let child = child(parent.id().expect("it runs") as i32).await;
    parent.kill().await.expect("it ran");
    while test_kill_process(pid(child)).is_ok() && is_alive(child) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_process_that_compiles_has_three_descriptors_and_no_environment() {
    let app = app(&long());
    let first = "exec 7</dev/null; SECRET=1; export SECRET";
    let mut parent = tokio::process::Command::new("bash")
        .args(["-c", &format!("{first}; exec \"$@\""), "bash"])
        .arg(binary())
        .arg("check")
        .current_dir(app.path())
        .spawn()
        .expect("it starts");
    let child = child(parent.id().expect("it runs") as i32).await;
    // What it was started with it closes at once; then it reads.
    let proc = PathBuf::from(format!("/proc/{child}"));
    while fs::read_to_string(proc.join("limits"))
        .is_ok_and(|limits| !limits.contains("Max data size             1073741824 "))
    {
        tokio::task::yield_now().await;
    }
    let numbers = fs::read_dir(proc.join("fd")).expect("it runs").flatten();
    let mut numbers: Vec<_> = numbers.map(|entry| entry.file_name()).collect();
    numbers.sort();
    assert!(!numbers.iter().any(|number| number == "7"), "{numbers:?}");
    assert_eq!(fs::read(proc.join("environ")).expect("it runs"), b"");
    let limits = fs::read_to_string(proc.join("limits")).expect("it runs");
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name));
        let line = line.expect("Linux has it").split_whitespace();
        line.rev().nth(2).unwrap_or_default().to_owned()
    };
    assert_eq!(
        [
            "Max cpu time",
            "Max core file size",
            "Max file size",
            "Max data size"
        ]
        .map(limit),
        ["60", "0", "0", "1073741824"]
    );
    parent.kill().await.expect("it ran");
}

/// The first child that a process has, when it has one that does what it was started for.
async fn child(parent: i32) -> i32 {
    loop {
        let found = children(parent).into_iter().find(|child| {
            let command = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            command.starts_with(b"runner\0compile-one-component\0")
        });
        if let Some(child) = found {
            return child;
        }
        tokio::task::yield_now().await;
    }
}

/// The children of all threads of a process.
fn children(parent: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).expect("it runs");
    let of_task = |task: fs::DirEntry| fs::read_to_string(task.path().join("children"));
    let all: Vec<String> = tasks
        .flatten()
        .filter_map(|task| of_task(task).ok())
        .collect();
    let numbers = all.iter().flat_map(|children| children.split_whitespace());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

fn is_alive(process: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default();
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}

fn pid(number: i32) -> Pid {
    Pid::from_raw(number).expect("not zero")
}
