//! What a CA issues, judged by the parser of both sides.

use super::*;
use gpuledger_proto::ids::NodeName;
use gpuledger_tls::{Certificate, Purpose};

fn ca() -> Authority {
    Authority::create(Validity::days(CA_DAYS)).unwrap()
}

fn read(issued: &Issued) -> Certificate {
    Certificate::from_der(&CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap())
        .unwrap()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn put(folder: &Path, ca: &Authority) {
    std::fs::write(folder.join(CERTIFICATE_FILE), ca.certificate_pem()).unwrap();
    std::fs::write(folder.join(KEY_FILE), ca.key_pem()).unwrap();
}

#[test]
fn a_node_s_certificate_names_that_node_and_is_for_clients_alone() {
    let long = "n".repeat(253);
    for name in ["gpu-01", "rack:4_b.example", long.as_str()] {
        let node = NodeName::new(name).unwrap();
        let certificate = read(&ca().node(&node, Validity::days(LEAF_DAYS)).unwrap());
        assert_eq!(certificate.node().unwrap(), node);
        assert_eq!(certificate.hosts, Vec::<String>::new());
        assert!(certificate.is_for(Purpose::Client) && !certificate.is_for(Purpose::Server));
    }
}

#[test]
fn a_collector_s_certificate_has_its_hosts_and_is_for_servers_alone() {
    let hosts = ["ledger.example", "10.0.0.1", "fd00::1"].map(|host| host.parse().unwrap());
    let certificate = read(&ca().collector(&hosts, Validity::days(LEAF_DAYS)).unwrap());
    assert_eq!(certificate.hosts, ["ledger.example", "10.0.0.1", "fd00::1"]);
    assert!(certificate.is_for(Purpose::Server) && !certificate.is_for(Purpose::Client));
}

#[test]
fn nothing_outlives_its_ca_and_an_expired_ca_issues_nothing() {
    let node = NodeName::new("n1").unwrap();
    let short = Authority::create(Validity::days(30)).unwrap();
    let issued = short.node(&node, Validity::days(LEAF_DAYS)).unwrap();
    assert_eq!(issued.expires, short.expires());
    assert_eq!(read(&issued).not_after_s, seconds(short.expires()));
    let now = SystemTime::now();
    let past = Validity { from: now - DAY * 2, to: now - DAY };
    let over = Authority::create(past).unwrap();
    assert!(matches!(over.node(&node, Validity::days(1)), Err(CaError::Expired)));
    // A certificate of the past can be had from a CA of the past: tests of expiry need one.
    assert_eq!(read(&over.node(&node, past).unwrap()).not_after_s, seconds(past.to));
}

#[test]
fn a_ca_that_was_stored_goes_on_as_itself() {
    let folder = tempfile::tempdir().unwrap();
    let ca = ca();
    put(folder.path(), &ca);
    let again = Authority::open(folder.path()).unwrap();
    assert_eq!(again.certificate_pem(), ca.certificate_pem());
    assert_eq!(seconds(again.expires()), seconds(ca.expires()));
    let issued = again.node(&NodeName::new("n1").unwrap(), Validity::days(1)).unwrap();
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let (leaf, root) = (der(&issued.certificate_pem), der(ca.certificate_pem()));
    let (leaf, root) = (x509_cert::Certificate::from_der(&leaf), x509_cert::Certificate::from_der(&root));
    assert_eq!(leaf.unwrap().tbs_certificate.issuer, root.unwrap().tbs_certificate.subject);
}

#[test]
fn what_is_no_ca_of_ours_is_refused_with_both_files_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Authority::open(folder.path()).err().unwrap().to_string();
    assert!(error.contains("ca.pem") && error.contains("gpuledger ca init"), "{error}");
    let (one, other) = (ca(), ca());
    let refused = |certificate: &str, key: &str| {
        std::fs::write(folder.path().join(CERTIFICATE_FILE), certificate).unwrap();
        std::fs::write(folder.path().join(KEY_FILE), key).unwrap();
        let error = Authority::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("ca.pem") && error.contains("ca.key"), "{error}");
        error
    };
    assert!(refused(one.certificate_pem(), other.key_pem()).contains("not this certificate's"));
    let leaf = one.node(&NodeName::new("n1").unwrap(), Validity::days(1)).unwrap();
    assert!(refused(&leaf.certificate_pem, &leaf.key_pem).contains("is no CA's"));
    refused("", one.key_pem());
    refused(one.certificate_pem(), "no key");
}

#[test]
fn two_cas_have_different_names_and_every_certificate_has_its_own_key() {
    let (one, other) = (ca(), ca());
    let subject = |ca: &Authority| {
        let der = CertificateDer::from_pem_slice(ca.certificate_pem().as_bytes()).unwrap();
        x509_cert::Certificate::from_der(&der).unwrap().tbs_certificate.subject.to_string()
    };
    assert_ne!(subject(&one), subject(&other));
    let node = NodeName::new("n1").unwrap();
    let issue = || one.node(&node, Validity::days(1)).unwrap().key_pem;
    assert_ne!(issue(), issue());
}
