use super::*;
use crate::export::Exporter;
use crate::http::router;
use crate::http::tests::{exporter, get, served};
use crate::latest::{Arrival, Latest};
use flate2::read::GzDecoder;
use gpuledger_proto::catalogue::{CATALOGUE, Scope};
use gpuledger_proto::frame::{Batch, DeviceFrame, Frame, Gpu, Host, Inventory, Stamp};
use gpuledger_proto::ids::{GpuUuid, NodeName, Sequence};
use gpuledger_proto::reading::Reading as Value;
use std::io::Read as _;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn shared(exporter: Arc<Exporter>, slots: usize) -> Shared {
    Shared { exporter, ready: Arc::new(|| Ok(None)), scrapes: Arc::new(Semaphore::new(slots)) }
}

async fn body(response: Response) -> Vec<u8> {
    axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
}

#[tokio::test]
async fn a_scrape_has_the_content_type_of_the_text_format() {
    let port = served(router(exporter(), Arc::new(|| Ok(None)))).await;
    let answer = get(port, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    assert!(
        answer.contains("\ngpuledger_fleet_nodes 0\n") && answer.contains("\nprocess_threads "),
        "{answer}"
    );
}

#[tokio::test]
async fn parameters_come_through_the_address_and_wrong_ones_are_refused_with_a_reason() {
    let port = served(router(exporter(), Arc::new(|| Ok(None)))).await;
    let some = get(port, "/metrics?family=gpuledger_fleet_*&shard=1%2F1&site=").await;
    assert!(some.starts_with("HTTP/1.0 200 OK") && some.contains("\ngpuledger_fleet_nodes 0\n"), "{some}");
    assert!(!some.contains("process_"), "{some}");
    for (query, reason) in [
        ("shard=2", "shard=\"2\" is not a shard; expected i/n"),
        ("shard=1/2&shard=2/2", "shard is given more than once"),
        ("family=gpuledger_fleet_node", "the nearest is gpuledger_fleet_nodes"),
        ("site=dc1", "the collector has no register"),
        ("collect%5B%5D=gpu", "\"collect[]\" is no parameter of /metrics"),
    ] {
        let answer = get(port, &format!("/metrics?{query}")).await;
        assert!(answer.starts_with("HTTP/1.0 400") && answer.contains(reason), "{query}: {answer}");
    }
}

#[test]
fn gzip_is_used_where_the_reader_takes_it() {
    let cases = [
        (&["gzip"][..], true),
        (&["deflate, GZIP;q=0.5"], true),
        (&["identity", "gzip"], true),
        (&["*"], true),
        (&["*;q=0"], false),
        (&["gzip;q=0, *"], false),
        (&["gzip; q=0.000"], false),
        (&["gzip;q=1.0"], true),
        (&["br, zstd"], false),
        (&[""], false),
        (&[], false),
    ];
    for (values, expected) in cases {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT_ENCODING, value.parse().unwrap());
        }
        assert_eq!(takes_gzip(&headers), expected, "{values:?}");
    }
}

#[tokio::test]
async fn a_compressed_scrape_says_the_same() {
    let exporter = fleet(50);
    let query = || Query(vec![("family".to_owned(), "gpuledger_*".to_owned())]);
    let plain = metrics(State(shared(Arc::clone(&exporter), 1)), query(), HeaderMap::new()).await;
    assert_eq!(plain.headers().get(header::CONTENT_ENCODING), None);
    let gzip = HeaderMap::from_iter([(header::ACCEPT_ENCODING, "gzip".parse().unwrap())]);
    let packed = metrics(State(shared(exporter, 1)), query(), gzip).await;
    assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
    let (plain, packed) = (body(plain).await, body(packed).await);
    let mut unpacked = Vec::new();
    GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
    assert!(packed.len() * 4 < unpacked.len(), "{} of {}", packed.len(), unpacked.len());
    assert!(unpacked == plain, "{} bytes compressed, {} plain", unpacked.len(), plain.len());
}

#[tokio::test]
async fn one_scrape_too_many_waits_for_another_to_end_and_is_refused_where_none_does() {
    let slots = Arc::new(Semaphore::new(1));
    let first = slot(Arc::clone(&slots), Duration::ZERO).await.unwrap();
    let (status, message) = slot(Arc::clone(&slots), Duration::ZERO).await.unwrap_err();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{message}");
    let second = tokio::spawn(slot(slots, Duration::from_secs(3_600)));
    tokio::task::yield_now().await;
    drop(first);
    drop(second.await.unwrap().unwrap());
}

#[tokio::test]
async fn a_reader_that_is_gone_ends_the_rendering() {
    let (sender, chunks) = mpsc::channel(1);
    drop(chunks);
    let mut reader = Reader { sender, runtime: Handle::current(), begun: Instant::now() };
    let error =
        tokio::task::spawn_blocking(move || reader.take(&mut b"x".to_vec()).unwrap_err()).await.unwrap();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

/// A collector that so many nodes of eight GPUs have just reported to.
fn fleet(nodes: u32) -> Arc<Exporter> {
    let latest = Arc::new(Latest::default());
    (0..nodes).for_each(|node| report(&latest, node));
    let Ok(exporter) = Arc::try_unwrap(exporter()) else { unreachable!("it is shared with nobody") };
    Arc::new(Exporter { latest, ..exporter })
}

/// A sample of every reading of one node.
fn report(latest: &Latest, node: u32) {
    let gpu = |index: u32| Gpu {
        uuid: GpuUuid::new(&format!("GPU-{node:08}-0000-0000-0000-{index:012}")).unwrap(),
        model: "H100".to_owned(),
        serial: None,
        pci_bus_id: None,
        index,
        memory_bytes: None,
        simulated: true,
    };
    let readings = |scope| {
        let metrics = CATALOGUE.iter().filter(move |m| m.scope == scope && m.prometheus.is_some());
        DeviceFrame { readings: metrics.map(|m| (m.id, Value::Value(123_456))).collect(), holding: None }
    };
    let now_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let mut devices = vec![readings(Scope::Node)];
    devices.resize_with(9, || readings(Scope::Gpu));
    let frame = Frame { stamp: Stamp { wall_ms: now_ms, boot_ms: now_ms }, devices };
    let inventory = Arc::new(Inventory { host: Host::default(), gpus: (0..8).map(gpu).collect() });
    let arrival = Arrival { at_ms: now_ms, skew_ms: None };
    let name = NodeName::new(&format!("gpu-node-{node}")).unwrap();
    latest.update(&name, &inventory, &Batch::from_frames(Sequence(1), &[frame]), arrival);
}

/// What a reader does not read stays where it is: with the sender. Nobody else waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stands_still_holds_up_neither_ingest_nor_other_scrapes() {
    let exporter = fleet(1_000);
    let slots = Arc::new(Semaphore::new(2));
    let shared = Shared { scrapes: Arc::clone(&slots), ..shared(Arc::clone(&exporter), 0) };
    let port =
        served(axum::Router::new().route("/metrics", axum::routing::get(metrics)).with_state(shared)).await;
    let mut still = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    still.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").await.unwrap();
    still.read_u8().await.unwrap();
    assert_eq!(slots.available_permits(), 1, "it is being rendered");
    for node in 0..1_000 {
        report(&exporter.latest, node);
    }
    let whole = get(port, "/metrics").await;
    assert!(whole.len() > 15_000_000 && whole.ends_with('\n'), "{} bytes", whole.len());
    assert_eq!(slots.available_permits(), 1, "the other one is still under way");
    // It goes: so does what is rendered for it.
    drop(still);
    drop(slots.acquire_many(2).await.unwrap());
}
