//! The uplink against a collector that misbehaves, over real connections.

mod fake;
mod hostile;

use super::{UplinkConfig, UplinkCounts, UplinkEvents, UploadError};
use crate::record::{Identity, Recorder, RecorderOptions, SpoolHandle};
use fake::{Collector, Manner};
use gpuledger_proto::frame::{DeviceFrame, Frame, Inventory, Stamp};
use gpuledger_proto::ids::{Epoch, NodeName};
use gpuledger_proto::v1;
use gpuledger_spool::sim::SimDisk;
use prost::Message;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A recorder, its spool, and an uplink that can be stopped.
struct Agent {
    disk: SimDisk,
    epoch: Epoch,
    recorder: Recorder,
    spool: SpoolHandle,
    events: Arc<UplinkEvents>,
    time_ms: u64,
}

struct Uplink {
    cancel: CancellationToken,
    task: JoinHandle<Result<(), UploadError>>,
}

impl Uplink {
    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap();
    }
}

impl Agent {
    fn new(cap_bytes: u64) -> Self {
        Self::on(&SimDisk::default(), cap_bytes)
    }

    fn on(disk: &SimDisk, cap_bytes: u64) -> Self {
        let epoch = Epoch::begin();
        let options = RecorderOptions { cap_bytes, batch_ms: 1_000, journal: true };
        let identity = Identity { node: NodeName::new("n1").unwrap(), epoch, boot_id: None };
        let opened =
            Recorder::open_on(Arc::new(disk.clone()), Path::new("/spool"), options, identity).unwrap();
        let (mut recorder, spool) = opened;
        recorder.set_inventory(Inventory::default()).unwrap();
        Self { disk: disk.clone(), epoch, recorder, spool, events: Arc::default(), time_ms: 0 }
    }

    /// Records so many batches of one frame each.
    fn record(&mut self, batches: u64) {
        for _ in 0..batches {
            self.time_ms += 1_000;
            let stamp = Stamp { wall_ms: self.time_ms, boot_ms: self.time_ms };
            self.recorder.push(Frame { stamp, devices: vec![DeviceFrame::default()] }).unwrap();
        }
        self.recorder.flush().unwrap();
    }

    fn uplink(&self, endpoint: &str) -> Uplink {
        let config = UplinkConfig {
            backoff_first: Duration::from_millis(1),
            backoff_most: Duration::from_millis(20),
            answer_timeout: Duration::from_millis(200),
            ..UplinkConfig::new(endpoint, NodeName::new("n1").unwrap())
        };
        let cancel = CancellationToken::new();
        let run = super::run(config, self.spool.clone(), Arc::clone(&self.events), cancel.clone());
        Uplink { cancel, task: tokio::spawn(run) }
    }

    fn counts(&self) -> UplinkCounts {
        self.events.read()
    }
}

/// Waits for a condition; the limit only keeps a failing test from hanging.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "never happened: {what}");
}

async fn drained(agent: &Agent) {
    let drained = tokio::time::timeout(Duration::from_secs(30), agent.spool.drained()).await;
    assert!(drained.is_ok(), "{} batches still wait", agent.spool.waiting_batches());
}

const ROOMY: u64 = 1 << 20;

#[tokio::test]
async fn everything_recorded_is_committed_once_and_in_order_and_leaves_the_spool() {
    let collector = Collector::start(Manner::Good).await;
    let mut agent = Agent::new(ROOMY);
    agent.record(50);
    let uplink = agent.uplink(&collector.endpoint());
    drained(&agent).await;
    agent.record(5);
    drained(&agent).await;
    assert_eq!(collector.committed(agent.epoch), (1..=55).collect::<Vec<_>>());
    let counts = agent.counts();
    assert_eq!((counts.connections, counts.batches_sent, counts.batches_acknowledged), (1, 55, 55));
    assert!(counts.connected);
    uplink.stop().await;
}

#[tokio::test]
async fn what_an_older_process_left_is_sent_first_under_its_own_epoch() {
    let collector = Collector::start(Manner::Good).await;
    let mut old = Agent::new(ROOMY);
    old.record(3);
    old.disk.kill_process();
    let mut new = Agent::on(&old.disk, ROOMY);
    new.record(2);
    let uplink = new.uplink(&collector.endpoint());
    drained(&new).await;
    uplink.stop().await;
    let expected = [(old.epoch, 1), (old.epoch, 2), (old.epoch, 3), (new.epoch, 1), (new.epoch, 2)];
    assert_eq!(collector.log(), expected);
}

#[tokio::test]
async fn a_collector_that_is_away_is_waited_for() {
    let mut agent = Agent::new(ROOMY);
    agent.record(4);
    let collector = Collector::start(Manner::Good).await;
    let endpoint = collector.endpoint();
    let address = collector.stop().await;
    let uplink = agent.uplink(&endpoint);
    until("five tries", || agent.counts().links_lost >= 5).await;
    assert_eq!(agent.spool.waiting_batches(), 4);
    let collector = Collector::start_at(address, Manner::Good).await;
    drained(&agent).await;
    assert_eq!(collector.committed(agent.epoch), [1, 2, 3, 4]);
    uplink.stop().await;
}

#[tokio::test]
async fn a_link_that_breaks_every_few_batches_loses_and_repeats_nothing() {
    let collector = Collector::start(Manner::DropsAfter(3)).await;
    let mut agent = Agent::new(ROOMY);
    agent.record(40);
    let uplink = agent.uplink(&collector.endpoint());
    drained(&agent).await;
    assert_eq!(collector.committed(agent.epoch), (1..=40).collect::<Vec<_>>());
    assert!(agent.counts().links_lost >= 12, "{:?}", agent.counts());
    uplink.stop().await;
}

#[tokio::test]
async fn a_collector_killed_between_commit_and_ack_is_not_sent_the_batch_again() {
    let collector = Collector::start(Manner::CommitsAndDies(5)).await;
    let mut agent = Agent::new(ROOMY);
    agent.record(20);
    let uplink = agent.uplink(&collector.endpoint());
    drained(&agent).await;
    assert_eq!(collector.committed(agent.epoch), (1..=20).collect::<Vec<_>>());
    assert_eq!(collector.repeated(), 0, "Opened told what was committed");
    uplink.stop().await;
}

#[tokio::test]
async fn a_collector_that_refuses_is_tried_again_and_nothing_leaves() {
    let collector = Collector::start(Manner::Refuses).await;
    let mut agent = Agent::new(ROOMY);
    agent.record(6);
    let uplink = agent.uplink(&collector.endpoint());
    until("three refusals", || agent.counts().refusals >= 3).await;
    assert_eq!(agent.spool.waiting_batches(), 6);
    collector.set_manner(Manner::Good);
    drained(&agent).await;
    assert_eq!(collector.committed(agent.epoch), (1..=6).collect::<Vec<_>>());
    uplink.stop().await;
}

#[tokio::test]
async fn a_collector_that_never_acknowledges_or_never_opens_is_given_up_and_tried_again() {
    for manner in [Manner::NeverAcks, Manner::NeverOpens] {
        let collector = Collector::start(manner).await;
        let mut agent = Agent::new(ROOMY);
        agent.record(6);
        let uplink = agent.uplink(&collector.endpoint());
        until("two streams", || agent.counts().connections >= 2).await;
        assert_eq!(agent.spool.waiting_batches(), 6, "{manner:?}");
        collector.set_manner(Manner::Good);
        drained(&agent).await;
        assert_eq!(collector.committed(agent.epoch), (1..=6).collect::<Vec<_>>());
        uplink.stop().await;
    }
}

#[tokio::test]
async fn an_ack_of_what_was_never_sent_lets_nothing_go() {
    let collector = Collector::start(Manner::AcksAhead).await;
    let mut agent = Agent::new(ROOMY);
    agent.record(6);
    let uplink = agent.uplink(&collector.endpoint());
    until("two streams", || agent.counts().connections >= 2).await;
    assert_eq!(agent.spool.waiting_batches(), 6);
    collector.set_manner(Manner::Good);
    drained(&agent).await;
    assert_eq!(collector.committed(agent.epoch), (1..=6).collect::<Vec<_>>());
    uplink.stop().await;
}

#[tokio::test]
async fn an_idle_link_stays_although_no_answer_comes() {
    let collector = Collector::start(Manner::Good).await;
    let mut agent = Agent::new(ROOMY);
    agent.record(1);
    let uplink = agent.uplink(&collector.endpoint());
    drained(&agent).await;
    // Several times the time after which a due answer would be missed.
    tokio::time::sleep(Duration::from_millis(700)).await;
    agent.record(1);
    drained(&agent).await;
    assert_eq!(agent.counts().connections, 1);
    uplink.stop().await;
}

#[tokio::test]
async fn a_collector_that_has_more_than_we_know_is_believed_and_counted() {
    let collector = Collector::start(Manner::Good).await;
    let mut agent = Agent::new(ROOMY);
    collector.commit(agent.epoch, 1..=4);
    agent.record(2);
    let uplink = agent.uplink(&collector.endpoint());
    drained(&agent).await;
    agent.record(4);
    drained(&agent).await;
    assert_eq!(collector.committed(agent.epoch), (1..=6).collect::<Vec<_>>());
    assert_eq!((agent.counts().batches_sent, agent.counts().batches_disowned), (2, 2));
    uplink.stop().await;
}

#[tokio::test]
async fn a_spool_that_drops_under_the_reader_goes_on_with_what_is_left() {
    let collector = Collector::start(Manner::NeverAcks).await;
    let mut agent = Agent::new(64 * 1024);
    agent.record(10);
    let uplink = agent.uplink(&collector.endpoint());
    until("something was sent", || agent.counts().batches_sent > 0).await;
    while agent.recorder.dropped_batches() == 0 {
        agent.record(50);
        assert!(agent.time_ms < 10_000_000, "nothing is dropped");
    }
    collector.set_manner(Manner::Good);
    drained(&agent).await;
    let last = agent.time_ms / 1_000;
    let committed = collector.committed(agent.epoch);
    assert_eq!(committed.last(), Some(&last));
    assert!(committed.len() as u64 + agent.recorder.dropped_batches() >= last, "the rest is counted");
    assert!(committed.windows(2).all(|pair| pair[0] < pair[1]));
    uplink.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_in_the_spool_is_passed_over_and_what_is_behind_it_is_taken() {
    let collector = Collector::start(Manner::Good).await;
    let agent = Agent::new(ROOMY);
    let header = v1::Segment { epoch: agent.epoch.0.as_bytes().to_vec(), ..v1::Segment::default() };
    let batch = |sequence| v1::Batch { sequence, ..v1::Batch::default() }.encode_to_vec();
    let other_version = [0xff];
    agent.spool.with(|spool| {
        spool.begin_segment(&other_version, 1).unwrap();
        spool.append(&[&batch(1), &batch(2)]).unwrap();
        spool.begin_segment(&header.encode_to_vec(), 1).unwrap();
        spool.append(&[&batch(1), &other_version, &batch(3), &other_version, &batch(5)]).unwrap();
    });
    let uplink = agent.uplink(&collector.endpoint());
    until("the rest is taken", || collector.committed(agent.epoch) == [1, 3, 5]).await;
    until("only the other version's batches wait", || agent.spool.waiting_batches() == 2).await;
    let counts = agent.counts();
    assert_eq!((counts.connections, counts.refusals, counts.batches_unsendable), (1, 0, 4));
    uplink.stop().await;
}

#[tokio::test]
async fn a_batch_that_is_refused_for_ever_is_set_aside_and_holds_up_nothing() {
    let collector = Collector::start(Manner::Detests(4)).await;
    let mut agent = Agent::new(ROOMY);
    agent.record(7);
    let uplink = agent.uplink(&collector.endpoint());
    drained(&agent).await;
    agent.record(2);
    drained(&agent).await;
    assert_eq!(collector.committed(agent.epoch), [1, 2, 3, 5, 6, 7, 8, 9]);
    let counts = agent.counts();
    assert_eq!((counts.refusals, counts.batches_set_aside), (5, 1));
    assert_eq!(agent.recorder.dropped_batches(), 1);
    let copies =
        agent.disk.paths().into_iter().filter(|path| path.extension().is_some_and(|e| e == "refused"));
    let copies: Vec<_> = copies.map(|path| agent.disk.contents(&path).unwrap()).collect();
    let batch = v1::Batch::decode(&copies[0][copies[0].len() - payload_bytes(&copies[0])..]).unwrap();
    assert_eq!((copies.len(), batch.sequence), (1, 1), "as the first of an epoch of its own");
    uplink.stop().await;
}

#[tokio::test]
async fn a_spool_that_was_sent_whole_is_free_for_another_node_after_a_clean_end() {
    let collector = Collector::start(Manner::Good).await;
    let mut agent = Agent::new(ROOMY);
    agent.record(3);
    let uplink = agent.uplink(&collector.endpoint());
    drained(&agent).await;
    uplink.stop().await;
    let renamed = || {
        agent.disk.kill_process();
        let identity = Identity { node: NodeName::new("n2").unwrap(), epoch: Epoch::begin(), boot_id: None };
        Recorder::open_on(
            Arc::new(agent.disk.clone()),
            Path::new("/spool"),
            RecorderOptions::default(),
            identity,
        )
    };
    assert!(renamed().is_err(), "killed, it does not know what was acknowledged");
    agent.spool.with(gpuledger_spool::Spool::close_segment).unwrap();
    assert_eq!(renamed().unwrap().1.waiting_batches(), 0);
}

/// Bytes of the only record's payload: the file is a head, its blob and the record.
fn payload_bytes(segment: &[u8]) -> usize {
    let at = |offset: usize| u32::from_le_bytes(segment[offset..offset + 4].try_into().unwrap()) as usize;
    at(28 + at(12))
}

#[tokio::test]
async fn what_a_collector_has_lost_again_is_sent_as_far_as_it_is_still_there() {
    let collector = Collector::start(Manner::Good).await;
    let mut agent = Agent::new(ROOMY);
    agent.record(6);
    let uplink = agent.uplink(&collector.endpoint());
    drained(&agent).await;
    uplink.stop().await;
    // Restored from a backup of an earlier hour.
    collector.forget(agent.epoch, 2);
    agent.record(1);
    let uplink = agent.uplink(&collector.endpoint());
    drained(&agent).await;
    assert_eq!(collector.committed(agent.epoch), (1..=7).collect::<Vec<_>>());
    uplink.stop().await;
}

#[tokio::test]
async fn cancelling_ends_at_once_and_what_is_in_flight_is_sent_by_the_next_uplink() {
    let collector = Collector::start(Manner::NeverAcks).await;
    let mut agent = Agent::new(ROOMY);
    agent.record(8);
    let uplink = agent.uplink(&collector.endpoint());
    until("all is in flight", || agent.counts().batches_sent >= 8).await;
    uplink.stop().await;
    assert_eq!(agent.spool.waiting_batches(), 8);
    collector.set_manner(Manner::Good);
    let uplink = agent.uplink(&collector.endpoint());
    drained(&agent).await;
    assert_eq!(collector.committed(agent.epoch), (1..=8).collect::<Vec<_>>());
    uplink.stop().await;
}

#[tokio::test]
async fn a_wrong_address_is_an_error_before_anything_is_tried() {
    let agent = Agent::new(ROOMY);
    let error = agent.uplink("collector:9841").task.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("https://HOST:PORT"), "{error}");
    assert_eq!(agent.counts(), UplinkCounts::default());
}
