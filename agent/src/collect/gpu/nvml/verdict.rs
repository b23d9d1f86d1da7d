//! What an error of the library means, decided in one place.

use super::NvmlError;
use crate::collect::gpu::{Fault, LibraryFault};
use gpuledger_proto::reading::{Absence, Reading};

/// What an error of one call means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This reading is absent; the GPU goes on.
    Reading(Absence),
    /// The GPU is gone; its other readings need not be tried.
    Gpu(Absence),
    /// The whole library is gone.
    Library(LibraryFault),
}

pub(super) fn verdict(error: &NvmlError) -> Verdict {
    use NvmlError as E;
    Verdict::Reading(match error {
        E::Uninitialized => return Verdict::Library(LibraryFault::Uninitialised),
        E::DriverNotLoaded => return Verdict::Library(LibraryFault::DriverNotLoaded),
        E::LibRmVersionMismatch => return Verdict::Library(LibraryFault::VersionMismatch),
        // 28, GPU_NOT_FOUND, has no name in the wrapper.
        E::GpuLost | E::ResetRequired | E::UnexpectedVariant(28) => return Verdict::Gpu(Absence::Lost),
        // A symbol or structure version that this library does not have, or no longer (25, 26).
        E::NotSupported | E::FailedToLoadSymbol(_) | E::FunctionNotFound | E::UnexpectedVariant(25 | 26) => {
            Absence::Unsupported
        }
        E::NoPermission => Absence::NoPermission,
        E::Timeout => Absence::TimedOut,
        _ => Absence::Failed,
    })
}

/// The outcome of one call as a reading. A fault of the whole GPU or library ends the sample; any other
/// error is this reading's absence.
pub(super) fn reading<T>(outcome: Result<T, NvmlError>) -> Result<Reading<T>, Fault> {
    match outcome {
        Ok(value) => Ok(Reading::Value(value)),
        Err(error) => match verdict(&error) {
            Verdict::Reading(reason) => Ok(Reading::Absent(reason)),
            Verdict::Gpu(reason) => Err(Fault::Gpu(reason)),
            Verdict::Library(fault) => Err(Fault::Library(fault)),
        },
    }
}

/// What an error on opening or counting means: nothing can be read without these.
pub(super) fn opening_fault(error: &NvmlError) -> LibraryFault {
    match (verdict(error), error) {
        (Verdict::Library(fault), _) => fault,
        (_, NvmlError::LibloadingError(_)) => {
            // "libnvidia-ml.so.1: cannot open shared object file: …", or what else is wrong with it.
            let message = chain(error);
            if message.contains("No such file") {
                LibraryFault::NotFound(message)
            } else {
                LibraryFault::Unusable(message)
            }
        }
        (_, NvmlError::FailedToLoadSymbol(symbol)) => LibraryFault::Unusable(symbol.clone()),
        (_, NvmlError::LibraryNotFound) => LibraryFault::NotFound(error.to_string()),
        (_, NvmlError::NoPermission) => LibraryFault::NoPermission,
        _ => LibraryFault::Failed(error.to_string()),
    }
}

/// The innermost message of an error: the dynamic linker's own words.
fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
