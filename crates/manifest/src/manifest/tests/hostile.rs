//! Files that were written to hurt: each ends in an error, none in a crash.

use super::*;

fn first(text: &str) -> String {
    match Manifest::parse(text, Path::new("spin-like.toml"), &Variables::default()) {
        Ok(manifest) => format!(
            "{} components, {} routes",
            manifest.components.len(),
            manifest.routes.routes().len()
        ),
        Err(error) => {
            // The whole report must be printable too.
            let _ = error.to_string();
            error.diagnostics[0].message.clone()
        }
    }
}

#[test]
fn e52_a_file_that_is_deep_or_huge_is_an_error() {
    let small = |n: usize| {
        format!(
            "{HEAD}[trigger]\n{}",
            (0..n)
                .map(|n| format!("[component.c{n}]\n"))
                .collect::<String>()
        )
    };
    let rows = [
        (
            "100 MB",
            "#".repeat(100_000_000),
            "`spin-like.toml` is too large",
        ),
        (
            "nested arrays",
            format!("a = {}", "[".repeat(10_000)),
            "this is not TOML",
        ),
        (
            "nested and closed arrays",
            format!("a = {}{}", "[".repeat(10_000), "]".repeat(10_000)),
            "this is not TOML",
        ),
        (
            "nested tables",
            format!("a = {}", "{a = ".repeat(10_000)),
            "this is not TOML",
        ),
        (
            "a dotted key",
            format!("{}a = 1", "a.".repeat(10_000)),
            "this is not TOML",
        ),
        (
            "a dotted header",
            format!("[{}a]", "a.".repeat(100_000)),
            "this is not TOML",
        ),
        (
            "100,000 tables",
            (0..100_000).map(|n| format!("[t{n}]\n")).collect(),
            "the manifest has no `spin_manifest_version`",
        ),
        (
            "100,000 unknown keys",
            format!(
                "spin_manifest_version = 2\napplication = {{}}\ntrigger = {{}}\n{}",
                (0..80_000).map(|n| format!("k{n}=1\n")).collect::<String>()
            ),
            "`[application]` has no `name`",
        ),
        (
            "50,000 components",
            small(50_000),
            "`[component.c0]` has no `source`",
        ),
        (
            "500,000 numbers",
            format!("{HEAD}a = [{}]", "1,".repeat(500_000)),
            "`spin-like.toml` has too many values",
        ),
        ("a null", "\0".into(), "this is not TOML"),
        ("quotes", "\"".repeat(1_000_000), "this is not TOML"),
        (
            "a million brackets",
            "[[".repeat(500_000),
            "this is not TOML",
        ),
    ];
    for (row, text, expected) in rows {
        assert_eq!(first(&text), expected, "{row}");
    }
}

#[test]
fn e52_there_is_a_most_of_everything() {
    let components: String = (0..10_001)
        .map(|n| format!("[component.c{n}]\nsource = \"c\"\n"))
        .collect();
    assert_eq!(
        first(&format!("{HEAD}[trigger]\n{components}")),
        "a manifest has at most 10000 components"
    );

    let routes = |count: usize| -> String {
        (0..count)
            .map(|n| format!("{{route=\"/r{n}\",component=\"c\"}},"))
            .collect()
    };
    let manifest = |count| {
        format!(
            "{HEAD}[trigger]\nhttp = [{}]\n[component.c]\nsource = \"c\"\n",
            routes(count)
        )
    };
    assert_eq!(first(&manifest(10_000)), "1 components, 10000 routes");
    assert_eq!(
        first(&manifest(10_001)),
        "a manifest has at most 10000 triggers of a type"
    );

    let rules: String = (0..20_001)
        .map(|n| format!("\"https://h{n}.com\","))
        .collect();
    let text = format!(
        "{HEAD}[trigger]\n[component.c]\nsource = \"c\"\nallowed_outbound_hosts = [{rules}]\n"
    );
    assert_eq!(first(&text), "a component has at most 20000 rules");
}

#[test]
fn e52_a_guess_is_not_made_for_everything() {
    let routes: String = (0..9_000)
        .map(|n| format!("{{route=\"/r{n}\",component=\"d{n}\"}},"))
        .collect();
    let components: String = (0..9_000)
        .map(|n| format!("[component.c{n}]\nsource=\"c\"\n"))
        .collect();
    let text = format!("{HEAD}[trigger]\nhttp = [{routes}]\n{components}");
    assert_eq!(first(&text), "there is no component `d0`");
}

#[test]
fn e52_variables_do_not_grow_without_end() {
    let big = "x".repeat(60_000);
    let uses: String = (0..5_000)
        .map(|n| format!("v{n} = \"{{{{ a }}}}\"\n"))
        .collect();
    let text = format!(
        "{HEAD}[trigger]\n[variables]\na = {{ default = \"{big}\" }}\n[component.c]\nsource = \"c\"\n[component.c.variables]\n{uses}"
    );
    assert_eq!(first(&text), "a variable would become too long");
    let twice = text.replace("v0 = \"{{ a }}\"", "v0 = \"{{ a }}{{ a }}\"");
    assert_eq!(first(&twice), "a variable would become too long");
}

#[test]
fn a_cut_or_broken_manifest_never_panics() {
    let whole = format!(
        "{HEAD}[variables]\nv = {{ default = \"x\" }}\n[[trigger.http]]\nroute = \"/:a/...\"\ncomponent = \"c\"\n[component.c]\n\
         source = \"c\"\nfiles = [\"x\", {{ source = \"a\", destination = \"/b\" }}]\nallowed_outbound_hosts = [\"https://{{{{ v }}}}.com:8..9\"]\n"
    );
    let strange = [
        "\"",
        "[",
        "]",
        "{",
        "}",
        "=",
        "\n",
        "\u{1b}",
        "\u{1f469}\u{200d}",
        "0x",
        "'''",
        "{{",
        ".",
        "nan",
    ];
    for at in 0..=whole.len() {
        let _ = first(&whole[..at]);
        let _ = first(&whole[at..]);
        for text in strange {
            let _ = first(&format!("{}{text}{}", &whole[..at], &whole[at..]));
        }
    }
}

#[test]
fn a_file_is_read_only_when_it_is_one_and_fits() {
    let said = |path: &Path| match Manifest::load(path, &Variables::default()) {
        Ok(_) => "nothing".to_string(),
        Err(error) => error.to_string(),
    };
    let folder = std::env::temp_dir();
    assert_eq!(
        said(&folder),
        format!(
            "error: cannot read `{}`: it is not a file\nhelp: name the manifest itself, such as `spin-like.toml`\n",
            folder.display()
        )
    );
    let missing = folder.join("runner-manifest-there-is-no-such-file.toml");
    assert_eq!(
        said(&missing),
        format!(
            "error: cannot read `{}`: No such file or directory (os error 2)\n\
             help: check the path, and that you may read the file\n",
            missing.display()
        )
    );
    assert_eq!(
        said(Path::new("/dev/zero")),
        "error: cannot read `/dev/zero`: it is not a file\nhelp: name the manifest itself, such as `spin-like.toml`\n"
    );
}
