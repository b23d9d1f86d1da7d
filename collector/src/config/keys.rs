//! Every setting, declared once: the validation, the example file and the suggestions for unknown
//! keys read this table.

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    pub name: &'static str,
    /// As it would be written in the file, without quotes; `None` where there is no default.
    pub default: Option<&'static str>,
    /// A value to show in the example file where there is no default.
    pub example: &'static str,
    /// What it is for, as comment lines in the example file.
    pub help: &'static str,
}

pub const KEYS: &[Spec] = &[
    Spec {
        name: "ledger",
        default: Some("/var/lib/gpuledger/ledger.db"),
        example: "",
        help: "The ledger: one SQLite file. Created when there is none. Flag --ledger stands above it.",
    },
    Spec {
        name: "fleet",
        default: None,
        example: "/etc/gpuledger/fleet.toml",
        help: "Assets, sites, tariffs and prices. Without it nothing has a cost. Flag --fleet stands above it.",
    },
    Spec {
        name: "grpc_listen",
        default: Some("127.0.0.1:9841"),
        example: "",
        help: "Where agents connect: address and port.",
    },
    Spec {
        name: "http_listen",
        default: Some("127.0.0.1:9840"),
        example: "",
        help: "Where /metrics, /healthz and /readyz are served: address and port.",
    },
    Spec {
        name: "insecure",
        default: Some("false"),
        example: "",
        help: "Allows agents to connect in plain text from other machines. Readings and names can then be\n\
               read and forged on the way: only for networks that you trust. TLS comes in a later version.",
    },
    Spec {
        name: "commit_interval",
        default: Some("5s"),
        example: "",
        help: "Time between two commits to the ledger: 20ms to 1min. Agents keep their readings until then.",
    },
    Spec {
        name: "longest_gap",
        default: Some("10s"),
        example: "",
        help: "Longer time between two samples is unmonitored: 1s to 1h. At least two and a half times the\n\
               longest sample_interval of the agents.",
    },
    Spec {
        name: "log_level",
        default: Some("info"),
        example: "",
        help: "What is logged to standard error: error, warn, info, debug or trace.",
    },
];

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

/// The example file: every key with its help, commented out and set to its default.
pub fn example_file() -> String {
    let mut file = vec![
        "# Configuration of gpuledger serve. Every key is optional; what is commented out shows the default."
            .to_owned(),
        "# Check it with: gpuledger --config FILE check-config".to_owned(),
    ];
    for spec in KEYS {
        let value = spec.default.unwrap_or(spec.example);
        let quote = if ["true", "false"].contains(&value) { "" } else { "\"" };
        file.push(String::new());
        file.extend(spec.help.lines().map(|line| format!("# {line}")));
        file.push(format!("#{} = {quote}{value}{quote}", spec.name));
    }
    file.join("\n") + "\n"
}
