//! Every setting, declared once.

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    pub key: Key,
    /// Name in the file, with the section before it; the flag is the same with dashes.
    pub name: &'static str,
    /// As it would be written in the file, without quotes. `None`: has no fixed default.
    pub default: Option<&'static str>,
    /// A value to show in the example file where there is no fixed default.
    pub example: &'static str,
    pub kind: Kind,
    /// What it is for, as a comment in the example file: lines of at most 90 characters.
    pub help: &'static str,
}

/// How a value is written in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Boolean,
}

macro_rules! keys {
    ($( $key:ident: $name:literal, $kind:ident, $default:expr, $example:literal, $help:literal; )*) => {
        /// Names a setting in the code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Key { $( #[doc = concat!("`", $name, "`")] $key, )* }

        /// All settings, in the order of the example file.
        pub const KEYS: &[Spec] = &[ $( Spec {
            key: Key::$key, name: $name, kind: Kind::$kind, default: $default, example: $example, help: $help,
        }, )* ];
    };
}

keys! {
    Node: "node", Text, None, "gpu-01",
        "Name of this node in the ledger. Default: the host name.";
    Collector: "collector", Text, Some("127.0.0.1:9841"), "",
        "The collector's address: host, host:port or https://host:port. Its certificate has to be for\nthis host.";
    Insecure: "insecure", Boolean, Some("false"), "",
        "Sends in plain text, without certificates: readings and names can then be read and forged on\nthe way. The collector has to have it too. For tests and networks that are sealed off.";
    SampleInterval: "sample_interval", Text, Some("1s"), "",
        "Time between two samples: 100ms to 10s. Above 4s the collector's key longest_gap has to be\nraised to two and a half times this, or late samples leave their time unmonitored.";
    BatchSpan: "batch_span", Text, Some("10s"), "",
        "Samples of this time are sent and stored together: 1s to 1h.";
    SpoolDir: "spool_dir", Text, Some("/var/lib/gpuledger-agent"), "",
        "Where readings wait until the collector has stored them.";
    SpoolSize: "spool_size", Text, Some("1GiB"), "",
        "Largest size of the spool: 1MiB to 1TiB. When it is full the oldest readings are dropped and\ncounted. 1GiB holds several weeks of a node with 8 GPUs.";
    NvmlLibrary: "nvml_library", Text, None, "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
        "The GPU library. Default: libnvidia-ml.so.1 as the dynamic linker finds it. The environment\nvariable GPULEDGER_NVML_LIBRARY stands above this key.";
    ProcPath: "proc_path", Text, Some("/proc"), "",
        "Where the host's processes are looked up, to find the users of a GPU. In a container: the\nmount point of the host's /proc.";
    PasswdPath: "passwd_path", Text, Some("/etc/passwd"), "",
        "Where user names are looked up.";
    CgroupPath: "cgroup_path", Text, Some("/sys/fs/cgroup"), "",
        "Where control groups are, to see the start and end of Slurm's jobs.";
    SlurmConf: "slurm_conf", Text, None, "/etc/slurm/slurm.conf",
        "Slurm's configuration, by which its jobs are found. Default: SLURM_CONF, or where Slurm\nusually has it; without one there is no Slurm here.";
    KubeletSocket: "kubelet_socket", Text, Some("/var/lib/kubelet/pod-resources/kubelet.sock"), "",
        "The kubelet's pod-resources socket, by which the pods that hold GPUs are found.";
    LogLevel: "log_level", Text, Some("info"), "",
        "What is logged to standard error: error, warn, info, debug or trace.";
    TlsCa: "tls.ca", Text, Some("/etc/gpuledger/tls/ca.pem"), "",
        "The CA that the collector's certificate comes from. The three files are made by\n`gpuledger ca`; new ones are taken up within ten seconds, and at once on SIGHUP.";
    TlsCertificate: "tls.certificate", Text, Some("/etc/gpuledger/tls/node.pem"), "",
        "This node's certificate. The collector takes readings of the node that it names and of no\nother.";
    TlsKey: "tls.key", Text, Some("/etc/gpuledger/tls/node.key"), "",
        "Its key, readable by the agent's user alone.";
}

impl Key {
    pub fn spec(self) -> &'static Spec {
        // The table is written by the same macro, in the same order.
        &KEYS[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.spec().name
    }
}

/// Whether there are settings in a section of this name.
pub fn is_section(name: &str) -> bool {
    KEYS.iter().any(|spec| spec.section() == Some(name))
}

impl Spec {
    /// The section that the setting stands in, if any.
    fn section(&self) -> Option<&'static str> {
        self.name.split_once('.').map(|(section, _)| section)
    }

    /// The name within its section.
    fn local_name(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, name)| name)
    }
}

/// The setting with this name.
pub fn find(name: &str) -> Option<&'static Spec> {
    KEYS.iter().find(|spec| spec.name == name)
}

/// The name nearest to one that does not exist, if it is near enough to be a slip: a third of its
/// letters may be wrong, or it begins like a name.
pub fn nearest(unknown: &str) -> Option<&'static str> {
    let begins = |name: &str| unknown.len() >= 4 && (name.starts_with(unknown) || unknown.starts_with(name));
    let distance = |name: &str| strsim::damerau_levenshtein(unknown, name);
    let best = KEYS.iter().map(|spec| spec.name).min_by_key(|name| (!begins(name), distance(name)))?;
    (begins(best) || distance(best) * 3 <= best.len().max(unknown.len())).then_some(best)
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{text:?} is neither true nor false"))
}

/// The example file: every key with its help, set to its default or commented out.
pub fn example_file() -> String {
    let mut file = String::from(
        "# Configuration of gpuledger-agent. Every key is optional; what is commented out shows the default.\n\
         # Check it with: gpuledger-agent check-config --config FILE\n",
    );
    let mut section = None;
    for spec in KEYS {
        let value = spec.default.unwrap_or(spec.example);
        let help = spec.help.replace('\n', "\n# ");
        let quote = if spec.kind == Kind::Boolean { "" } else { "\"" };
        file.push('\n');
        if spec.section() != section {
            section = spec.section();
            for part in ["[", section.unwrap_or_default(), "]\n"] {
                file.push_str(part);
            }
        }
        for part in ["# ", &help, "\n#", spec.local_name(), " = ", quote, value, quote, "\n"] {
            file.push_str(part);
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_and_the_names_agree() {
        for spec in KEYS {
            assert_eq!(spec.key.name(), spec.name);
            assert_eq!(find(spec.name).unwrap().key, spec.key);
            assert!(spec.default.is_some() || !spec.example.is_empty(), "{}", spec.name);
            assert!(spec.help.lines().all(|line| line.len() <= 92), "{}", spec.name);
        }
    }

    #[test]
    fn a_slip_is_told_from_a_word_of_another_program() {
        assert_eq!(nearest("colector"), Some("collector"));
        assert_eq!(nearest("sampel_interval"), Some("sample_interval"));
        assert_eq!(nearest("spool_directory"), Some("spool_dir"));
        assert_eq!(nearest("insecur"), Some("insecure"));
        assert_eq!(nearest("scrape_configs"), None);
    }

    #[test]
    fn the_packaged_example_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/agent.toml");
        let packaged = std::fs::read_to_string(path).unwrap();
        assert_eq!(packaged, example_file(), "{path} differs from the table in keys.rs");
    }
}
