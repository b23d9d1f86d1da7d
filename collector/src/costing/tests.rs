//! A small ledger and a small register, joined.

use super::*;
use crate::fleet::holdings::read_assets;
use crate::fleet::locale::Locale;
use crate::fleet::read_file;
use gpuledger_ledger::sqlite::SqliteLedger;
use gpuledger_ledger::{GpuHour, GpuHourKey, NodeCommit, NodeHour, OwnerKey, StoredAsset};
use gpuledger_proto::frame::{Gpu, Host, Inventory, Owner, OwnerKind};
use gpuledger_proto::ids::{GpuUuid, NodeName};
use gpuledger_units::{Millijoules, Millis};
use rust_decimal::Decimal;
use std::path::Path;

const HOUR_MS: u64 = 3_600_000;
const KWH: u64 = 3_600_000_000;

fn start() -> Timestamp {
    "2026-10-05T00:00:00Z".parse().unwrap()
}

fn hour(after: u32) -> Hour {
    Hour(u32::try_from(start().as_second() / 3600).unwrap() + after)
}

fn gpu(number: u32) -> Gpu {
    Gpu {
        uuid: GpuUuid::new(&format!("GPU-{number}")).unwrap(),
        model: "NVIDIA H100 80GB HBM3".to_owned(),
        serial: None,
        pci_bus_id: None,
        index: number,
        memory_bytes: None,
        simulated: false,
    }
}

/// Two GPUs for two hours: team-a works on the first, the second is free and then not seen.
pub(super) async fn small_ledger(folder: &Path) -> SqliteLedger {
    let ledger = SqliteLedger::open(&folder.join("ledger.db")).unwrap();
    let node = ledger.node(&NodeName::new("gpu-01").unwrap()).await.unwrap();
    let inventory = Inventory { host: Host::default(), gpus: vec![gpu(0), gpu(1)] };
    let gpus = ledger.register(node, &inventory).await.unwrap();
    let gpus: Vec<_> = gpus.into_iter().map(|gpu| gpu.key).collect();
    let owner = |account: &str, name: &str| Owner {
        kind: OwnerKind::User,
        account: account.to_owned(),
        name: name.to_owned(),
        job: String::new(),
    };
    let owners = ledger.owners(&[owner("team-a", "ann"), owner("", "bob")]).await.unwrap();
    let active = GpuHour { active_ms: Millis(HOUR_MS), counter_mj: Millijoules(KWH), ..GpuHour::default() };
    let free = GpuHour { free_ms: Millis(HOUR_MS), counter_mj: Millijoules(KWH / 10), ..GpuHour::default() };
    let key = |after, gpu, owner| GpuHourKey { hour: hour(after), gpu, owner };
    let seen = (hour(0).start_ms(), hour(2).start_ms());
    let commit = NodeCommit {
        node,
        base_version: 0,
        state: Vec::new(),
        epochs: Vec::new(),
        gpu_hours: vec![
            (key(0, gpus[0], owners[0]), active),
            (key(0, gpus[1], OwnerKey::NOBODY), free),
            (key(1, gpus[0], owners[1]), active),
        ],
        node_hours: vec![(hour(0), NodeHour { observed_ms: Millis(HOUR_MS), ..NodeHour::default() })],
        taken: Vec::new(),
        gpus_seen: gpus.iter().map(|&gpu| (gpu, seen.0, seen.1)).collect(),
        seen: Some(seen),
    };
    ledger.commit(vec![commit]).await.unwrap();
    ledger
}

pub(super) fn fleet(folder: &Path, text: &str) -> Fleet {
    let path = folder.join("fleet.toml");
    std::fs::write(&path, text).unwrap();
    Fleet::load(&path).unwrap()
}

pub(super) const REGISTER: &str = "currency = \"EUR\"\n[[site]]\nname = \"dc1\"\npue = 1.5\ntariff = \"0.20\"\n\
    [[overhead]]\nkind = \"staff\"\nper_year = \"8760.00\"\n";

fn two_hours() -> Period {
    Period::new(start(), "2026-10-05T02:00:00Z".parse().unwrap()).unwrap()
}

#[tokio::test]
async fn rows_and_register_make_a_statement_by_owner() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = small_ledger(folder.path()).await;
    let fleet = fleet(folder.path(), REGISTER);
    let statement = statement(&ledger, &fleet, two_hours(), GroupBy::Owner).await.unwrap();
    let totals: Vec<String> =
        statement.groups.iter().map(|group| format!("{} {}", group.name, group.total.amount)).collect();
    // 1 kWh × 1.5 × 0.20 and a quarter of 2.00 staff; the free hour drew 0.1 kWh.
    assert_eq!(totals, ["bob 0.80", "team-a 0.80", "(free) 0.53", "(unmonitored) 0.50"]);
    assert_eq!(statement.energy_kwh, Decimal::new(21, 1));
    assert_eq!(statement.coverage.observed_ratio, Some(Decimal::new(75, 2)));
    assert!(statement.notes.iter().any(|note| note.starts_with("2 GPUs of gpu-01 have no asset")));
}

/// Reads a file of assets and stores all of it.
async fn import(ledger: &SqliteLedger, path: &Path) -> Result<usize, ImportAssetsError> {
    let entries = read_assets(path, &read_file(path)?, Locale::ISO)?;
    import_assets(ledger, &entries).await?;
    Ok(entries.len())
}

#[tokio::test]
async fn assets_of_the_register_and_of_the_ledger_both_count_and_never_twice() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = small_ledger(folder.path()).await;
    let csv = folder.path().join("assets.csv");
    let text = "serial,node,gpus,cost,currency,life_months,in_service\nSN2,gpu-02,8,7440,EUR,1,2026-10-01\n";
    std::fs::write(&csv, text).unwrap();
    import(&ledger, &csv).await.unwrap();
    let asset = "[[asset]]\nserial = \"SN1\"\nnode = \"gpu-01\"\ngpus = 2\ncost = \"744\"\nlife_months = 1\n\
        in_service = 2026-10-01\n";
    let with_asset = fleet(folder.path(), &format!("{REGISTER}{asset}"));
    let both = statement(&ledger, &with_asset, two_hours(), GroupBy::Node).await.unwrap();
    let depreciation: Vec<String> = both
        .lines
        .iter()
        .filter(|l| l.id.starts_with("depreciation"))
        .map(|l| format!("{} {}", l.id, l.amount))
        .collect();
    assert_eq!(depreciation, ["depreciation/SN1/gpu-01 2.00", "depreciation/SN2/gpu-02 20.00"]);
    let same = fleet(folder.path(), &format!("{REGISTER}{asset}").replace("SN1", "SN2"));
    let error = statement(&ledger, &same, two_hours(), GroupBy::Node).await.unwrap_err();
    assert!(matches!(error, CostingError::Register(_)) && error.is_input(), "{error}");
}

#[tokio::test]
async fn a_node_of_several_sites_must_have_one() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = small_ledger(folder.path()).await;
    let two = fleet(folder.path(), &format!("{REGISTER}[[site]]\nname = \"dc2\"\n"));
    let error = statement(&ledger, &two, two_hours(), GroupBy::Site).await.unwrap_err().to_string();
    assert!(error.starts_with("node gpu-01 fits no [[node]] of the register"), "{error}");
    let ruled = format!("{REGISTER}[[site]]\nname = \"dc2\"\n[[node]]\nname = \"gpu-*\"\nsite = \"dc2\"\n");
    let by_site =
        statement(&ledger, &fleet(folder.path(), &ruled), two_hours(), GroupBy::Site).await.unwrap();
    assert_eq!(by_site.groups.iter().find(|group| group.name == "dc2").unwrap().gpus, 2);
}

#[tokio::test]
async fn month_to_date_counts_to_now() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = small_ledger(folder.path()).await;
    let fleet = fleet(folder.path(), REGISTER);
    let now = "2026-10-05T01:30:00Z".parse().unwrap();
    let so_far = month_to_date(&ledger, &fleet, GroupBy::Month, now).await.unwrap();
    assert_eq!((so_far.from.as_str(), so_far.to.as_str()), ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"));
    assert_eq!(so_far.groups.len(), 1);
    assert_eq!(so_far.energy_kwh, Decimal::new(21, 1));
    // 97.5 hours of the year's 8760.
    let staff: Decimal = so_far.lines.iter().filter(|l| l.id.starts_with("overhead")).map(|l| l.amount).sum();
    assert_eq!(staff, Decimal::new(9_750, 2));
}

#[tokio::test]
async fn an_empty_register_counts_time_and_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = small_ledger(folder.path()).await;
    let statement = statement(&ledger, &Fleet::empty(), two_hours(), GroupBy::Model).await.unwrap();
    assert_eq!(statement.total.amount, Decimal::ZERO);
    assert_eq!(statement.hours.in_service, Decimal::from(4));
    assert!(statement.notes.iter().any(|note| note.contains("has no tariff")));
}

#[tokio::test]
async fn a_garbled_asset_of_the_ledger_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = small_ledger(folder.path()).await;
    let garbled = StoredAsset { serial: "SN9".to_owned(), document: "{\"serial\":1}".to_owned() };
    ledger.put_assets(vec![garbled]).await.unwrap();
    let error =
        statement(&ledger, &Fleet::empty(), two_hours(), GroupBy::Model).await.unwrap_err().to_string();
    assert!(error.starts_with("ledger: asset SN9: cannot be read"), "{error}");
}

#[tokio::test]
async fn one_bad_line_in_a_file_of_assets_stores_none_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = small_ledger(folder.path()).await;
    let csv = folder.path().join("assets.csv");
    let text = "\u{feff}serial,node,cost,currency,life_months,in_service\n\
        SN1,gpu-01,100,EUR,12,2026-10-01\nSN2,gpu-01,100,EUR,12,2026-10-01\n";
    std::fs::write(&csv, text.replace("SN1", "SN3").replace("SN2,gpu-01,100", "SN4,gpu-01,1OO")).unwrap();
    let error = import(&ledger, &csv).await.unwrap_err().to_string();
    assert!(error.ends_with("assets.csv:3: column cost: \"1OO\" is not a number; expected digits with a point and no separators, such as 1234.50"), "{error}");
    assert_eq!(ledger.assets().await.unwrap(), []);
    std::fs::write(&csv, text).unwrap();
    assert_eq!(import(&ledger, &csv).await.unwrap(), 2);
    assert_eq!(import(&ledger, &csv).await.unwrap(), 2, "again replaces them");
    assert_eq!(ledger.assets().await.unwrap().len(), 2);
}
