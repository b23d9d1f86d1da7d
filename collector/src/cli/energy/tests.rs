//! What a small ledger adds up to.

use super::*;
use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::{GpuHour, GpuHourKey, GpuKey, Hour, NodeCommit, NodeHour, NodeKey, OwnerKey};
use gpuledger_proto::frame::{Gpu, Host, Inventory, Owner, OwnerKind};
use gpuledger_proto::ids::{GpuUuid, NodeName};
use gpuledger_units::{Millijoules, Millis};

/// 2024-05-17T15:00Z.
const HOUR: Hour = Hour(476_655);
const PERIOD: HourRange = HourRange { from: Hour(HOUR.0 - 30), to: Hour(HOUR.0 + 60) };

fn gpu(uuid: &str, model: &str) -> Gpu {
    Gpu {
        uuid: GpuUuid::new(uuid).unwrap(),
        model: model.to_owned(),
        serial: None,
        pci_bus_id: None,
        index: 0,
        memory_bytes: None,
        simulated: false,
    }
}

struct Scene {
    _folder: tempfile::TempDir,
    ledger: SqliteLedger,
    owner: OwnerKey,
}

type Rows = Vec<(GpuHourKey, GpuHour)>;

impl Scene {
    async fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(&folder.path().join("ledger.db")).unwrap();
        for (node, gpus) in
            [("a", [("GPU-1", "H100"), ("GPU-2", "H100")]), ("b", [("GPU-3", "L40S"), ("GPU-4", "")])]
        {
            let key = ledger.node(&NodeName::new(node).unwrap()).await.unwrap();
            let gpus = gpus.into_iter().map(|(uuid, model)| gpu(uuid, model)).collect();
            ledger.register(key, &Inventory { host: Host::default(), gpus }).await.unwrap();
        }
        let (kind, account, name) = (OwnerKind::Slurm, "physics".to_owned(), "ada".to_owned());
        let owner = Owner { kind, account, name, job: String::new() };
        let owner = ledger.owners(&[owner]).await.unwrap()[0];
        Self { _folder: folder, ledger, owner }
    }

    /// Node "a" has a meter, node "b" has not; both have two GPUs, and "b" an hour of the next day.
    async fn new() -> Self {
        let scene = Self::empty().await;
        let seen = |ms| NodeHour { observed_ms: Millis(ms), ..NodeHour::default() };
        let metered = NodeHour { counter_mj: Millijoules(900), metered_ms: Millis(3_000), ..seen(3_000) };
        let (named, next_day) = (scene.owner, Hour(HOUR.0 + 9));
        let (a, b) = (scene.gpus("a").await, scene.gpus("b").await);
        let of_a =
            vec![gpu_hour(HOUR, a[0], named, 100, 3_000), gpu_hour(HOUR, a[1], OwnerKey::NOBODY, 200, 3_000)];
        let of_b = vec![
            gpu_hour(HOUR, b[0], named, 30, 2_000),
            gpu_hour(HOUR, b[0], OwnerKey::UNKNOWN, 5, 500),
            gpu_hour(HOUR, b[1], OwnerKey::NOBODY, 40, 2_500),
            gpu_hour(next_day, b[1], named, 7, 1_000),
        ];
        scene.commit("a", of_a, vec![(HOUR, metered)]).await;
        scene.commit("b", of_b, vec![(HOUR, seen(2_500)), (next_day, seen(1_000))]).await;
        scene
    }

    async fn node(&self, name: &str) -> NodeKey {
        self.ledger.node(&NodeName::new(name).unwrap()).await.unwrap()
    }

    async fn gpus(&self, node: &str) -> Vec<GpuKey> {
        let node = self.node(node).await;
        let gpus = self.ledger.gpus().await.unwrap().into_iter();
        gpus.filter(|gpu| gpu.node == node).map(|gpu| gpu.key).collect()
    }

    async fn commit(&self, node: &str, gpu_hours: Rows, node_hours: Vec<(Hour, NodeHour)>) {
        let node = self.node(node).await;
        let base_version = self.ledger.state(node).await.unwrap().version;
        let commit = NodeCommit {
            node,
            base_version,
            state: Vec::new(),
            epochs: Vec::new(),
            gpu_hours,
            node_hours,
            taken: Vec::new(),
            gpus_seen: Vec::new(),
            seen: None,
        };
        let outcomes = self.ledger.commit(vec![commit]).await.unwrap();
        assert_eq!(outcomes, [gpuledger_ledger::CommitOutcome::Committed]);
    }

    async fn rows(&self, by: &[Dimension]) -> Vec<EnergyRow> {
        let register = Register::read(&self.ledger).await.unwrap();
        rows(&self.ledger, &register, PERIOD, by).await.unwrap()
    }

    async fn told(&self, by: &[Dimension]) -> Vec<(String, u64, u64, Source)> {
        let tell = |row: EnergyRow| (keys(&row), row.energy_mj.0, row.observed_ms.0, row.source);
        self.rows(by).await.into_iter().map(tell).collect()
    }
}

fn gpu_hour(hour: Hour, gpu: GpuKey, owner: OwnerKey, energy: u64, active: u64) -> (GpuHourKey, GpuHour) {
    let row = GpuHour { counter_mj: Millijoules(energy), active_ms: Millis(active), ..GpuHour::default() };
    (GpuHourKey { hour, gpu, owner }, row)
}

fn keys(row: &EnergyRow) -> String {
    let keys = [&row.node, &row.gpu, &row.model, &row.owner, &row.hour, &row.day, &row.month];
    let keys: Vec<&str> = keys.into_iter().filter_map(Option::as_deref).collect();
    keys.join(" ")
}

#[tokio::test]
async fn a_node_has_its_own_energy_or_else_that_of_its_gpus() {
    assert_eq!(
        Scene::new().await.told(&[Dimension::Node, Dimension::Hour]).await,
        [
            ("a 2024-05-17T15:00:00Z".into(), 900, 3_000, Source::NodeCounter),
            ("b 2024-05-17T15:00:00Z".into(), 75, 2_500, Source::GpuCounter),
            ("b 2024-05-18T00:00:00Z".into(), 7, 1_000, Source::GpuCounter),
        ]
    );
}

#[tokio::test]
async fn days_and_months_add_hours_up_and_say_when_sources_differ() {
    let scene = Scene::new().await;
    assert_eq!(
        scene.told(&[Dimension::Day]).await,
        [
            ("2024-05-17T00:00:00Z".into(), 975, 5_500, Source::Mixed),
            ("2024-05-18T00:00:00Z".into(), 7, 1_000, Source::GpuCounter),
        ]
    );
    assert_eq!(scene.told(&[Dimension::Month]).await[0].0, "2024-05-01T00:00:00Z");
    assert_eq!(scene.told(&[]).await, [(String::new(), 982, 6_500, Source::Mixed)], "by nothing is one row");
}

#[tokio::test]
async fn owners_have_their_part_of_every_gpu_and_nobody_has_a_name() {
    let rows = Scene::new().await.told(&[Dimension::Owner]).await;
    let energies: Vec<_> = rows.iter().map(|row| (row.0.as_str(), row.1)).collect();
    assert_eq!(energies, [("nobody", 240), ("slurm:physics/ada", 137), ("unknown", 5)]);
}

#[tokio::test]
async fn models_add_up_their_gpus_by_month_and_one_without_a_name_is_unknown() {
    let scene = Scene::new().await;
    let may = |model: &str| format!("{model} 2024-05-01T00:00:00Z");
    let by_month = [
        (may("H100"), 300, 6_000, Source::GpuCounter),
        (may("L40S"), 35, 2_500, Source::GpuCounter),
        (may("unknown"), 47, 3_500, Source::GpuCounter),
    ];
    assert_eq!(scene.told(&[Dimension::Month, Dimension::Model]).await, by_month);
    assert_eq!(scene.told(&[Dimension::Node, Dimension::Model]).await[0].0, "a H100");
}

#[tokio::test]
async fn a_gpu_without_a_counter_is_told_from_one_whose_energy_is_partly_estimated() {
    let scene = Scene::empty().await;
    let gpus = scene.gpus("a").await;
    let with = |gpu, hours, counter, estimated| {
        let (key, row) = gpu_hour(Hour(HOUR.0 + hours), gpu, OwnerKey::NOBODY, counter, 1);
        (key, GpuHour { estimated_mj: Millijoules(estimated), ..row })
    };
    let rows =
        vec![with(gpus[0], 0, 0, 5), with(gpus[0], 1, 0, 6), with(gpus[1], 0, 9, 0), with(gpus[1], 1, 9, 1)];
    scene.commit("a", rows, Vec::new()).await;
    let told = scene.told(&[Dimension::Gpu]).await;
    assert_eq!(told[0], ("GPU-1".into(), 11, 2, Source::GpuPower));
    assert_eq!(told[1], ("GPU-2".into(), 19, 2, Source::Mixed));
}

#[tokio::test]
async fn a_row_of_something_unregistered_is_shown_and_not_dropped() {
    let scene = Scene::new().await;
    let whole = Register::read(&scene.ledger).await.unwrap();
    let register = Register { gpus: whole.gpus[1..].to_vec(), nodes: whole.nodes, owners: Vec::new() };
    let by = [Dimension::Gpu, Dimension::Owner];
    let rows = rows(&scene.ledger, &register, PERIOD, &by).await.unwrap();
    assert!(rows.iter().any(|row| keys(row) == "unregistered unregistered" && row.energy_mj.0 == 100));
    let by = [Dimension::Node];
    let nodes = super::rows(&scene.ledger, &register, PERIOD, &by).await.unwrap();
    assert_eq!(nodes.iter().map(|row| row.energy_mj.0).sum::<u64>(), 982 + 100, "beside its node's meter");
}

#[tokio::test]
async fn every_report_is_what_its_rows_add_up_to_one_by_one() {
    let scene = Scene::new().await;
    let gpus = scene.gpus("a").await;
    let more: Rows = (0..40)
        .map(|n| gpu_hour(Hour(HOUR.0 + n), gpus[n as usize % 2], scene.owner, u64::from(n) * 977 + 1, 10))
        .collect();
    scene.commit("a", more, Vec::new()).await;
    let all = scene.ledger.gpu_rows(&Wanted::all(PERIOD)).await.unwrap();
    let energy: u64 = all.iter().map(|(_, row)| row.counter_mj.0).sum();
    for by in [
        vec![Dimension::Gpu],
        vec![Dimension::Model, Dimension::Day],
        vec![Dimension::Owner, Dimension::Hour, Dimension::Node],
        vec![Dimension::Gpu, Dimension::Model, Dimension::Owner, Dimension::Month],
    ] {
        let rows = scene.rows(&by).await;
        assert_eq!(rows.iter().map(|row| row.energy_mj.0).sum::<u64>(), energy, "{by:?}");
        assert!(rows.is_sorted_by_key(|row| by.iter().map(|&d| row.key(d).to_owned()).collect::<Vec<_>>()));
    }
    let hours = scene.rows(&[Dimension::Gpu, Dimension::Hour, Dimension::Owner]).await;
    assert_eq!(hours.len(), all.len());
}
