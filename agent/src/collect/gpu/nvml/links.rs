//! NVLink, link by link: how many there are, how many are up, and errors where no total is told.

use super::older::int;
use super::{Device, ErrorCounter, NvmlError};
use crate::collect::gpu::raw;

/// Links of one GPU at most; the driver's own limit is 18.
const LINKS_MAX: i64 = 64;
/// The field that tells how many links a GPU has.
const FIELD_LINKS: u32 = 91;

/// Links that the GPU has.
pub(super) fn count(device: &Device<'_>) -> Result<i64, NvmlError> {
    let mut answers = raw::field_values(device, &[(FIELD_LINKS, 0)])?.into_iter();
    match answers.next() {
        Some(Ok(links @ 0..=LINKS_MAX)) => Ok(links),
        Some(Err(error)) => Err(error),
        Some(Ok(_)) | None => Err(NvmlError::Unknown),
    }
}

/// Links that are up.
pub(super) fn active(device: &Device<'_>) -> Result<i64, NvmlError> {
    over_links(device, |link| device.link_wrapper_for(link).is_active().map(i64::from))
}

pub(super) fn replay(device: &Device<'_>) -> Result<i64, NvmlError> {
    errors(device, ErrorCounter::DlReplay)
}

pub(super) fn recovery(device: &Device<'_>) -> Result<i64, NvmlError> {
    errors(device, ErrorCounter::DlRecovery)
}

pub(super) fn crc_flit(device: &Device<'_>) -> Result<i64, NvmlError> {
    errors(device, ErrorCounter::DlCrcFlit)
}

pub(super) fn crc_data(device: &Device<'_>) -> Result<i64, NvmlError> {
    errors(device, ErrorCounter::DlCrcData)
}

fn errors(device: &Device<'_>, kind: ErrorCounter) -> Result<i64, NvmlError> {
    over_links(device, |link| device.link_wrapper_for(link).error_counter(kind).and_then(int))
}

/// The sum over all links. A GPU without links does not have the reading.
fn over_links(device: &Device<'_>, of: impl Fn(u32) -> Result<i64, NvmlError>) -> Result<i64, NvmlError> {
    let links = u32::try_from(count(device)?).map_err(|_| NvmlError::Unknown)?;
    if links == 0 {
        return Err(NvmlError::NotSupported);
    }
    (0..links).map(of).try_fold(0, |sum: i64, next| Ok(sum.saturating_add(next?)))
}
