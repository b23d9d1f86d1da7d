//! Everything of a statement, for programs: the fields of [`Statement`] under their own names,
//! amounts as strings so that no reader rounds them.

use super::Format;
use gpuledger_tco::statement::Statement;
use serde::Serialize;
use std::io::{self, Write};

pub struct Json;

impl Format for Json {
    fn write(&self, statement: &Statement, out: &mut dyn Write) -> io::Result<()> {
        document(statement, out)
    }
}

/// Writes any document, indented, with a line end.
pub fn document(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}
