//! A fleet's certificates for one run: a CA, the collector's in files as it wants them, and one for each
//! node in memory. Ten thousand `gpuledger ca issue` would take longer than the run; this is what that
//! command calls.

use super::values::node_name;
use anyhow::Context as _;
use gpuledger_agent::upload::Credentials;
use gpuledger_collector::ca::{Authority, HostName, Validity};
use gpuledger_proto::ids::NodeName;
use gpuledger_tls::{Files, Pem};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Longer than any run.
const DAYS: u32 = 30;

pub struct Certificates {
    authority: Authority,
    folder: PathBuf,
}

impl Certificates {
    /// A new CA, and a certificate of a collector that is reached at this address.
    pub fn create(folder: &Path, collector: IpAddr) -> anyhow::Result<Self> {
        let authority = Authority::create(Validity::days(DAYS))?;
        let issued = authority.collector(&[HostName::Address(collector)], Validity::days(DAYS))?;
        let files = files(folder, "collector");
        for (path, content) in [
            (&files.ca, authority.certificate_pem()),
            (&files.certificate, issued.certificate_pem.as_str()),
            (&files.key, issued.key_pem.as_str()),
        ] {
            write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Self { authority, folder: folder.to_owned() })
    }

    /// The section of the collector's configuration that names its files.
    pub fn setting(&self) -> String {
        let Files { ca, certificate, key } = files(&self.folder, "collector");
        format!("[tls]\nca = {ca:?}\ncertificate = {certificate:?}\nkey = {key:?}\n")
    }

    /// What the agent of a node connects with.
    pub fn of_node(&self, node: u32) -> anyhow::Result<Credentials> {
        let name = node_name(node);
        let issued = self.authority.node(&NodeName::new(&name)?, Validity::days(DAYS))?;
        let files = files(&self.folder, &name);
        let pem = Pem {
            files: files.clone(),
            ca: self.authority.certificate_pem().as_bytes().to_vec(),
            certificate: issued.certificate_pem.into_bytes(),
            key: issued.key_pem.into_bytes(),
        };
        Ok(Credentials::fixed(pem.client()?, files, NodeName::new(&name)?))
    }
}

fn files(folder: &Path, whose: &str) -> Files {
    Files {
        ca: folder.join("ca.pem"),
        certificate: folder.join(format!("{whose}.pem")),
        key: folder.join(format!("{whose}.key")),
    }
}

fn write(path: &Path, content: &str) -> std::io::Result<()> {
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    std::io::Write::write_all(&mut file, content.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collectors_files_are_good_together_and_every_node_has_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::create(folder.path(), [127, 0, 0, 1].into()).unwrap();
        let server = files(folder.path(), "collector").server().unwrap();
        assert_eq!(server.facts.warnings, Vec::<String>::new());
        assert!(certificates.setting().contains("collector.key"));
        // Whether it names the node is judged where it is used.
        certificates.of_node(0).unwrap();
        assert!(!folder.path().join("load-00000.pem").exists(), "kept in memory");
    }
}
