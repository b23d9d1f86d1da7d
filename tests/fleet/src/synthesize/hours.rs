//! Rows of a day, drawn: a pure function of seed, GPU and hour.
//!
//! A GPU is booked for some hours by one owner, or free. A booked hour is mostly full of work, sometimes
//! partly, sometimes only held; where a booking ends within an hour both owners have a row of it. Rarely a
//! GPU is down, or nobody looked for a while, and the energy of that time comes with the next hour. Energy
//! is power by time with noise in every bit that a counter has.

use super::register::{GPUS_PER_NODE, Model, OWNERS, Register};
use crate::model::{between, draw};
use gpuledger_ledger::{Day, GpuHour, GpuHourKey, GpuKey, HOUR_MS, Hour, NodeHour, NodeKey, OwnerKey};
use gpuledger_units::{ByteMillis, Millicelsius, Millijoules, Millis, Milliwatts, PpmMillis};

/// Hours of one booking.
const BOOKING_HOURS: u64 = 9;
/// A node in so many has a meter of its own.
const METERED_ONE_IN: u32 = 5;

/// What is drawn; keeps the draws of one hour apart.
#[derive(Clone, Copy)]
#[repr(u64)]
enum Salt {
    Booking = 10,
    Kind,
    Part,
    Busy,
    Energy,
    Outage,
    Memory,
    Heat,
    Host,
}

struct At<'a> {
    register: &'a Register,
    gpu: u32,
    hour: u32,
}

impl At<'_> {
    fn draw(&self, salt: Salt) -> u64 {
        draw(self.register.seed, &[salt as u64, self.gpu.into(), self.hour.into()])
    }

    fn happens(&self, permille: u64, salt: Salt) -> bool {
        self.draw(salt) % 1_000 < permille
    }

    fn between(&self, low: u64, high: u64, salt: Salt) -> u64 {
        between(low, high, self.register.seed, &[salt as u64, self.gpu.into(), self.hour.into()])
    }

    /// Who has it at the end of the hour, and since how many hours.
    fn booking(&self) -> (OwnerKey, u64) {
        // Bookings of different GPUs do not begin together.
        let shifted = u64::from(self.hour) + u64::from(self.gpu) * 5;
        let (booking, since) = (shifted / BOOKING_HOURS, shifted % BOOKING_HOURS);
        (owner(draw(self.register.seed, &[Salt::Booking as u64, self.gpu.into(), booking])), since)
    }

    fn last_hour(&self) -> Self {
        Self { hour: self.hour.saturating_sub(1), ..*self }
    }
}

fn owner(draw: u64) -> OwnerKey {
    if draw % 100 < 22 {
        return OwnerKey::NOBODY;
    }
    let named = u32::try_from((draw >> 32) % u64::from(OWNERS)).unwrap_or_default();
    OwnerKey(OwnerKey::FIRST_NAMED.0 + named)
}

/// All rows of GPUs, in the order (GPU, hour, owner).
pub fn of_gpus(register: &Register, day: Day) -> Vec<(GpuHourKey, GpuHour)> {
    let hours = day.hours();
    let mut rows = Vec::new();
    for gpu in 0..register.gpu_count {
        for hour in hours.from.0..hours.to.0 {
            let at = At { register, gpu, hour };
            let first = rows.len();
            put_hour(&at, &mut rows);
            if let Some(rows) = rows.get_mut(first..) {
                rows.sort_by_key(|(key, _)| key.owner);
            }
        }
    }
    rows
}

fn put_hour(at: &At<'_>, rows: &mut Vec<(GpuHourKey, GpuHour)>) {
    let (owner, since) = at.booking();
    let mut observed = HOUR_MS;
    // Nobody looked for a part of the hour: what was used then comes with the next reading.
    let gap_ms =
        if at.happens(3, Salt::Outage) { at.between(1, HOUR_MS / 2_000, Salt::Part) * 1_000 } else { 0 };
    observed -= gap_ms;
    if at.last_hour().happens(2, Salt::Kind) {
        rows.push((key(at, OwnerKey::NOBODY), down(observed)));
        return;
    }
    let (before, _) = at.last_hour().booking();
    if since == 0 && before != owner && at.happens(500, Salt::Part) {
        let first_ms = at.between(1, observed / 1_000, Salt::Busy) * 1_000;
        rows.push((key(at, before), row(at, before, first_ms, 0)));
        rows.push((key(at, owner), row(at, owner, observed - first_ms, gap_ms)));
        return;
    }
    rows.push((key(at, owner), row(at, owner, observed, gap_ms)));
}

fn key(at: &At<'_>, owner: OwnerKey) -> GpuHourKey {
    GpuHourKey { hour: Hour(at.hour), gpu: GpuKey(at.gpu), owner }
}

fn down(observed: u64) -> GpuHour {
    GpuHour { down_ms: Millis(observed), samples: observed / 1_000, ..GpuHour::default() }
}

fn row(at: &At<'_>, owner: OwnerKey, ms: u64, gap_ms: u64) -> GpuHour {
    let model = at.register.model(at.gpu);
    let active = match at.draw(Salt::Kind) % 100 {
        _ if owner == OwnerKey::NOBODY => 0,
        0..70 => ms,
        70..93 => at.draw(Salt::Part) % (ms / 1_000 + 1) * 1_000,
        _ => 0,
    };
    let rest = ms - active;
    let (held, free) = if owner == OwnerKey::NOBODY { (0, rest) } else { (rest, 0) };
    let busy_ppm = at.between(350_000, 1_000_000, Salt::Busy);
    let (active_mj, rest_mj) = energy(at, model, active, rest, busy_ppm);
    let unseen_mj = model.idle_mw * gap_ms / 1_000;
    let energy = active_mj + rest_mj + unseen_mj;
    let (counter, gap, estimated) =
        if model.has_counter { (energy, unseen_mj, 0) } else { (0, 0, energy - unseen_mj) };
    let is_busy = active > 0;
    let used_ppm = if owner == OwnerKey::NOBODY { 8_000 } else { at.between(300_000, 960_000, Salt::Memory) };
    let used = u128::from(model.memory_bytes / 1_000_000 * used_ppm);
    let throttled =
        if is_busy && at.happens(40, Salt::Heat) { at.draw(Salt::Heat) % (active + 1) } else { 0 };
    let peak = if is_busy { model.limit_mw - at.draw(Salt::Heat) % 40_000 } else { model.idle_mw + 3_000 };
    let celsius = if is_busy { 48 + at.draw(Salt::Heat) % 32 } else { 27 + at.draw(Salt::Heat) % 9 };
    GpuHour {
        active_ms: Millis(active),
        held_ms: Millis(held),
        free_ms: Millis(free),
        down_ms: Millis(0),
        counter_mj: Millijoules(counter),
        gap_mj: Millijoules(gap),
        estimated_mj: Millijoules(estimated),
        active_mj: Millijoules(active_mj),
        busy_ppm_ms: PpmMillis(busy_ppm * active),
        busy_known_ms: Millis(ms),
        memory_byte_ms: ByteMillis(used * u128::from(ms)),
        throttled_ms: Millis(throttled),
        power_max_mw: Some(Milliwatts(peak)),
        temperature_max_mc: i64::try_from(celsius * 1_000).ok().map(Millicelsius),
        samples: ms / 1_000,
    }
}

/// Energy of the time with work, and of the rest.
fn energy(at: &At<'_>, model: &Model, active_ms: u64, rest_ms: u64, busy_ppm: u64) -> (u64, u64) {
    let working_mw = model.idle_mw + (model.limit_mw - model.idle_mw) / 1_000 * (busy_ppm / 1_000);
    let noise = at.draw(Salt::Energy);
    let spread = |mj: u64| mj + mj / 50 * (noise % 1_009) / 1_009 + noise % 977;
    let of =
        |mw: u64, ms: u64| if ms == 0 { 0 } else { spread(mw * (ms / 1_000) + mw * (ms % 1_000) / 1_000) };
    (of(working_mw, active_ms), of(model.idle_mw, rest_ms))
}

/// All rows of nodes, in the order (hour, node).
pub fn of_nodes(register: &Register, day: Day) -> Vec<(Hour, NodeKey, NodeHour)> {
    let hours = day.hours();
    let each =
        (hours.from.0..hours.to.0).flat_map(|hour| (0..register.node_count()).map(move |node| (hour, node)));
    each.map(|(hour, node)| {
        let at = At { register, gpu: node * GPUS_PER_NODE, hour };
        (Hour(hour), NodeKey(node), node_row(&at, node))
    })
    .collect()
}

fn node_row(at: &At<'_>, node: u32) -> NodeHour {
    let is_metered = node.is_multiple_of(METERED_ONE_IN);
    let host_mw = at.between(1_200_000, 8_000_000, Salt::Host);
    let cpu_ppm = at.between(20_000, 700_000, Salt::Busy);
    let bytes = u128::from(at.between(100, 1_800, Salt::Memory) << 30);
    NodeHour {
        observed_ms: Millis(HOUR_MS),
        counter_mj: Millijoules(if is_metered { host_mw * 3_600 } else { 0 }),
        gap_mj: Millijoules(0),
        estimated_mj: Millijoules(0),
        metered_ms: Millis(if is_metered { HOUR_MS } else { 0 }),
        cpu_ppm_ms: PpmMillis(cpu_ppm * HOUR_MS),
        cpu_known_ms: Millis(HOUR_MS),
        memory_byte_ms: ByteMillis(bytes * u128::from(HOUR_MS)),
        power_max_mw: is_metered.then_some(Milliwatts(host_mw + 90_000)),
        samples: HOUR_MS / 1_000,
    }
}
