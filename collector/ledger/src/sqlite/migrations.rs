//! The schema, as the linear list of steps that lead to it. A released step never changes.
//!
//! Quantities are integers in the unit that ends their name. Memory × time is 128-bit in the model:
//! it is stored as `hi · 2^40 + lo` with `lo < 2^40`, because four tebibytes over an hour do not fit
//! in 63 bits.
//!
//! 1. Nodes, GPUs, owners, states, sequences, hour rows, assets.
//! 2. Closed days: the manifest of their files, what has expired, where they are. An epoch belongs to
//!    one node: before, each node had sequences of its own of every epoch, so that the batches of a
//!    spool that was copied to a second machine, or of a machine that was given another name, could
//!    count once for each. When nodes and GPUs were seen lies apart from their names.

use rusqlite::{Connection, Transaction, TransactionBehavior};

/// "GPUL", in the file's header: says that the file is ours.
pub const APPLICATION_ID: i32 = 0x4750_554c;

const STEPS: &[&str] = &[include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// The schema version that this build reads and writes.
pub fn known_version() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Brings the schema from `found` to [`known_version`]: all steps in one transaction, so that a
/// crash leaves the old schema. Another process may have been faster; then there is nothing to do.
pub fn apply(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(found).unwrap_or(usize::MAX);
    if done < STEPS.len() {
        for step in &STEPS[done..] {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", known_version())?;
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    #[test]
    fn a_released_step_does_not_change() {
        // The first four bytes of each one's SHA-256.
        let released = [[0x2a, 0x05, 0xc5, 0x7c]];
        for (number, (step, expected)) in (1..).zip(STEPS.iter().zip(released)) {
            assert_eq!(Sha256::digest(step)[..4], expected, "step {number}");
        }
    }
}
