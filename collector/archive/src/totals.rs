//! Totals of all GPUs without reading every file each time.
//!
//! The sum over the files is kept. When the files change, only what changed is read: what a new file
//! holds is added, what one holds that is no longer current is subtracted. Maxima need not be: rows
//! only ever add, so a newer file's maxima, and those that the store keeps of expired files, are at
//! least those of the file that went.

use crate::ArchivedLedger;
use crate::expire::by_subject;
use crate::files::FileFault;
use gpuledger_ledger::{DayFile, GpuHour, GpuKey, GpuTotal, LedgerError};

use std::collections::BTreeMap;

/// What the files hold, as far as it was read.
#[derive(Default)]
pub struct Totals {
    files: BTreeMap<String, DayFile>,
    sums: BTreeMap<u32, GpuHour>,
}

const OPERATION: &str = "add up all hours of GPUs";

impl ArchivedLedger {
    pub(crate) async fn all_gpu_totals(&self) -> Result<Vec<GpuTotal>, LedgerError> {
        let mut totals = self.totals.lock().await;
        let (open, files) = self.store.open_gpu_totals().await?;
        // While it changes, what is kept is nothing: a failure in the middle begins anew.
        let mut sums = std::mem::take(&mut *totals);
        sums = self.follow(sums, files).await?;
        let mut all = sums.sums.clone();
        *totals = sums;
        drop(totals);
        for total in open {
            all.entry(total.gpu.0).or_default().merge(&total.total)?;
        }
        Ok(all.into_iter().map(|(gpu, total)| GpuTotal { gpu: GpuKey(gpu), total }).collect())
    }

    /// The sums over exactly these files.
    async fn follow(&self, mut known: Totals, files: Vec<DayFile>) -> Result<Totals, LedgerError> {
        let files: BTreeMap<String, DayFile> =
            files.into_iter().map(|file| (file.path.clone(), file)).collect();
        let gone: Vec<DayFile> =
            known.files.values().filter(|file| !files.contains_key(&file.path)).cloned().collect();
        for file in gone {
            if !self.subtract(&mut known, &file).await? {
                known = Totals::default();
                break;
            }
        }
        for (path, file) in files {
            if known.files.contains_key(&path) {
                continue;
            }
            let fault = |fault: FileFault| fault.of(OPERATION, self.files.place(&path));
            let rows = self.verified::<GpuHour>(&file).await.map_err(fault)?;
            for (gpu, sum) in by_subject(rows)? {
                known.sums.entry(gpu).or_default().merge(&sum)?;
            }
            known.files.insert(path, file);
        }
        Ok(known)
    }

    /// Whether the file could still be read and taken away.
    async fn subtract(&self, known: &mut Totals, file: &DayFile) -> Result<bool, LedgerError> {
        let Ok(rows) = self.verified::<GpuHour>(file).await else { return Ok(false) };
        for (gpu, sum) in by_subject(rows)? {
            let Some(rest) = known.sums.get(&gpu).and_then(|all| less(all, &sum)) else { return Ok(false) };
            known.sums.insert(gpu, rest);
        }
        known.files.remove(&file.path);
        Ok(true)
    }
}

/// What is left; maxima stay.
fn less(all: &GpuHour, part: &GpuHour) -> Option<GpuHour> {
    Some(GpuHour {
        active_ms: all.active_ms.minus(part.active_ms)?,
        held_ms: all.held_ms.minus(part.held_ms)?,
        free_ms: all.free_ms.minus(part.free_ms)?,
        down_ms: all.down_ms.minus(part.down_ms)?,
        counter_mj: all.counter_mj.minus(part.counter_mj)?,
        gap_mj: all.gap_mj.minus(part.gap_mj)?,
        estimated_mj: all.estimated_mj.minus(part.estimated_mj)?,
        active_mj: all.active_mj.minus(part.active_mj)?,
        busy_ppm_ms: all.busy_ppm_ms.minus(part.busy_ppm_ms)?,
        busy_known_ms: all.busy_known_ms.minus(part.busy_known_ms)?,
        memory_byte_ms: all.memory_byte_ms.minus(part.memory_byte_ms)?,
        throttled_ms: all.throttled_ms.minus(part.throttled_ms)?,
        power_max_mw: all.power_max_mw,
        temperature_max_mc: all.temperature_max_mc,
        samples: all.samples.checked_sub(part.samples)?,
    })
}
