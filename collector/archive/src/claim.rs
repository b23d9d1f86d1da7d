//! Whose an archive is: one ledger's, and no other's.
//!
//! Two ledgers with one archive would take each other's files for superfluous: what the one has replaced
//! by a newer file, the other still reads. So the ledger has an identity, and the file [`NAME`] at the
//! archive's root names it. Before days are closed or files removed, the two are compared; where another
//! ledger's identity lies, nothing is done. A copy of a ledger has no identity until it needs one, which
//! is then its own. Reading asks nobody.

use crate::ArchivedLedger;
use crate::files::{FileFault, UNFINISHED};
use bytes::Bytes;
use gpuledger_ledger::LedgerError;
use uuid::Uuid;

/// The file at the root: the identity on its first line, then what that means.
const NAME: &str = "LEDGER";

const OPERATION: &str = "use the archive of closed days";

/// Whose an archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    Ours,
    Nobodys,
    /// Another ledger's, of this identity.
    Anothers(String),
}

impl ArchivedLedger {
    /// Whose the archive is, as the file at its root says.
    pub async fn claimed(&self) -> Result<Claim, LedgerError> {
        self.claimed_for(OPERATION).await
    }

    async fn claimed_for(&self, operation: &'static str) -> Result<Claim, LedgerError> {
        let Some(claimant) = self.claimant(operation).await? else { return Ok(Claim::Nobodys) };
        let own = self.store.identity().await?;
        Ok(if own.as_ref() == Some(&claimant) { Claim::Ours } else { Claim::Anothers(claimant) })
    }

    /// Sees to it that the archive is this ledger's: claims it where it is nobody's.
    pub(crate) async fn claim(&self, operation: &'static str) -> Result<(), LedgerError> {
        match self.not_anothers(operation).await? {
            Claim::Nobodys => self.take_over().await,
            _ => Ok(()),
        }
    }

    /// Fails where the archive is another ledger's.
    pub(crate) async fn not_anothers(&self, operation: &'static str) -> Result<Claim, LedgerError> {
        match self.claimed_for(operation).await? {
            Claim::Anothers(claimant) => {
                let fault = format!(
                    "says that the archive is another ledger's ({claimant}), which needs what this one would \
                     remove: give this ledger an archive of its own; or, where that other one is not used any \
                     more, remove the file {NAME}"
                );
                Err(self.of_claim(operation, FileFault::Wrong(fault)))
            }
            claim => Ok(claim),
        }
    }

    /// Claims the archive whoever has it: for a ledger that is put in the place of the one that had it.
    pub async fn take_over(&self) -> Result<(), LedgerError> {
        // Of several collectors of one ledger, the first names it.
        if self.store.identity().await?.is_none() {
            self.store.set_identity(Some(&Uuid::now_v7().to_string())).await?;
        }
        let identity = self.store.identity().await?.unwrap_or_default();
        let text = format!(
            "{identity}\nThe closed days of one gpuledger ledger, which has this identity, and of no other.\n"
        );
        // What a process that died has left would be in the way.
        let written = match self.files.remove(&format!("{NAME}{UNFINISHED}")).await {
            Ok(()) => self.files.write(NAME, Bytes::from(text)).await,
            Err(fault) => Err(fault),
        };
        match written {
            // Another collector of this ledger may have been faster.
            Err(_) if self.claimant(OPERATION).await? == Some(identity) => Ok(()),
            written => written.map_err(|fault| self.of_claim(OPERATION, fault)),
        }
    }

    async fn claimant(&self, operation: &'static str) -> Result<Option<String>, LedgerError> {
        match self.files.read(NAME).await {
            Ok(bytes) => {
                Ok(Some(String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned()))
            }
            Err(FileFault::Missing) => Ok(None),
            Err(fault) => Err(self.of_claim(operation, fault)),
        }
    }

    fn of_claim(&self, operation: &'static str, fault: FileFault) -> LedgerError {
        fault.of(operation, self.files.place(NAME))
    }
}
