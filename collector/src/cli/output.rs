//! Where a command's result goes: standard output, or a file that is there whole or not at all.

use super::Failure;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The place, checked before anything is computed.
#[derive(Debug)]
pub enum Output {
    Stdout,
    File { path: PathBuf, replace: bool },
}

impl Output {
    /// Refuses to overwrite a file without `--force`.
    pub fn checked(path: Option<PathBuf>, replace: bool) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        if path.is_dir() {
            return Err(Failure::Usage(format!("{} is a folder: name a file", path.display())));
        }
        if !replace && path.exists() {
            return Err(exists(&path));
        }
        Ok(Self::File { path, replace })
    }

    /// Has `write` produce the result. A file appears under its name only when it is complete and on
    /// disk.
    pub fn write(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        match self {
            Self::Stdout => {
                let mut out = BufWriter::new(io::stdout().lock());
                write(&mut out)?;
                Ok(out.flush()?)
            }
            Self::File { path, replace } => to_file(path, *replace, READABLE, write),
        }
    }
}

/// Permissions of a file that others may read as far as the process's mask allows it.
pub const READABLE: u32 = 0o666;
/// Permissions of a secret.
pub const PRIVATE: u32 = 0o600;

fn exists(path: &Path) -> Failure {
    Failure::Usage(format!("{} exists already: give another --out, or --force to replace it", path.display()))
}

/// Writes a file whole or not at all, with these permissions from its first byte on.
pub fn to_file(
    path: &Path,
    replace: bool,
    mode: u32,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Runtime(format!("cannot write {}: {error}", path.display()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = Temporary(folder.join(format!(".{name}.{}.tmp", std::process::id())));
    // What a process of the same number left behind may have other permissions.
    let _ = fs::remove_file(&temporary.0);
    let file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary.0).map_err(failed)?;
    let mut out = BufWriter::new(file);
    write(&mut out).map_err(failed)?;
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    if replace {
        fs::rename(&temporary.0, path).map_err(failed)?;
    } else {
        // A link fails where the name is taken, even when that happened a moment ago.
        fs::hard_link(&temporary.0, path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(path),
            _ => failed(error),
        })?;
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Removes the temporary file when it is no longer needed, however the writing ended.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_not_replaced_unless_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let put = |text: &'static str| move |out: &mut dyn Write| out.write_all(text.as_bytes());
        Output::checked(Some(path.clone()), false).unwrap().write(put("one")).unwrap();
        assert!(matches!(Output::checked(Some(path.clone()), false), Err(Failure::Usage(_))));
        let raced = Output::File { path: path.clone(), replace: false };
        assert!(matches!(raced.write(put("two")), Err(Failure::Usage(_))), "the name was taken meanwhile");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        Output::checked(Some(path.clone()), true).unwrap().write(put("three")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_result_that_fails_half_way_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let output = Output::checked(Some(path), false).unwrap();
        let failed = output.write(|out| {
            out.write_all(b"half")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert!(matches!(failed, Err(Failure::Runtime(_))));
        assert!(names(folder.path()).is_empty());
    }
}
