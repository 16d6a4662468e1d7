//! `cargo fuzz run --fuzz-dir tests/fuzz --features libfuzzer requests`

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| runner_fuzz::requests::check(data));
