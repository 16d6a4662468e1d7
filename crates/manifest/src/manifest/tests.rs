//! What a manifest becomes, and what is said of one that is wrong.

mod faults;
mod hostile;

use super::*;
use crate::{
    Destination, Executor, FileMount, InstanceReuse, NormalPath, Rate, Reply, Source,
    StaticResponse, Value, Verdict,
};
use std::time::Duration;

const HEAD: &str = "spin_manifest_version = 2\n[application]\nname = \"shop\"\n";

/// Reads a manifest of which the first three lines are always the same.
fn read(rest: &str, provided: &[(&str, &str)]) -> Result<Manifest, Error> {
    let provided = provided.iter().copied().collect();
    Manifest::parse(
        &format!("{HEAD}{rest}"),
        Path::new("app/spin-like.toml"),
        &provided,
    )
}

fn good(rest: &str) -> Manifest {
    read(rest, &[]).unwrap_or_else(|error| panic!("{error}"))
}

fn warnings(manifest: &Manifest) -> String {
    let warnings: Vec<String> = manifest.warnings.iter().map(ToString::to_string).collect();
    warnings.join("\n\n")
}

#[test]
fn a_whole_manifest() {
    let manifest = read(
        r#"
version = "1.2.0"
description = "sells"
authors = ["Ada <ada@example.com>"]
targets = ["spin-up:3.3", { url = "x" }]
[application.tool.any]
thing = [1, 2.5, 1979-05-27]
[application.limits]
request_timeout = "5 s"
outbound_concurrency = 4

[variables]
token = { required = true, secret = true, description = "for the api" }
greeting = { default = "hello" }

[[trigger.http]]
id = "one"
route = "/cart/:id/..."
component = "cart"
host = "Shop.example.com"
[[trigger.http]]
route = "/robots.txt"
static_response = { status_code = 404, headers = { X-Robots = "none" }, body = "no" }
[[trigger.http]]
route = { private = true }
component = "cart"
executor = { type = "spin" }
[[trigger.http]]
route = "/inline"
component = { source = "inline.wasm" }

[component.cart]
source = "target/cart.wasm"
description = "the cart"
environment = { LOG = "{{ not a template }}" }
variables = { auth = "Bearer {{ token }}", hi = "{{greeting}}, {{ greeting }}!" }
files = ["static/**/*", { source = "assets", destination = "/assets" }]
exclude_files = ["static/secret/*"]
allowed_outbound_hosts = ["https://api.example.com", "http://self"]
targets = []
key_value_stores = []
[component.cart.build]
command = ["make", "make test"]
workdir = "src"
watch = ["src/**/*.rs"]
[component.cart.tool.other]
x = 1
[component.cart.profile.debug]
source = "target/debug.wasm"
environment = { A = "b" }
build.command = "make debug"
[component.cart.limits]
outbound_concurrency = 2
"#,
        &[("token", "s3cret")],
    )
    .unwrap_or_else(|error| panic!("{error}"));

    assert_eq!(
        (&*manifest.name, &*manifest.version, &*manifest.description),
        ("shop", "1.2.0", "sells")
    );
    assert_eq!(manifest.authors, ["Ada <ada@example.com>"]);
    assert_eq!(warnings(&manifest), "");
    let ids: Vec<&str> = manifest
        .components
        .keys()
        .map(ComponentId::as_str)
        .collect();
    assert_eq!(ids, ["cart", "inline-component1"]);

    let cart = &manifest.components["cart"];
    assert_eq!(cart.place.text(), "[component.cart]");
    assert_eq!(cart.allow.place().map(|place| place.line()), Some(42));
    assert_eq!(
        cart.allow.rules()[0].place().map(|place| place.text()),
        Some("\"https://api.example.com\"")
    );
    let Source::Local { path, place } = &cart.source else {
        panic!("local")
    };
    assert_eq!(
        (path.to_str(), place.text()),
        (Some("app/target/cart.wasm"), "\"target/cart.wasm\"")
    );
    assert_eq!(cart.environment["LOG"], "{{ not a template }}");
    let values: Vec<&str> = cart.variables.values().map(Value::expose).collect();
    assert_eq!(values, ["Bearer s3cret", "hello, hello!"]);
    assert!(
        !format!("{manifest:?}").contains("s3cret"),
        "a value is not in any Debug"
    );
    let assets = FileMount::Directory {
        source: "app/assets".into(),
        destination: "/assets".into(),
    };
    assert_eq!(cart.files, [FileMount::Glob("static/**/*".into()), assets]);
    assert_eq!(cart.exclude_files, ["static/secret/*"]);
    assert_eq!(cart.limits.request_timeout, Some(Duration::from_secs(5)));
    assert_eq!(cart.limits.outbound_concurrency, Some(2));
    let build = cart.build.as_ref().expect("there is one");
    assert_eq!(
        (
            build.command.len(),
            build.workdir.to_str(),
            build.watch.len()
        ),
        (2, Some("app/src"), 1)
    );
    assert!(cart.unsupported.is_empty());
    assert_eq!(manifest.routes.of(&cart.id).count(), 2);

    let path = NormalPath::parse("/cart/7/x").expect("a path");
    let found = manifest
        .routes
        .find(Some("shop.example.com:3000"), &path)
        .expect("a route");
    assert_eq!(
        (found.path_info.as_str(), found.component_route),
        ("/x", "/cart/:id")
    );
    assert_eq!(found.route.reply, Reply::Component(cart.id.clone()));
    let robots = manifest
        .routes
        .find(None, &NormalPath::parse("/robots.txt").expect("a path"))
        .expect("a route");
    let headers = vec![("x-robots".to_string(), "none".to_string())];
    assert_eq!(
        robots.route.reply,
        Reply::Static(StaticResponse {
            status: 404,
            headers,
            body: "no".into()
        })
    );
    assert!(manifest.routes.find(None, &path).is_none());
}

#[test]
fn without_a_key_everything_is_denied_and_the_place_is_the_header() {
    let manifest = good(
        "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"a\"\n[component.a]\nsource = \"a.wasm\"\n",
    );
    let allow = &manifest.components["a"].allow;
    assert_eq!(
        allow.place().map(|place| place.text()),
        Some("[component.a]")
    );
    let to = Destination::from_url("https://example.com").expect("a url");
    assert!(matches!(
        allow.check(&crate::Call::get(&to)),
        Verdict::Deny { nearest: None }
    ));
}

#[test]
fn limits_are_words() {
    let manifest = good(
        r#"
[[trigger.http]]
route = "/..."
component = "a"
[component.a]
source = "a.wasm"
limits = { memory = "64 MiB", cpu = 1, queue = 0, log_rate = "16 KiB/s", outbound_rate = "100/min", instance_reuse = "never", request_timeout = "250 ms" }
"#,
    );
    let limits = &manifest.components["a"].limits;
    assert_eq!(
        (limits.memory, limits.cpu, limits.queue),
        (Some(64 << 20), Some(Duration::from_secs(1)), Some(0))
    );
    assert_eq!(
        limits.log_rate,
        Some(Rate {
            amount: 16 << 10,
            per: Duration::from_secs(1)
        })
    );
    assert_eq!(
        limits.outbound_rate,
        Some(Rate {
            amount: 100,
            per: Duration::from_secs(60)
        })
    );
    assert_eq!(limits.instance_reuse, Some(InstanceReuse::Never));
    assert_eq!(limits.request_timeout, Some(Duration::from_millis(250)));
    assert!(manifest.warnings.is_empty(), "{:?}", manifest.warnings);
}

/// The memory and the queue of a component under an operator's file, and with more lines in its table.
fn limits_under(operator: &str, lines: &str) -> (Option<u64>, Option<u32>) {
    let usual = Limits {
        memory: Some(100 << 16),
        ..Limits::default()
    };
    let operator = Operator::parse(operator, Path::new("runner.toml"), &usual);
    let operator = operator.unwrap_or_else(|error| panic!("{error}"));
    let text = format!(
        "{HEAD}[[trigger.http]]\nroute = \"/...\"\ncomponent = \"a\"\n[component.a]\nsource = \"a.wasm\"\n{lines}"
    );
    let path = Path::new("spin-like.toml");
    let manifest = super::read(&text, path, &Variables::default(), &operator);
    let limits = &manifest.expect("it has no mistakes").components["a"].limits;
    (limits.memory, limits.queue)
}

#[test]
fn a_component_goes_before_its_app_and_that_before_the_operator_and_that_before_the_host() {
    let own = "limits = { memory = 100_000 }\n";
    let app = "[application.limits]\nmemory = 200_000\n";
    let defaults = "[limits]\nmemory = 300_000\n";
    let ceilings = "[ceilings]\nmemory = 400_000\nqueue = 9\n";
    for (operator, lines, expected) in [
        ("", String::new(), (Some(100 << 16), None)),
        (defaults, String::new(), (Some(300_000), None)),
        (defaults, app.into(), (Some(200_000), None)),
        (defaults, own.into(), (Some(100_000), None)),
        (defaults, format!("{own}{app}"), (Some(100_000), None)),
        (ceilings, String::new(), (Some(400_000), Some(9))),
        (ceilings, app.into(), (Some(200_000), Some(9))),
    ] {
        assert_eq!(
            limits_under(operator, &lines),
            expected,
            "{operator}{lines}"
        );
    }
}

#[test]
fn c36_an_empty_variable_leaves_its_rule_out_and_says_so() {
    let manifest = good(
        r#"
[variables]
host = { default = "" }
[[trigger.http]]
route = "/..."
component = "a"
[component.a]
source = "a.wasm"
allowed_outbound_hosts = ["https://{{ host }}", "https://b.com", "redis://c.com"]
"#,
    );
    let rules: Vec<String> = manifest.components["a"]
        .allow
        .rules()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(rules, ["https://b.com", "redis://c.com"]);
    assert_eq!(
        warnings(&manifest),
        "warning: a rule is left out because the variable `host` is empty
  --> app/spin-like.toml:12:27
   |
12 | allowed_outbound_hosts = [\"https://{{ host }}\", \"https://b.com\", \"redis://c.com\"]
   |                           ^^^^^^^^^^^^^^^^^^^^ this allows nothing
   |
  ::: app/spin-like.toml:6:1
   |
 6 | host = { default = \"\" }
   | ---- `host` is declared here
   |
help: give `host` a value to allow it

warning: `redis://c.com` is a rule for `redis`, which this version of runner does not provide yet
  --> app/spin-like.toml:12:66
   |
12 | allowed_outbound_hosts = [\"https://{{ host }}\", \"https://b.com\", \"redis://c.com\"]
   |                                                                  ^^^^^^^^^^^^^^^ this allows nothing
   |
help: leave it out, or write `http` or `https`"
    );
}

#[test]
fn what_is_not_provided_yet_is_a_use_of_its_component() {
    let manifest = good(
        r#"
[[trigger.http]]
route = "/..."
component = "a"
executor = { type = "wagi", argv = "x" }
dependencies.middleware = [{ path = "m.wasm" }, "ns:pkg@1"]
[[trigger.redis]]
address = "redis://x"
channel = "c"
component = "a"
[[trigger.timer]]
components = { x = "b", y = ["b", "b"] }
[component.a]
source = { url = "https://x/a.wasm", digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000" }
key_value_stores = ["default"]
sqlite_databases = ["one"]
ai_models = ["llama2-chat"]
dependencies = { "ns:pkg@1" = "^1.0", plain = { path = "x.wasm", inherit_configuration = ["files"] } }
[component.b]
source = { package = "ns:name", version = "1.0.0" }
"#,
    );
    let uses = |id: &str| -> Vec<String> {
        manifest.components[id]
            .unsupported
            .iter()
            .map(|unsupported| unsupported.what.clone())
            .collect()
    };
    assert_eq!(
        uses("a"),
        [
            "key_value_stores",
            "sqlite_databases",
            "ai_models",
            "dependencies",
            "source.url",
            "executor.wagi",
            "dependencies.middleware",
            "trigger.redis"
        ]
    );
    assert_eq!(
        uses("b"),
        [
            "source.package",
            "trigger.timer",
            "trigger.timer",
            "trigger.timer"
        ]
    );
    assert!(matches!(
        manifest.routes.routes()[0].executor,
        Executor::Wagi { .. }
    ));
    assert_eq!(
        manifest.components["a"].unsupported[0].diagnostic.to_string(),
        "error: component `a` uses `key_value_stores`, which this version of runner does not provide yet
  --> app/spin-like.toml:18:20
   |
18 | key_value_stores = [\"default\"]
   |                    ^^^^^^^^^^^ not provided yet
   |
help: remove it, and what `a` does with it, to run the component without"
    );
}

#[test]
fn old_keys_are_read_and_warned_of() {
    let manifest = good(
        r#"
trigger = { http = { base = "/" }, redis = { address = "x" } }
[[trigger.http]]
route = "/..."
component = "a"
[component.a]
source = "a.wasm"
allowed_http_hosts = ["a.com", "http://b.com:8080"]
"#,
    );
    let rules: Vec<String> = manifest.components["a"]
        .allow
        .rules()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        rules,
        ["http://a.com", "https://a.com", "http://b.com:8080"]
    );
    let warned: Vec<&str> = manifest
        .warnings
        .iter()
        .map(|warning| warning.message.as_str())
        .collect();
    assert_eq!(
        warned,
        [
            "`base = \"/\"` does nothing",
            "`allowed_http_hosts` is the old name of `allowed_outbound_hosts`"
        ]
    );
}

#[test]
fn a_value_for_no_variable_is_warned_of() {
    let text = "[variables]\ntoken = { default = \"x\" }\n[trigger]\n";
    let manifest = read(text, &[("tokne", "s3cret")]).unwrap_or_else(|error| panic!("{error}"));
    let expected = "warning: a value was given for `tokne`, which is not a declared variable\nhelp: did you mean `token`?";
    assert_eq!(warnings(&manifest), expected);
}
