//! Compresses a scrape page by page.

use crate::export::text::{self, PAGE_BYTES, Pages};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write};

/// Pages on their way through gzip.
pub struct Gzip<P: Pages> {
    encoder: GzEncoder<Compressed<P>>,
}

impl<P: Pages> Gzip<P> {
    pub fn new(pages: P) -> Self {
        let compressed = Compressed { pages, page: text::page() };
        Self { encoder: GzEncoder::new(compressed, Compression::fast()) }
    }

    /// Writes what is left and the checksum.
    pub fn finish(self) -> io::Result<P> {
        let mut compressed = self.encoder.finish()?;
        compressed.pages.take(&mut compressed.page)?;
        Ok(compressed.pages)
    }
}

impl<P: Pages> Pages for Gzip<P> {
    fn take(&mut self, page: &mut Vec<u8>) -> io::Result<()> {
        self.encoder.write_all(page)?;
        page.clear();
        Ok(())
    }
}

/// Gathers pages of compressed bytes.
struct Compressed<P> {
    pages: P,
    page: Vec<u8>,
}

impl<P: Pages> Write for Compressed<P> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.page.extend_from_slice(bytes);
        if self.page.len() >= PAGE_BYTES {
            self.pages.take(&mut self.page)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
