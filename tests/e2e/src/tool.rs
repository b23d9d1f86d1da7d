//! Programs of others that judge ours.
//!
//! Where one is missing, its test says so in one line and passes; in CI (`CI=true`) nothing may be
//! skipped, so there the same line is an error.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// Says that something is skipped; an error in CI.
pub fn skip(why: &str) -> Result<()> {
    if std::env::var("CI").is_ok_and(|ci| ci == "true") {
        bail!("nothing may be skipped in CI: {why}");
    }
    println!("skipped: {why}");
    Ok(())
}

/// A program from `target/parts/bin` or the path, or `None` after one line that says so.
pub fn find(program: &str, package: &str) -> Result<Option<PathBuf>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = crate::built::root()?.join("target/parts/bin");
    let folders = std::iter::once(own).chain(std::env::split_paths(&path));
    let found = folders.map(|folder| folder.join(program)).find(|path| path.is_file());
    if found.is_none() {
        skip(&format!("{program} is missing (./tests/parts puts {package} in place)"))?;
    }
    Ok(found)
}
