//! What the library really told its callers: the record that tests compare a ledger with.
//!
//! `GPULEDGER_FAKE_NVML_TRUTH` names a file. Each read of an energy counter that returned a value
//! appends one line in one write, so that several processes may share the file and a process that
//! is killed leaves no half line:
//!
//! ```text
//! UNIX_NS BOOT_NS UUID VALUE_MJ RESETS
//! ```
//!
//! `RESETS` counts the resets of that GPU's counter so far; where it is greater than in the line
//! before, the reset has just become visible and the whole of `VALUE_MJ` was used since then.

use std::fs::{File, OpenOptions};
use std::io::Write;

use crate::clock::{boot_ns, unix_ns};
use crate::model::{Counter, Gpu};

/// The environment variable that names the file.
pub const VARIABLE: &str = "GPULEDGER_FAKE_NVML_TRUTH";

#[derive(Debug, Default)]
pub struct Truth(Option<File>);

impl Truth {
    pub fn from_environment() -> Result<Self, String> {
        let Some(path) = std::env::var_os(VARIABLE) else { return Ok(Self(None)) };
        match OpenOptions::new().create(true).append(true).open(&path) {
            Ok(file) => Ok(Self(Some(file))),
            Err(e) => Err(format!("{VARIABLE}: open {}: {e}", path.display())),
        }
    }

    /// A value that can't be recorded must not be returned, so the caller passes the error on.
    pub fn record(&self, gpu: &Gpu, counter: Counter) -> std::io::Result<()> {
        let Some(mut file) = self.0.as_ref() else { return Ok(()) };
        let line = format!("{} {} {} {} {}\n", unix_ns(), boot_ns(), gpu.uuid, counter.mj, counter.resets);
        file.write_all(line.as_bytes())
    }
}
