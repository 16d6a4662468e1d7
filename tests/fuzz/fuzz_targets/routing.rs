//! `cargo fuzz run --fuzz-dir tests/fuzz --features libfuzzer routing`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| runner_fuzz::routing::check(data));
