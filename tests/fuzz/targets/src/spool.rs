//! Looks for bytes that break `gpuledger_fuzz::spool`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gpuledger_fuzz::spool::run(data));
