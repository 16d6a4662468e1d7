//! The one file that knows every capability: what is linked, and under which names a component may import it.

use wasmtime::component::Linker;

use crate::state::State;
use crate::{client, observed, turns};

/// A package that components may import from, with the interfaces of it that are linked.
pub(crate) struct Provided {
    /// `wasi:http`, without the interface.
    pub(crate) package: &'static str,
    /// The version that is provided; any compatible one will do. Empty where the package has none.
    pub(crate) version: &'static str,
    /// Its interfaces.
    pub(crate) interfaces: &'static [&'static str],
}

/// Everything that is linked. The WASI base is there for every component, because toolchains make components import
/// what they never call; it gives nothing away unless it was granted.
pub(crate) const PROVIDED: &[Provided] = &[
    Provided {
        package: "wasi:io",
        version: "0.2.12",
        interfaces: &["error", "poll", "streams"],
    },
    Provided {
        package: "wasi:clocks",
        version: "0.2.12",
        interfaces: &["monotonic-clock", "wall-clock"],
    },
    Provided {
        package: "wasi:random",
        version: "0.2.12",
        interfaces: &["random", "insecure", "insecure-seed"],
    },
    Provided {
        package: "wasi:cli",
        version: "0.2.12",
        interfaces: &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    },
    Provided {
        package: "wasi:filesystem",
        version: "0.2.12",
        interfaces: &["types", "preopens"],
    },
    Provided {
        package: "wasi:sockets",
        version: "0.2.12",
        interfaces: &[
            "network",
            "instance-network",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
            "ip-name-lookup",
        ],
    },
    Provided {
        package: "wasi:http",
        version: "0.2.12",
        interfaces: &["types", "outgoing-handler"],
    },
    Provided {
        package: "wasi:clocks",
        version: "0.3.0",
        interfaces: &["types", "monotonic-clock", "system-clock"],
    },
    Provided {
        package: "wasi:random",
        version: "0.3.0",
        interfaces: &["random", "insecure", "insecure-seed"],
    },
    Provided {
        package: "wasi:cli",
        version: "0.3.0",
        interfaces: &[
            "types",
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    },
    Provided {
        package: "wasi:filesystem",
        version: "0.3.0",
        interfaces: &["types", "preopens"],
    },
    Provided {
        package: "wasi:sockets",
        version: "0.3.0",
        interfaces: &["types", "ip-name-lookup"],
    },
    Provided {
        package: "wasi:http",
        version: "0.3.0",
        interfaces: &["types", "client"],
    },
    Provided {
        package: "fermyon:spin",
        version: "2.0.0",
        interfaces: &["variables"],
    },
    Provided {
        package: "spin:variables",
        version: "3.0.0",
        interfaces: &["variables"],
    },
    Provided {
        package: "wasi:config",
        version: "0.2.0-draft-2024-09-27",
        interfaces: &["store"],
    },
];

/// Links everything in [`PROVIDED`].
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi::p3::add_to_linker(linker)?;
    observed::add_to_linker(linker)?;
    turns::add_to_linker(linker)?;
    client::add_to_linker(linker)?;
    runner_variables::add_to_linker(linker, |state| state.variables.view())?;
    Ok(())
}
