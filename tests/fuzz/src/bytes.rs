//! Decisions out of a fuzzer's bytes. Any bytes are a sequence of decisions, and few bytes changed
//! are few decisions changed, which is what lets a fuzzer find its way.

/// Numbers at which arithmetic breaks, if it does.
const EDGES: [i64; 16] = [
    0,
    1,
    -1,
    i64::MAX,
    i64::MIN,
    i64::MAX - 1,
    i64::MIN + 1,
    u32::MAX as i64,
    u32::MAX as i64 + 1,
    i32::MIN as i64,
    1 << 53,
    (1 << 62) + 1,
    999_999,
    1_000_000,
    1_000_001,
    3_600_000,
];

/// What is left of the bytes. At their end every decision is 0, and [`Bytes::is_empty`] says so.
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// One of `sides`, which is not 0.
    pub fn pick(&mut self, sides: u8) -> u8 {
        self.byte() % sides
    }

    pub fn coin(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// At most so many of the bytes as they are.
    pub fn raw(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Any number at all, mostly one that is interesting.
    pub fn number(&mut self) -> i64 {
        match self.byte() {
            edge @ 0..=15 => EDGES[usize::from(edge)],
            small @ 16..=127 => i64::from(small) - 16,
            128..=191 => i64::from(self.byte()) * 1_000,
            192..=223 => i64::from(u32::from_le_bytes(self.array())),
            _ => i64::from_le_bytes(self.array()),
        }
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.raw(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }
}
