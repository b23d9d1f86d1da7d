//! Every kind of certificate trouble, from real handshakes in memory.

use super::*;
use crate::files::tests::{Issuer, Made};
use crate::{Client, Server};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};

/// Lets both talk until one has had enough; gives what each of them said about it.
fn shake(client: &Client, server: &Server, host: &'static str) -> [Option<Error>; 2] {
    let name = ServerName::try_from(host).unwrap();
    let mut client = ClientConnection::new(client.config.clone(), name).unwrap();
    let mut server = ServerConnection::new(server.config.clone()).unwrap();
    let mut ended = [None, None];
    for _ in 0..10 {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        ended[1] = ended[1].take().or(server.process_new_packets().err());
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        ended[0] = ended[0].take().or(client.process_new_packets().err());
    }
    ended
}

fn files() -> Files {
    Files { ca: "ca.pem".into(), certificate: "own.pem".into(), key: "own.key".into() }
}

/// What agent and collector say of a handshake that fails.
fn told(client: &Made, server: &Made) -> [String; 2] {
    let ended = shake(&client.pem.client().unwrap(), &server.pem.server().unwrap(), "ledger.example");
    let [client, server] = ended.map(|error| io::Error::other(error.expect("both sides end it")));
    [told_by_client(&client, &files(), "ledger.example").unwrap(), told_by_server(&server, &files()).message]
}

#[test]
fn certificates_of_one_ca_are_taken_by_both_sides() {
    let ca = Issuer::new();
    let (node, collector) = (ca.node("n1"), ca.collector("ledger.example"));
    let ended = shake(&node.pem.client().unwrap(), &collector.pem.server().unwrap(), "ledger.example");
    assert_eq!(ended, [None, None]);
}

#[test]
fn each_side_says_in_one_sentence_what_is_wrong_and_what_would_mend_it() {
    let (ca, other) = (Issuer::new(), Issuer::new());
    let (node, collector) = (ca.node("n1"), ca.collector("ledger.example"));
    let table = [
        (
            "another CA's collector",
            node.clone(),
            other.collector("ledger.example").trusting(&ca),
            "ca.pem that belongs to it",
            "copy ca.pem to it",
        ),
        (
            "another CA's node",
            other.node("n1").trusting(&ca),
            collector.clone(),
            "own.pem comes from",
            "does not come from the CA in ca.pem",
        ),
        (
            "collector of another name",
            node.clone(),
            ca.collector("10.0.0.5"),
            "not for ledger.example (key collector) but for 10.0.0.5",
            "whose names, time or",
        ),
        (
            "expired collector",
            node.clone(),
            ca.expired().collector("ledger.example"),
            "has expired on 2021-01-01",
            "whose names, time or",
        ),
        (
            "expired node",
            ca.expired().node("n1"),
            collector.clone(),
            "own.pem expired",
            "expired on 2021-01-01: issue it anew",
        ),
        ("a node as a collector", node.clone(), ca.node("ledger.example"), "not a collector's", "own.pem"),
        (
            "a collector as a node",
            ca.collector("n1"),
            collector.clone(),
            "has to be a node's",
            "not a node's",
        ),
    ];
    for (what, client, server, by_client, by_server) in table {
        let [client, server] = told(&client, &server);
        assert!(client.contains(by_client), "{what}: {client}");
        assert!(server.contains(by_server), "{what}: {server}");
        assert!(!client.contains('\n') && client.len() < 300, "{what}: {client}");
    }
}

#[test]
fn what_is_not_tls_is_told_as_that_and_what_is_no_trouble_of_tls_is_left_alone() {
    let ca = Issuer::new();
    let server = ca.collector("ledger.example").pem.server().unwrap();
    let mut connection = ServerConnection::new(server.config).unwrap();
    connection.read_tls(&mut &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..]).unwrap();
    let error = io::Error::other(connection.process_new_packets().unwrap_err());
    assert_eq!(told_by_server(&error, &files()).reason, "not_tls");
    assert!(told_by_client(&error, &files(), "c").unwrap().contains("insecure = true"));
    let gone = io::Error::from(io::ErrorKind::ConnectionReset);
    assert_eq!(told_by_client(&gone, &files(), "c"), None);
    assert_eq!(told_by_server(&gone, &files()).reason, "broken");
}
