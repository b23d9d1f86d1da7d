//! Where the collector's binary is: beside the running generator.
//!
//! `cargo run -p gpuledger-fleet` builds the generator alone. A collector that is missing or older
//! than the source would be measured in vain, so it is then built first, in the same profile.

use anyhow::{Context as _, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The collector that belongs to this generator.
pub fn collector() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let folder = own.parent().context("this program lies in no folder")?;
    let profile = profile(folder);
    if run_by_cargo() {
        build(&profile)?;
    }
    let binary = folder.join("gpuledger");
    ensure!(
        binary.is_file(),
        "{} is missing; `cargo build --profile {profile} -p gpuledger-collector` puts it there",
        binary.display()
    );
    Ok(binary)
}

/// Whether `cargo run` has started this very program.
fn run_by_cargo() -> bool {
    std::env::var_os("CARGO").is_some()
        && std::env::var("CARGO_PKG_NAME").is_ok_and(|name| name == env!("CARGO_PKG_NAME"))
        && std::env::var_os("NEXTEST").is_none()
}

fn build(profile: &str) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").context("cargo is not known")?;
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--quiet",
        "--profile",
        profile,
        "-p",
        "gpuledger-collector",
        "--bin",
        "gpuledger",
    ]);
    // Standard output is this command's own.
    let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).stdout(Stdio::null()).status();
    let status = status.context("cannot run cargo")?;
    ensure!(status.success(), "the collector cannot be built: cargo ended with {status}");
    Ok(())
}

/// Cargo's name of the profile that a target folder belongs to.
fn profile(folder: &Path) -> String {
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev".to_owned(),
        Some(other) => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_told_by_the_folder() {
        for (folder, name) in [("target/debug", "dev"), ("target/release", "release"), ("t/dist", "dist")] {
            assert_eq!(profile(Path::new(folder)), name);
        }
    }
}
