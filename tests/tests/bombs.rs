//! Manifests that were written to hurt: each is refused in little memory, with a message that a screen holds.
//!
//! A test of its own, for the peak memory of all processes that it started is what it asks the system for.

use std::fs;
use std::time::Instant;

use runner_tests::{App, run};

/// In KiB: the runner itself takes 10 MiB, and what it makes of the worst megabyte must not be felt.
const MOST_MEMORY: i64 = 64 * 1024;

/// Fifty messages of up to fifteen lines, and a line that says how many more there are.
const MOST_LINES: usize = 50 * 15 + 2;

/// A quoted line is 100 characters beside its number, and a message 500, where each of them may be escaped.
const MOST_COLUMNS: usize = 10 * 500;

/// For programs: all messages that are kept, each with its parts and as a text.
const MOST_JSON: usize = 1024 * 1024;

/// The largest manifest that is read.
const LARGEST: usize = 1024 * 1024;

const HEAD: &str = "spin_manifest_version = 2\n[application]\nname = \"x\"\n";
const CART: &str = "[trigger]\n[component.c]\nsource = \"c\"\n";

fn many(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}

/// As many of these as fit into a manifest that is read.
fn fitting(head: &str, line: impl Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    for n in 0.. {
        let line = line(n);
        if text.len() + line.len() + tail.len() > LARGEST {
            break;
        }
        text += &line;
    }
    text + tail
}

/// A bomb by its name. Made when it is due: a process begins with the memory of the one that starts it.
type Bomb = (&'static str, Box<dyn Fn() -> String>);

fn bomb(name: &'static str, text: impl Fn() -> String + 'static) -> Bomb {
    (name, Box::new(text))
}

fn deep() -> Vec<Bomb> {
    vec![
        bomb("arrays 10,000 deep", || {
            format!("a = {}{}", "[".repeat(10_000), "]".repeat(10_000))
        }),
        bomb("arrays that do not end", || {
            format!("a = {}", "[".repeat(10_000))
        }),
        bomb("inline tables 10,000 deep", || {
            format!("a = {}1{}", "{a=".repeat(10_000), "}".repeat(10_000))
        }),
        bomb("a key of 10,000 parts", || {
            format!("{}a = 1", "a.".repeat(10_000))
        }),
        bomb("a header of 10,000 parts", || {
            format!("[{}a]", "a.".repeat(10_000))
        }),
        bomb("brackets", || "[[".repeat(500_000)),
        bomb("quotes", || "\"".repeat(1_000_000)),
    ]
}

fn many_tables() -> Vec<Bomb> {
    let component = |n: usize| format!("[component.c{n}]\nsource=\"c\"\n");
    vec![
        bomb("10,000 tables", || {
            HEAD.to_owned() + &many(10_000, |n| format!("[t{n}]\n"))
        }),
        bomb("100,000 components", move || {
            HEAD.to_owned() + &many(100_000, component)
        }),
        bomb("components that fit", move || fitting(HEAD, component, "")),
        bomb("empty components that fit", || {
            fitting(HEAD, |n| format!("[component.c{n}]\n"), "")
        }),
        bomb("100,000 empty tables", || {
            format!("{HEAD}a=[{}]\n", "{},".repeat(99_000))
        }),
        bomb("100,000 numbers", || {
            format!("{HEAD}a=[{}]\n", "1,".repeat(99_000))
        }),
        bomb("numbers that fit", || {
            fitting(&format!("{HEAD}a=["), |_| "1,".into(), "]\n")
        }),
    ]
}

fn many_routes() -> Vec<Bomb> {
    let route = |n: usize| format!("[[trigger.http]]\nroute=\"/{n}\"\ncomponent=\"c\"\n");
    let inline = |n: usize| format!("{{route=\"/{n}\",component=\"d\"}},");
    let same = |_| "{route=\"/\",component=\"c\"},".to_owned();
    let list = || format!("{HEAD}[component.c]\nsource=\"c\"\n[trigger]\nhttp=[");
    vec![
        bomb("100,000 routes", move || {
            HEAD.to_owned() + &many(100_000, route)
        }),
        bomb("routes that fit", move || fitting(HEAD, route, "")),
        bomb("20,000 routes in a line", move || {
            list() + &many(20_000, inline) + "]\n"
        }),
        bomb("routes in a line that fit", move || {
            fitting(&list(), inline, "]\n")
        }),
        bomb("10,000 times a route in a line", move || {
            list() + &many(10_000, same) + "]\n"
        }),
        bomb("100,000 empty routes", move || {
            list() + &"{},".repeat(99_000) + "]\n"
        }),
        bomb("empty routes that fit", move || {
            fitting(&list(), |_| "{},".into(), "]\n")
        }),
    ]
}

fn long() -> Vec<Bomb> {
    let holes = || "{{ a }}".repeat(140_000);
    let long = || "x".repeat(1_000_000);
    vec![
        bomb("a line of 1 MB", move || {
            format!("{HEAD}a = \"{}\"\n", long())
        }),
        bomb("a key of 1 MB", move || format!("{HEAD}{} = 1\n", long())),
        bomb("a line of 1 MB that does not end", move || {
            format!("{HEAD}a = \"{}", long())
        }),
        bomb("a template of 1 MB", move || {
            format!("{HEAD}{CART}variables = {{ a = \"{}\" }}\n", holes())
        }),
        bomb("a rule of 1 MB", move || {
            format!("{HEAD}{CART}allowed_outbound_hosts = [\"{}\"]\n", holes())
        }),
    ]
}

fn many_mistakes() -> Vec<Bomb> {
    let rules = |rules: String| format!("{HEAD}{CART}allowed_outbound_hosts = [{rules}]\n");
    vec![
        bomb("10,000 times a key", || {
            HEAD.to_owned() + &"a = 1\n".repeat(10_000)
        }),
        bomb("100,000 times a key", || {
            HEAD.to_owned() + &"a=1\n".repeat(99_000)
        }),
        bomb("10,000 unknown keys", || {
            HEAD.to_owned() + &many(10_000, |n| format!("k{n} = 1\n"))
        }),
        bomb("unknown keys in a line", || {
            let keys = many(49_000, |n| format!("k{n}=1,"));
            format!("{HEAD}[trigger]\n[component]\nc={{{keys}z=1}}\n")
        }),
        bomb("10,000 rules that are none", move || {
            rules(many(10_000, |n| format!("\"h{n}\",")))
        }),
        bomb("100,000 rules that are none", move || {
            rules("\"x\",".repeat(99_000))
        }),
        bomb("200,000 rules that are none", move || {
            rules("\"x\",".repeat(200_000))
        }),
        bomb("keys and commas", || "a=1,".repeat(49_000)),
    ]
}

#[tokio::test]
async fn a_manifest_that_was_written_to_hurt_is_refused_in_little_memory_and_few_lines() {
    let bombs = [
        long(),
        many_mistakes(),
        many_tables(),
        many_routes(),
        deep(),
    ];
    for (name, text) in bombs.into_iter().flatten() {
        refused(name, &App::new(&text())).await;
    }
}

#[tokio::test]
async fn a_file_of_60_mb_is_not_read() {
    let app = App::new("");
    let file = fs::File::options().write(true).open(app.manifest());
    file.and_then(|file| file.set_len(60_000_000))
        .expect("writable");
    refused("60 MB", &app).await;
}

#[tokio::test]
async fn a_file_of_256_mb_that_is_no_component_is_not_read_whole() {
    let app = App::new("");
    for (name, head, what) in [
        ("zeros.wasm", &b""[..], "it is not WebAssembly"),
        (
            "elf.wasm",
            b"\x7fELF",
            "it is a native program or library (ELF), not WebAssembly",
        ),
        ("text.wasm", b"(", "it is not WebAssembly"),
    ] {
        let path = app.path().join(name);
        fs::write(&path, head).expect("writable");
        let file = fs::File::options().write(true).open(&path);
        file.and_then(|file| file.set_len(256 << 20))
            .expect("writable");
        let said = run(app.path(), &["inspect", name]).await;
        let text = format!(
            "error: cannot inspect `{name}`: {what}\nhelp: name the `.wasm` that the toolchain made\n"
        );
        assert_eq!((said.code, &*said.stderr), (1, &*text));
        let peak = children_peak();
        assert!(peak <= MOST_MEMORY, "{name}: {peak} KiB");
    }
}

/// The most memory that a child which has ended took, in KiB (getrusage(2)).
#[expect(
    unsafe_code,
    reason = "a system call that fills in a structure of ours"
)]
fn children_peak() -> i64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to memory of that type, which the call fills in; zeroes are a value of it too.
    let usage = unsafe {
        let done = libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        assert_eq!(done, 0, "the system says so");
        usage.assume_init()
    };
    usage.ru_maxrss
}

#[expect(
    clippy::print_stderr,
    reason = "times are for whoever reads along with `--nocapture`; no test asserts them"
)]
async fn refused(name: &str, app: &App) {
    for format in ["text", "json"] {
        let started = Instant::now();
        let said = run(app.path(), &["check", "--format", format]).await;
        let took = started.elapsed();
        let (peak, lines) = (children_peak(), said.stderr.lines().count());
        eprintln!("{took:>8.0?}, {lines:>3} lines, at most {peak} KiB so far: {name} ({format})");
        assert_eq!(said.code, 2, "{name}");
        assert!(peak <= MOST_MEMORY, "{name} ({format}): {peak} KiB");
        assert!(lines <= MOST_LINES, "{name}: {lines} lines");
        let json = said.stdout.len();
        assert!(json <= MOST_JSON, "{name}: {json} bytes");
        let widest = said.stderr.lines().map(str::len).max();
        assert!(widest <= Some(MOST_COLUMNS), "{name}: {widest:?}");
    }
}
