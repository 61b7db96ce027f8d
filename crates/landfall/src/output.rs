//! Printing a result in the format asked for, and the exit codes.

use std::io::Write;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::args::OutputFormat;

/// Exit code: the command succeeded and found nothing wrong.
pub const OK: u8 = 0;
/// Exit code: the command succeeded and found something that needs attention.
pub const FINDINGS: u8 = 1;
/// Exit code: the command could not be carried out.
pub const FAILED: u8 = 2;

/// Formats a result: a table for people, or the value as JSON or YAML. Only what is printed is computed.
pub fn render<T: Serialize>(
    format: OutputFormat,
    table: impl FnOnce() -> String,
    value: impl FnOnce() -> T,
) -> Result<String> {
    Ok(match format {
        OutputFormat::Table => table(),
        OutputFormat::Json => serde_json::to_string_pretty(&value())? + "\n",
        OutputFormat::Yaml => serde_saphyr::to_string(&value())?,
    })
}

/// Writes to standard output. A reader that closes the pipe early, such as `head`, is not an error.
pub fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Prints findings to standard error, one per line.
pub fn print_findings(findings: &[String]) {
    findings.iter().for_each(|finding| eprintln!("{finding}"));
}
