//! Real PostgreSQL servers for tests: started from the installed programs in a folder of their own,
//! killed like a machine that loses power, started again on what is left.
//!
//! A server never outlives its test, however that ends: a janitor process waits for the end of a pipe
//! that only the test holds, ends the server and removes its folder. Servers run as the user
//! `postgres` where the test runs as root, which PostgreSQL refuses to be.
//!
//! Its default is `synchronous_commit = off`, so that a ledger that relied on the default would lose
//! commits when the server is killed. `fsync` is on.

mod certificates;
mod programs;
mod server;

pub use certificates::Certificates;
pub use programs::Programs;
pub use server::{Server, Settings};

use anyhow::{Result, bail};
use std::sync::OnceLock;

/// The server that all tests of this process share; `None` after a line that says why there is none.
pub fn shared() -> Result<Option<&'static Server>> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    if let Some(server) = SHARED.get() {
        return Ok(server.as_ref());
    }
    let started = Server::start(&Settings::default())?;
    // Of two threads that come here at once, one server is dropped and ended again.
    Ok(SHARED.get_or_init(|| started).as_ref())
}

/// Says that something is skipped; an error in CI.
fn skip(why: &str) -> Result<()> {
    if std::env::var("CI").is_ok_and(|ci| ci == "true") {
        bail!("nothing may be skipped in CI: {why}");
    }
    println!("skipped: {why}");
    Ok(())
}
