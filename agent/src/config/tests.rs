//! Whole configurations, as files on disk.

use super::*;
use std::path::Path;

fn read(text: &str) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.toml");
    std::fs::write(&path, text).unwrap();
    Given::from_file(&path, true).and_then(|given| Config::validate(&given))
}

/// The message without the temporary folder.
fn refused(text: &str) -> String {
    let message = read(text).unwrap_err().to_string();
    message.find("agent.toml").map_or(message.clone(), |at| message[at..].to_owned())
}

#[test]
fn an_empty_file_and_no_file_give_the_defaults() {
    let defaults = Config::validate(&Given::default()).unwrap();
    assert_eq!(read("").unwrap(), defaults);
    let missing = Given::from_file(Path::new("/nonexistent/agent.toml"), false).unwrap();
    assert_eq!(Config::validate(&missing).unwrap(), defaults);
    assert_eq!(defaults.collector.uri(), "https://127.0.0.1:9841");
    let tls = defaults.tls.as_ref().unwrap();
    assert_eq!(tls.certificate, Path::new("/etc/gpuledger/tls/node.pem"));
    assert_eq!((defaults.sample_interval_ms, defaults.batch_span_ms), (1_000, 10_000));
    assert_eq!(defaults.spool_bytes_max, 1 << 30);
    assert_eq!(defaults.nvml_library, None);
    assert_eq!(defaults.node.as_str(), host::hostname());
}

#[test]
fn the_example_file_with_everything_commented_in_is_valid_and_says_the_defaults() {
    let example = keys::example_file();
    let is_setting =
        |line: &str| line.strip_prefix('#').is_some_and(|l| !l.starts_with(' ') && l.contains(" = "));
    let text: String = example
        .lines()
        .map(|line| if is_setting(line) { &line[1..] } else { line })
        .flat_map(|line| [line, "\n"])
        .collect();
    let from_example = read(&text).unwrap();
    let defaults = Config::validate(&Given::default()).unwrap();
    let expected = Config {
        node: from_example.node.clone(),
        nvml_library: from_example.nvml_library.clone(),
        slurm_conf: from_example.slurm_conf.clone(),
        ..defaults
    };
    assert_eq!(from_example, expected);
    assert_eq!(from_example.node.as_str(), "gpu-01");
}

#[test]
fn an_interval_that_needs_a_longer_gap_at_the_collector_is_warned_of() {
    assert_eq!(read("sample_interval = '4s'").unwrap().warnings(), Vec::<String>::new());
    let warning = read("sample_interval = '10s'").unwrap().warnings().join("; ");
    assert!(warning.contains("sample_interval: 10000 ms") && warning.contains("25000ms"), "{warning}");
}

#[test]
fn plain_text_needs_no_files_and_is_warned_of() {
    let config = read("insecure = true\n[tls]\nca = 'x'").unwrap();
    assert_eq!((config.collector.uri().as_str(), config.tls.as_ref()), ("http://127.0.0.1:9841", None));
    assert!(config.warnings()[0].starts_with("insecure = true: readings leave this node in plain text"));
    let files = read("[tls]\nca = 'a'\ncertificate = 'b'\nkey = 'c'").unwrap().tls.unwrap();
    assert_eq!([files.ca, files.certificate, files.key], ["a", "b", "c"].map(PathBuf::from));
}

#[test]
fn a_file_that_is_named_and_missing_is_an_error() {
    let error = Given::from_file(Path::new("/nonexistent/agent.toml"), true).unwrap_err();
    assert!(error.to_string().starts_with("cannot read /nonexistent/agent.toml: "), "{error}");
}

#[test]
fn a_wrong_file_names_line_key_and_what_was_expected() {
    for (text, expected) in [
        (
            "node = \"a\"\nsampel_interval = \"1s\"",
            "agent.toml:2: unknown key \"sampel_interval\"; did you mean \"sample_interval\"?",
        ),
        ("node = ", "agent.toml:1: "),
        ("[spool]\ndir = \"x\"", "agent.toml:1: unknown key \"spool\"; did you mean \"spool_dir\"?"),
        (
            "\n\nnode = 5",
            "agent.toml:3: node: expected text in quotes, such as \"gpu-01\", and found a number",
        ),
        (
            "insecure = \"yes\"",
            "agent.toml:1: insecure: expected true or false without quotes, and found text",
        ),
        ("node = \"a/b\"", "agent.toml:1: node: node name \"a/b\" is not valid: expected 1 to 253 letters"),
        (
            "sample_interval = \"10ms\"",
            "agent.toml:1: sample_interval: \"10ms\" is out of range; expected 100ms to 10s",
        ),
        (
            "sample_interval = \"10s\"\nbatch_span = \"5s\"",
            "agent.toml:2: batch_span: a batch of 5000 ms has no room",
        ),
        ("spool_size = \"1GB\"", "agent.toml:1: spool_size: \"1GB\" has the unknown unit \"GB\""),
        ("spool_dir = \"\"", "agent.toml:1: spool_dir: is empty; expected a path"),
        (
            "collector = \"http://ledger.example\"",
            "agent.toml:1: collector: \"http://ledger.example\" is plain text",
        ),
        (
            "[tls]\ncertficate = \"x\"",
            "agent.toml:2: unknown key \"tls.certficate\"; did you mean \"tls.certificate\"?",
        ),
        ("[tls]\nkey = \"\"", "agent.toml:2: tls.key: is empty; expected a path"),
        ("log_level = \"loud\"", "agent.toml:1: log_level: \"loud\" is not a level; expected error, warn"),
    ] {
        let message = refused(text);
        assert!(message.starts_with(expected), "{text:?}\n  gives {message}\n  not   {expected}");
    }
    let all = refused("scrape_configs = []");
    assert!(all.contains("the keys are node, collector, "), "{all}");
}

#[test]
fn a_flag_stands_above_the_file_and_a_wrong_one_names_itself() {
    let mut given = Given::default();
    given.set(Key::SampleInterval, "2s".to_owned(), Origin::File { path: "agent.toml".into(), line: 1 });
    given.set(Key::SampleInterval, "5s".to_owned(), Origin::Flag("--sample-interval".to_owned()));
    assert_eq!(Config::validate(&given).unwrap().sample_interval_ms, 5_000);
    given.set(Key::SampleInterval, "5".to_owned(), Origin::Flag("--sample-interval".to_owned()));
    let error = Config::validate(&given).unwrap_err().to_string();
    assert!(error.starts_with("flag --sample-interval: sample_interval: \"5\" has no unit"), "{error}");
}
