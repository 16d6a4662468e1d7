//! What a guest can do, and what must happen: a story for each row of the catalogue of guests, named by its number, with
//! the oracle around each attack.

mod answers;
mod bodies;
mod calls;
mod files;
mod handles;
mod instances;
mod system;

use runner_tests::{End, Fault, Oracle, Protocol};

/// The rogue, for both versions of `wasi:http`.
const ROGUES: [&str; 2] = ["guest:rogue", "guest:rogue3"];

/// The probe, for both.
const PROBES: [&str; 2] = ["guest:probe", "guest:probe3"];

/// What an instruction that was never to be reached is told as.
const UNREACHABLE: Fault = Fault {
    reason: "trap",
    message: "trapped: wasm trap: wasm `unreachable` instruction executed",
};

/// One attack: its path, what its client sees, and what is told of it.
type Attack = (&'static str, u16, End, Fault);

/// Makes each of these attacks on one server, over both protocols.
async fn attack(source: &str, lines: &str, attacks: &[Attack]) {
    let oracle = Oracle::start(source, lines).await;
    for protocol in Protocol::BOTH {
        for (path, status, end, fault) in attacks {
            oracle.fails(protocol, path, *status, *end, *fault).await;
        }
    }
    oracle.over().await;
}

/// A fault of this name, told like this.
const fn fault(reason: &'static str, message: &'static str) -> Fault {
    Fault { reason, message }
}
