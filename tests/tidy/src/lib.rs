//! House rules as tests: this crate reads the tree, the files in `tests/` state the rules.
//!
//! A rule collects findings, each `path:line: what`, and ends with [`Findings::none_or`], whose
//! message tells what to do. Rules look at text, not at types: they are cheap, and a reader can see
//! what they demand. The compiler and clippy hold everything that they can hold.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are no part of the tree.
const NOT_OURS: [&str; 4] = ["target", ".git", "node_modules", "__pycache__"];

/// A text file of the tree.
#[derive(Debug, Clone)]
pub struct File {
    /// Relative to the root, with `/`.
    pub path: String,
    pub text: String,
    /// Unit tests in a file of their own: a module that exists only under `cfg(test)`.
    pub unit_tests: bool,
}

impl File {
    /// The lines with their numbers.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// The lines that the product is made of: comments cut off, unit tests at the end of the file left out.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = self.lines().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
        code.map(|(at, line)| (at, line.split_once("//").map_or(line, |(code, _)| code)))
    }

    /// Whether the file lies in this folder.
    pub fn within(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }

    pub fn is_a(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|e| e == extension)
    }

    pub fn is_rust(&self) -> bool {
        self.is_a("rs")
    }

    /// Rust that ends up in a library or binary of the product: not its tests.
    pub fn is_product(&self) -> bool {
        self.is_rust() && self.path.contains("src/") && !self.within("tests") && !self.unit_tests
    }

    /// Paths without extension of the modules that this file declares under `cfg(test)`.
    fn test_modules(&self) -> Vec<String> {
        let (folder, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let stem = name.trim_end_matches(".rs");
        let beside = ["mod", "lib", "main"].contains(&stem);
        let within = if beside { folder.to_owned() } else { format!("{folder}/{stem}") };
        let mut modules = Vec::new();
        for after in self.text.split("#[cfg(test)]").skip(1) {
            let mut lines = after.lines().map(str::trim).filter(|line| !line.is_empty());
            let mut line = lines.next().unwrap_or_default();
            if let Some(path) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix(".rs\"]"))
            {
                modules.push(format!("{folder}/{path}"));
                line = lines.next().unwrap_or_default();
            }
            if let Some(module) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
                modules.push(format!("{within}/{module}"));
            }
        }
        modules
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

/// Every text file of the tree, in the order of their paths.
pub fn tree() -> Vec<File> {
    let mut files = Vec::new();
    walk(&root(), "", &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let rust = files.iter().filter(|f| f.is_rust());
    let modules: Vec<String> = rust.flat_map(File::test_modules).collect();
    for file in &mut files {
        // `tests.rs`, `tests/mod.rs` and everything below `tests/`.
        file.unit_tests = modules.iter().any(|module| {
            let beyond = file.path.strip_prefix(module.as_str());
            beyond.is_some_and(|beyond| beyond == ".rs" || beyond.starts_with('/'))
        });
    }
    files
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<File>) {
    // A file that vanishes while we walk is no finding.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.path().is_dir() {
            if !NOT_OURS.contains(&name.as_str()) {
                walk(&entry.path(), &format!("{path}/"), files);
            }
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            files.push(File { path, text, unit_tests: false });
        }
    }
}

/// The one file with this path.
pub fn file(path: &str) -> Option<File> {
    fs::read_to_string(root().join(path)).ok().map(|text| File {
        path: path.to_owned(),
        text,
        unit_tests: false,
    })
}

/// Whether `text` has `word` with no letter, digit or underscore on either side.
pub fn has_word(text: &str, word: &str) -> bool {
    let part_of_a_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(part_of_a_word) && !text[at + word.len()..].starts_with(part_of_a_word)
    })
}

/// What breaks a rule.
#[derive(Debug, Default)]
pub struct Findings(Vec<String>);

impl Findings {
    pub fn add(&mut self, place: impl std::fmt::Display, what: impl std::fmt::Display) {
        self.0.push(format!("{place}: {what}"));
    }

    pub fn add_line(&mut self, file: &File, line: usize, what: impl std::fmt::Display) {
        self.add(format_args!("{}:{line}", file.path), what);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fails the test unless nothing was found.
    #[track_caller]
    pub fn none_or(self, remedy: &str) {
        let mut message = String::new();
        for finding in &self.0 {
            let _ = write!(message, "\n  {finding}");
        }
        assert!(self.0.is_empty(), "{} found:{message}\n\nWhat to do: {remedy}\n", self.0.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rust(text: &str) -> File {
        File { path: "agent/src/a.rs".to_owned(), text: text.to_owned(), unit_tests: false }
    }

    #[test]
    fn code_leaves_out_comments_and_unit_tests_and_keeps_line_numbers() {
        let file = rust("//! Doc.\nlet a = 1; // why\n#[cfg(test)]\nlet b = 2;\n");
        let code: Vec<_> = file.code().collect();
        assert_eq!(code, [(1, ""), (2, "let a = 1; ")]);
    }

    #[test]
    fn modules_that_exist_only_for_tests_are_no_product() {
        let text = "#[cfg(test)]\nmod tests;\n#[cfg(test)]\n#[path = \"b_tests.rs\"]\nmod more;\nmod real;\n";
        assert_eq!(rust(text).test_modules(), ["agent/src/a/tests", "agent/src/b_tests", "agent/src/a/more"]);
        let of_crate = File { path: "agent/src/lib.rs".to_owned(), ..rust("#[cfg(test)]\nmod tests;\n") };
        assert_eq!(of_crate.test_modules(), ["agent/src/tests"]);
        let tree = tree();
        let chain = tree.iter().find(|f| f.path == "collector/src/fold/chain_tests.rs");
        assert!(chain.is_some_and(|f| f.unit_tests && !f.is_product()));
    }

    #[test]
    fn a_word_is_not_found_inside_another() {
        assert!(has_word("use gpuledger_tco::money;", "gpuledger_tco"));
        assert!(!has_word("use nvml_wrapper_sys::x;", "nvml_wrapper"));
        assert!(!has_word("my_f64", "f64"));
    }

    #[test]
    fn a_folder_is_not_the_beginning_of_another_folders_name() {
        assert!(rust("").within("agent"));
        assert!(!rust("").within("age"));
    }

    #[test]
    #[should_panic(expected = "What to do: mend it")]
    fn a_finding_fails_the_rule_and_says_what_to_do() {
        let mut findings = Findings::default();
        findings.add_line(&rust(""), 3, "wrong");
        findings.none_or("mend it");
    }

    #[test]
    fn the_tree_has_this_very_file_and_nothing_that_was_built() {
        let tree = tree();
        assert!(tree.iter().any(|f| f.path == "tests/tidy/src/lib.rs"));
        assert!(!tree.iter().any(|f| f.within("target")));
    }
}
