//! Cases of the register.

use super::samples::{ALWAYS, Node, gpu, inventory, name, owner};
use super::{Bed, Outcome};
use crate::{NodeState, OwnerKey, StoredAsset, Wanted};
use gpuledger_proto::ids::Sequence;

pub async fn a_node_keeps_its_number(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let first = ledger.node(&name("a")?).await?;
    let second = ledger.node(&name("b")?).await?;
    assert_ne!(first, second);
    assert_eq!(ledger.node(&name("a")?).await?, first);
    drop(ledger);
    assert_eq!(bed.open().await?.node(&name("b")?).await?, second);
    Ok(())
}

pub async fn a_gpu_keeps_its_number_when_it_moves(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let (a, b) = (ledger.node(&name("a")?).await?, ledger.node(&name("b")?).await?);
    let keys = ledger.register(a, &inventory(&["GPU-0", "GPU-1"])?).await?;
    assert_ne!(keys[0], keys[1]);
    assert!(keys.iter().all(|gpu| gpu.holder == a), "who names a GPU first holds it");
    // Another order, another node, one new.
    let moved = ledger.register(b, &inventory(&["GPU-2", "GPU-1", "GPU-0"])?).await?;
    assert_eq!(&moved[1..], [keys[1], keys[0]], "held as before, until a commit takes them over");
    assert_eq!(moved[0].holder, b);
    let gpus = ledger.gpus().await?;
    assert_eq!(gpus.len(), 3);
    assert!(gpus.windows(2).all(|pair| pair[0].key < pair[1].key), "sorted by number");
    let holders: Vec<_> = gpus.iter().map(|record| record.node).collect();
    assert_eq!(holders, [a, a, b]);
    Ok(())
}

pub async fn what_a_node_says_of_itself_is_kept_as_said_last(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let node = ledger.node(&name("a")?).await?;
    let mut said = inventory(&["GPU-0"])?;
    ledger.register(node, &said).await?;
    said.host.driver_version = None;
    said.host.cpus = Some(192);
    said.gpus[0].serial = None;
    said.gpus[0].memory_bytes = None;
    said.gpus[0].simulated = false;
    ledger.register(node, &said).await?;
    ledger.register(node, &said).await?;
    let (nodes, gpus) = (ledger.nodes().await?, ledger.gpus().await?);
    assert_eq!((nodes.len(), gpus.len()), (1, 1));
    assert_eq!(nodes[0].host, said.host);
    assert_eq!(gpus[0].gpu, said.gpus[0]);
    assert_eq!((nodes[0].first_ms, gpus[0].last_ms), (None, None), "no row speaks of them yet");
    Ok(())
}

pub async fn owners_keep_their_numbers_and_never_get_a_reserved_one(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let (anna, job, bo) = (owner("anna", ""), owner("anna", "17"), owner("bo", ""));
    let keys = ledger.owners(&[anna.clone(), job.clone(), anna.clone()]).await?;
    assert_eq!(keys[0], keys[2], "asked twice in one call");
    assert_ne!(keys[0], keys[1]);
    assert!(keys.iter().all(|&key| key >= OwnerKey::FIRST_NAMED));
    let again = ledger.owners(&[bo.clone(), job.clone()]).await?;
    assert_eq!(again[1], keys[1]);
    let all = ledger.all_owners().await?;
    let names: Vec<_> = all.iter().map(|record| record.owner.clone()).collect();
    assert_eq!(names, [anna, job, bo], "by number");
    assert_eq!(ledger.owners(&[]).await?, []);
    Ok(())
}

pub async fn assets_are_replaced_by_serial_all_or_none(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let asset = |serial: &str, document: &str| StoredAsset {
        serial: serial.to_owned(),
        document: document.to_owned(),
    };
    ledger.put_assets(vec![asset("b", "1"), asset("a", "2")]).await?;
    ledger.put_assets(vec![asset("c", "3"), asset("a", "4")]).await?;
    assert_eq!(ledger.assets().await?, [asset("a", "4"), asset("b", "1"), asset("c", "3")]);
    Ok(())
}

pub async fn an_empty_ledger_answers_with_nothing(bed: &dyn Bed) -> Outcome {
    let ledger = bed.open().await?;
    let node = Node::register(&*ledger, "a").await?;
    assert_eq!(ledger.state(node.key).await?, NodeState::default());
    assert_eq!(ledger.sequence(node.key, node.epoch()).await?, Sequence::NONE);
    assert_eq!(ledger.gpu_rows(&Wanted::all(ALWAYS)).await?, []);
    assert_eq!(ledger.node_hours(ALWAYS).await?, []);
    assert_eq!(ledger.gpu_totals().await?, []);
    assert_eq!(ledger.assets().await?, []);
    assert_eq!(ledger.commit(Vec::new()).await?, []);
    assert_eq!(ledger.gpus().await?[0].gpu, gpu("GPU-a-0")?);
    Ok(())
}
