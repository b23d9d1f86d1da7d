//! A ledger whose days are closed, beside one of which none ever is: both must read the same.

#![allow(dead_code, reason = "each test file uses its part of the world")]

mod tap;

pub use tap::{Tap, Trap};

use gpuledger_archive::{ArchivedLedger, Closing, Root};
use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::suite::samples::{self, Node};
use gpuledger_ledger::{
    CommitOutcome, Day, DayFile, FileStatus, GpuHour, Hour, HourRange, Ledger, NodeCommit, NodeHour,
    OwnerKey, Store, Table, Wanted,
};
use gpuledger_units::{ByteMillis, Millicelsius, Millijoules, Millis, Milliwatts, PpmMillis};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// 2026-03-29, the day of [`samples::HOUR`].
pub const DAY: Day = Day(20_541);
pub const NOW_MS: u64 = 1_780_000_000_000;
pub const HOUR_MS: u64 = 3_600_000;

pub struct World {
    pub folder: TempDir,
    pub tap: Arc<Tap>,
    pub archive: ArchivedLedger,
    /// Gets the same commits and is never closed.
    pub twin: SqliteLedger,
    pub nodes: Vec<Node>,
    pub owners: Vec<OwnerKey>,
    pub commits: u64,
}

/// A row, as little as tests need to tell it from others.
#[derive(Debug, Clone, Copy)]
pub struct Draw {
    pub node: usize,
    pub gpu: usize,
    pub hour: u32,
    pub owner: usize,
    pub amount: u64,
}

impl World {
    pub async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let root = Root::Folder(folder.path().join("ledger.db.days"));
        Self::with_root(folder, root).await
    }

    pub async fn with_root(folder: TempDir, root: Root) -> Self {
        let ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
        let twin = SqliteLedger::open(&folder.path().join("twin.db")).unwrap();
        let mut nodes = Vec::new();
        let mut owners = vec![OwnerKey::NOBODY, OwnerKey::UNKNOWN];
        for name in ["a", "b"] {
            Node::register(&twin, name).await.unwrap();
            nodes.push(Node::register(&ledger, name).await.unwrap());
        }
        let named = [samples::owner("ada", "17"), samples::owner("bob", "")];
        twin.owners(&named).await.unwrap();
        owners.extend(ledger.owners(&named).await.unwrap());
        let tap = Arc::new(Tap::new(ledger));
        let archive = ArchivedLedger::open(tap.clone(), root).unwrap();
        Self { folder, tap, archive, twin, nodes, owners, commits: 0 }
    }

    /// What is wrong with the store, and with each of its current files when it is read whole.
    pub async fn faults(&self) -> Vec<String> {
        let mut faults = self.tap.check().await.unwrap();
        for file in self.current().await {
            if let Err(fault) = self.archive.check_file(&file).await {
                faults.push(format!("{} {fault}", file.path));
            }
        }
        faults
    }

    /// What one node adds, from what is stored of it.
    pub async fn commit_of(&mut self, draws: &[Draw]) -> NodeCommit {
        let draw = draws[0];
        let node = &self.nodes[draw.node];
        let state = self.tap.state(node.key).await.unwrap();
        let from = self.tap.sequence(node.key, node.epoch()).await.unwrap();
        let mut commit = node.commit(state.version, from.0);
        (commit.gpu_hours, commit.node_hours) = (Vec::new(), Vec::new());
        let span = (DAY.first_hour().start_ms(), Day(DAY.0 + 4).first_hour().start_ms());
        commit.gpus_seen = node.gpus.iter().map(|&gpu| (gpu, span.0, span.1)).collect();
        commit.seen = Some(span);
        for draw in draws.iter().filter(|other| other.node == draw.node) {
            let hour = Hour(DAY.first_hour().0 + draw.hour);
            let key = gpuledger_ledger::GpuHourKey {
                hour,
                gpu: node.gpus[draw.gpu],
                owner: self.owners[draw.owner],
            };
            if commit.gpu_hours.iter().any(|(there, _)| *there == key) {
                continue;
            }
            commit.gpu_hours.push((key, gpu_hour(draw.amount)));
            if !commit.node_hours.iter().any(|(there, _)| *there == hour) {
                commit.node_hours.push((hour, node_hour(draw.amount)));
            }
        }
        self.commits += 1;
        commit
    }

    /// Commits to both ledgers.
    pub async fn add(&mut self, draws: &[Draw]) {
        let commit = self.commit_of(draws).await;
        let twice =
            [samples::commit_one(&self.twin, commit.clone()).await, self.archive_commit(commit).await];
        for outcome in twice {
            assert_eq!(outcome.unwrap(), CommitOutcome::Committed);
        }
    }

    async fn archive_commit(
        &self,
        commit: NodeCommit,
    ) -> Result<CommitOutcome, gpuledger_ledger::LedgerError> {
        samples::commit_one(&self.archive, commit).await
    }

    /// A day's rows: both nodes, every fourth hour, two owners.
    pub async fn add_day(&mut self, day: u32) {
        for node in 0..2 {
            let draws: Vec<Draw> = (0..24)
                .step_by(4)
                .flat_map(|hour| {
                    let hour = day * 24 + hour;
                    [
                        Draw { node, gpu: 0, hour, owner: 0, amount: u64::from(hour) + 1 },
                        Draw { node, gpu: 1, hour, owner: 2, amount: 77 },
                    ]
                })
                .collect();
            self.add(&draws).await;
        }
    }

    /// Closes all days before the one of this number.
    pub async fn close(&self, day: u32) -> Closing {
        self.archive.close_days(Day(DAY.0 + day), NOW_MS).await
    }

    /// Closes until the process dies before a file is entered; false where there is nothing to close.
    pub async fn die_closing(&self, day: u32) -> bool {
        self.tap.set(Trap::DieBefore);
        tokio::select! {
            biased;
            _ = self.close(day) => !self.tap.disarm(),
            () = self.tap.died() => true,
        }
    }

    /// Closes, where nothing may go wrong; how many files were written.
    pub async fn close_well(&self, day: u32) -> usize {
        let closing = self.close(day).await;
        assert!(closing.failures.is_empty() && closing.moved.is_empty(), "{closing:?}");
        closing.closed.len()
    }

    /// The same ledger, opened by another process.
    pub fn reopened(&self) -> ArchivedLedger {
        self.at("ledger.db.days")
    }

    /// The same ledger with its archive in this folder.
    pub fn at(&self, folder: &str) -> ArchivedLedger {
        ArchivedLedger::open(self.tap.clone(), Root::Folder(self.folder.path().join(folder))).unwrap()
    }

    pub async fn current(&self) -> Vec<DayFile> {
        let files = self.tap.files().await.unwrap();
        files.into_iter().filter(|file| file.status == FileStatus::Current).collect()
    }

    pub fn place(&self, file: &DayFile) -> PathBuf {
        self.folder.path().join("ledger.db.days").join(&file.path)
    }

    /// Every file below the archive's folder, by name.
    pub fn on_disk(&self) -> Vec<String> {
        let mut names = Vec::new();
        for table in Table::ALL {
            let folder = self.folder.path().join("ledger.db.days").join(table.name());
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            names.extend(entries.map(|entry| {
                format!("{}/{}", table.name(), entry.unwrap().file_name().into_string().unwrap())
            }));
        }
        names.sort();
        names
    }

    /// Reads everything from both and compares.
    pub async fn assert_equal(&self) {
        self.assert_equal_in(HourRange::ALWAYS).await;
        let [archived, expected] =
            [self.archive.gpu_totals().await.unwrap(), self.twin.gpu_totals().await.unwrap()];
        assert_eq!(archived, expected);
    }

    /// What lies in the store alone is everything.
    pub async fn assert_all_open(&self) {
        let wanted = Wanted::all(HourRange::ALWAYS);
        let (rows, files) = self.tap.open_gpu_rows(&wanted).await.unwrap();
        assert_eq!((rows, files), (self.twin.gpu_rows(&wanted).await.unwrap(), Vec::new()));
    }

    pub async fn assert_equal_in(&self, range: HourRange) {
        let wanted = Wanted::all(range);
        let archived = self.archive.gpu_rows(&wanted).await.unwrap();
        assert_eq!(archived, self.twin.gpu_rows(&wanted).await.unwrap());
        let archived = self.archive.node_hours(range).await.unwrap();
        assert_eq!(archived, self.twin.node_hours(range).await.unwrap());
    }
}

/// A row that differs in every column, within the invariants of an hour.
pub fn gpu_hour(amount: u64) -> GpuHour {
    GpuHour {
        active_ms: Millis(amount % 1_000),
        held_ms: Millis(amount % 7),
        free_ms: Millis(1),
        down_ms: Millis(amount % 3),
        counter_mj: Millijoules(amount * 1_000 + 1),
        gap_mj: Millijoules(amount % 1_000),
        estimated_mj: Millijoules(amount % 11),
        active_mj: Millijoules(amount * 900),
        busy_ppm_ms: PpmMillis(amount % 1_000 * (amount % 1_000_000)),
        busy_known_ms: Millis(amount % 1_000),
        memory_byte_ms: ByteMillis(u128::from(amount) * 85_520_809_984 * 1_234),
        throttled_ms: Millis(amount % 7),
        power_max_mw: (!amount.is_multiple_of(4)).then_some(Milliwatts(amount)),
        temperature_max_mc: (!amount.is_multiple_of(3)).then(|| Millicelsius(40_000 - amount.cast_signed())),
        samples: amount % 3_600,
    }
}

pub fn node_hour(amount: u64) -> NodeHour {
    NodeHour {
        observed_ms: Millis(amount % 1_000),
        counter_mj: Millijoules(amount * 2_000),
        gap_mj: Millijoules(amount % 100),
        estimated_mj: Millijoules(amount % 13),
        metered_ms: Millis(amount % 1_000),
        cpu_ppm_ms: PpmMillis(amount % 1_000 * (amount % 1_000_000)),
        cpu_known_ms: Millis(amount % 1_000),
        memory_byte_ms: ByteMillis(u128::from(amount) * 5_000_000_000_003),
        power_max_mw: amount.is_multiple_of(2).then_some(Milliwatts(amount * 3)),
        samples: amount % 3_600,
    }
}
