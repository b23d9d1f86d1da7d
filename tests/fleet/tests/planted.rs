//! The planted bugs, as patches of the tree as it is. `tests/planted/run` shows that each is found.

use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn every_planted_bug_still_applies_and_says_what_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let folder = root.join("tests/planted");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut patches: Vec<PathBuf> = files.filter(|path| path.extension() == Some("patch".as_ref())).collect();
    patches.sort();
    assert!(patches.len() >= 5, "{patches:?}");
    for patch in patches {
        let text = std::fs::read_to_string(&patch).unwrap();
        let said = text.split("\n---\n").next().unwrap_or_default();
        assert!(said.ends_with('.') && said.len() < 200, "{}: begin with one sentence", patch.display());
        let checked = Command::new("git").args(["apply", "--check"]).arg(&patch).current_dir(&root).output();
        let checked = checked.unwrap();
        let told = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{} does not apply any more: {told}", patch.display());
    }
}
