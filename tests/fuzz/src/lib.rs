//! What must hold whatever comes over the wire or lies on the disk, as functions of any bytes.
//!
//! | target | bytes become | what must hold |
//! |---|---|---|
//! | [`wire`] | a message, and every conversion of it | no panic; within every limit; the same again after another way over the wire |
//! | [`fold`] | agents' restarts, segments and batches, with commits and reloads between | no panic; no time twice; rows sum to what the fold remembers; the same rows however often it is committed |
//! | [`spool`] | the files of a spool's folder | no panic; only sound records come back; opening again finds the same and nothing to mend |
//!
//! The same functions run in two ways. `cargo test -p gpuledger-fuzz` replays `corpus/`, on any
//! toolchain. A fuzzer looks for what is not there yet, which takes a nightly toolchain and
//! `cargo install cargo-fuzz --locked`:
//!
//! ```text
//! cd tests/fuzz && mkdir -p found/wire
//! cargo +nightly fuzz run -s none --fuzz-dir targets wire found/wire corpus/wire -- \
//!     -max_total_time=600 -rss_limit_mb=2048
//! cargo +nightly fuzz cmin -s none --fuzz-dir targets wire found/wire     # what of it is worth keeping
//! ```
//!
//! New inputs go to the first folder named, and an input that broke something to `targets/artifacts`.
//! It becomes a test with a name in the crate that is at fault, and a file in `corpus/`, which stays
//! below 200 KiB in all.
#![forbid(unsafe_code)]

mod bytes;
pub mod fold;
pub mod spool;
pub mod wire;

/// A target's name, which is its folder's in `corpus/`, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 3] = [("wire", wire::run), ("fold", fold::run), ("spool", spool::run)];
