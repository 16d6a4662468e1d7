//! Properties that hold for any bytes. Each is one function that panics where it finds itself broken: a fuzz target in
//! `fuzz_targets/` calls it with what the fuzzer makes up, a test in `tests/` with everything in `corpus/`.

pub mod destination;
pub mod manifest;
pub mod requests;
pub mod routing;
mod shown;
pub mod template;
mod toml;
