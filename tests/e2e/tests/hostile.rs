//! Everything received is hostile until checked: peers that break each limit over the real wire are told
//! why, counted and cut off, while a real agent beside them loses nothing and the collector's memory
//! stays bounded.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gpuledger_e2e::net::get_ok;
use gpuledger_e2e::peer::{Link, Peer, framed, hello, prefix};
use gpuledger_e2e::process::Process;
use gpuledger_e2e::world::{Node, PATIENCE, World};
use gpuledger_proto::catalogue as c;
use gpuledger_proto::convert::{batch_to_wire, inventory_to_wire};
use gpuledger_proto::frame::{
    Batch, DeviceFrame, Frame, Gpu, Host, Inventory, Owner, OwnerKind, Share, Stamp,
};
use gpuledger_proto::ids::{Epoch, GpuUuid, Sequence};
use gpuledger_proto::limits::{HOLDINGS_PER_BATCH_MAX, MESSAGE_BYTES_MAX, SEQUENCE_MAX};
use gpuledger_proto::reading::Reading;
use gpuledger_proto::v1::agent_message::Kind as Message;
use gpuledger_proto::v1::{self, Refusal, RefusalReason};
use tokio::task::JoinSet;

/// Streams that one connection carries at most.
const STREAMS_PER_LINK: usize = 4;
/// Idle and slow streams, each.
const CROWD: usize = 1_000;
/// Far above what a collector of one node needs, and far below what the crowd could make it keep.
const RESIDENT_BYTES_MAX: u64 = 512 << 20;

/// A collector with one node that does nothing wrong.
struct Scene {
    world: World,
    node: Node,
    agent: Process,
    collector: Process,
}

impl Scene {
    fn new() -> Result<Self> {
        let world = World::new()?;
        let node = world.node("good", "[[gpu]]\ncount = 2\n[[gpu.phase]]\nms = 1000\npower_mw = 300000\n")?;
        let (agent, collector) = (node.start()?, world.collector()?);
        Ok(Self { world, node, agent, collector })
    }

    fn port(&self) -> u16 {
        self.world.grpc()
    }

    /// A number that the collector tells of itself.
    fn told(&self, series: &str) -> Result<u64> {
        let text = get_ok(self.world.http(), "/metrics")?;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("{series} is not told"))?.parse::<f64>()?.to_string().parse()?)
    }

    /// The node that did nothing wrong has lost nothing, and the ledger keeps every promise.
    fn end(self) -> Result<()> {
        let resident = self.told("process_resident_memory_bytes")?;
        ensure!(resident <= RESIDENT_BYTES_MAX, "{resident} bytes are resident");
        let Self { world, node, agent, collector } = self;
        node.finish(agent)?;
        let log = collector.errors();
        collector.stop(PATIENCE)?;
        ensure!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
        world.verify()?;
        let (counted, told) = (world.counted()?, node.fake.truth()?);
        for (uuid, told) in &told {
            let counted = counted.get(uuid).with_context(|| format!("{uuid} is not in the ledger"))?;
            counted.energy_agrees(uuid, told)?;
            counted.is_whole(uuid, told)?;
        }
        ensure!(told.len() == 2, "{} GPUs", told.len());
        Ok(())
    }
}

fn segment(epoch: Epoch, gpu: &str, first_sequence: u64) -> Result<Message> {
    let gpu = Gpu {
        uuid: GpuUuid::new(gpu)?,
        model: "Simulated".to_owned(),
        serial: None,
        pci_bus_id: None,
        index: 0,
        memory_bytes: None,
        simulated: true,
    };
    Ok(Message::Segment(v1::Segment {
        epoch: epoch.0.as_bytes().to_vec(),
        inventory: Some(inventory_to_wire(&Inventory { host: Host::default(), gpus: vec![gpu] })),
        first_sequence,
        ..v1::Segment::default()
    }))
}

/// Ten samples of one GPU whose readings are the same number.
fn batch(sequence: u64, from_ms: u64, reading: i64, owner: &str) -> v1::Batch {
    let frame = |sample: u64| {
        let owner = Owner {
            kind: OwnerKind::Slurm,
            account: String::new(),
            name: owner.to_owned(),
            job: String::new(),
        };
        let gpu = DeviceFrame {
            readings: [
                c::GPU_UP,
                c::GPU_ENERGY,
                c::GPU_POWER_AVERAGE,
                c::GPU_TEMPERATURE,
                c::GPU_MEMORY_USED,
            ]
            .map(|metric| (metric, Reading::Value(reading)))
            .to_vec(),
            holding: Some(Reading::Value(vec![Share { owner, share_ppm: 1_000_000 }])),
        };
        let stamp = Stamp { wall_ms: from_ms + sample * 1_000, boot_ms: sample * 1_000 };
        Frame { stamp, devices: vec![DeviceFrame::default(), gpu] }
    };
    batch_to_wire(&Batch::from_frames(Sequence(sequence), &(0..10).map(frame).collect::<Vec<_>>()))
}

fn now_ms() -> Result<u64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_millis())?)
}

/// Welcomed, and with a segment open from the first batch.
async fn ready(port: u16, node: &str) -> Result<(Peer, Epoch)> {
    let (mut peer, epoch) = (Link::open(port).await?.welcomed(node).await?, Epoch::begin());
    peer.say(segment(epoch, &format!("GPU-{node}"), 1)?).await?;
    Ok((peer, epoch))
}

/// Says all of these, or as much as the collector takes, and hears why it goes no further.
async fn refused(peer: &mut Peer, messages: impl IntoIterator<Item = Message>) -> Result<Refusal> {
    for message in messages {
        if peer.say(message).await.is_err() {
            break;
        }
    }
    peer.refusal().await
}

/// Bytes that no message is made of, in as many ways as there are.
async fn bytes_that_are_no_message(port: u16) -> Result<()> {
    let compressed = [&[1][..], &framed(b"nonsense")[1..]].concat();
    for bytes in [framed(&[0xff; 100]), compressed, [&[7][..], &framed(b"x")[1..]].concat()] {
        let mut peer = Link::open(port).await?.welcomed("no-message").await?;
        peer.put(bytes).await?;
        is(&peer.refusal().await?, RefusalReason::Invalid, "a message cannot be read")?;
    }
    let mut before = Link::open(port).await?.stream().await?;
    before.put(framed(&[0xff; 100])).await?;
    is(&before.refusal().await?, RefusalReason::Invalid, "a message cannot be read")
}

async fn messages_too_large(port: u16) -> Result<()> {
    let mut peer = Link::open(port).await?.welcomed("too-large").await?;
    peer.put(prefix(MESSAGE_BYTES_MAX + 1)).await?;
    is(&peer.refusal().await?, RefusalReason::Invalid, "found 4194305 bytes, the limit is: 4194304 bytes")
}

async fn messages_that_never_end(port: u16) -> Result<()> {
    let parts = [prefix(MESSAGE_BYTES_MAX)[..3].to_vec(), framed(&vec![0; 60_000])[..50_000].to_vec()];
    let mut peers = Vec::new();
    for part in parts {
        let mut peer = Link::open(port).await?.welcomed(&format!("never-ending-{}", part.len())).await?;
        peer.put(part).await?;
        peers.push(peer);
    }
    for mut peer in peers {
        is(&peer.refusal().await?, RefusalReason::Invalid, "it did not come whole within 30 s")?;
    }
    Ok(())
}

async fn no_hello(port: u16) -> Result<()> {
    let mut silent = Link::open(port).await?.stream().await?;
    is(&silent.refusal().await?, RefusalReason::Invalid, "no hello came within 10 seconds")?;
    let mut twice = Link::open(port).await?.welcomed("twice").await?;
    is(&refused(&mut twice, [hello("twice")]).await?, RefusalReason::Invalid, "a second hello")
}

async fn batches_beyond_their_limits(port: u16) -> Result<()> {
    let good = batch(1, now_ms()?, 1, "eve");
    let table: Vec<(v1::Batch, &str)> = vec![
        (v1::Batch { samples: 4_097, ..good.clone() }, "samples 4097 is out of range, allowed is 1 to 4096"),
        (v1::Batch { columns: vec![0xff; 1_000], ..good.clone() }, "columns, byte"),
        (
            v1::Batch { holdings: vec![v1::Holding::default(); HOLDINGS_PER_BATCH_MAX + 1], ..good.clone() },
            "number of holdings",
        ),
        (batch(1, now_ms()?, 1, "\u{7}bell"), "contains a control character"),
        (batch(1, now_ms()?, 1, &"x".repeat(254)), "is 254 bytes long, the limit is 253"),
        (v1::Batch { sequence: u64::MAX, ..good }, "does not follow batch 0"),
    ];
    for (batch, words) in table {
        let (mut peer, _) = ready(port, "beyond").await?;
        is(&refused(&mut peer, [Message::Batch(batch)]).await?, RefusalReason::Invalid, words)?;
    }
    Ok(())
}

async fn segments_beyond_their_limits(port: u16) -> Result<()> {
    let Message::Segment(good) = segment(Epoch::begin(), "GPU-s", 1)? else { unreachable!() };
    let crowded =
        v1::Inventory { host: Some(v1::HostInfo::default()), gpus: vec![v1::GpuInfo::default(); 257] };
    let table = [
        (v1::Segment { first_sequence: SEQUENCE_MAX + 1, ..good.clone() }, "is out of range"),
        (v1::Segment { inventory: Some(crowded), ..good }, "number of GPUs 257 is out of range"),
    ];
    for (segment, words) in table {
        let mut peer = Link::open(port).await?.welcomed("segments").await?;
        is(&refused(&mut peer, [Message::Segment(segment)]).await?, RefusalReason::Invalid, words)?;
    }
    Ok(())
}

/// Lists that are small on the wire and large in memory, one after the other and in every list that there is.
async fn lists_without_end(port: u16) -> Result<()> {
    const ENTRIES: usize = 2_000_000;
    let holding = v1::Holding { shares: vec![v1::Share::default(); ENTRIES] };
    let inventory = v1::Inventory { host: None, gpus: vec![v1::GpuInfo::default(); ENTRIES] };
    let messages = [
        Message::Batch(v1::Batch { holdings: vec![v1::Holding::default(); ENTRIES], ..v1::Batch::default() }),
        Message::Batch(v1::Batch { holdings: vec![holding], ..v1::Batch::default() }),
        Message::Segment(v1::Segment { inventory: Some(inventory), ..v1::Segment::default() }),
    ];
    for message in messages {
        let (mut peer, _) = ready(port, "lists").await?;
        is(
            &refused(&mut peer, [message]).await?,
            RefusalReason::Invalid,
            "it holds more than 65536 entries",
        )?;
    }
    Ok(())
}

/// Extremes of every column are taken or refused, and a batch that is known is known however often.
async fn extremes_and_repetitions(port: u16) -> Result<()> {
    for (number, reading) in [i64::MAX, i64::MIN, -1, 0, i64::MAX].into_iter().enumerate() {
        let (mut peer, _) = ready(port, &format!("extreme-{number}")).await?;
        for sequence in 1..=3 {
            let again = Message::Batch(batch(sequence, now_ms()?, reading, "eve"));
            for _ in 0..200 {
                peer.say(again.clone()).await?;
            }
        }
        peer.acknowledged(3).await?;
    }
    Ok(())
}

async fn streams_without_end(port: u16) -> Result<()> {
    loop {
        let mut peer = Link::open(port).await?.stream().await?;
        peer.say(hello("again-and-again")).await?;
        if let Some(v1::collector_message::Kind::Refusal(refusal)) = peer.answer().await? {
            return is(&refusal, RefusalReason::Unavailable, "opens streams too often");
        }
    }
}

/// One connection carries so many streams; the next one waits until one of them is over.
async fn streams_beyond_those_of_a_connection(port: u16) -> Result<()> {
    let link = Link::open(port).await?;
    let mut peers = Vec::new();
    for number in 0..STREAMS_PER_LINK {
        peers.push(link.welcomed(&format!("link-{number}")).await?);
    }
    let next = link.welcomed("link-next");
    tokio::pin!(next);
    let waited = tokio::time::timeout(Duration::from_secs(2), &mut next).await;
    ensure!(waited.is_err(), "a connection carries more than {STREAMS_PER_LINK} streams");
    drop(peers);
    next.await.map(drop)
}

async fn epochs_without_end(port: u16) -> Result<()> {
    let (mut peer, _) = ready(port, "epochs").await?;
    let epochs = (0..600).map_while(|_| segment(Epoch::begin(), "GPU-epochs", 1).ok());
    is(&refused(&mut peer, epochs).await?, RefusalReason::Unavailable, "begins epochs too often")
}

async fn gpus_without_end(port: u16) -> Result<()> {
    let (mut peer, epoch) = ready(port, "gpus").await?;
    let gpus = (0..1_100).map_while(|number| segment(epoch, &format!("GPU-more-{number}"), 1).ok());
    is(&refused(&mut peer, gpus).await?, RefusalReason::Unavailable, "names new GPUs too often")
}

async fn owners_without_end(port: u16) -> Result<()> {
    let (mut peer, _) = ready(port, "owners").await?;
    let from_ms = now_ms()?;
    let batches = (1..=10).map(|sequence| {
        let one = batch(sequence, from_ms + sequence * 10_000, 1, "eve");
        let named = |number| {
            let owner = v1::Owner { name: format!("{sequence}-{number}"), ..v1::Owner::default() };
            v1::Holding { shares: vec![v1::Share { owner: Some(owner), share_ppm: 1_000_000 }] }
        };
        let holdings = (0..HOLDINGS_PER_BATCH_MAX).map(named).collect();
        Message::Batch(v1::Batch { holdings, ..one })
    });
    is(&refused(&mut peer, batches).await?, RefusalReason::Unavailable, "names new owners too often")
}

/// Asks without end and takes no answer: nobody can tell it why it is cut off.
async fn answers_that_nobody_takes(port: u16) -> Result<()> {
    let mut peer = Link::with_window(port, 0).await?.stream().await?;
    peer.say(hello("deaf")).await?;
    let epoch = Epoch::begin();
    let asking = async {
        while peer.say(segment(epoch, "GPU-deaf", 1)?).await.is_ok() {}
        Ok::<_, anyhow::Error>(())
    };
    // Longer than an answer may wait.
    drop(tokio::time::timeout(Duration::from_secs(45), asking).await);
    Ok(())
}

async fn named(case: &'static str, peers: impl Future<Output = Result<()>>) -> Result<()> {
    peers.await.context(case)
}

fn is(refusal: &Refusal, reason: RefusalReason, words: &str) -> Result<()> {
    ensure!(refusal.reason() == reason, "{refusal:?}");
    ensure!(refusal.message.contains(words), "{refusal:?} does not say {words:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_breaks_a_limit_is_told_counted_and_cut_off_and_nobody_else_is_harmed() -> Result<()> {
    let scene = Scene::new()?;
    let port = scene.port();
    let mut peers = JoinSet::new();
    peers.spawn(named("bytes_that_are_no_message", bytes_that_are_no_message(port)));
    peers.spawn(named("messages_too_large", messages_too_large(port)));
    peers.spawn(named("messages_that_never_end", messages_that_never_end(port)));
    peers.spawn(named("no_hello", no_hello(port)));
    peers.spawn(named("batches_beyond_their_limits", batches_beyond_their_limits(port)));
    peers.spawn(named("segments_beyond_their_limits", segments_beyond_their_limits(port)));
    peers.spawn(named("lists_without_end", lists_without_end(port)));
    peers.spawn(named("extremes_and_repetitions", extremes_and_repetitions(port)));
    peers.spawn(named("streams_without_end", streams_without_end(port)));
    peers.spawn(named("streams_of_a_connection", streams_beyond_those_of_a_connection(port)));
    peers.spawn(named("epochs_without_end", epochs_without_end(port)));
    peers.spawn(named("gpus_without_end", gpus_without_end(port)));
    peers.spawn(named("owners_without_end", owners_without_end(port)));
    peers.spawn(named("answers_that_nobody_takes", answers_that_nobody_takes(port)));
    while let Some(ended) = peers.join_next().await {
        ended??;
    }
    for (limit, least) in [
        ("message_bytes", 1),
        ("message_time", 2),
        ("message_entries", 3),
        ("message_form", 4),
        ("batch", 5),
        ("inventory", 1),
        ("sequence", 2),
        ("hello", 1),
        ("answers", 1),
        ("streams", 1),
        ("epochs", 1),
        ("gpus", 1),
        ("owners", 1),
    ] {
        let counted = scene.told(&format!("gpuledger_collector_limits_broken_total{{limit=\"{limit}\"}}"))?;
        ensure!(counted >= least, "{limit} is counted {counted} times, not {least}");
    }
    tokio::task::spawn_blocking(|| scene.end()).await?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_and_a_thousand_slow_streams_stay_bounded_and_are_answered() -> Result<()> {
    let scene = Scene::new()?;
    let mut crowd = Vec::new();
    for first in (0..2 * CROWD).step_by(STREAMS_PER_LINK) {
        let link = Link::open(scene.port()).await?;
        for number in first..first + STREAMS_PER_LINK {
            let mut peer = link.welcomed(&format!("crowd-{number}")).await?;
            if number >= CROWD {
                // The most of a message that is never sent whole.
                peer.put(prefix(MESSAGE_BYTES_MAX)).await?;
                peer.put(vec![0; 30_000]).await?;
            }
            crowd.push(peer);
        }
    }
    ensure!(scene.told("gpuledger_collector_streams")? > u64::try_from(CROWD)?);
    let resident = scene.told("process_resident_memory_bytes")?;
    println!("{resident} bytes are resident with {} streams", crowd.len());
    ensure!(resident <= RESIDENT_BYTES_MAX, "{resident} bytes are resident");
    for slow in crowd.iter_mut().skip(CROWD) {
        is(&slow.refusal().await?, RefusalReason::Invalid, "it did not come whole within 30 s")?;
    }
    // Who is idle breaks nothing, and is served when it speaks.
    let mut idle = crowd.swap_remove(0);
    idle.say(segment(Epoch::begin(), "GPU-idle", 1)?).await?;
    idle.say(Message::Batch(batch(1, now_ms()?, 1, "ann"))).await?;
    idle.acknowledged(1).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop((crowd, idle));
    tokio::task::spawn_blocking(|| scene.end()).await?
}
