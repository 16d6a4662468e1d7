//! The tables of a manifest. The order is the one in which people write them.

use super::{Key, Keys, Shape};
use crate::component::INHERITABLE;

const TEXT: Shape = Shape::Text;
const TEXTS: Shape = Shape::List(&Shape::Text);
const FLAG: Shape = Shape::Flag;
const ANYTHINGS: Shape = Shape::Map(&Shape::Anything);
const COUNT: Shape = Shape::Integer {
    least: 1,
    most: Some(u32::MAX as i64),
};
const SIZE: Shape = Shape::Either(&[
    Shape::Text,
    Shape::Integer {
        least: 0,
        most: None,
    },
]);
const TIME: Shape = Shape::Either(&[
    Shape::Text,
    Shape::Integer {
        least: 1,
        most: Some(86_400),
    },
]);

const fn key(name: &'static str, shape: Shape, text: &'static str) -> Key {
    Key {
        name,
        text,
        required: false,
        shape,
    }
}

const fn required(name: &'static str, shape: Shape, text: &'static str) -> Key {
    Key {
        name,
        text,
        required: true,
        shape,
    }
}

const fn closed(name: &'static str, text: &'static str, keys: &'static [Key]) -> Keys {
    Keys {
        name,
        text,
        keys,
        others: None,
    }
}

/// The whole file.
pub static MANIFEST: Keys = closed(
    "manifest",
    "An app: components, the routes that lead to them, and what each component may do.",
    &[
        required(
            "spin_manifest_version",
            Shape::Integer {
                least: 2,
                most: Some(2),
            },
            "The version of the manifest's format: 2.",
        ),
        required(
            "application",
            Shape::Table(&APPLICATION),
            "The app as a whole.",
        ),
        key(
            "variables",
            Shape::Map(&Shape::Table(&VARIABLE)),
            "Values that whoever runs the app gives, by name. Components see only what their own `variables` make of them.",
        ),
        required(
            "trigger",
            Shape::Table(&TRIGGER),
            "What leads to the components.",
        ),
        key(
            "component",
            Shape::Map(&Shape::Table(&COMPONENT)),
            "The components, by name: lower-case letters, digits and single dashes.",
        ),
        key(
            "expect",
            Shape::List(&Shape::Table(&EXPECT)),
            "Calls of which `runner check` makes sure that the rules allow or deny them.",
        ),
    ],
);

static APPLICATION: Keys = closed(
    "application",
    "The app as a whole.",
    &[
        required("name", TEXT, "The app's name, on one line."),
        key("version", TEXT, "The app's version."),
        key("description", TEXT, "What the app is for."),
        key("authors", TEXTS, "Who wrote it."),
        key(
            "limits",
            Shape::Table(&LIMITS),
            "Limits of every component that does not set its own.",
        ),
        key(
            "trigger",
            Shape::Table(&TRIGGER_SETTINGS),
            "Settings of all triggers of a type.",
        ),
        key(
            "targets",
            Shape::List(&Shape::Anything),
            "For Spin: read and not used.",
        ),
        key("tool", ANYTHINGS, "For other tools: not looked at."),
    ],
);

static TRIGGER_SETTINGS: Keys = Keys {
    name: "trigger-settings",
    text: "Settings of all triggers of a type.",
    keys: &[key(
        "http",
        Shape::Table(&HTTP_SETTINGS),
        "Settings of all HTTP triggers.",
    )],
    others: Some(ANYTHINGS),
};

static HTTP_SETTINGS: Keys = closed(
    "http-settings",
    "Settings of all HTTP triggers.",
    &[
        key(
            "host",
            Shape::Either(&[Shape::Text, TEXTS]),
            "The only host, or hosts, that the app is for, such as `shop.example.com`.",
        ),
        key(
            "base",
            TEXT,
            "Where the app's routes begin, such as `/shop`.",
        ),
    ],
);

static VARIABLE: Keys = closed(
    "variable",
    "A value that whoever runs the app gives: `--variable NAME=VALUE`, `RUNNER_VARIABLE_NAME`, or the default.",
    &[
        key("default", TEXT, "Its value when none is given."),
        key("required", FLAG, "Without a value the app does not start."),
        key("secret", FLAG, "Its value is never shown."),
        key("description", TEXT, "What it is for."),
    ],
);

static TRIGGER: Keys = Keys {
    name: "trigger",
    text: "What leads to the components.",
    keys: &[key(
        "http",
        Shape::List(&Shape::Table(&ROUTE)),
        "Routes. One with a `host` goes before one without, an exact segment before `:name`, and `:name` before `/...`.",
    )],
    others: Some(Shape::List(&Shape::Table(&OTHER_TRIGGER))),
};

static OTHER_TRIGGER: Keys = Keys {
    name: "other-trigger",
    text: "A trigger that is not HTTP: its components are refused at the start.",
    keys: &[
        key("component", REFERENCE, "The component it leads to."),
        key(
            "components",
            Shape::Map(&REFERENCES),
            "The components it leads to, by role.",
        ),
    ],
    others: Some(Shape::Anything),
};

/// One component, or several.
const REFERENCES: Shape = Shape::Either(&[REFERENCE, Shape::List(&REFERENCE)]);

/// A component by its name, or as a table of its own.
const REFERENCE: Shape = Shape::Either(&[Shape::Text, Shape::Table(&COMPONENT)]);

static ROUTE: Keys = closed(
    "route",
    "A route, and who answers on it.",
    &[
        key("id", TEXT, "A name for it; not used."),
        required(
            "route",
            Shape::Either(&[Shape::Text, Shape::Table(&PRIVATE)]),
            "A path: `/exact`, `/users/:name`, `/files/...`, or `{ private = true }`.",
        ),
        key(
            "host",
            TEXT,
            "Only for this host, such as `shop.example.com`.",
        ),
        key(
            "component",
            REFERENCE,
            "The component that answers: its name, or a table of its own.",
        ),
        key(
            "static_response",
            Shape::Table(&STATIC_RESPONSE),
            "What the host answers by itself, in place of a component.",
        ),
        key(
            "executor",
            Shape::Table(&EXECUTOR),
            "How the component is called.",
        ),
        key(
            "dependencies",
            Shape::Table(&ROUTE_DEPENDENCIES),
            "Middleware: refused at the start.",
        ),
    ],
);

static PRIVATE: Keys = closed(
    "private",
    "No public route: from inside the app only, as `http://NAME.spin.internal`.",
    &[key("private", FLAG, "Must be `true`.")],
);

static STATIC_RESPONSE: Keys = closed(
    "static-response",
    "What the host answers by itself.",
    &[
        key(
            "status_code",
            Shape::Integer {
                least: 200,
                most: Some(599),
            },
            "The status; 200 without it.",
        ),
        key("headers", Shape::Map(&Shape::Text), "Headers, by name."),
        key("body", TEXT, "The body."),
    ],
);

static EXECUTOR: Keys = closed(
    "executor",
    "How the component is called.",
    &[
        required(
            "type",
            Shape::Word(&["http", "spin", "wagi", "cgi"]),
            "`http`; `spin` is the same, `wagi` and `cgi` are refused at the start.",
        ),
        key("argv", TEXT, "For `wagi`: the arguments."),
        key(
            "entrypoint",
            TEXT,
            "For `wagi`: the function that is called.",
        ),
    ],
);

static ROUTE_DEPENDENCIES: Keys = closed(
    "route-dependencies",
    "Middleware: refused at the start.",
    &[key(
        "middleware",
        Shape::List(&DEPENDENCY),
        "Components in front of this one.",
    )],
);

static COMPONENT: Keys = closed(
    "component",
    "What runs, and everything it may do. What is not written here it may not do.",
    &[
        required(
            "source",
            Shape::Either(&[Shape::Text, Shape::Table(&SOURCE)]),
            "The `.wasm` file, seen from the manifest's folder.",
        ),
        key("description", TEXT, "What it is for."),
        key(
            "allowed_outbound_hosts",
            Shape::List(&Shape::Either(&[Shape::Text, Shape::Table(&OUTBOUND_RULE)])),
            "Where it may connect to: `scheme://host[:port]` each. Without it, nowhere.",
        ),
        key(
            "files",
            Shape::List(&Shape::Either(&[Shape::Text, Shape::Table(&MOUNT)])),
            "What it may read: globs below the manifest's folder, or folders and where it sees them.",
        ),
        key("exclude_files", TEXTS, "Globs of what `files` leaves out."),
        key(
            "environment",
            Shape::Map(&Shape::Text),
            "Its environment, as it is written here.",
        ),
        key(
            "variables",
            Shape::Map(&Shape::Text),
            "Its variables; `{{ name }}` is replaced by the app's variable of that name.",
        ),
        key("limits", Shape::Table(&LIMITS), "What it may use, at most."),
        key("build", Shape::Table(&BUILD), "How it is built."),
        key(
            "allowed_http_hosts",
            TEXTS,
            "The old name of `allowed_outbound_hosts`.",
        ),
        key(
            "key_value_stores",
            TEXTS,
            "Not provided yet: refused at the start.",
        ),
        key(
            "sqlite_databases",
            TEXTS,
            "Not provided yet: refused at the start.",
        ),
        key(
            "ai_models",
            TEXTS,
            "Not provided yet: refused at the start.",
        ),
        key(
            "dependencies",
            Shape::Map(&DEPENDENCY),
            "Not provided yet: refused at the start.",
        ),
        key(
            "dependencies_inherit_configuration",
            FLAG,
            "For `dependencies`.",
        ),
        key(
            "profile",
            Shape::Map(&Shape::Table(&PROFILE)),
            "For Spin: checked, and never chosen.",
        ),
        key(
            "targets",
            Shape::List(&Shape::Anything),
            "For Spin: read and not used.",
        ),
        key("tool", ANYTHINGS, "For other tools: not looked at."),
    ],
);

static SOURCE: Keys = closed(
    "source",
    "A component from elsewhere: not fetched by this version.",
    &[
        key("url", TEXT, "Where it is fetched from."),
        key(
            "digest",
            TEXT,
            "What it must be: `sha256:` and 64 hexadecimal digits.",
        ),
        key("registry", TEXT, "The registry that has it."),
        key("package", TEXT, "Its name there: `namespace:name`."),
        key("version", TEXT, "Its version there."),
    ],
);

static OUTBOUND_RULE: Keys = closed(
    "outbound-rule",
    "A rule for less than a whole server: a path, some methods, or a header that the component never sees.",
    &[
        required(
            "url",
            TEXT,
            "The server, and the path below which it may call: `https://api.example.com/v1/`.",
        ),
        key(
            "methods",
            TEXTS,
            "The methods it may use, such as `GET`; all of them without it.",
        ),
        key(
            "inject",
            Shape::Table(&INJECT),
            "A header that is added to each call outside the component.",
        ),
    ],
);

static INJECT: Keys = closed(
    "inject",
    "A header that is added to each call, on its way out: the component never sees its value.",
    &[
        required(
            "header",
            TEXT,
            "The header's name, such as `authorization`.",
        ),
        required(
            "value",
            TEXT,
            "Its value; `{{ name }}` is replaced by the app's variable of that name.",
        ),
    ],
);

static MOUNT: Keys = closed(
    "mount",
    "A folder, and where the component sees it.",
    &[
        required("source", TEXT, "The folder, seen from the manifest's."),
        required("destination", TEXT, "An absolute path."),
    ],
);

static BUILD: Keys = closed(
    "build",
    "How a component is built.",
    &[
        required("command", COMMANDS, "A shell command, or several in order."),
        key(
            "workdir",
            TEXT,
            "Where they run, seen from the manifest's folder.",
        ),
        key(
            "watch",
            TEXTS,
            "Globs of what it is built from, seen from `workdir`.",
        ),
    ],
);

const COMMANDS: Shape = Shape::Either(&[Shape::Text, TEXTS]);

static PROFILE: Keys = closed(
    "profile",
    "Another way to build the same component.",
    &[
        key(
            "source",
            Shape::Either(&[Shape::Text, Shape::Table(&SOURCE)]),
            "The `.wasm` file of this profile.",
        ),
        key(
            "environment",
            Shape::Map(&Shape::Text),
            "Its environment in this profile.",
        ),
        key(
            "dependencies",
            Shape::Map(&DEPENDENCY),
            "Its dependencies in this profile.",
        ),
        key(
            "build",
            Shape::Table(&PROFILE_BUILD),
            "How it is built in this profile.",
        ),
    ],
);

static PROFILE_BUILD: Keys = closed(
    "profile-build",
    "How a component is built in this profile.",
    &[key(
        "command",
        COMMANDS,
        "A shell command, or several in order.",
    )],
);

/// A version, or where to find it.
const DEPENDENCY: Shape = Shape::Either(&[Shape::Text, Shape::Table(&DEPENDENCY_KEYS)]);

static DEPENDENCY_KEYS: Keys = closed(
    "dependency",
    "A component that another one is composed with: not provided yet.",
    &[
        key("version", TEXT, "Its version."),
        key("registry", TEXT, "The registry that has it."),
        key("package", TEXT, "Its name there."),
        key("export", TEXT, "Which of its exports is meant."),
        key("path", TEXT, "Its file."),
        key("url", TEXT, "Where it is fetched from."),
        key(
            "digest",
            TEXT,
            "What it must be: `sha256:` and 64 hexadecimal digits.",
        ),
        key("component", TEXT, "A component of the same manifest."),
        key(
            "inherit_configuration",
            Shape::Either(&[Shape::Flag, Shape::List(&Shape::Word(&INHERITABLE))]),
            "Which grants it shares.",
        ),
    ],
);

static LIMITS: Keys = closed(
    "limits",
    "What a component may use, at most.",
    &[
        key(
            "request_timeout",
            TIME,
            "To the head of the response: `\"10 s\"`. 30 s without it; then 504.",
        ),
        key(
            "outbound_concurrency",
            COUNT,
            "Calls of one instance at once; 16 without it.",
        ),
        key(
            "memory",
            SIZE,
            "All memories and tables of an instance together: `\"64 MiB\"`. 128 MiB without it.",
        ),
        key(
            "cpu",
            TIME,
            "What a guest may compute for one request, waiting not counted: `\"250 ms\"`. 1 s without it; then 504.",
        ),
        key(
            "response_timeout",
            TIME,
            "To the end of the response: `\"1 min\"`. 5 min without it; then it is cut.",
        ),
        key(
            "concurrency",
            COUNT,
            "Requests at a time; 256 without it. For an app it is also the most of all components together.",
        ),
        key(
            "queue",
            Shape::Integer {
                least: 0,
                most: Some(u32::MAX as i64),
            },
            "Requests that wait a second for their turn, then 503; 256 without it.",
        ),
        key(
            "request_body",
            SIZE,
            "A request's body: `\"10 MiB\"`. As long as it likes without it; then 413.",
        ),
        key(
            "response_body",
            SIZE,
            "A response's body: `\"10 MiB\"`. As long as it likes without it; then it is cut.",
        ),
        key(
            "log_rate",
            TEXT,
            "Log of all instances together: `\"16 KiB/s\"`, which it is without it. The rest is dropped.",
        ),
        key(
            "outbound_rate",
            TEXT,
            "Calls of all instances together: `\"100/s\"`. As many as they like without it.",
        ),
        key(
            "instance_reuse",
            Shape::Word(&["never", "serial", "concurrent"]),
            "Whether an instance serves one request, which it does without it, one after the other, or several at once.",
        ),
        key(
            "clock_resolution",
            TIME,
            "The steps in which its clocks go on: `\"1 ms\"`. Those of the machine without it.",
        ),
    ],
);

static EXPECT: Keys = closed(
    "expect",
    "Calls of one component of which `runner check` makes sure that the rules allow or deny them. Nothing is called.",
    &[
        required("component", TEXT, "The component that would call."),
        key(
            "allow",
            TEXTS,
            "Calls that must be allowed: `https://api.example.com`, or `POST https://…`.",
        ),
        key("deny", TEXTS, "Calls that must be denied."),
    ],
);
