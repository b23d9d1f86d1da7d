//! `ca init` and `ca issue`: certificates as files, named as agents and collectors look for them.
//!
//! A CA's folder holds `ca.pem` and `ca.key`, and one folder for each certificate that was issued into
//! it, with exactly the files that go to `/etc/gpuledger/tls/` of one machine. Keys are readable by their
//! owner alone from their first byte on, every file is there whole or not at all, and none that is there
//! is replaced without `--force`.

use super::Failure;
use super::output::{PRIVATE, READABLE, to_file};
use crate::ca::{Authority, CA_DAYS, CERTIFICATE_FILE, CaError, HostName, KEY_FILE, Validity};
use gpuledger_proto::ids::NodeName;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where agents and collectors look for their files.
const INSTALLED: &str = "/etc/gpuledger/tls";

/// A certificate to issue.
pub struct Issue {
    pub whose: Whose,
    pub days: u32,
    /// The folder of the CA.
    pub ca: PathBuf,
    pub out: PathBuf,
    pub force: bool,
}

/// Whom a certificate is for.
pub enum Whose {
    Node(NodeName),
    Collector(Vec<HostName>),
}

impl Whose {
    /// What its folder is called unless a flag says otherwise.
    pub fn folder(&self) -> &str {
        match self {
            Self::Node(node) => node.as_str(),
            Self::Collector(_) => "collector",
        }
    }

    /// The names of certificate and key.
    fn files(&self) -> [&'static str; 2] {
        match self {
            Self::Node(_) => ["node.pem", "node.key"],
            Self::Collector(_) => ["collector.pem", "collector.key"],
        }
    }
}

impl From<CaError> for Failure {
    fn from(error: CaError) -> Self {
        match error {
            CaError::Make(_) => Self::Runtime(error.to_string()),
            CaError::Read { .. } | CaError::NotACa { .. } | CaError::Expired => {
                Self::Usage(error.to_string())
            }
        }
    }
}

/// Makes a CA.
pub fn init(out: &Path, force: bool) -> Result<(), Failure> {
    let files = [CERTIFICATE_FILE, KEY_FILE].map(|name| out.join(name));
    refuse_existing(&files, force)?;
    let ca = Authority::create(Validity::days(CA_DAYS))?;
    let [certificate, key] = &files;
    make_folder(out)?;
    put(key, ca.key_pem(), PRIVATE, force)?;
    put(certificate, ca.certificate_pem(), READABLE, force)?;
    let mut told = io::stdout().lock();
    writeln!(told, "wrote {}, valid until {}", certificate.display(), day(ca.expires()))?;
    writeln!(told, "wrote {}: keep it to yourself, who has it can send as any node", key.display())?;
    let flag = ca_flag(out);
    writeln!(
        told,
        "\nNext, a certificate for the collector, with the names that agents reach it by, and one for each node:"
    )?;
    writeln!(told, "  gpuledger ca issue{flag} --collector ledger.example,10.0.0.5")?;
    writeln!(told, "  gpuledger ca issue{flag} gpu-01")?;
    Ok(told.flush()?)
}

/// Issues a certificate.
pub fn issue(task: &Issue) -> Result<(), Failure> {
    let Issue { whose, days, ca, out, force } = task;
    if matches!(whose.folder(), "." | "..") {
        return Err(Failure::Usage(
            "a node cannot be called like a folder above others: name it otherwise".to_owned(),
        ));
    }
    let [certificate, key] = whose.files().map(|name| out.join(name));
    refuse_existing(&[certificate.clone(), key.clone()], *force)?;
    let authority = Authority::open(ca)?;
    let root = out.join(CERTIFICATE_FILE);
    // The same CA lies there from the last time.
    let is_known = fs::read_to_string(&root).is_ok_and(|known| known == authority.certificate_pem());
    if !is_known {
        refuse_existing(std::slice::from_ref(&root), *force)?;
    }
    let validity = Validity::days(*days);
    let issued = match whose {
        Whose::Node(node) => authority.node(node, validity)?,
        Whose::Collector(hosts) => authority.collector(hosts, validity)?,
    };
    make_folder(out)?;
    put(&key, &issued.key_pem, PRIVATE, *force)?;
    put(&certificate, &issued.certificate_pem, READABLE, *force)?;
    if !is_known {
        put(&root, authority.certificate_pem(), READABLE, *force)?;
    }
    let mut told = io::stdout().lock();
    let expires = day(issued.expires);
    writeln!(
        told,
        "wrote {}, {} and {}, valid until {expires}",
        root.display(),
        certificate.display(),
        key.display()
    )?;
    write!(told, "{}", next_step(whose))?;
    Ok(told.flush()?)
}

/// Which file goes where, and who may read it.
fn next_step(whose: &Whose) -> String {
    let (machine, user, [certificate, key]) = match whose {
        Whose::Node(node) => (format!("{node}, as root"), "gpuledger-agent", whose.files()),
        Whose::Collector(_) => ("the collector's machine, as root".to_owned(), "gpuledger", whose.files()),
    };
    format!(
        "\nNext, copy the three files to {machine}:\n  \
         install -d {INSTALLED}\n  \
         install -m 644 {CERTIFICATE_FILE} {certificate} {INSTALLED}/\n  \
         install -m 600 -o {user} {key} {INSTALLED}/\n\
         They are taken up within ten seconds where the service runs already.\n"
    )
}

fn refuse_existing(files: &[PathBuf], force: bool) -> Result<(), Failure> {
    match files.iter().find(|file| !force && file.exists()) {
        Some(file) => {
            let file = file.display();
            Err(Failure::Usage(format!(
                "{file} exists already: give another --out, or --force to replace it"
            )))
        }
        None => Ok(()),
    }
}

/// A folder that only its owner can look into, where there is none yet.
fn make_folder(folder: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| Failure::Runtime(format!("cannot make the folder {}: {error}", folder.display())))
}

fn put(path: &Path, text: &str, mode: u32, force: bool) -> Result<(), Failure> {
    to_file(path, force, mode, |out| out.write_all(text.as_bytes()))
}

/// The flag that names a CA which is not where it is looked for.
fn ca_flag(folder: &Path) -> String {
    if folder == Path::new(super::args::CA_FOLDER) {
        String::new()
    } else {
        format!(" --ca {}", folder.display())
    }
}

fn day(time: SystemTime) -> String {
    Timestamp::try_from(time)
        .map_or_else(|_| "?".to_owned(), |at| at.to_zoned(TimeZone::UTC).date().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn node(name: &str, ca: &Path, force: bool) -> Issue {
        let whose = Whose::Node(NodeName::new(name).unwrap());
        Issue { out: ca.join(name), whose, days: 1, ca: ca.to_owned(), force }
    }

    #[test]
    fn keys_are_their_owner_s_alone_and_folders_too() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca");
        init(&ca, false).unwrap();
        issue(&node("gpu-01", &ca, false)).unwrap();
        for private in ["ca.key", "gpu-01/node.key"] {
            assert_eq!(mode(&ca.join(private)), 0o600, "{private}");
        }
        for private in ["", "gpu-01"] {
            assert_eq!(mode(&ca.join(private)), 0o700, "{private}");
        }
        assert_eq!(fs::read(ca.join("ca.pem")).unwrap(), fs::read(ca.join("gpu-01/ca.pem")).unwrap());
    }

    #[test]
    fn nothing_that_is_there_is_replaced_unless_asked() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca");
        init(&ca, false).unwrap();
        issue(&node("n", &ca, false)).unwrap();
        let files = ["ca.pem", "ca.key", "n/ca.pem", "n/node.pem", "n/node.key"];
        let read = || files.map(|file| fs::read(ca.join(file)).unwrap());
        let before = read();
        assert!(matches!(init(&ca, false), Err(Failure::Usage(message)) if message.contains("--force")));
        assert!(matches!(issue(&node("n", &ca, false)), Err(Failure::Usage(_))));
        assert_eq!(read(), before);
        issue(&node("n", &ca, true)).unwrap();
        let renewed = read();
        assert_eq!(renewed[..3], before[..3]);
        assert!(renewed[3] != before[3] && renewed[4] != before[4]);
        // Of another CA the old ca.pem must not stay beside the new certificate.
        init(&ca, true).unwrap();
        fs::remove_file(ca.join("n/node.pem")).unwrap();
        fs::remove_file(ca.join("n/node.key")).unwrap();
        assert!(
            matches!(issue(&node("n", &ca, false)), Err(Failure::Usage(message)) if message.contains("ca.pem"))
        );
        issue(&node("n", &ca, true)).unwrap();
        assert_eq!(read()[0], read()[2]);
    }

    #[test]
    fn a_node_does_not_lead_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca");
        init(&ca, false).unwrap();
        for name in [".", ".."] {
            assert!(matches!(issue(&node(name, &ca, true)), Err(Failure::Usage(_))), "{name}");
        }
        assert!(!folder.path().join("node.key").exists());
    }
}
