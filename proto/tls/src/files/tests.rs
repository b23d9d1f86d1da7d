//! Files that are good, and each way in which they are not.

use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use std::fs;

/// A CA for tests, in memory.
pub(crate) struct Issuer {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
    expired: bool,
}

/// What it made for one machine.
#[derive(Clone)]
pub(crate) struct Made {
    pub pem: Pem,
}

impl Made {
    /// The same, but it trusts another CA.
    pub fn trusting(mut self, ca: &Issuer) -> Self {
        self.pem.ca = ca.pem.clone().into_bytes();
        self
    }
}

impl Issuer {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let name = format!("test {:?}", &key.public_key_raw()[..8]);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem, expired: false }
    }

    /// The same CA, for certificates of the past.
    pub fn expired(&self) -> Self {
        let key = KeyPair::from_pem(&self.key.serialize_pem()).unwrap();
        Self { params: self.params.clone(), key, pem: self.pem.clone(), expired: true }
    }

    pub fn node(&self, name: &str) -> Made {
        let uri = format!("gpuledger://node/{name}");
        self.make(vec![SanType::URI(uri.try_into().unwrap())], ExtendedKeyUsagePurpose::ClientAuth)
    }

    pub fn collector(&self, host: &str) -> Made {
        let names = CertificateParams::new(vec![host.to_owned()]).unwrap().subject_alt_names;
        self.make(names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn make(&self, names: Vec<SanType>, purpose: ExtendedKeyUsagePurpose) -> Made {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.extended_key_usages = vec![purpose];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        if self.expired {
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let issuer = rcgen::Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap().pem().into_bytes();
        let files = Files { ca: "ca.pem".into(), certificate: "own.pem".into(), key: "own.key".into() };
        let key = key.serialize_pem().into_bytes();
        Made { pem: Pem { files, ca: self.pem.clone().into_bytes(), certificate, key } }
    }
}

/// The three as files.
fn put(folder: &Path, made: &Made) -> Files {
    let at = |name: &str| folder.join(name);
    let files = Files { ca: at("ca.pem"), certificate: at("node.pem"), key: at("node.key") };
    fs::write(&files.ca, &made.pem.ca).unwrap();
    fs::write(&files.certificate, &made.pem.certificate).unwrap();
    fs::write(&files.key, &made.pem.key).unwrap();
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
    files
}

#[test]
fn good_files_are_taken_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let files = put(folder.path(), &Issuer::new().node("n1"));
    let client = files.client().unwrap();
    assert_eq!(client.facts.warnings, Vec::<String>::new());
    assert_eq!(client.facts.own.node().unwrap().as_str(), "n1");
}

#[test]
fn a_file_that_is_missing_empty_or_another_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, name) = (Issuer::new(), |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned());
    let good = put(folder.path(), &ca.node("n1"));
    let refused = |files: &Files| files.client().unwrap_err().to_string();
    for broken in [&good.ca, &good.certificate, &good.key] {
        let kept = fs::read(broken).unwrap();
        fs::remove_file(broken).unwrap();
        let told = refused(&good);
        assert!(told.contains(&name(broken)) && told.contains("gpuledger ca issue NODE"), "{told}");
        for content in [&b""[..], b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            fs::write(broken, content).unwrap();
            let told = refused(&good);
            assert!(told.contains(&name(broken)) && told.contains("holds no"), "{told}");
        }
        fs::write(broken, &kept).unwrap();
    }
    let swapped = Files { certificate: good.key.clone(), key: good.certificate.clone(), ..good.clone() };
    assert!(refused(&swapped).contains("node.key holds no certificate"), "{}", refused(&swapped));
    fs::write(&good.key, &ca.node("n1").pem.key).unwrap();
    let told = refused(&good);
    assert!(told.contains("node.key is not the key of ") && told.contains("together"), "{told}");
    let folder_instead = Files { key: folder.path().to_owned(), ..good };
    assert!(refused(&folder_instead).starts_with("cannot read "), "{}", refused(&folder_instead));
}

#[test]
fn what_will_not_work_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Issuer::new();
    let warned = |made: &Made| put(folder.path(), made).client().unwrap().facts.warnings.join("; ");
    assert!(warned(&ca.expired().node("n1")).contains("has expired on 2021-01-01"));
    assert!(warned(&ca.collector("c")).contains("is a collector's certificate"));
    let files = put(folder.path(), &ca.node("n1"));
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(files.client().unwrap().facts.warnings[0].contains("chmod 600"));
}
