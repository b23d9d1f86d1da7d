//! The bytes of a file: decompressed where they are gzip, hashed and counted on the way.

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

/// Told how many bytes of how many have been read.
pub type Progress<'a> = dyn FnMut(u64, u64) + 'a;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// One read call: large enough that the calls cost nothing, small enough for smooth progress.
const BUFFER_BYTES: usize = 256 * 1024;

/// What has passed so far, seen from outside while a reader owns the file.
#[derive(Clone)]
pub struct Meter(Rc<RefCell<Passed>>);

struct Passed {
    digest: Sha256,
    bytes: u64,
    size: u64,
}

impl Meter {
    /// Bytes read and bytes in the file.
    pub fn position(&self) -> (u64, u64) {
        let passed = self.0.borrow();
        (passed.bytes, passed.size)
    }

    /// SHA-256 of all bytes that were read.
    pub fn digest(&self) -> [u8; 32] {
        self.0.borrow().digest.clone().finalize().into()
    }
}

struct Tap {
    file: File,
    passed: Meter,
}

impl Read for Tap {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let mut passed = self.passed.0.borrow_mut();
        passed.digest.update(&buffer[..count]);
        passed.bytes += u64::try_from(count).unwrap_or(u64::MAX);
        Ok(count)
    }
}

/// Opens a file for reading as text. What is read counts towards the meter's digest, which is that
/// of the file once the reader has come to its end.
pub fn open(path: &Path) -> io::Result<(Box<dyn Read>, Meter)> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let passed = Meter(Rc::new(RefCell::new(Passed { digest: Sha256::new(), bytes: 0, size })));
    let mut raw = BufReader::with_capacity(BUFFER_BYTES, Tap { file, passed: passed.clone() });
    let compressed = raw.fill_buf()?.starts_with(&GZIP_MAGIC);
    let text: Box<dyn Read> = if compressed { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
    Ok((text, passed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write as _;

    #[test]
    fn a_compressed_file_reads_like_the_plain_one_and_is_named_by_its_own_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(b"a,b\n1,2\n").unwrap();
        let packed = gz.finish().unwrap();
        for bytes in [b"a,b\n1,2\n".to_vec(), packed] {
            let path = folder.path().join("file.csv");
            std::fs::write(&path, &bytes).unwrap();
            let (mut reader, meter) = open(&path).unwrap();
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            assert_eq!(text, "a,b\n1,2\n");
            assert_eq!(meter.digest(), <[u8; 32]>::from(Sha256::digest(&bytes)));
            let size = u64::try_from(bytes.len()).unwrap();
            assert_eq!(meter.position(), (size, size));
        }
    }
}
