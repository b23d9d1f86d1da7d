use super::*;
use crate::frame::{Column, Gpu, Host, Inventory, Stamp};
use crate::ids::GpuUuid;

fn owner(name: &str) -> Owner {
    Owner { kind: OwnerKind::Slurm, account: "ml".to_owned(), name: name.to_owned(), job: "17".to_owned() }
}

fn batch() -> Batch {
    let whole = vec![Share { owner: owner("ann"), share_ppm: 1_000_000 }];
    let thirds = vec![
        Share { owner: owner("ann"), share_ppm: 333_334 },
        Share { owner: owner("bob"), share_ppm: 666_666 },
    ];
    let readings = vec![Reading::Value(0), Reading::Value(2), Reading::Value(1)];
    Batch {
        sequence: Sequence(5),
        stamps: (1..4).map(|n| Stamp { wall_ms: n * 1_000, boot_ms: n }).collect(),
        holdings: vec![whole, thirds],
        columns: vec![Column { device: 1, metric: GPU_HOLDER, readings }],
    }
}

fn inventory() -> Inventory {
    let gpu = |n: u32| Gpu {
        uuid: GpuUuid::new(&format!("GPU-{n}")).unwrap(),
        model: "NVIDIA H100 80GB HBM3".to_owned(),
        serial: (n == 0).then(|| "1654".to_owned()),
        pci_bus_id: None,
        index: n,
        memory_bytes: Some(85_520_809_984),
        simulated: n == 1,
    };
    let host = Host {
        hostname: "gpu-01".to_owned(),
        os: "Debian 13".to_owned(),
        cpus: Some(192),
        ..Host::default()
    };
    Inventory { host, gpus: vec![gpu(0), gpu(1)] }
}

#[test]
fn a_batch_and_an_inventory_come_back_as_they_were() {
    assert_eq!(batch_from_wire(batch_to_wire(&batch()), 2).unwrap(), batch());
    assert_eq!(inventory_from_wire(inventory_to_wire(&inventory())).unwrap(), inventory());
}

/// The refusal of a good batch after one change.
fn refused(change: impl FnOnce(&mut v1::Batch)) -> String {
    let mut wire = batch_to_wire(&batch());
    change(&mut wire);
    batch_from_wire(wire, 2).unwrap_err().to_string()
}

fn share(batch: &mut v1::Batch) -> &mut v1::Share {
    &mut batch.holdings[1].shares[0]
}

#[test]
fn each_wrong_field_of_a_batch_is_named_with_its_limit() {
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let cases: Vec<(String, &str)> = vec![
        (refused(|b| b.sequence = 0), "batch.sequence: required field is missing"),
        (
            refused(|b| b.sequence = SEQUENCE_MAX + 1),
            "batch.sequence: sequence 1099511627777 is out of range",
        ),
        (refused(|b| b.samples = 0), "samples 0 is out of range, allowed is 1 to 4096"),
        (refused(|b| b.samples = 4_097), "samples 4097 is out of range"),
        (
            refused(|b| b.holdings.truncate(1)),
            "gpu_holder of device 1, sample 1: holding 2 is out of range, allowed is 0 to 1",
        ),
        (
            refused(|b| b.holdings[0].shares.clear()),
            "batch.holdings[0]: number of shares 0 is out of range, allowed is 1 to 64",
        ),
        (
            refused(|b| share(b).share_ppm = 333_333),
            "batch.holdings[1]: shares sum to 999999 ppm, expected is 1000000",
        ),
        (refused(|b| share(b).share_ppm = u32::MAX), "shares sum to 4295633961 ppm"),
        (refused(|b| share(b).owner = None), "batch.holdings[1].shares[0].owner: required field is missing"),
        (refused(|b| share(b).owner.as_mut().unwrap().name = "bob".to_owned()), "owner \"bob\" occurs twice"),
        (
            refused(|b| share(b).owner.as_mut().unwrap().job = long),
            "shares[0].owner.job: is 254 bytes long, the limit is 253",
        ),
        (
            refused(|b| share(b).owner.as_mut().unwrap().name = "a\nb".to_owned()),
            "owner.name: contains a control character",
        ),
        (refused(|b| share(b).owner = Some(v1::Owner::default())), "owner.name: required field is missing"),
        (
            refused(|b| b.holdings = vec![v1::Holding::default(); HOLDINGS_PER_BATCH_MAX + 1]),
            "number of holdings 4097",
        ),
        (
            refused(|b| {
                let crowd = v1::Holding { shares: vec![v1::Share::default(); SHARES_PER_HOLDING_MAX] };
                b.holdings = vec![crowd; SHARES_PER_BATCH_MAX / SHARES_PER_HOLDING_MAX + 1];
            }),
            "batch.holdings: number of shares 16448 is out of range, allowed is 0 to 16384",
        ),
        (refused(|b| b.columns.truncate(9)), "columns, byte"),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message:?} does not say {expected:?}");
    }
}

#[test]
fn a_negative_holder_is_refused() {
    let mut batch = batch();
    batch.columns[0].readings[0] = Reading::Value(-1);
    assert!(batch_from_wire(batch_to_wire(&batch), 2).is_err());
}

#[test]
fn a_kind_of_owner_from_a_newer_agent_is_other() {
    let mut wire = batch_to_wire(&batch());
    share(&mut wire).owner.as_mut().unwrap().kind = 99;
    let read = batch_from_wire(wire, 2).unwrap();
    let kinds: Vec<_> = read.holdings[1].iter().map(|s| (s.owner.name.as_str(), s.owner.kind)).collect();
    assert_eq!(kinds, [("bob", OwnerKind::Slurm), ("ann", OwnerKind::Other)]);
}

#[test]
fn shares_in_another_order_are_the_same_holding() {
    let mut wire = batch_to_wire(&batch());
    wire.holdings[1].shares.reverse();
    assert_eq!(batch_from_wire(wire, 2).unwrap(), batch());
}

#[test]
fn each_wrong_field_of_an_inventory_is_named_with_its_limit() {
    let refused = |change: fn(&mut v1::Inventory)| {
        let mut wire = inventory_to_wire(&inventory());
        change(&mut wire);
        inventory_from_wire(wire).unwrap_err().to_string()
    };
    let cases: [(String, &str); 6] = [
        (refused(|i| i.host = None), "inventory.host: required field is missing"),
        (refused(|i| i.host.as_mut().unwrap().os = "x".repeat(254)), "inventory.host.os: is 254 bytes long"),
        (
            refused(|i| i.gpus[1].uuid = "a b".to_owned()),
            "inventory.gpus[1].uuid: GPU UUID \"a b\" is not valid",
        ),
        (
            refused(|i| i.gpus[1].uuid = i.gpus[0].uuid.clone()),
            "inventory.gpus[1].uuid: GPU GPU-0 occurs twice",
        ),
        (
            refused(|i| i.gpus[0].serial = Some("\u{7}".to_owned())),
            "inventory.gpus[0].serial: contains a control",
        ),
        (
            refused(|i| i.gpus = vec![v1::GpuInfo::default(); 257]),
            "number of GPUs 257 is out of range, allowed is 0 to 256",
        ),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message:?} does not say {expected:?}");
    }
}
