//! The agent's program: see [`gpuledger_agent`].

use std::process::ExitCode;

fn main() -> ExitCode {
    gpuledger_agent::cli::main(std::env::args_os())
}
