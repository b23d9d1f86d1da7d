//! A batch on the wire: what a point costs to encode and to decode.

use criterion::{Criterion, Throughput};
use gpuledger_benches::cpu::{self, CpuTime};
use gpuledger_benches::stream::{GPUS, Node, SAMPLES, recorded};
use gpuledger_proto::column::Columns;
use gpuledger_proto::convert::{batch_to_wire, columns_from_wire};
use gpuledger_proto::frame::{Batch, Frame};
use gpuledger_proto::ids::Sequence;
use prost::Message;
use std::hint::black_box;

/// Batches that are encoded or decoded in turn, so that no branch knows what comes.
const BATCHES: usize = 64;
/// Samples of a recorded batch: the recordings have one reading.
const RECORDED_SAMPLES: usize = 600;

fn main() {
    let mut criterion = cpu::criterion().configure_from_args();
    let mut node = Node::new(1);
    let simulated: Vec<_> = (0..BATCHES).map(|_| node.frames(SAMPLES)).collect();
    stream(&mut criterion, "8 GPUs x 30", &simulated, GPUS + 1);
    if let Some(frames) = recorded() {
        let parts: Vec<_> =
            frames.chunks_exact(RECORDED_SAMPLES).take(BATCHES).map(<[Frame]>::to_vec).collect();
        stream(&mut criterion, "recorded power", &parts, 1);
    }
    criterion.final_summary();
}

fn stream(criterion: &mut Criterion<CpuTime>, name: &str, frames: &[Vec<Frame>], devices: usize) {
    let batches: Vec<Batch> = frames.iter().map(|frames| Batch::from_frames(Sequence(1), frames)).collect();
    let wires: Vec<_> = batches.iter().map(batch_to_wire).collect();
    let points: usize = batches.iter().map(Batch::points).sum();
    let bytes: usize = wires.iter().map(Message::encoded_len).sum();
    println!("{name}: {}.{:03} bytes a point", bytes / points, bytes * 1_000 / points % 1_000);
    let mut group = criterion.benchmark_group(format!("wire/{name}"));
    group.throughput(Throughput::Elements((points / batches.len()) as u64));
    let mut next = (0..batches.len()).cycle();
    let mut turn = move || next.next().unwrap_or_default();
    group.bench_function("columns", |b| {
        b.iter(|| black_box(Batch::from_frames(Sequence(1), &frames[turn()])));
    });
    group.bench_function("encode", |b| b.iter(|| black_box(batch_to_wire(&batches[turn()]))));
    let mut columns = Columns::default();
    group.bench_function("decode", |b| {
        b.iter(|| {
            let at = turn();
            black_box(columns_from_wire(&wires[at], batches[at].holdings.len(), devices, &mut columns))
        });
    });
    group.finish();
}
