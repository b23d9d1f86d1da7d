//! The door against peers that hang, knock too often or speak the other protocol, over real sockets.

use super::*;
use crate::ca::{Authority, Issued, Validity};
use crate::export::Health;
use gpuledger_proto::ids::NodeName;
use gpuledger_tls::{Files, Pem};
use rustls::pki_types::ServerName;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;

/// A door with its port.
struct House {
    health: Arc<Health>,
    door: Arc<Door>,
    address: SocketAddr,
    incoming: Incoming,
    _stop: tokio_util::sync::DropGuard,
}

impl House {
    async fn plain(limits: Limits) -> Self {
        Self::open(None, limits, Arc::new(Health::new().unwrap())).await
    }

    async fn open(certificates: Option<Arc<Certificates>>, limits: Limits, health: Arc<Health>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let door = Door::new(certificates, limits, &health);
        let stop = CancellationToken::new();
        let incoming = Arc::clone(&door).open(listener, stop.clone());
        Self { health, door, address, incoming, _stop: stop.drop_guard() }
    }

    async fn knock(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    fn turned_away(&self, reason: &str) -> u64 {
        assert!(TURNED_AWAY.contains(&reason));
        let name = format!("gpuledger_collector_connections_refused_total{{reason=\"{reason}\"}} ");
        let text = self.health.text();
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    }

    async fn until_turned_away(&self, reason: &str, times: u64) {
        while self.turned_away(reason) < times {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A CA with the files of one collector.
struct Security {
    ca: Authority,
    folder: tempfile::TempDir,
}

impl Security {
    fn new() -> Self {
        let security =
            Self { ca: Authority::create(Validity::days(9)).unwrap(), folder: tempfile::tempdir().unwrap() };
        security.install("127.0.0.1");
        security
    }

    fn install(&self, host: &str) {
        let issued = self.ca.collector(&[host.parse().unwrap()], Validity::days(9)).unwrap();
        put(&self.files(), self.ca.certificate_pem(), &issued);
    }

    fn files(&self) -> Files {
        let at = |name: &str| self.folder.path().join(name);
        Files { ca: at("ca.pem"), certificate: at("c.pem"), key: at("c.key") }
    }

    async fn house(&self, limits: Limits) -> (House, Arc<Certificates>) {
        let health = Arc::new(Health::new().unwrap());
        let certificates = Certificates::open(self.files(), Arc::clone(&health)).unwrap();
        (House::open(Some(Arc::clone(&certificates)), limits, health).await, certificates)
    }

    /// A TLS connection of this node.
    async fn connect(&self, house: &House, node: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let issued = self.ca.node(&NodeName::new(node).unwrap(), Validity::days(1)).unwrap();
        let pem = Pem {
            files: self.files(),
            ca: self.ca.certificate_pem().into(),
            certificate: issued.certificate_pem.into(),
            key: issued.key_pem.into(),
        };
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(pem.client().unwrap().config).connect(name, house.knock().await).await
    }
}

fn put(files: &Files, ca: &str, issued: &Issued) {
    let write = |path: &Path, text: &str| {
        fs::write(path.with_extension("new"), text).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    };
    write(&files.ca, ca);
    write(&files.certificate, &issued.certificate_pem);
    write(&files.key, &issued.key_pem);
}

fn hasty() -> Limits {
    let soon = Duration::from_millis(50);
    Limits { handshake_within: soon, idle_within: soon, ..Limits::default() }
}

#[tokio::test]
async fn who_never_speaks_is_turned_away_in_time_and_holds_no_place() {
    let house = House::plain(hasty()).await;
    let mut silent = house.knock().await;
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0, "closed");
    house.until_turned_away("timeout", 1).await;
    assert!(house.health.text().contains("gpuledger_collector_connections 0\n"));
}

#[tokio::test]
async fn a_connection_without_a_stream_is_cut_off_and_one_with_a_stream_is_not() {
    let mut house = House::plain(hasty()).await;
    let mut peer = house.knock().await;
    peer.write_all(b"PRI").await.unwrap();
    let mut io = house.incoming.next().await.unwrap().unwrap();
    let connection = tonic::transport::server::Connected::connect_info(&io);
    let stream = Occupied::new(tokio_stream::pending::<()>(), Some(&connection));
    let mut bytes = [0; 8];
    assert_eq!(io.read(&mut bytes).await.unwrap(), 3);
    // Several looks later it is still there, because it serves a stream.
    let waited = tokio::time::timeout(Duration::from_millis(200), io.read(&mut bytes)).await;
    assert!(waited.is_err() && house.turned_away("idle") == 0);
    drop(stream);
    let cut = io.read(&mut bytes).await.unwrap_err();
    assert_eq!(cut.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(house.turned_away("idle"), 1);
}

#[tokio::test]
async fn a_thousand_half_open_connections_leave_room_for_one_that_speaks() {
    let limits = Limits { handshakes: 600, handshakes_per_address: 500, ..Limits::default() };
    let mut house = House::plain(limits).await;
    let mut silent = Vec::new();
    for _ in 0..1_000 {
        silent.push(house.knock().await);
    }
    house.until_turned_away("handshakes_per_address", 500).await;
    // From elsewhere there is room; all of 127/8 is this machine.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(house.address).await.unwrap();
    other.write_all(b"PRI").await.unwrap();
    house.incoming.next().await.unwrap().unwrap();
    assert_eq!(house.turned_away("handshakes_per_address"), 500);
}

#[tokio::test]
async fn a_node_is_known_by_its_certificate() {
    let security = Security::new();
    let (mut house, _) = security.house(Limits { connections_per_node: 1, ..Limits::default() }).await;
    let _first = security.connect(&house, "n1").await.unwrap();
    let io = house.incoming.next().await.unwrap().unwrap();
    let connection = tonic::transport::server::Connected::connect_info(&io);
    assert_eq!(connection.peer().unwrap().unwrap().node.as_str(), "n1");
    assert_eq!(house.door.places().nodes()[0].0.as_str(), "n1");
    let mut second = security.connect(&house, "n1").await.unwrap();
    assert_eq!(second.read(&mut [0]).await.unwrap_or(0), 0, "closed");
    assert_eq!(house.turned_away("connections_per_node"), 1);
}

#[tokio::test]
async fn each_protocol_is_answered_in_its_own_way_by_the_other() {
    let security = Security::new();
    let (secure, _) = security.house(Limits::default()).await;
    let mut peer = secure.knock().await;
    peer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    peer.read_to_end(&mut said).await.unwrap();
    assert!(said.ends_with(b"take insecure = true away from the agent's configuration"), "{said:?}");
    secure.until_turned_away("not_tls", 1).await;

    let plain = House::plain(Limits::default()).await;
    let error = security.connect(&plain, "n1").await.unwrap_err();
    let told = gpuledger_tls::handshake::told_by_client(&error, &security.files(), "127.0.0.1").unwrap();
    assert!(told.contains("does not speak TLS"), "{told}");
    plain.until_turned_away("tls", 1).await;
}

#[tokio::test]
async fn who_has_no_certificate_of_the_ca_does_not_come_in() {
    let security = Security::new();
    let (house, _) = security.house(Limits::default()).await;
    let stranger = Security::new();
    let issued = stranger.ca.node(&NodeName::new("n1").unwrap(), Validity::days(1)).unwrap();
    let pem = Pem {
        files: security.files(),
        ca: security.ca.certificate_pem().into(),
        certificate: issued.certificate_pem.into(),
        key: issued.key_pem.into(),
    };
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connector = TlsConnector::from(pem.client().unwrap().config);
    // TLS 1.3 lets the client believe that all is well until it reads.
    if let Ok(mut stream) = connector.connect(name, house.knock().await).await {
        stream.read(&mut [0]).await.unwrap_err();
    }
    house.until_turned_away("certificate", 1).await;
}

#[tokio::test]
async fn new_files_are_taken_up_and_bad_ones_leave_the_old_in_force() {
    let security = Security::new();
    let (_house, certificates) = security.house(Limits::default()).await;
    let keeper = tokio::spawn(Arc::clone(&certificates).keep());
    let before = certificates.config();
    security.install("127.0.0.1");
    certificates.look();
    while Arc::ptr_eq(&certificates.config(), &before) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let good = certificates.config();
    fs::write(security.files().key, "no key").unwrap();
    certificates.look();
    // A look ends before the next begins: after the second, the first is over.
    for _ in 0..2 {
        certificates.look();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(Arc::ptr_eq(&certificates.config(), &good));
    security.install("127.0.0.1");
    certificates.look();
    while Arc::ptr_eq(&certificates.config(), &good) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    keeper.abort();
}
