use super::*;

/// Everything that is said of a manifest, with the fixed lines in front.
fn said(rest: &str) -> String {
    match read(rest, &[]) {
        Ok(_) => "nothing".into(),
        Err(error) => error.to_string(),
    }
}

/// The title, place, label and help of each error, one line each.
fn brief(rest: &str) -> Vec<String> {
    let Err(error) = read(rest, &[]) else {
        return Vec::new();
    };
    error.diagnostics.iter().map(line).collect()
}

fn line(error: &Diagnostic) -> String {
    let place = error
        .place
        .as_ref()
        .expect("an error in a manifest has a place");
    assert!(!error.help.is_empty(), "an error says what to do: {error}");
    let (line, column) = (place.line() - HEAD.lines().count(), place.column());
    format!(
        "{line}:{column}: {}: {}; {}",
        error.message,
        error.label,
        error.help.join("; ")
    )
}

#[test]
fn all_mistakes_are_said_together_in_the_order_of_the_file() {
    let text = r#"descripton = "sells"

[[trigger.http]]
route = "/cart"
component = "catr"
[[trigger.http]]
route = "/cart"
component = "cart"
[[trigger.http]]
route = "/cart/"
component = "cart"

[component.cart]
sorce = "cart.wasm"
alowed_outbound_hosts = ["https://a.com"]
allowed_outbound_hosts = ["a.com", "htps://api.example.com"]
"#;
    let expected = "\
error: `descripton` is not a key of `[application]`
 --> app/spin-like.toml:4:1
  |
4 | descripton = \"sells\"
  | ^^^^^^^^^^ unknown key
  |
help: did you mean `description`?

error: there is no component `catr`
  --> app/spin-like.toml:8:13
   |
 8 | component = \"catr\"
   |             ^^^^^^ not defined
   |
  ::: app/spin-like.toml:16:1
   |
16 | [component.cart]
   | ---------------- `cart` is defined here
   |
help: did you mean `cart`?
help: the components are `cart`

error: the route `/cart/` is there twice
  --> app/spin-like.toml:13:9
   |
13 | route = \"/cart/\"
   |         ^^^^^^^^ the second
   |
  ::: app/spin-like.toml:10:9
   |
10 | route = \"/cart\"
   |         ------- the first
   |
help: remove one, or give each a `host` of its own

error: `[component.cart]` has no `source`
  --> app/spin-like.toml:16:1
   |
16 | [component.cart]
   | ^^^^^^^^^^^^^^^^ `source` is missing
   |
help: add `source = \"component.wasm\"`

error: `sorce` is not a key of `[component.cart]`
  --> app/spin-like.toml:17:1
   |
17 | sorce = \"cart.wasm\"
   | ^^^^^ unknown key
   |
help: did you mean `source`?

error: `alowed_outbound_hosts` is not a key of `[component.cart]`
  --> app/spin-like.toml:18:1
   |
18 | alowed_outbound_hosts = [\"https://a.com\"]
   | ^^^^^^^^^^^^^^^^^^^^^ unknown key
   |
help: did you mean `allowed_outbound_hosts`?

error: `a.com` has no scheme
  --> app/spin-like.toml:19:27
   |
19 | allowed_outbound_hosts = [\"a.com\", \"htps://api.example.com\"]
   |                           ^^^^^^^ not a rule
   |
help: write `https://a.com`

error: `htps://api.example.com` has a scheme that is no scheme: `htps`
  --> app/spin-like.toml:19:36
   |
19 | allowed_outbound_hosts = [\"a.com\", \"htps://api.example.com\"]
   |                                    ^^^^^^^^^^^^^^^^^^^^^^^^ not a rule
   |
help: did you mean `https://api.example.com`?
";
    assert_eq!(said(text), expected);
}

#[test]
fn a_mistake_in_a_component_has_a_place_and_a_fix() {
    let head = "[trigger]\n[component.a]\nsource = \"a.wasm\"\n";
    let rows = [
        (
            "source",
            "description = 1",
            "4:15: `component.a.description` is not a string: this is a whole number; write a string here",
        ),
        (
            "files",
            "files = \"x\"",
            "4:9: `component.a.files` is not a list: this is a string; write a list here",
        ),
        (
            "files",
            "files = [\"../x\"]",
            "4:10: `component.a.files` is not a pattern for files below the manifest's folder: `../x` is not one; \
             write a pattern for files below the manifest's folder here",
        ),
        (
            "files",
            "files = [{ source = \"x\", destination = \"x\" }]",
            "4:40: `component.a.files.destination` is not an absolute path without `..`: `x` is not one; \
             write an absolute path without `..` here",
        ),
        (
            "files",
            "files = [{ source = \"x\", dest = \"/x\" }]",
            "4:10: `[component.a.files]` has no `destination`: `destination` is missing; add `destination = \"/folder\"`\n\
             4:26: `dest` is not a key of `[component.a.files]`: unknown key; its keys are `destination`, `source`",
        ),
        (
            "environment",
            "environment = { \"A=B\" = \"x\" }",
            "4:17: `A=B` cannot be in an environment: not a name and a value; a name has no `=`, and neither name nor value has a NUL",
        ),
        (
            "limits",
            "limits = { request_timeout = \"soon\" }",
            "4:30: `component.a.limits.request_timeout` is not a time such as `\"250 ms\"` or a number of seconds, at most a day \
             and not 0: `soon` is not one; write a time such as `\"250 ms\"` or a number of seconds, at most a day and not 0 here",
        ),
        (
            "limits",
            "limits = { outbound_concurrency = 0 }",
            "4:35: `component.a.limits.outbound_concurrency` is not a number from 1: `0` is not one; write a number from 1 here",
        ),
        (
            "c36",
            "allowed_outbound_hosts = [\"https://{{ nohost }}\"]",
            "4:27: `https://{{ nohost }}` uses the variable `nohost`, which is not declared: used here; \
             declare it: `[variables]` and `nohost = { required = true }`",
        ),
        (
            "template",
            "variables = { x = \"{{ nohost }}\" }",
            "4:19: the variable `nohost` is not declared: used here; declare it: `[variables]` and `nohost = { required = true }`",
        ),
        (
            "template",
            "variables = { x-y = \"{{\" }",
            "4:15: `x-y` is not the name of a variable: not `lower_snake_case`; \
             write lower-case letters and digits, with single `_` between words, and a letter first\n\
             4:21: `{{` has no `}}` after it: not a template; a variable is written `{{ name }}`",
        ),
        (
            "stores",
            "key_value_stores = [\"a b\"]",
            "4:21: `a b` is not the name of a store: not a name; write letters, digits, `-` and `_`",
        ),
        (
            "dependencies",
            "dependencies = { \"a:b\" = { ptah = \"x\" } }",
            "4:28: `ptah` is not a key of `[component.a.dependencies.a:b]`: unknown key; did you mean `path`?",
        ),
        (
            "build",
            "build = { commnad = \"x\" }",
            "4:9: `[component.a.build]` has no `command`: `command` is missing; add `command = \"make\"`\n\
             4:11: `commnad` is not a key of `[component.a.build]`: unknown key; did you mean `command`?",
        ),
        (
            "profile",
            "profile.debug.sorce = \"x\"",
            "4:15: `sorce` is not a key of `[component.a.profile.debug]`: unknown key; did you mean `source`?",
        ),
    ];
    for (row, line, expected) in rows {
        assert_eq!(
            brief(&format!("{head}{line}\n")).join("\n"),
            expected,
            "{row}: {line}"
        );
    }
}

#[test]
fn a_source_is_one_of_three() {
    let rows = [
        (
            "\"\"",
            "`component.a.source` is not the path of a file: this is empty; write the path of a file here",
        ),
        (
            "7",
            "`component.a.source` is not a path, or a table with `url` or `package`: this is a whole number; \
             write a path, or a table with `url` or `package` here",
        ),
        (
            "{ url = \"https://x\" }",
            "a source that is a table needs `digest`: `digest` is missing; add `digest = \"sha256:…\"`",
        ),
        (
            "{ package = \"a:b\" }",
            "a source that is a table needs `version`: `version` is missing; add `version = \"1.0.0\"`",
        ),
    ];
    for (source, expected) in rows {
        let seen = brief(&format!("[trigger]\n[component.a]\nsource = {source}\n"));
        assert_eq!(seen, [format!("3:10: {expected}")], "{source}");
    }
    let seen = brief(
        "[trigger]\n[component.a]\nsource = { url = \"https://x\", digest = \"sha256:abc\" }\n",
    );
    let digest = "a digest: `sha256:` and 64 hexadecimal digits";
    let expected = format!(
        "3:40: `component.a.source.digest` is not {digest}: `sha256:abc` is not one; write {digest} here"
    );
    assert_eq!(seen, [expected]);
}

#[test]
fn a_mistake_in_a_trigger_has_a_place_and_a_fix() {
    let rows = [
        ("route = \"cart\"\ncomponent = \"a\"", "2:9: `cart` is not a route: a path begins with `/`: not a route; write `/cart`".to_string()),
        (
            "route = \"/a/../b\"\ncomponent = \"a\"",
            "2:9: `/a/../b` is not a route: a route is written in the form that paths are brought to, `/b`: not a route; write `/b`".into(),
        ),
        ("route = \"/a//b\"\ncomponent = \"a\"", "2:9: `/a//b` is not a route: a route has no empty segment: not a route; write `/a/b`".into()),
        (
            "route = { private = false }\ncomponent = \"a\"",
            "2:9: `trigger.http.route` is not a path, or `{ private = true }`: this is a table; write a path, or `{ private = true }` here".into(),
        ),
        ("component = \"a\"", "1:1: `[trigger.http]` has no `route`: `route` is missing; add `route = \"/...\"`".into()),
        (
            "route = \"/\"",
            "1:1: a trigger needs a `component`: who answers?; \
             write `component = \"NAME\"`, or a `static_response` that the host answers with".into(),
        ),
        (
            "route = \"/\"\ncomponent = \"a\"\nstatic_response = {}",
            "4:19: a trigger has either `component` or `static_response`, not both: the host answers with this; \
             remove one of them".into(),
        ),
        (
            "route = { private = true }\nstatic_response = {}",
            "2:9: a `static_response` has a public route and nothing for a component: this is for a component; \
             leave one of them out, or name a `component`".into(),
        ),
        (
            "route = \"/\"\nstatic_response = { status_code = 101 }",
            "3:35: `trigger.http.static_response.status_code` is not a status from 200 to 599: `101` is not one; \
             write a status from 200 to 599 here".into(),
        ),
        (
            "route = \"/\"\nstatic_response = { headers = { \"content-length\" = \"7\" } }",
            "3:33: `content-length` is written by the host itself: not for a response to say; leave it out".into(),
        ),
        (
            "route = \"/\"\nstatic_response = { headers = { a = \"x\\r\\nb: y\" } }",
            "3:37: `trigger.http.static_response.headers.a` is not a header's value: text on one line: `x\r\nb: y` is not one; \
             write a header's value: text on one line here".into(),
        ),
        (
            "route = \"/\"\ncomponent = \"a\"\nhost = \"https://x\"",
            "4:8: `https://x` is not a host: the host has `:`, which no name has: not a host; \
             write `x`".into(),
        ),
        (
            "route = \"/\"\ncomponent = \"a\"\nexecutor = { type = \"fast\" }",
            "4:21: `trigger.http.executor.type` is not `\"http\"`, `\"wagi\"` or `\"cgi\"`: `fast` is not one; \
             write `\"http\"`, `\"wagi\"` or `\"cgi\"` here".into(),
        ),
        (
            "rout = \"/\"\nroute = \"/\"\ncomponent = \"a\"",
            "2:1: `rout` is not a key of `[trigger.http]`: unknown key; did you mean `route`?".into(),
        ),
    ];
    for (lines, expected) in rows {
        let seen = brief(&format!(
            "[[trigger.http]]\n{lines}\n[component.a]\nsource = \"a.wasm\"\n"
        ));
        assert_eq!(seen.join("\n"), expected, "{lines}");
    }
}

#[test]
fn e53_the_name_of_a_component_is_plain() {
    let rows = [
        (
            "\"a/b\"",
            "a component's name has lower-case letters, digits and dashes, not `/`",
        ),
        (
            "\"..\"",
            "a component's name has lower-case letters, digits and dashes, not `.`",
        ),
        (
            "\"\\u0000\"",
            "a component's name has lower-case letters, digits and dashes, not `\\u{0}`",
        ),
        (
            "Cart",
            "a component's name has lower-case letters, digits and dashes, not `C`",
        ),
        ("self", "`self` means the application itself"),
        (
            "a--b",
            "a dash in a component's name stands alone between letters or digits",
        ),
    ];
    for (name, expected) in rows {
        let Err(error) = read(
            &format!("[trigger]\n[component.{name}]\nsource = \"a\"\n"),
            &[],
        ) else {
            panic!("{name}")
        };
        let [error] = &error.diagnostics[..] else {
            panic!("{error}")
        };
        assert!(
            error
                .message
                .ends_with(&format!(" is not the name of a component: {expected}")),
            "{error}"
        );
        assert_eq!(error.place.as_ref().map(|place| place.text()), Some(name));
    }
}

#[test]
fn e54_a_variable_refers_to_no_other_and_fits() {
    let message = |text: &str, provided: &[(&str, &str)]| {
        let Err(error) = read(&format!("[trigger]\n[variables]\n{text}"), provided) else {
            return "nothing".to_string();
        };
        error
            .diagnostics
            .iter()
            .map(line)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let refers = |name: &str, other: &str, place: &str| {
        format!(
            "{place}: the default of `{name}` refers to the variable `{other}`: a default is plain text; \
             put the two together where they are used, in a component's `variables`"
        )
    };
    assert_eq!(
        message("a = { default = \"{{ a }}\" }", &[]),
        refers("a", "a", "3:17")
    );
    let circle = message(
        "a = { default = \"{{ b }}\" }\nb = { default = \"{{ a }}\" }",
        &[],
    );
    assert_eq!(
        circle,
        format!("{}\n{}", refers("a", "b", "3:17"), refers("b", "a", "4:17"))
    );
    assert_eq!(
        message("a = { default = \"{{ mustache }}\" }", &[]),
        "nothing"
    );
    assert_eq!(
        message("a = {}", &[]),
        "3:1: the variable `a` has neither a `default` nor `required`: it could be without a value; \
         add `required = true`, or a `default`"
    );
    let long = "x".repeat(1_000_000);
    assert_eq!(
        message("a = { required = true }", &[("a", &long)]),
        "3:1: the value that was given for `a` is too long: declared here; a value has at most 65536 bytes; put more into a file"
    );
    assert_eq!(
        message(
            "a = { required = true }\n[component.a]\nsource = \"a\"\nvariables = { a = \"{{ a }}\" }",
            &[]
        ),
        "6:19: the variable `a` has no value: used here; set `RUNNER_VARIABLE_A` in the environment, run with \
         `--variable a=VALUE`, or give it a `default`"
    );
    assert_eq!(
        message(
            "a_b = { required = true, secret = true }\n[component.a]\nsource = \"a\"\nvariables = { a = \"{{ a_b }}\" }",
            &[]
        ),
        "6:19: the variable `a_b` has no value: used here; set `RUNNER_VARIABLE_A_B` in the environment; others can see a \
         command line with `--variable a_b=VALUE`"
    );
}

#[test]
fn where_values_may_lack_what_needs_one_is_left_out_with_a_warning() {
    let text = format!(
        "{HEAD}[variables]\nhost = {{ required = true }}\ntoken = {{ required = true, secret = true }}\n\
         [[trigger.http]]\nroute = \"/\"\ncomponent = \"a\"\n[component.a]\nsource = \"a\"\n\
         variables = {{ own = \"{{{{ token }}}}\", plain = \"1\" }}\nallowed_outbound_hosts = [\n\
         \"https://{{{{ host }}}}\",\n\
         {{ url = \"https://a.com\", inject = {{ header = \"x-key\", value = \"{{{{ token }}}}\" }} }},\n]\n"
    );
    let path = Path::new("app/spin-like.toml");
    let strict = Manifest::parse(&text, path, &Variables::default());
    assert_eq!(strict.expect_err("values lack").diagnostics.len(), 3);
    let manifest = Manifest::parse(&text, path, &Variables::default().may_lack());
    let manifest = manifest.unwrap_or_else(|error| panic!("{error}"));
    let said: Vec<_> = manifest.warnings.iter().map(line).collect();
    let (host, token) = (
        "set `RUNNER_VARIABLE_HOST` in the environment, run with `--variable host=VALUE`, or give it a `default`",
        "set `RUNNER_VARIABLE_TOKEN` in the environment; others can see a command line with `--variable token=VALUE`",
    );
    assert_eq!(
        said,
        [
            format!("9:21: the variable `token` has no value: used here; {token}"),
            format!(
                "11:1: `https://{{{{ host }}}}` uses the variable `host`, which has no value: used here; {host}"
            ),
            format!("12:63: the variable `token` has no value: used here; {token}"),
        ]
    );
    let left_out = "it is left out here; `runner up` does not start without it";
    assert!(
        manifest
            .warnings
            .iter()
            .all(|warning| warning.notes.iter().any(|note| note == left_out))
    );
    let component = &manifest.components["a"];
    assert_eq!(component.variables.keys().collect::<Vec<_>>(), ["plain"]);
    let rules: Vec<_> = component
        .allow
        .rules()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        rules,
        ["https://a.com + x-key"],
        "its calls are decided as they will be"
    );
}

#[test]
fn a_component_that_nothing_leads_to_gets_a_warning() {
    let component = |name: &str, rule: &str| {
        let rule = format!("allowed_outbound_hosts = [{rule}]\n");
        format!("[component.{name}]\nsource = \"a\"\n{rule}")
    };
    let unused = |front: &str, others: &str| {
        let text = format!(
            "[[trigger.http]]\nroute = \"/\"\ncomponent = \"front\"\n{}{others}",
            component("front", front)
        );
        let warnings = good(&text).warnings.into_iter();
        let unused = warnings.filter(|warning| warning.code == Code::ComponentUnused);
        unused.map(|warning| warning.message).collect::<Vec<_>>()
    };
    let (back, alone) = (
        component("back", ""),
        component("back", "\"http://*.spin.internal\""),
    );
    let nothing = ["nothing leads to component `back`"];
    assert_eq!(unused("", &back), nothing);
    assert_eq!(unused("\"http://front.spin.internal\"", &back), nothing);
    assert_eq!(
        unused("", &component("back", "\"http://back.spin.internal\"")),
        nothing,
        "itself"
    );
    assert_eq!(unused("", &alone), nothing, "itself");
    let called = [""; 0];
    assert_eq!(unused("\"http://back.spin.internal\"", &back), called);
    assert_eq!(
        unused(
            "{ url = \"http://back.spin.internal/x\", methods = [\"PUT\"] }",
            &back
        ),
        called
    );
    assert_eq!(unused("\"http://*.spin.internal\"", &back), called);
    assert_eq!(unused("\"http://*.spin.internal\"", &alone), called);
    let private = "[[trigger.http]]\nroute = { private = true }\ncomponent = \"back\"\n";
    assert_eq!(unused("", &format!("{private}{back}")), called);
    let redis = "[[trigger.redis]]\ncomponent = \"back\"\n";
    assert_eq!(unused("", &format!("{redis}{back}")), called);
}

#[test]
fn what_could_be_read_beside_a_mistake_is_there() {
    let path = Path::new("app/spin-like.toml");
    let text =
        format!("{HEAD}[trigger]\n[component.a]\nsource = \"a\"\n[component.b]\nsorce = \"b\"\n");
    let flawed = crate::manifest::read(&text, path, &Variables::default(), &Operator::default())
        .expect_err("a mistake");
    assert_eq!(flawed.error.diagnostics.len(), 2, "{}", flawed.error);
    let rest = flawed.rest.expect("the rest");
    let there: Vec<_> = rest.components.keys().map(ComponentId::as_str).collect();
    assert_eq!(there, ["a"]);
}

#[test]
fn a_message_shows_no_value_beside_what_it_is_about() {
    let text = "[trigger]\n[variables]\n\
        a = { default = \"PLANTED\", secrt = true }\n\
        [variables.b]\ndefault = 'PLANTED'\ndefualt = 'x'\n\
        [component.c]\nsource = \"c\"\n\
        environment = { A = \"PLANTED\", B = 1, C = \"x\\u0000\" }\n\
        variables = { a = \"PLANTED\", b = \"{{ no }}\" }\n";
    let said = said(text);
    assert!(!said.contains("PLANTED"), "{said}");
    for line in [
        "6 | a = { default = \"*******\", secrt = true }",
        "12 | environment = { A = \"*******\", B = 1, C = \"*******\" }",
        "13 | variables = { a = \"*******\", b = \"{{ no }}\" }",
    ] {
        assert!(said.contains(line), "{said}");
    }
}

#[test]
fn c36_the_error_names_rule_and_variable_and_never_the_value() {
    let text = "[trigger]\n[variables]\nhost = { required = true, secret = true }\n[component.a]\nsource = \"a\"\n\
                allowed_outbound_hosts = [\"https://{{ host }}\"]\n";
    let Err(error) = read(text, &[("host", "evil.com/s3cret")]) else {
        panic!("it widens")
    };
    assert_eq!(
        error.to_string(),
        "error: `https://{{ host }}` would get `/` from variable `host`; it can fill a host's labels or the port
 --> app/spin-like.toml:9:27
  |
9 | allowed_outbound_hosts = [\"https://{{ host }}\"]
  |                           ^^^^^^^^^^^^^^^^^^^^ used here
  |
  = `host` is declared at app/spin-like.toml:6:1
help: write scheme, wildcards, ranges and private addresses in the rule itself
"
    );
}

#[test]
fn the_frame_of_a_manifest_is_checked() {
    let parse = |text: &str| match Manifest::parse(
        text,
        Path::new("spin-like.toml"),
        &Variables::default(),
    ) {
        Ok(_) => "nothing".to_string(),
        Err(error) => error
            .diagnostics
            .iter()
            .map(|error| format!("{}; {}", error.message, error.help.join("; ")))
            .collect::<Vec<_>>()
            .join("\n"),
    };
    let rows = [
        (
            "",
            "the manifest has no `spin_manifest_version`; add `spin_manifest_version = 2`",
        ),
        (
            "spin_manifest_version = 3",
            "this version of a manifest is not known; write `spin_manifest_version = 2`",
        ),
        (
            "spin_manifest_version = \"2\"",
            "this version of a manifest is not known; write `spin_manifest_version = 2`",
        ),
        (
            "spin_manifest_version = \"1\"\nname = \"x\"",
            "this is a manifest of version 1; write it as version 2; `spin doctor` can do that",
        ),
        (
            "spin_manifest_version = 2",
            "the manifest has no `application`; add `[application]`\nthe manifest has no `trigger`; add `[[trigger.http]]`",
        ),
        (
            "\u{feff}spin_manifest_version = 2\r\n[application]\r\nname = \"x\"\r\n[trigger]\r\n",
            "nothing",
        ),
        (
            "spin_manifest_version = 2\n[application]\n[trigger]\n[componant.a]",
            "`[application]` has no `name`; add `name = \"my-app\"`\n`componant` is not a key of the manifest; did you mean `component`?",
        ),
        (
            "spin_manifest_version = 2\napplication = { name = \"\" }\ntrigger = []",
            "`application.name` is not a name: one line of 1 to 128 characters; write a name: one line of 1 to 128 characters here\n\
             `trigger` is not a table; write a table here",
        ),
        (
            "spin_manifest_version = 2\n[application]\nname = \"x\"\n[application.trigger.http]\nbase = \"x\"\n[trigger]",
            "`x` is not a base; a base is a path such as `/shop`, without `:name` and `/...`",
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(parse(text), expected, "{text}");
    }
}

#[test]
fn what_is_not_toml_is_marked() {
    assert_eq!(
        said("[component.a\nsource = \"a.wasm\"\n"),
        "error: this is not TOML
 --> app/spin-like.toml:4:13
  |
4 | [component.a
  |             ^ unclosed table, expected `]`
  |
help: correct this first: the rest of the file was not looked at
"
    );
    let twice = brief("[trigger]\n[component.a]\nsource = \"a\"\n[component.a]\nsource = \"b\"\n");
    let duplicate =
        "4:1: `[component.a]` is there twice: the second; remove one, or give it another name";
    assert_eq!(twice, [duplicate]);
    // What is there twice is found last, and told where it stands.
    let places: Vec<_> = brief("[a]\n[a]\n[[b]\n")
        .iter()
        .map(|line| line.split(": ").next().unwrap_or_default().to_owned())
        .collect();
    assert!(places.is_sorted() && places.len() == 2, "{places:?}");
}

#[test]
fn what_is_there_twice_is_marked_at_both_ends() {
    let ends = |text: &str| -> Vec<String> {
        let Err(error) = read(text, &[]) else {
            return Vec::new();
        };
        let ends = |found: &Diagnostic| {
            let also = found.also.iter().map(|mark| format!("{:?}", mark.place));
            format!("{:?} {}", found.place, also.collect::<Vec<_>>().join(" "))
        };
        error.diagnostics.iter().map(ends).collect()
    };
    let at = |second: &str, first: &str| format!("Some(app/spin-like.toml:{second}) {first}");
    let first = |first: &str| format!("app/spin-like.toml:{first}");
    let rows = [
        (
            "[a]\nx = 1\n[b]\nx = 1\n[a]\nx = 2\n",
            at("8:1", &first("4:1")),
        ),
        ("[a]\n  x = 1\n  x = 2\n", at("6:3", &first("5:3"))),
        ("[a]\nx = 1\n[b]\nx = 1\nx = 2\n", at("8:1", &first("7:1"))),
        ("a = { x = 1, x = 2 }\n", at("4:14", "")),
        ("name = \"again\"\n", at("4:1", &first("3:1"))),
    ];
    for (text, expected) in rows {
        assert_eq!(ends(text), [expected], "{text}");
    }
}
