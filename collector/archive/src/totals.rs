//! Totals of all GPUs without reading every file each time.
//!
//! The sum over the files is kept. When the files change, only what changed is read: what a new file
//! holds is added, what one holds that is no longer current is subtracted. Maxima need not be: rows
//! only ever add, so a newer file's maxima, and those that the store keeps of expired files, are at
//! least those of the file that went.

use crate::ArchivedLedger;
use crate::files::FileFault;
use gpuledger_ledger::{DayFile, GpuHour, GpuKey, GpuTotal, LedgerError, LedgerTotals};
use gpuledger_units::Overflow;
use std::collections::{BTreeMap, BTreeSet};

/// What the files hold, as far as it was read.
#[derive(Default)]
pub struct Totals {
    files: BTreeMap<String, DayFile>,
    sums: BTreeMap<u32, GpuHour>,
}

const OPERATION: &str = "add up all hours of GPUs";

impl ArchivedLedger {
    pub(crate) async fn all_totals(&self) -> Result<LedgerTotals, LedgerError> {
        let mut totals = self.totals.lock().await;
        let mut attempts = self.attempts(OPERATION);
        let open = loop {
            let (open, files) = self.store.open_totals().await?;
            match self.follow(&mut totals, files).await? {
                None => break open,
                Some(missing) => attempts.missed(&missing)?,
            }
        };
        let mut all = totals.sums.clone();
        drop(totals);
        for total in open.gpus {
            all.entry(total.gpu.0).or_default().merge(&total.total)?;
        }
        let gpus = all.into_iter().map(|(gpu, total)| GpuTotal { gpu: GpuKey(gpu), total }).collect();
        Ok(LedgerTotals { gpus, versions: open.versions })
    }

    /// Brings the sums to exactly these files, file by file: what was read before a failure stays. Gives
    /// the file that is not there.
    async fn follow(&self, known: &mut Totals, files: Vec<DayFile>) -> Result<Option<DayFile>, LedgerError> {
        let current: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let gone: Vec<DayFile> =
            known.files.values().filter(|file| !current.contains(file.path.as_str())).cloned().collect();
        for file in gone {
            // Where it can no longer be read and taken away, all are read again.
            let taken = match self.by_subject(&file).await {
                Ok(sums) => known.subtract(&file, sums),
                Err(_) => false,
            };
            if !taken {
                *known = Totals::default();
                break;
            }
        }
        for file in files {
            if known.files.contains_key(&file.path) {
                continue;
            }
            match self.by_subject(&file).await {
                Ok(sums) => known.add(file, sums)?,
                Err(FileFault::Missing) => return Ok(Some(file)),
                Err(fault) => return Err(fault.of(OPERATION, self.files.place(&file.path))),
            }
        }
        Ok(None)
    }
}

impl Totals {
    /// All of the file or nothing.
    fn add(&mut self, file: DayFile, mut changed: BTreeMap<u32, GpuHour>) -> Result<(), Overflow> {
        for (gpu, sum) in &mut changed {
            if let Some(before) = self.sums.get(gpu) {
                sum.merge(before)?;
            }
        }
        self.sums.append(&mut changed);
        self.files.insert(file.path.clone(), file);
        Ok(())
    }

    /// All of the file, or false and nothing.
    fn subtract(&mut self, file: &DayFile, mut changed: BTreeMap<u32, GpuHour>) -> bool {
        for (gpu, sum) in &mut changed {
            let Some(rest) = self.sums.get(gpu).and_then(|all| less(all, sum)) else { return false };
            *sum = rest;
        }
        self.sums.append(&mut changed);
        self.files.remove(&file.path);
        true
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
