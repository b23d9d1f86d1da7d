//! Notices that files have been replaced: by rename, in place, or through a link that leads elsewhere.

use crate::files::Files;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What tells one content of a file from another without reading it. `None`: there is no such file.
type Print = Option<(Place, Instant, Instant)>;
/// Device, inode and size.
type Place = (u64, u64, u64);
/// Seconds and nanoseconds.
type Instant = (i64, i64);

/// The three files as they were looked at last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    files: Files,
    prints: [Print; 3],
}

impl Watch {
    /// Begins with the files as they are now: before they are read, so that no change is missed.
    pub fn begin(files: &Files) -> Self {
        Self { files: files.clone(), prints: prints(files) }
    }

    /// Whether one of them is another one than at the last look.
    pub fn has_changed(&mut self) -> bool {
        let now = prints(&self.files);
        std::mem::replace(&mut self.prints, now) != now
    }
}

fn prints(files: &Files) -> [Print; 3] {
    [&files.ca, &files.certificate, &files.key].map(|path| print(path))
}

fn print(path: &Path) -> Print {
    let found = std::fs::metadata(path).ok()?;
    let place = (found.dev(), found.ino(), found.size());
    // Permissions count, and change the second time: whoever mends them wants the file read again.
    Some((place, (found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn every_way_to_replace_a_file_is_noticed_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let files = Files { ca: at("ca"), certificate: at("certificate"), key: at("key") };
        let mut watch = Watch::begin(&files);
        let mut changed = |what: &str| {
            assert!(watch.has_changed(), "{what}");
            assert!(!watch.has_changed(), "{what}: told twice");
        };
        fs::write(&files.ca, "1").unwrap();
        changed("appeared");
        fs::write(at("new"), "1").unwrap();
        fs::rename(at("new"), &files.ca).unwrap();
        changed("renamed over");
        fs::write(&files.ca, "22").unwrap();
        changed("written in place");
        fs::remove_file(&files.ca).unwrap();
        changed("removed");
        fs::write(at("one"), "1").unwrap();
        fs::write(at("two"), "1").unwrap();
        std::os::unix::fs::symlink(at("one"), &files.key).unwrap();
        changed("linked");
        std::os::unix::fs::symlink(at("two"), at("link")).unwrap();
        fs::rename(at("link"), &files.key).unwrap();
        changed("linked elsewhere");
    }
}
