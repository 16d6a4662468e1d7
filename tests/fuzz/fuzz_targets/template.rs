//! `cargo fuzz run --fuzz-dir tests/fuzz --features libfuzzer template`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| runner_fuzz::template::check(data));
