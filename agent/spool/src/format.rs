//! Heads and records as bytes. Pure: the crate's documentation has the layout.

use crate::{BLOB_BYTES_MAX, RECORD_BYTES_MAX, SEQUENCE_FIRST_MAX};

pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"GLSPOOL\n";
pub(crate) const JOURNAL_MAGIC: [u8; 8] = *b"GLJOURN\n";
pub(crate) const VERSION: u32 = 1;
/// Bytes of a head before its blob.
pub(crate) const HEAD_BYTES: usize = 28;
/// Bytes of a record before its payload.
pub(crate) const RECORD_HEAD_BYTES: usize = 16;

/// A head as read, before anything in it is believed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub version: u32,
    pub blob_bytes: usize,
    pub first_sequence: u64,
    crc: u32,
}

/// A record's head as read, before anything in it is believed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordHead {
    pub payload_bytes: usize,
    pub sequence: u64,
    crc: u32,
}

/// A length in this crate is below 2^32 by its limits; what is not encodes as a record that no
/// reader accepts.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

pub(crate) fn encode_head(magic: [u8; 8], first_sequence: u64, blob: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + blob.len());
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&length(blob).to_le_bytes());
    bytes.extend_from_slice(&first_sequence.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), blob);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(blob);
    bytes
}

/// Whether a segment's first record may have this sequence. "Behind record 0" means all of them, so there
/// is none of that number, and the numbers must not run out either.
pub(crate) fn can_begin_at(sequence: u64) -> bool {
    (1..=SEQUENCE_FIRST_MAX).contains(&sequence)
}

/// Reads the fixed part; `None` when it is no head of ours.
pub(crate) fn decode_head(magic: [u8; 8], bytes: &[u8; HEAD_BYTES]) -> Option<Head> {
    let blob_bytes = usize::try_from(u32_at(bytes, 12)).ok()?;
    let first_sequence = u64_at(bytes, 16);
    if bytes[..8] != magic || blob_bytes > BLOB_BYTES_MAX || !can_begin_at(first_sequence) {
        return None;
    }
    Some(Head { version: u32_at(bytes, 8), blob_bytes, first_sequence, crc: u32_at(bytes, 24) })
}

pub(crate) fn head_is_sound(head: Head, fixed: &[u8; HEAD_BYTES], blob: &[u8]) -> bool {
    crc32c::crc32c_append(crc32c::crc32c(&fixed[..24]), blob) == head.crc
}

pub(crate) fn encode_record(buffer: &mut Vec<u8>, sequence: u64, payload: &[u8]) {
    let payload_bytes = length(payload).to_le_bytes();
    let sequence = sequence.to_le_bytes();
    buffer.extend_from_slice(&payload_bytes);
    buffer.extend_from_slice(&record_crc(payload_bytes, sequence, payload).to_le_bytes());
    buffer.extend_from_slice(&sequence);
    buffer.extend_from_slice(payload);
}

/// `None` when the length cannot be one of ours.
pub(crate) fn decode_record_head(bytes: &[u8; RECORD_HEAD_BYTES]) -> Option<RecordHead> {
    let payload_bytes = usize::try_from(u32_at(bytes, 0)).ok()?;
    (payload_bytes <= RECORD_BYTES_MAX).then(|| RecordHead {
        payload_bytes,
        sequence: u64_at(bytes, 8),
        crc: u32_at(bytes, 4),
    })
}

pub(crate) fn record_is_sound(head: RecordHead, payload: &[u8]) -> bool {
    record_crc(length(payload).to_le_bytes(), head.sequence.to_le_bytes(), payload) == head.crc
}

fn record_crc(payload_bytes: [u8; 4], sequence: [u8; 8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&payload_bytes), &sequence), payload)
}

/// Whether a sound record with a sequence above `expected` starts anywhere behind the first byte.
/// It tells damage (sound data behind it) from the torn end of a write (nothing behind it).
pub(crate) fn holds_a_later_record(tail: &[u8], expected: u64) -> bool {
    let most = u64::try_from(tail.len() / RECORD_HEAD_BYTES).unwrap_or(u64::MAX);
    (1..tail.len()).any(|start| {
        let Some((fixed, rest)) = tail[start..].split_first_chunk::<RECORD_HEAD_BYTES>() else {
            return false;
        };
        let Some(head) = decode_record_head(fixed) else { return false };
        let plausible = head.sequence > expected && head.sequence - expected <= most;
        plausible && rest.get(..head.payload_bytes).is_some_and(|payload| record_is_sound(head, payload))
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_these_bytes() {
        let mut bytes = Vec::new();
        encode_record(&mut bytes, 7, b"abc");
        assert_eq!(bytes[..4], [3, 0, 0, 0]);
        assert_eq!(bytes[8..], [7, 0, 0, 0, 0, 0, 0, 0, b'a', b'b', b'c']);
        let crc = crc32c::crc32c(&[3, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, b'a', b'b', b'c']);
        assert_eq!(bytes[4..8], crc.to_le_bytes());
    }

    #[test]
    fn any_flipped_bit_in_a_record_is_noticed() {
        let mut good = Vec::new();
        encode_record(&mut good, 1, b"payload");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let (fixed, payload) = bad.split_first_chunk().unwrap();
            let sound = decode_record_head(fixed)
                .is_some_and(|h| h.payload_bytes == payload.len() && record_is_sound(h, payload));
            assert!(!sound, "bit {bit}");
        }
    }

    #[test]
    fn zeros_are_neither_a_head_nor_a_record() {
        assert!(decode_head(SEGMENT_MAGIC, &[0; HEAD_BYTES]).is_none());
        let head = decode_record_head(&[0; RECORD_HEAD_BYTES]).unwrap();
        assert!(!record_is_sound(head, &[]));
    }
}
