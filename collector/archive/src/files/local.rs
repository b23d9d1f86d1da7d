//! Files in a folder. Each call runs on a thread that may block.

use super::{FileFault, Found, UNFINISHED};
use bytes::Bytes;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

async fn blocking<T: Send + 'static>(
    fault: fn(String) -> FileFault,
    job: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, FileFault> {
    let done = tokio::task::spawn_blocking(job).await.map_err(|error| fault(error.to_string()))?;
    done.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => FileFault::Missing,
        _ => fault(error.to_string()),
    })
}

pub async fn write(root: PathBuf, path: String, bytes: Bytes) -> Result<(), FileFault> {
    blocking(FileFault::Unwritable, move || write_now(&root, &path, &bytes)).await
}

fn write_now(root: &Path, path: &str, bytes: &[u8]) -> io::Result<()> {
    let file = root.join(path);
    let folder = file.parent().unwrap_or(root);
    create_folders(folder)?;
    let unfinished = PathBuf::from(format!("{}{UNFINISHED}", file.display()));
    let written = (|| {
        let mut out = File::options().write(true).create_new(true).open(&unfinished)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&unfinished, &file)?;
        sync(folder)
    })();
    if written.is_err() {
        // On a full disk it would only take more of it. What cannot be removed either, `gc` names.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// Creates what is missing of a folder, each entry durable in the one above.
fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_folders(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync(above),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

pub async fn read(file: PathBuf) -> Result<Bytes, FileFault> {
    blocking(FileFault::Unreadable, move || fs::read(file).map(Bytes::from)).await
}

pub async fn ranges(file: PathBuf, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, FileFault> {
    let job = move || {
        let mut file = File::open(file)?;
        let mut parts = Vec::with_capacity(ranges.len());
        for range in ranges {
            file.seek(SeekFrom::Start(range.start))?;
            let length = range.end.saturating_sub(range.start);
            let mut part = Vec::new();
            (&mut file).take(length).read_to_end(&mut part)?;
            if u64::try_from(part.len()) != Ok(length) {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            parts.push(Bytes::from(part));
        }
        Ok(parts)
    };
    blocking(FileFault::Unreadable, job).await
}

pub async fn list(root: PathBuf, table: &'static str) -> Result<Vec<Found>, FileFault> {
    let job = move || {
        let mut found = Vec::new();
        for entry in fs::read_dir(root.join(table))? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                found.push(Found { path: format!("{table}/{name}"), bytes: metadata.len() });
            }
        }
        Ok(found)
    };
    match blocking(FileFault::Unreadable, job).await {
        // Nothing was ever written.
        Err(FileFault::Missing) => Ok(Vec::new()),
        listed => listed,
    }
}

pub async fn remove(file: PathBuf) -> Result<(), FileFault> {
    match blocking(FileFault::Unremovable, move || fs::remove_file(file)).await {
        Err(FileFault::Missing) => Ok(()),
        removed => removed,
    }
}
