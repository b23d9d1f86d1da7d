//! What a ledger holds, as one number that does not depend on the store.
//!
//! Each kind of record has a SHA-256 over its records in the order of [`Store::export`], each as its
//! fields in the order of their declaration: integers as little-endian 128-bit numbers (signed ones
//! sign-extended), texts and bytes as their length and themselves, options as 0 or as 1 and the value.

use crate::{DayFile, GpuHour, GpuHourKey, GpuTotal, LedgerError, NodeHour, NodeState, Record, Store, Sums};
use gpuledger_proto::frame::{Gpu, Host, Owner};
use sha2::{Digest as _, Sha256};
use std::fmt;
use tokio::sync::mpsc;

/// Pieces that wait to be read.
const CHUNKS_WAITING: usize = 2;

/// Number of kinds of records.
const KINDS: usize = 12;
/// What they are called, in the order of export.
const NAMES: [&str; KINDS] = [
    "archive locations",
    "nodes",
    "GPUs",
    "owners",
    "epochs",
    "assets",
    "last versions of closed days",
    "files of closed days",
    "expired totals of GPUs",
    "expired totals of nodes",
    "GPU hours",
    "node hours",
];

/// Records of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub records: u64,
    pub sha256: [u8; 32],
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SHA-256 ", self.records)?;
        hex(&self.sha256, f)?;
        f.write_str(")")
    }
}

/// A ledger's whole content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    parts: [Part; KINDS],
}

impl Digest {
    /// Each kind of record by its name, in the order of export.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, &Part)> {
        NAMES.into_iter().zip(&self.parts)
    }

    /// Records of all kinds.
    pub fn records(&self) -> u64 {
        self.parts.iter().map(|part| part.records).sum()
    }

    /// One number over all kinds.
    pub fn sha256(&self) -> [u8; 32] {
        let mut all = Sha256::new();
        for part in &self.parts {
            all.update(part.records.to_le_bytes());
            all.update(part.sha256);
        }
        all.finalize().into()
    }

    pub(super) fn first_difference(&self, other: &Self) -> Option<(&'static str, Part, Part)> {
        self.parts()
            .zip(&other.parts)
            .find(|((_, one), other)| one != other)
            .map(|((name, &one), &other)| (name, one, other))
    }
}

/// The one number, in hexadecimal.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.sha256(), f)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads all that a store holds, from one moment.
pub async fn digest(store: &dyn Store) -> Result<Digest, LedgerError> {
    let (out, mut content) = mpsc::channel(CHUNKS_WAITING);
    let read = async {
        let mut forms: [Form; KINDS] = std::array::from_fn(|_| Form::default());
        while let Some(chunk) = content.recv().await {
            for record in &chunk {
                if let Some(form) = kind(record).and_then(|kind| forms.get_mut(kind)) {
                    form.records += 1;
                    form.record(record);
                }
            }
        }
        forms
    };
    let (exported, forms) = tokio::join!(store.export(out), read);
    exported?;
    let part = |form: Form| Part { records: form.records, sha256: form.hash.finalize().into() };
    Ok(Digest { parts: forms.map(part) })
}

/// Its place among the kinds; the end has none.
fn kind(record: &Record) -> Option<usize> {
    match record {
        Record::ArchiveLocation(_) => Some(0),
        Record::Node { .. } => Some(1),
        Record::Gpu(_) => Some(2),
        Record::Owner(_) => Some(3),
        Record::Epoch { .. } => Some(4),
        Record::Asset(_) => Some(5),
        Record::LastVersion { .. } => Some(6),
        Record::File(_) => Some(7),
        Record::ExpiredGpu(_) => Some(8),
        Record::ExpiredNode { .. } => Some(9),
        Record::GpuHour(..) => Some(10),
        Record::NodeHour(..) => Some(11),
        Record::End(_) => None,
    }
}

/// The records of one kind, as they are hashed. Every struct is taken apart by all its fields, so that
/// a new one cannot be forgotten here.
#[derive(Default)]
struct Form {
    hash: Sha256,
    records: u64,
}

impl Form {
    fn record(&mut self, record: &Record) {
        match record {
            Record::ArchiveLocation(location) => self.text(location),
            Record::Node { record: crate::NodeRecord { key, name, host, first_ms, last_ms }, state } => {
                let Host { hostname, os, driver_version, memory_bytes, cpus } = host;
                let NodeState { version, blob } = state;
                self.integer(key.0);
                self.text(name.as_str());
                self.text(hostname);
                self.text(os);
                self.option(driver_version.as_ref(), |form, text| form.text(text));
                self.option(*memory_bytes, Self::integer);
                self.option(*cpus, Self::integer);
                self.option(*first_ms, Self::integer);
                self.option(*last_ms, Self::integer);
                self.integer(*version);
                self.bytes(blob);
            }
            Record::Gpu(crate::GpuRecord { key, node, gpu, first_ms, last_ms }) => {
                self.integer(key.0);
                self.integer(node.0);
                self.gpu(gpu);
                self.option(*first_ms, Self::integer);
                self.option(*last_ms, Self::integer);
            }
            Record::Owner(crate::OwnerRecord { key, owner: Owner { kind, account, name, job } }) => {
                self.integer(key.0);
                for text in [kind.name(), account, name, job] {
                    self.text(text);
                }
            }
            Record::Epoch { node, epoch, sequence } => {
                self.integer(node.0);
                self.bytes(epoch.0.as_bytes());
                self.integer(sequence.0);
            }
            Record::Asset(crate::StoredAsset { serial, document }) => {
                self.text(serial);
                self.text(document);
            }
            Record::LastVersion { table, day, version } => {
                self.text(table.name());
                self.integer(day.0);
                self.integer(*version);
            }
            Record::File(file) => self.file(file),
            Record::ExpiredGpu(GpuTotal { gpu, total }) => {
                self.integer(gpu.0);
                self.gpu_hour(total);
            }
            Record::ExpiredNode { node, total } => {
                self.integer(node.0);
                self.node_hour(total);
            }
            Record::GpuHour(GpuHourKey { hour, gpu, owner }, row) => {
                self.integers([hour.0, gpu.0, owner.0].map(u64::from));
                self.gpu_hour(row);
            }
            Record::NodeHour(hour, node, row) => {
                self.integers([hour.0, node.0].map(u64::from));
                self.node_hour(row);
            }
            Record::End(_) => {}
        }
    }

    fn gpu(&mut self, gpu: &Gpu) {
        let Gpu { uuid, model, serial, pci_bus_id, index, memory_bytes, simulated } = gpu;
        self.text(uuid.as_str());
        self.text(model);
        self.option(serial.as_ref(), |form, text| form.text(text));
        self.option(pci_bus_id.as_ref(), |form, text| form.text(text));
        self.integer(*index);
        self.option(*memory_bytes, Self::integer);
        self.integer(u8::from(*simulated));
    }

    fn file(&mut self, file: &DayFile) {
        let DayFile { table, day, version, path, status, since_ms, bytes, sha256, sums } = file;
        let Sums { rows, observed_ms, counter_mj, gap_mj, estimated_mj, samples } = sums;
        self.text(table.name());
        self.integer(day.0);
        self.integer(*version);
        self.text(path);
        self.text(status.name());
        self.integer(*since_ms);
        self.integer(*bytes);
        self.bytes(sha256);
        self.integers([*rows, *observed_ms, *counter_mj, *gap_mj, *estimated_mj, *samples]);
    }

    fn gpu_hour(&mut self, row: &GpuHour) {
        let GpuHour {
            active_ms,
            held_ms,
            free_ms,
            down_ms,
            counter_mj,
            gap_mj,
            estimated_mj,
            active_mj,
            busy_ppm_ms,
            busy_known_ms,
            memory_byte_ms,
            throttled_ms,
            power_max_mw,
            temperature_max_mc,
            samples,
        } = row;
        self.integers([active_ms.0, held_ms.0, free_ms.0, down_ms.0]);
        self.integers([counter_mj.0, gap_mj.0, estimated_mj.0, active_mj.0]);
        self.integer(busy_ppm_ms.0);
        self.integer(busy_known_ms.0);
        self.wide(memory_byte_ms.0);
        self.integer(throttled_ms.0);
        self.option(*power_max_mw, |form, power| form.integer(power.0));
        self.option(*temperature_max_mc, |form, celsius| {
            form.hash.update(i128::from(celsius.0).to_le_bytes());
        });
        self.integer(*samples);
    }

    fn node_hour(&mut self, row: &NodeHour) {
        let NodeHour {
            observed_ms,
            counter_mj,
            gap_mj,
            estimated_mj,
            metered_ms,
            cpu_ppm_ms,
            cpu_known_ms,
            memory_byte_ms,
            power_max_mw,
            samples,
        } = row;
        self.integer(observed_ms.0);
        self.integers([counter_mj.0, gap_mj.0, estimated_mj.0]);
        self.integer(metered_ms.0);
        self.integer(cpu_ppm_ms.0);
        self.integer(cpu_known_ms.0);
        self.wide(memory_byte_ms.0);
        self.option(*power_max_mw, |form, power| form.integer(power.0));
        self.integer(*samples);
    }

    fn integer(&mut self, value: impl Into<u64>) {
        self.wide(value.into().into());
    }

    fn integers<const N: usize>(&mut self, values: [u64; N]) {
        for value in values {
            self.integer(value);
        }
    }

    fn wide(&mut self, value: u128) {
        self.hash.update(value.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // No text or state is longer than a u64 can say.
        self.wide(bytes.len().try_into().unwrap_or(u128::MAX));
        self.hash.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn option<T>(&mut self, value: Option<T>, some: impl FnOnce(&mut Self, T)) {
        self.integer(u8::from(value.is_some()));
        if let Some(value) = value {
            some(self, value);
        }
    }
}
