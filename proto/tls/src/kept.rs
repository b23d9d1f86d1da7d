//! Files in force while a program runs: good new ones take their place, bad ones are told once.

use crate::files::{FileError, Files};
use crate::watch::Watch;
use std::time::Duration;

/// How often a program looks at its files. A certificate that was just copied is not urgent, and a look
/// costs three system calls.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What was made of the files when they were good last, [`Client`](crate::Client) or
/// [`Server`](crate::Server).
#[derive(Debug)]
pub struct Kept<T> {
    files: Files,
    read: fn(&Files) -> Result<T, FileError>,
    watch: Watch,
    current: Option<T>,
    told: Vec<String>,
}

/// What came of reading the files. `news` is what an operator has not been told yet.
#[derive(Debug)]
pub enum Read<T> {
    /// They are good, and in force.
    Taken { now: T, news: Vec<String> },
    /// They are no good. What was in force before still is, if anything was.
    Refused { error: FileError, news: Vec<String> },
}

impl<T: Clone> Kept<T> {
    /// Nothing is read yet.
    pub fn new(files: Files, read: fn(&Files) -> Result<T, FileError>) -> Self {
        let watch = Watch::begin(&files);
        Self { files, read, watch, current: None, told: Vec::new() }
    }

    /// What is in force.
    pub const fn current(&self) -> Option<&T> {
        self.current.as_ref()
    }

    /// Reads the files where they have changed, or where that was `asked` for; see [`Kept::read`].
    pub fn look(&mut self, asked: bool, warnings: impl FnOnce(&T) -> Vec<String>) -> Option<Read<T>> {
        (self.watch.has_changed() || asked).then(|| self.read(warnings))
    }

    /// Reads the files. `warnings` says what is wrong with good ones all the same.
    pub fn read(&mut self, warnings: impl FnOnce(&T) -> Vec<String>) -> Read<T> {
        // Seen before they are read, so that a change meanwhile is noticed by the next look.
        self.watch.has_changed();
        match (self.read)(&self.files) {
            Ok(now) => {
                self.current = Some(now.clone());
                Read::Taken { news: self.news(warnings(&now)), now }
            }
            Err(error) => {
                let then = if self.current.is_some() { "; the old files stay in force" } else { "" };
                Read::Refused { news: self.news(vec![format!("{error}{then}")]), error }
            }
        }
    }

    /// All of it where it differs from what was told last.
    fn news(&mut self, all: Vec<String>) -> Vec<String> {
        if all == self.told {
            return Vec::new();
        }
        self.told.clone_from(&all);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Good files are numbers.
    fn number(files: &Files) -> Result<u32, FileError> {
        let read = fs::read_to_string(&files.key).unwrap_or_default();
        read.parse().map_err(|_| FileError::Permission { path: files.key.clone() })
    }

    #[test]
    fn good_files_take_over_and_bad_ones_are_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let files = Files { ca: "ca".into(), certificate: "certificate".into(), key: key.clone() };
        let mut kept = Kept::new(files, number);
        let odd = |number: &u32| if number % 2 == 1 { vec![format!("{number} is odd")] } else { vec![] };
        let mut look = |asked| match kept.look(asked, odd) {
            None => ("same", vec![], kept.current().copied()),
            Some(Read::Taken { news, now }) => ("taken", news, Some(now)),
            Some(Read::Refused { news, .. }) => ("refused", news, kept.current().copied()),
        };
        assert_eq!(look(false), ("same", vec![], None), "nobody asked yet");
        let (refused, news, current) = look(true);
        assert_eq!((refused, news.len(), current), ("refused", 1, None));
        assert!(!news[0].contains("old files"), "{news:?}");
        fs::write(&key, "7").unwrap();
        assert_eq!(look(false), ("taken", vec!["7 is odd".to_owned()], Some(7)));
        assert_eq!(look(false), ("same", vec![], Some(7)));
        assert_eq!(look(true), ("taken", vec![], Some(7)), "told already");
        fs::write(&key, "bad").unwrap();
        let (refused, news, current) = look(false);
        assert_eq!((refused, current), ("refused", Some(7)));
        assert!(news[0].ends_with("; the old files stay in force"), "{news:?}");
        assert_eq!(look(true).1, Vec::<String>::new());
        fs::write(&key, "10").unwrap();
        assert_eq!(look(false), ("taken", vec![], Some(10)));
    }
}
