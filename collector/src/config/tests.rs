use super::*;

fn read(text: &str) -> Result<Config, ConfigError> {
    Config::from_text(Path::new("collector.toml"), text, &Overrides::default())
}

fn refused(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let config = read("").unwrap();
    assert_eq!(config.ledger, Location::File("/var/lib/gpuledger/ledger.db".into()));
    assert_eq!(config.fleet, None);
    assert_eq!(config.grpc_listen.to_string(), "127.0.0.1:9841");
    assert_eq!(config.http_listen.to_string(), "127.0.0.1:9840");
    assert_eq!(config.ingest.commit_interval, Duration::from_secs(5));
    assert_eq!(config.ingest.fold.longest_gap, crate::fold::LONGEST_GAP_DEFAULT);
    assert_eq!(config.log_level, Level::INFO);
    let archive = config.archive;
    assert_eq!((archive.enabled, archive.location, archive.keep_days), (true, None, None));
    assert_eq!([archive.close_after.as_secs(), archive.every.as_secs()], [48 * 3_600, 3_600]);
}

#[test]
fn the_packaged_example_is_the_table_and_means_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/collector.toml");
    let packaged = std::fs::read_to_string(path).unwrap();
    assert_eq!(packaged, keys::example_file(), "{path} differs from the table in keys.rs");
    assert_eq!(read(&packaged).unwrap(), read("").unwrap());
    // With every comment mark taken away all keys are valid, and those with a default mean it.
    let bare = packaged.lines().filter(|line| !line.starts_with("# "));
    let bare: String = bare.map(|line| line.trim_start_matches('#').to_owned() + "\n").collect();
    let mut expected = read("").unwrap();
    expected.fleet = Some("/etc/gpuledger/fleet.toml".into());
    expected.archive.location = Some("s3://bucket/gpuledger".to_owned());
    expected.archive.keep_days = Some(1_826);
    expected.remote_write = read(&bare).unwrap().remote_write;
    assert!(expected.remote_write.is_some());
    assert_eq!(read(&bare).unwrap(), expected);
}

#[test]
fn each_mistake_is_told_with_its_line_and_how_to_mend_it() {
    let table = [
        ("\nledgr = \"x\"", "collector.toml:2: unknown key \"ledgr\"; did you mean \"ledger\"?"),
        ("grpc_listen_address = \"x\"", "did you mean \"grpc_listen\"?"),
        ("scrape = \"x\"", "the keys are ledger, fleet"),
        ("ledger = ", "collector.toml:1: "),
        ("ledger = 5", "collector.toml:1: ledger: expected a text in quotes, not integer"),
        ("ledger = \"\"", "ledger: the ledger's name is empty"),
        ("ledger = \"mysql://u:p@h/d\"", "ledger: a ledger cannot be at mysql://…; expected the path"),
        (
            "\n[archive]\nlocaton = \"x\"",
            "collector.toml:3: unknown key \"archive.locaton\"; did you mean \"archive.location\"?",
        ),
        ("archive = \"x\"", "unknown key \"archive\""),
        ("[ledger]\nx = 1", "ledger: expected a text in quotes, not table"),
        ("[archive]\nlocation = \"\"", "archive.location: is empty"),
        ("[archive]\nkeep_days = \"400\"", "archive.keep_days: expected a whole number, not string"),
        ("[archive]\nkeep_days = 3", "archive.keep_days: 3 is out of range; expected 31 to 36525 days"),
        ("[archive]\nenabled = 1", "archive.enabled: expected true or false, not integer"),
        ("[archive]\nclose_after = \"5min\"", "archive.close_after: \"5min\" is out of range"),
        ("http_listen = \"localhost\"", "\"localhost\" is not an IP address and a port"),
        (
            "\n\ngrpc_listen = \"9841\"",
            "collector.toml:3: grpc_listen: \"9841\" is not an IP address and a port",
        ),
        ("[tls]\nca = \"\"", "collector.toml:2: tls.ca: is empty; expected a path"),
        ("insecure = \"yes\"", "\"yes\" is neither true nor false"),
        ("commit_interval = \"5\"", "\"5\" is not a duration such as"),
        ("commit_interval = \"2h\"", "out of range; expected 20ms to 60000ms"),
        ("longest_gap = \"99999999999999999999s\"", "is not a duration"),
        ("longest_gap = \"18446744073709551615h\"", "out of range"),
        ("log_level = \"loud\"", "\"loud\" is not a level"),
    ];
    for (text, expected) in table {
        let message = refused(text);
        assert!(message.contains(expected), "{text:?} gives {message:?}, which does not say {expected:?}");
    }
}

#[test]
fn plain_text_must_be_asked_for_even_on_this_machine() {
    let files = read("grpc_listen = \"127.0.0.1:1\"\n[tls]\nkey = \"k\"").unwrap().tls.unwrap();
    assert_eq!(files.certificate, Path::new("/etc/gpuledger/tls/collector.pem"));
    assert_eq!(files.key, Path::new("k"));
    assert_eq!(read("insecure = true\ngrpc_listen = \"0.0.0.0:1\"\n[tls]\nkey = \"k\"").unwrap().tls, None);
}

#[test]
fn flags_stand_above_the_file() {
    let overrides = Overrides { ledger: Some("flag.db".parse().unwrap()), fleet: Some("flag.toml".into()) };
    let text = "ledger = \"file.db\"\nfleet = \"file.toml\"";
    let config = Config::from_text(Path::new("c"), text, &overrides).unwrap();
    assert_eq!(config.ledger, Location::File("flag.db".into()));
    assert_eq!(config.fleet, Some("flag.toml".into()));
    let config = read(text).unwrap();
    assert_eq!(config.ledger, Location::File("file.db".into()));
    assert_eq!(config.fleet, Some("file.toml".into()));
}

#[test]
fn a_file_that_was_named_must_exist() {
    let error = Config::load(Some(Path::new("/nowhere/c.toml")), &Overrides::default()).unwrap_err();
    assert!(error.to_string().starts_with("cannot read /nowhere/c.toml: "), "{error}");
}
