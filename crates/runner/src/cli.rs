//! The command line: names, defaults and help of every command and flag.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter};
use ipnet::IpNet;

use crate::admin::AdminAddress;
use crate::completions::{Shell, components, components_and_files};
use crate::{exit, version};

/// Serves WebAssembly components that start with nothing: no network, no files, no environment.
#[derive(Debug, Parser)]
#[command(name = "runner", version = version::TEXT)]
#[command(after_help = "Run `runner help exit-codes` for what the exit codes mean.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

/// What `runner` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve an app
    #[command(alias = "serve", after_help = UP_EXAMPLES)]
    Up(Box<Up>),
    /// Read the manifest, load every component, and say what is wrong or never used
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Check),
    /// Say whether a component may call a URL, and which line of the manifest decides
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Explain),
    /// Add one rule to a component's `allowed_outbound_hosts`, and print the change
    #[command(after_help = ALLOW_EXAMPLES)]
    Allow(Allow),
    /// Say what a component is, what it is granted, and what of that it has used
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(Inspect),
    /// Print the grants that a server which observes would have needed, as a patch
    #[command(after_help = SUGGEST_EXAMPLES)]
    Suggest(Suggest),
    /// Print the manifest's JSON schema, for editors
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema,
    /// Print a script that completes commands, flags and names of components
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell that reads it
        shell: Shell,
    },
    /// Write the manual's pages, one for each command
    #[command(hide = true)]
    Man {
        /// Where to; it is made if it is not there
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// What the exit codes mean
    #[command(hide = true, long_about = exit::TABLE, help_template = "{about}\n")]
    ExitCodes,
}

impl Command {
    /// How its answer looks, where that can be chosen.
    pub(crate) fn format(&self) -> Option<Format> {
        match self {
            Command::Check(args) => Some(args.format.format),
            Command::Explain(args) => Some(args.format.format),
            Command::Inspect(args) => Some(args.server.format.format),
            Command::Suggest(args) => Some(args.server.format.format),
            Command::Up(_)
            | Command::Allow(_)
            | Command::Schema
            | Command::Completions { .. }
            | Command::Man { .. }
            | Command::ExitCodes => None,
        }
    }
}

/// Flags that every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Look for the manifest in this directory
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "RUNNER_DIRECTORY",
        hide_env_values = true
    )]
    pub(crate) directory: Option<PathBuf>,
    /// When to use colour; NO_COLOR and CLICOLOR_FORCE are obeyed too
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        env = "RUNNER_COLOR",
        hide_env_values = true
    )]
    pub(crate) color: Color,
    /// Log more of runner's own doings (-vv: every dial); RUNNER_LOG=FILTER is finer
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// `runner up`.
#[derive(Args, Debug)]
pub(crate) struct Up {
    /// What to serve: manifests, or folders that hold one; of several, each names its host or its path
    #[arg(value_name = "APP", conflicts_with = "from")]
    pub(crate) apps: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    /// Reload when the manifest, a component's file or the operator's file changes
    #[arg(long, env = "RUNNER_WATCH", hide_env_values = true)]
    pub(crate) watch: bool,
    /// Serve the apps that can be loaded; any other answers 503 until a reload can load it
    #[arg(long, env = "RUNNER_KEEP_GOING", hide_env_values = true)]
    pub(crate) keep_going: bool,
    /// How long requests in flight may take after SIGTERM or Ctrl-C
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, env = "RUNNER_DRAIN_TIMEOUT", hide_env_values = true)]
    pub(crate) drain_timeout: Duration,
    #[command(flatten)]
    pub(crate) network: ListenArgs,
    #[command(flatten)]
    pub(crate) clients: ClientArgs,
    #[command(flatten)]
    pub(crate) door: DoorArgs,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) account: AccountArgs,
    #[command(flatten)]
    pub(crate) operation: OperationArgs,
}

/// `runner check`.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// What to check: manifests, or folders that hold one; of several, also whether they can be served together
    #[arg(value_name = "APP", conflicts_with = "from")]
    pub(crate) apps: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// `runner explain`.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// The component that would call
    #[arg(add = ArgValueCandidates::new(components))]
    pub(crate) component: String,
    /// The URL that it would call
    pub(crate) url: String,
    /// The method that it would use
    #[arg(
        long,
        value_name = "METHOD",
        default_value = "GET",
        env = "RUNNER_METHOD",
        hide_env_values = true
    )]
    pub(crate) method: http::Method,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    #[command(flatten)]
    pub(crate) door: DoorArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// `runner allow`.
#[derive(Args, Debug)]
pub(crate) struct Allow {
    /// The component that may do more
    #[arg(add = ArgValueCandidates::new(components))]
    pub(crate) component: String,
    /// The rule to add, such as `https://api.example.com`; with a path it is for that path, or below it after a last `/`
    pub(crate) rule: String,
    /// Allow this method only; may be repeated
    #[arg(long = "method", value_name = "METHOD")]
    pub(crate) methods: Vec<String>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

/// `runner inspect`.
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// A component of the manifest, or a `.wasm` file (a name without a dot needs `./`)
    #[arg(value_name = "COMPONENT|FILE", add = ArgValueCompleter::new(components_and_files))]
    pub(crate) what: String,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// `runner suggest`.
#[derive(Args, Debug)]
pub(crate) struct Suggest {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Which running servers are asked, and how the answer looks.
#[derive(Args, Debug)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// The cache directory that the server was started with [default: $XDG_CACHE_HOME/runner or ~/.cache/runner]
    #[arg(
        long,
        value_name = "DIR",
        env = "RUNNER_CACHE_DIR",
        hide_env_values = true
    )]
    pub(crate) cache_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// Which app, and what it is given.
#[derive(Args, Debug)]
pub(crate) struct AppArgs {
    /// The manifest, or the folder that holds spin-like.toml or spin.toml
    #[arg(
        short,
        long,
        value_name = "FILE|DIR",
        env = "RUNNER_FROM",
        hide_env_values = true
    )]
    pub(crate) from: Option<PathBuf>,
    /// Set a variable of the app, before RUNNER_VARIABLE_NAME and SPIN_VARIABLE_NAME; may be repeated; APP:NAME=VALUE where several are served
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) variables: Vec<(String, String)>,
}

/// What the operator says of every app.
#[derive(Args, Debug)]
pub(crate) struct OperatorArgs {
    /// The operator's file: limits of every component, and ceilings that no manifest can exceed
    #[arg(
        long,
        value_name = "FILE",
        env = "RUNNER_CONFIG",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,
}

/// Where to listen.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Network")]
pub(crate) struct ListenArgs {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:3000, or the socket in LISTEN_FDS]
    #[arg(
        long,
        value_name = "ADDR:PORT",
        value_parser = listen_address,
        env = "RUNNER_LISTEN",
        hide_env_values = true
    )]
    pub(crate) listen: Option<SocketAddr>,
    /// Take the port over from the server that runs, once the app is loaded; that one finishes what it has begun
    #[arg(long, env = "RUNNER_TAKE_OVER", hide_env_values = true)]
    pub(crate) take_over: bool,
    /// Serve HTTPS with this certificate chain (PEM)
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        env = "RUNNER_TLS_CERT",
        hide_env_values = true
    )]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        env = "RUNNER_TLS_KEY",
        hide_env_values = true
    )]
    pub(crate) tls_key: Option<PathBuf>,
}

/// Who may connect, and whose word counts about it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Clients")]
pub(crate) struct ClientArgs {
    /// Serve at most so many connections at a time [default: half of the hard limit of open files]
    #[arg(
        long,
        value_name = "N",
        env = "RUNNER_MAX_CONNECTIONS",
        hide_env_values = true
    )]
    pub(crate) max_connections: Option<NonZeroUsize>,
    /// Serve at most so many connections at a time of one address, or one IPv6 /64 [default: no limit]
    #[arg(
        long,
        value_name = "N",
        env = "RUNNER_MAX_CONNECTIONS_PER_IP",
        hide_env_values = true
    )]
    pub(crate) max_connections_per_ip: Option<NonZeroUsize>,
    /// Believe `x-forwarded-for`, `forwarded` and the like of proxies in these networks [default: of none]
    #[arg(
        long,
        value_name = "CIDR",
        env = "RUNNER_TRUSTED_PROXIES",
        value_delimiter = ',',
        value_parser = network,
        hide_env_values = true
    )]
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Expect the header of the PROXY protocol on each connection, and connections of trusted proxies only
    #[arg(
        long,
        requires = "trusted_proxies",
        env = "RUNNER_PROXY_PROTOCOL",
        hide_env_values = true
    )]
    pub(crate) proxy_protocol: bool,
}

/// How the app's own calls leave.
#[derive(Args, Debug)]
#[command(next_help_heading = "Outbound")]
pub(crate) struct DoorArgs {
    /// Trust these certificates too when a component calls out (PEM)
    #[arg(
        long,
        value_name = "FILE",
        env = "RUNNER_CA_FILE",
        hide_env_values = true
    )]
    pub(crate) ca_file: Option<PathBuf>,
    /// Ask this name server instead of the system's; may be repeated
    #[arg(
        long,
        value_name = "ADDR:PORT",
        value_parser = name_server,
        env = "RUNNER_DNS",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(crate) dns: Vec<SocketAddr>,
}

/// Where compiled code is kept.
#[derive(Args, Debug)]
#[command(next_help_heading = "Compile cache")]
pub(crate) struct CacheArgs {
    /// Where compiled components are kept [default: $XDG_CACHE_HOME/runner or ~/.cache/runner]
    #[arg(
        long,
        value_name = "DIR",
        env = "RUNNER_CACHE_DIR",
        hide_env_values = true
    )]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Compile afresh at every start; wins over --cache-dir
    #[arg(long, env = "RUNNER_DISABLE_CACHE", hide_env_values = true)]
    pub(crate) disable_cache: bool,
}

/// What `up` prints.
#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Text for people or JSON lines for programs; auto is text on a terminal
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "auto",
        env = "RUNNER_LOG_FORMAT",
        hide_env_values = true
    )]
    pub(crate) log_format: LogFormat,
    /// Print neither requests nor what components print: only warnings, denials and failures
    #[arg(short, long, env = "RUNNER_QUIET", hide_env_values = true)]
    pub(crate) quiet: bool,
}

/// What account `up` keeps of the decisions about outbound calls.
#[derive(Args, Debug)]
#[command(next_help_heading = "Decisions")]
pub(crate) struct AccountArgs {
    /// Write every outbound decision to this file, one JSON object a line; what is there already is kept
    #[arg(
        long,
        value_name = "FILE",
        env = "RUNNER_AUDIT_LOG",
        hide_env_values = true
    )]
    pub(crate) audit_log: Option<PathBuf>,
    /// Deny as always, and at the end write to this file the grants that would have allowed what was tried, as a patch
    #[arg(
        long,
        value_name = "FILE",
        env = "RUNNER_OBSERVE",
        hide_env_values = true
    )]
    pub(crate) observe: Option<PathBuf>,
}

/// How `up` is operated.
#[derive(Args, Debug)]
#[command(next_help_heading = "Operation")]
pub(crate) struct OperationArgs {
    /// Answer /healthz, /readyz and /metrics here, for operators only; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDR:PORT|unix:PATH",
        env = "RUNNER_ADMIN",
        hide_env_values = true
    )]
    pub(crate) admin: Option<AdminAddress>,
    /// Go on accepting for so long after SIGTERM or Ctrl-C, while /readyz says 503 already
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration, env = "RUNNER_DRAIN_DELAY", hide_env_values = true)]
    pub(crate) drain_delay: Duration,
    /// Show clients why their request failed [default: true with --watch on a terminal]
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        env = "RUNNER_DEV_ERRORS",
        hide_env_values = true
    )]
    pub(crate) dev_errors: Option<bool>,
}

/// What a command prints on stdout.
#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct FormatArgs {
    /// Text for people or one JSON document for programs
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        env = "RUNNER_FORMAT",
        hide_env_values = true
    )]
    pub(crate) format: Format,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// What a log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Auto,
    Text,
    Json,
}

/// What an answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

const UP_EXAMPLES: &str = "\
Examples:
  runner up                                  the app in this folder, on 127.0.0.1:3000
  runner up --watch --listen 127.0.0.1:8080  reload on every change
  runner up -f shop/spin.toml --variable api_url=https://api.example.com
  runner up shop blog                        two apps, each for its own host or path
  runner up --admin 127.0.0.1:9090           with health, readiness and metrics for operators";

const CHECK_EXAMPLES: &str = "\
Examples:
  runner check
  runner check -f shop --format json";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  runner explain cart https://api.example.com/prices
  runner explain cart https://api.example.com/orders --method POST
  runner explain cart http://db.internal:8080 --dns 127.0.0.1:5353";

const ALLOW_EXAMPLES: &str = "\
Examples:
  runner allow cart https://api.example.com
  runner allow cart 'https://*.example.com'
  runner allow cart https://api.example.com/v1/ --method GET --method HEAD
  runner allow cart http://10.0.0.0/8:8080";

const INSPECT_EXAMPLES: &str = "\
Examples:
  runner inspect cart                        a component of the app in this folder
  runner inspect target/cart.wasm            a file, without a manifest
  runner inspect cart --format json";

const SUGGEST_EXAMPLES: &str = "\
Examples:
  runner up --observe grants.patch           in one terminal; use the app
  runner suggest                             in another: what it would have needed
  runner suggest > grants.patch              read it, then: patch -p1 < grants.patch";

const SCHEMA_EXAMPLES: &str = "\
Examples:
  runner schema > spin-like.schema.json
  then, as the first line of spin-like.toml: #:schema ./spin-like.schema.json";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  eval \"$(runner completions bash)\"          in ~/.bashrc
  eval \"$(runner completions zsh)\"           in ~/.zshrc
  runner completions fish | source           in ~/.config/fish/config.fish";

/// `name=value`; the value may hold anything, also `=`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        // The text is not repeated here: a forgotten name may leave a secret.
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Where to listen.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    address(text, 3000)
}

/// A name server.
fn name_server(text: &str) -> Result<SocketAddr, String> {
    address(text, 53)
}

/// An address and a port; of what is only half of it, an error shows the whole.
fn address(text: &str, usual_port: u16) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port = text.rsplit(':').next().and_then(|port| port.parse().ok());
        let example = match text.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, usual_port),
            Err(_) => SocketAddr::from(([127, 0, 0, 1], port.unwrap_or(usual_port))),
        };
        format!("expected an address and a port such as `{example}`")
    })
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let network = text
        .parse()
        .or_else(|_| text.parse().map(|address: IpAddr| address.into()));
    network.map_err(|_| "expected a network such as `10.0.0.0/8`, or an address".to_owned())
}

/// A time in words: `30s`, `250 ms`, `2m`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .trim_end_matches(|c: char| c.is_ascii_alphabetic())
        .trim_end();
    let unit = text[digits.len()..].trim();
    let number: u64 = digits
        .parse()
        .map_err(|_| "expected a time such as `30s` or `250ms`".to_owned())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1_000),
        "m" | "min" => number.checked_mul(60_000),
        _ => return Err(format!("`{unit}` is not a unit of time; use ms, s or m")),
    };
    milliseconds
        .map(Duration::from_millis)
        .ok_or_else(|| "that is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn half_an_address_is_answered_with_a_whole_one() {
        for (text, example) in [
            ("3208", "127.0.0.1:3208"),
            (":3208", "127.0.0.1:3208"),
            ("localhost:3208", "127.0.0.1:3208"),
            ("0.0.0.0", "0.0.0.0:3000"),
            ("::1", "[::1]:3000"),
            ("[::]", "[::]:3000"),
            ("70000", "127.0.0.1:3000"),
            ("", "127.0.0.1:3000"),
        ] {
            let error = format!("expected an address and a port such as `{example}`");
            assert_eq!(listen_address(text), Err(error), "{text}");
            example.parse::<SocketAddr>().expect("it is one");
        }
        assert_eq!(listen_address("[::]:80"), Ok(([0; 8], 80).into()));
    }

    #[test]
    fn every_flag_of_up_but_variable_and_verbose_has_a_variable_in_the_environment() {
        let cli = Cli::command();
        let up = cli.find_subcommand("up").expect("there is one");
        for arg in up.get_arguments().chain(cli.get_arguments()) {
            let name = arg.get_id().as_str();
            if arg.is_positional() || matches!(name, "variables" | "verbose" | "help" | "version") {
                continue;
            }
            let wanted = format!("RUNNER_{}", name.to_uppercase());
            assert_eq!(
                arg.get_env().and_then(|e| e.to_str()),
                Some(wanted.as_str()),
                "--{name}"
            );
        }
    }

    #[test]
    fn durations() {
        let table = [
            ("30s", Some(30_000)),
            ("30", Some(30_000)),
            ("30 s", Some(30_000)),
            ("250ms", Some(250)),
            ("250 ms", Some(250)),
            ("2m", Some(120_000)),
            ("0", Some(0)),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("30 apples", None),
            ("18446744073709551615s", None),
        ];
        for (text, milliseconds) in table {
            assert_eq!(
                duration(text).ok(),
                milliseconds.map(Duration::from_millis),
                "{text}"
            );
        }
    }

    #[test]
    fn networks() {
        let table = [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("10.0.0.1", Some("10.0.0.1/32")),
            ("::1", Some("::1/128")),
            ("fd00::/8", Some("fd00::/8")),
            ("10.0.0.0/33", None),
            ("proxy.example.com", None),
            ("", None),
        ];
        for (text, expected) in table {
            let network = network(text).ok().map(|network| network.to_string());
            assert_eq!(network.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn pairs() {
        let table = [
            ("a=b", Some(("a", "b"))),
            ("a=b=c", Some(("a", "b=c"))),
            ("a=", Some(("a", ""))),
            ("=b", None),
            ("a", None),
        ];
        for (text, expected) in table {
            let expected = expected.map(|(n, v): (&str, &str)| (n.to_owned(), v.to_owned()));
            assert_eq!(pair(text).ok(), expected, "{text}");
        }
    }
}
