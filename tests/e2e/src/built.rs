//! Where this build has put its binaries: beside the running test.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// `target/debug` (or whichever profile the test itself was built in).
pub fn folder() -> Result<PathBuf> {
    let test = std::env::current_exe().context("find the running test")?;
    // target/debug/deps/NAME-HASH
    let folder = test.parent().and_then(Path::parent).context("the test is not in a target folder")?;
    Ok(folder.to_owned())
}

/// The root of the repository.
pub fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.ancestors().nth(2).context("tests/e2e has no root above it")?.to_owned())
}

/// One of the product's binaries: `gpuledger`, `gpuledger-agent`, `gpuledger-fleet`.
pub fn binary(name: &str) -> Result<PathBuf> {
    let path = folder()?.join(name);
    ensure!(
        path.is_file(),
        "{} is missing: run ./tests/run, or cargo build --workspace first",
        path.display()
    );
    Ok(path)
}

/// The simulated `libnvidia-ml.so.1`. As a dependency of these tests it is always as new as they are.
pub fn fake_nvml() -> Result<PathBuf> {
    let path = folder()?.join("deps/libfake_nvml.so");
    ensure!(path.is_file(), "{} is missing: run cargo build -p gpuledger-fake-nvml", path.display());
    Ok(path)
}

/// Data that lies beside the repository, or `None` after one line that says so.
pub fn shared(part: &str) -> Result<Option<PathBuf>> {
    let path = root()?.join("../shared").join(part);
    if path.exists() {
        return Ok(Some(path));
    }
    // No part of the repository: a clone has none, and its CI must pass.
    println!("skipped: ../shared/{part} is not there");
    Ok(None)
}
