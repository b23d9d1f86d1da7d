//! Looks for bytes that break `gpuledger_fuzz::wire`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gpuledger_fuzz::wire::run(data));
