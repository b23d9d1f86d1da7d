use super::super::labels::Labels;
use super::super::request::{Requests, Sample, Series};
use super::super::target::Access;
use super::super::tests::receiver::{Act, Receiver};
use super::*;
use prometheus::Registry;

struct World {
    receiver: Receiver,
    deliverer: Deliverer,
    registry: Registry,
    stop: CancellationToken,
}

impl World {
    async fn new(choice: Choice, speaks_v2: bool, script: &[Act]) -> Self {
        let receiver = Receiver::start(speaks_v2, script).await;
        let registry = Registry::new();
        let events = Arc::new(Events::new(&registry).unwrap());
        let target = Target { url: receiver.url.clone(), access: Access::Open, ca: None };
        let stop = CancellationToken::new();
        let selection = Selection::of(|name| name == "gpuledger_gpu_power_watts");
        let clock: Clock = Arc::new(|| 1_767_225_600_000);
        let deliverer = Deliverer::new(target, choice, selection, events, clock, stop.clone()).unwrap();
        Self { receiver, deliverer, registry, stop }
    }

    async fn deliver(&mut self, request: Request) {
        self.deliverer.deliver(request, || {}).await.unwrap();
    }

    fn counted(&self, name: &str, reason: &str) -> u64 {
        let name = format!("gpuledger_remote_write_{name}_total");
        let families = self.registry.gather();
        let metrics = families.iter().find(|family| family.name() == name).unwrap().get_metric();
        let fits = |m: &&prometheus::proto::Metric| m.get_label().iter().all(|l| l.value() == reason);
        let value = metrics.iter().find(fits).unwrap().get_counter().get_value();
        format!("{value}").parse().unwrap()
    }

    fn seen(&self) -> Vec<Protocol> {
        self.receiver.with(|state| state.seen.iter().map(|seen| seen.protocol).collect())
    }
}

/// One sample of each of these nodes, at these seconds.
fn request(nodes: &[(&str, i64)]) -> Request {
    let mut requests = Requests::default();
    for &(node, at) in nodes {
        requests.node();
        let samples = vec![Sample { at_ms: at * 1_000, value: 1.0 }];
        let labels = Arc::new(Labels::new([("node", node)]));
        requests.push(Series { family: 0, labels, created_ms: 0, samples });
    }
    requests.finish().remove(0)
}

#[tokio::test]
async fn headers_are_those_of_the_specifications() {
    for (protocol, content, version) in [
        (Protocol::V1, "application/x-protobuf", "0.1.0"),
        (Protocol::V2, "application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
    ] {
        let mut world = World::new(Choice::Only(protocol), true, &[]).await;
        world.deliver(request(&[("a", 1)])).await;
        let headers = world.receiver.with(|state| state.seen[0].headers.clone());
        assert_eq!(headers["content-type"], content);
        assert_eq!(headers["x-prometheus-remote-write-version"], version);
        assert_eq!(headers["content-encoding"], "snappy");
        assert!(headers["user-agent"].starts_with("gpuledger/"));
        assert!(!headers.contains_key("authorization"));
        assert_eq!(world.counted("samples", ""), 1);
    }
}

#[tokio::test]
async fn secrets_are_read_for_every_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let mut world = World::new(Choice::Auto, true, &[]).await;
    for (secret, access, expected) in [
        ("one\n", Access::Bearer { token_file: file.clone() }, "Bearer one"),
        ("two", Access::Bearer { token_file: file.clone() }, "Bearer two"),
        ("p", Access::Basic { user: "u".to_owned(), password_file: file.clone() }, "Basic dTpw"),
    ] {
        std::fs::write(&file, secret).unwrap();
        world.deliverer.target.access = access;
        world.deliver(request(&[("a", 1)])).await;
        let given = world.receiver.with(|state| state.seen.last().unwrap().headers["authorization"].clone());
        assert_eq!(given, expected);
    }
}

#[tokio::test]
async fn a_receiver_that_refuses_2_0_is_spoken_to_by_1_0_from_then_on() {
    let mut world = World::new(Choice::Auto, true, &[Act::Say(415, "")]).await;
    for second in 1..4 {
        world.deliver(request(&[("a", second)])).await;
    }
    assert_eq!(world.seen(), [Protocol::V2, Protocol::V1, Protocol::V1, Protocol::V1]);
    assert_eq!(world.receiver.once().len(), 3);
    // After a while it is asked again.
    world.deliverer.fell_back = Instant::now().checked_sub(ASK_AGAIN);
    world.deliver(request(&[("a", 4)])).await;
    assert_eq!(world.seen().last(), Some(&Protocol::V2));
    assert_eq!(world.deliverer.fell_back, None);
}

#[tokio::test]
async fn a_receiver_that_takes_2_0_for_an_empty_message_is_found_out() {
    let mut world = World::new(Choice::Auto, false, &[]).await;
    world.deliver(request(&[("a", 1)])).await;
    assert_eq!(world.seen(), [Protocol::V2, Protocol::V1]);
    assert_eq!((world.receiver.once().len(), world.counted("samples", "")), (1, 1));
    // Where nothing else may be spoken, nothing was delivered.
    let mut world = World::new(Choice::Only(Protocol::V2), false, &[]).await;
    world.deliver(request(&[("a", 1)])).await;
    assert_eq!((world.counted("samples", ""), world.counted("dropped", "refused")), (0, 1));
}

#[tokio::test]
async fn what_may_be_sent_again_is_until_it_is_taken() {
    let script = [
        Act::Say(500, ""),
        Act::Say(503, "retry-after: 0\r\n"),
        Act::Say(429, "retry-after: 1\r\n"),
        Act::Reset,
        Act::StoreSilently,
    ];
    let mut world = World::new(Choice::Auto, true, &script).await;
    let began = Instant::now();
    world.deliver(request(&[("a", 1)])).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "the time that the receiver names is waited for");
    assert_eq!(world.seen().len(), 6);
    assert_eq!(world.receiver.once().len(), 1);
    assert_eq!((world.counted("retried", ""), world.counted("failed", "")), (5, 5));
    assert_eq!((world.counted("samples", ""), world.counted("dropped", "refused")), (1, 0));
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_waited_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut world = World::new(Choice::Auto, true, &[]).await;
    world.deliverer.target.url = format!("http://{address}/").parse().unwrap();
    let stop = world.stop.clone();
    let events = Arc::clone(&world.deliverer.events);
    let waited = async {
        while events.failures() < 3 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (delivered, ()) = tokio::join!(world.deliverer.deliver(request(&[("a", 1)]), || {}), waited);
    assert_eq!(delivered, Err(Stopped));
}

#[tokio::test]
async fn a_receiver_that_never_answers_does_not_hold_up_the_end() {
    let mut world = World::new(Choice::Auto, true, &[Act::Hang]).await;
    let (stop, dealt) = (world.stop.clone(), Arc::clone(&world.receiver.dealt));
    let ended = async {
        dealt.notified().await;
        stop.cancel();
    };
    let (delivered, ()) = tokio::join!(world.deliverer.deliver(request(&[("a", 1)]), || {}), ended);
    assert_eq!(delivered, Err(Stopped));
}

#[tokio::test]
async fn one_node_that_is_refused_costs_no_other() {
    let nodes = ["a", "b", "c", "d", "e"];
    for protocol in [Protocol::V1, Protocol::V2] {
        let mut world = World::new(Choice::Only(protocol), true, &[]).await;
        world.deliver(request(&nodes.map(|node| (node, 10)))).await;
        let late = nodes.map(|node| (node, if node == "d" { 5 } else { 20 }));
        world.deliver(request(&late)).await;
        assert_eq!(world.receiver.once().len(), 9);
        assert_eq!((world.counted("samples", ""), world.counted("dropped", "refused")), (9, 1));
    }
}

#[tokio::test]
async fn a_refusal_for_another_reason_drops_the_request_at_once() {
    for status in [301, 401, 403, 404, 405] {
        let mut world = World::new(Choice::Auto, true, &[Act::Say(status, "")]).await;
        world.deliver(request(&[("a", 1), ("b", 1)])).await;
        assert_eq!((world.seen().len(), world.counted("dropped", "refused")), (1, 2), "{status}");
    }
}

#[tokio::test]
async fn what_was_most_likely_taken_before_is_not_told_as_refused() {
    // Two samples of a series: the first is out of order when they come again.
    let twice = || {
        let mut request = request(&[("a", 1)]);
        request.series[0].samples.push(Sample { at_ms: 2_000, value: 1.0 });
        request
    };
    let mut world = World::new(Choice::Auto, true, &[Act::StoreSilently]).await;
    world.deliver(twice()).await;
    assert_eq!(world.receiver.once().len(), 2);
    assert_eq!((world.counted("dropped", "in_doubt"), world.counted("dropped", "refused")), (2, 0));
    world.deliver(request(&[("a", 1)])).await;
    assert_eq!(world.counted("dropped", "refused"), 1, "the doubt is over with the request");
}

#[tokio::test]
async fn what_2_0_says_was_not_stored_is_counted() {
    let said = Act::Say(200, "x-prometheus-remote-write-samples-written: 1\r\n");
    let partly = Act::Say(400, "x-prometheus-remote-write-samples-written: 2\r\n");
    let mut world = World::new(Choice::Auto, true, &[said, partly]).await;
    world.deliver(request(&[("a", 1), ("b", 1), ("c", 1)])).await;
    assert_eq!((world.counted("samples", ""), world.counted("dropped", "not_written")), (1, 2));
    world.deliver(request(&[("a", 2), ("b", 2), ("c", 2)])).await;
    assert_eq!((world.counted("samples", ""), world.counted("dropped", "refused")), (3, 1));
}
