//! `cargo fuzz run --fuzz-dir tests/fuzz --features libfuzzer manifest`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| runner_fuzz::manifest::check(data));
