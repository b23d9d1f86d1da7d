//! Looks for bytes that break `gpuledger_fuzz::fold`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gpuledger_fuzz::fold::run(data));
