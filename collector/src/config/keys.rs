//! Every setting, declared once: the validation, the example file and the suggestions for unknown
//! keys read this table.

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// With the section before it: `archive.every`.
    pub name: &'static str,
    pub kind: Kind,
    /// As it would be written in the file, without quotes; `None` where there is no default.
    pub default: Option<&'static str>,
    /// A value to show in the example file where there is no default.
    pub example: &'static str,
    /// What it is for, as comment lines in the example file.
    pub help: &'static str,
}

/// How a setting is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Flag,
    Number,
}

impl Kind {
    /// What is expected, for messages.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Text => "a text in quotes",
            Self::Flag => "true or false",
            Self::Number => "a whole number",
        }
    }
}

pub const KEYS: &[Spec] = &[
    Spec {
        name: "ledger",
        kind: Kind::Text,
        default: Some("/var/lib/gpuledger/ledger.db"),
        example: "",
        help: "The ledger: an SQLite file, created when there is none, or postgres://USER@HOST/DATABASE. Its password\n\
               comes from the variable PGPASSWORD; who writes USER:PASSWORD@ must see to it that nobody else\n\
               may read this file. Flag --ledger\n\
               and the variable GPULEDGER_LEDGER stand above it.",
    },
    Spec {
        name: "fleet",
        kind: Kind::Text,
        default: None,
        example: "/etc/gpuledger/fleet.toml",
        help: "Assets, sites, tariffs and prices. Without it nothing has a cost. Flag --fleet stands above it.",
    },
    Spec {
        name: "grpc_listen",
        kind: Kind::Text,
        default: Some("127.0.0.1:9841"),
        example: "",
        help: "Where agents connect: address and port.",
    },
    Spec {
        name: "http_listen",
        kind: Kind::Text,
        default: Some("127.0.0.1:9840"),
        example: "",
        help: "Where /metrics, /healthz and /readyz are served: address and port.",
    },
    Spec {
        name: "insecure",
        kind: Kind::Flag,
        default: Some("false"),
        example: "",
        help: "Takes plain text from agents instead of TLS: whoever reaches the port can read what is sent and\n\
               send as any node. The agents have to have it too. For tests and networks that are sealed off.",
    },
    Spec {
        name: "commit_interval",
        kind: Kind::Text,
        default: Some("5s"),
        example: "",
        help: "Time between two commits to the ledger: 20ms to 1min. Agents keep their readings until then.",
    },
    Spec {
        name: "longest_gap",
        kind: Kind::Text,
        default: Some("10s"),
        example: "",
        help: "Longer time between two samples is unmonitored: 1s to 1h. At least two and a half times the\n\
               longest sample_interval of the agents.",
    },
    Spec {
        name: "log_level",
        kind: Kind::Text,
        default: Some("info"),
        example: "",
        help: "What is logged to standard error: error, warn, info, debug or trace.",
    },
    Spec {
        name: "tls.ca",
        kind: Kind::Text,
        default: Some("/etc/gpuledger/tls/ca.pem"),
        example: "",
        help: "The CA that the nodes' certificates come from. The three files are made by `gpuledger ca`; new ones\n\
               are taken up within ten seconds, and at once on SIGHUP.",
    },
    Spec {
        name: "tls.certificate",
        kind: Kind::Text,
        default: Some("/etc/gpuledger/tls/collector.pem"),
        example: "",
        help: "The collector's certificate, for the names and addresses by which agents reach it.",
    },
    Spec {
        name: "tls.key",
        kind: Kind::Text,
        default: Some("/etc/gpuledger/tls/collector.key"),
        example: "",
        help: "Its key, readable by the collector's user alone.",
    },
    Spec {
        name: "archive.enabled",
        kind: Kind::Flag,
        default: Some("true"),
        example: "",
        help: "Moves days that are over out of the ledger into Parquet files, which reports read as before.",
    },
    Spec {
        name: "archive.location",
        kind: Kind::Text,
        default: None,
        example: "s3://bucket/gpuledger",
        help: "Where the files go: a folder or s3://BUCKET/PREFIX. Without it they go where they went before;\n\
               at first into the folder LEDGER.days beside an SQLite file, as any relative folder lies. PostgreSQL has no such folder: until\n\
               a location is set, its days stay in the database. Several collectors need a place that all\n\
               of them reach. One ledger, one place.",
    },
    Spec {
        name: "archive.close_after",
        kind: Kind::Text,
        default: Some("48h"),
        example: "",
        help: "Time after its end that a day is moved: 1h to 366d. What arrives later is counted all the same,\n\
               in a newer version of the day's file.",
    },
    Spec {
        name: "archive.every",
        kind: Kind::Text,
        default: Some("1h"),
        example: "",
        help: "Time between two looks for such days: 1s to 24h.",
    },
    Spec {
        name: "archive.keep_days",
        kind: Kind::Number,
        default: None,
        example: "1826",
        help: "Days for which the files are kept, 31 to 36525; without it for ever. Of what is older only the\n\
               totals of each GPU and node stay: reports of that time are empty then.",
    },
    Spec {
        name: "remote_write.url",
        kind: Kind::Text,
        default: None,
        example: "https://prometheus.example/api/v1/write",
        help: "Sends every series of nodes and GPUs to a receiver of Prometheus remote write, 2.0 or 1.0. Without\n\
               an address nothing is sent or queued.",
    },
    Spec {
        name: "remote_write.families",
        kind: Kind::Text,
        default: Some("*"),
        example: "",
        help: "Which families of /metrics: names with stars, with commas or spaces between them. What the collector\n\
               tells of itself, of energy and of cost is not among them: scrape it.",
    },
    Spec {
        name: "remote_write.resolution",
        kind: Kind::Text,
        default: Some("15s"),
        example: "",
        help: "Sends the first sample in every step of this length, as it was; 0s sends every sample.",
    },
    Spec {
        name: "remote_write.labels",
        kind: Kind::Text,
        default: None,
        example: "site=berlin, cluster=a",
        help: "Labels of every series.",
    },
    Spec {
        name: "remote_write.protocol",
        kind: Kind::Text,
        default: Some("auto"),
        example: "",
        help: "2.0, 1.0, or auto: 2.0, and 1.0 where the receiver does not speak it.",
    },
    Spec {
        name: "remote_write.user",
        kind: Kind::Text,
        default: None,
        example: "gpuledger",
        help: "User at the receiver; secret_file is the password then.",
    },
    Spec {
        name: "remote_write.secret_file",
        kind: Kind::Text,
        default: None,
        example: "/etc/gpuledger/remote_write.secret",
        help: "File with the password, or with a bearer token where no user is named. Read anew for every request.",
    },
    Spec {
        name: "remote_write.ca",
        kind: Kind::Text,
        default: None,
        example: "/etc/ssl/receiver.pem",
        help: "Certificates of the authorities that the receiver's is checked by; without it the system's.",
    },
    Spec {
        name: "remote_write.queue",
        kind: Kind::Text,
        default: None,
        example: "/var/lib/gpuledger/remote_write",
        help: "Folder for what waits for the receiver, of one collector alone. Without it LEDGER.remote_write beside\n\
               an SQLite file, or the folder shown here.",
    },
    Spec {
        name: "remote_write.queue_bytes",
        kind: Kind::Text,
        default: Some("1GiB"),
        example: "",
        help: "What may wait, 64MiB to 1TiB: about a byte a reading. When it is full the oldest is dropped.",
    },
];

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

/// The example file: every key with its help, commented out and set to its default.
pub fn example_file() -> String {
    let mut file = vec![
        "# Configuration of gpuledger serve. Every key is optional; what is commented out shows the default."
            .to_owned(),
        "# Check it with: gpuledger --config FILE check-config".to_owned(),
    ];
    let mut section = None;
    for spec in KEYS {
        let value = spec.default.unwrap_or(spec.example);
        let quote = if spec.kind == Kind::Text { "\"" } else { "" };
        file.push(String::new());
        if spec.section() != section {
            section = spec.section();
            file.extend(section.map(|name| format!("[{name}]")));
        }
        file.extend(spec.help.lines().map(|line| format!("# {line}")));
        file.push(format!("#{} = {quote}{value}{quote}", spec.local_name()));
    }
    file.join("\n") + "\n"
}
