//! `gpuledger`: the collector and every report.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    gpuledger_collector::cli::main(std::env::args_os())
}
