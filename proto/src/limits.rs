//! What a peer may send at most. Whatever is above is refused with its name and the limit.

/// Samples in one batch: more than an hour at 1 Hz. A batch of 10 s at 10 Hz has 100.
pub const SAMPLES_PER_BATCH_MAX: usize = 4_096;
/// Devices of one node, the node itself included. The largest servers hold 16 to 72 GPUs.
pub const DEVICES_PER_NODE_MAX: usize = 257;
/// Columns of one batch: 257 devices × 64 metrics, rounded down to a power of two.
pub const COLUMNS_PER_BATCH_MAX: usize = 16_384;
/// Different holdings that one batch may name.
pub const HOLDINGS_PER_BATCH_MAX: usize = 4_096;
/// Owners that share one GPU at one moment.
pub const SHARES_PER_HOLDING_MAX: usize = 64;
/// Shares of all holdings of one batch: every GPU of the largest node shared by as many as may.
pub const SHARES_PER_BATCH_MAX: usize = (DEVICES_PER_NODE_MAX - 1) * SHARES_PER_HOLDING_MAX;
/// The last sequence of an epoch: one a millisecond for thirty years. Above it a hole or a next one could
/// not be counted.
pub const SEQUENCE_MAX: u64 = 1 << 40;
/// Bytes of any name: node, model, owner, job.
pub const NAME_BYTES_MAX: usize = 253;
/// Bytes of one message: an hour of 16 GPUs at 1 Hz uncompressed is below it.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages in one message, the entries of all its lists together: a batch that is within every other limit
/// has 36,865, and one that is somewhat beyond is still refused by its number. Bounds what lists may claim in
/// memory to 12 MiB.
pub const ENTRIES_PER_MESSAGE_MAX: usize = 64 * 1024;
/// Bytes of one answer of a collector. Only the reason of a refusal is longer than a few numbers.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Values of one batch: twice what an agent puts into one. Bounds the memory that a small message can
/// claim to 8 MiB.
pub const VALUES_PER_BATCH_MAX: usize = 512 * 1024;
