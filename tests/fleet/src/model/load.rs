//! Who has a GPU and how hard it works: the rhythm of days and weeks.
//!
//! - Nodes for training are booked by teams in groups of four GPUs for twelve hours: most of the
//!   week, less at the weekend. A booking begins with loading, pauses now and then, and some are
//!   forgotten: they hold the GPUs and do nothing more after their first half.
//! - On the other nodes two GPUs serve two services day and night, with the day's rhythm; the rest
//!   are taken by people for four hours at a time, mostly in working hours, and work about half of
//!   that time.

use super::draw::{between, draw, happens};
use super::{At, Fleet, Product, SLOT_MS};

/// Who holds a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenancy {
    /// One user of a team has it alone.
    Alone { team: &'static str, user: &'static str },
    /// Two services share it; the first has this part.
    Shared { team: &'static str, services: [&'static str; 2], first_ppm: u32 },
}

/// What a GPU that is there does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// `None`: nobody holds it.
    pub tenancy: Option<Tenancy>,
    /// Utilisation; 0 unless somebody holds it.
    pub busy_ppm: u32,
}

struct Team {
    name: &'static str,
    users: [&'static str; 3],
}

const TRAINING: [Team; 3] = [
    Team { name: "language", users: ["amara", "bo", "chiara"] },
    Team { name: "vision", users: ["dmitri", "esther", "farid"] },
    Team { name: "robotics", users: ["greta", "hiro", "ines"] },
];
const WORKBENCH: [Team; 2] = [
    Team { name: "vision", users: ["dmitri", "jonas", "kavya"] },
    Team { name: "research", users: ["lea", "mateo", "nora"] },
];
const SERVING: Tenancy =
    Tenancy::Shared { team: "search", services: ["embedder", "ranker"], first_ppm: 600_000 };

/// GPUs that are booked together for training.
const GROUP: u32 = 4;
/// GPUs of a node that serve, where it has more than these.
const SERVING_GPUS: u32 = 2;
const SLOTS_PER_HOUR: u64 = 3_600_000 / SLOT_MS;
const SLOTS_PER_TRAINING: u64 = 12 * SLOTS_PER_HOUR;
const SLOTS_PER_SITTING: u64 = 4 * SLOTS_PER_HOUR;

/// What kind of chance is asked for; keeps the draws of one slot apart.
#[derive(Clone, Copy)]
#[repr(u64)]
enum Salt {
    Booked = 1,
    Team,
    User,
    Forgotten,
    Pause,
    Busy,
    Draw,
    Host,
}

/// What the GPU does in a slot.
pub fn work(fleet: &Fleet, at: At, slot: u64) -> Work {
    match fleet.product(at.node) {
        Product::H100 => training(fleet.seed, at, slot),
        Product::L40s if at.gpu < SERVING_GPUS && fleet.gpus_per_node > SERVING_GPUS => {
            serving(fleet.seed, at, slot)
        }
        Product::L40s => workbench(fleet.seed, at, slot),
    }
}

/// Power in a slot: at rest, with a model in memory, or by utilisation and kind of work.
pub fn power_mw(fleet: &Fleet, at: At, slot: u64, work: Work) -> u64 {
    let product = fleet.product(at.node);
    let gpu = place(at);
    match work {
        Work { tenancy: None, .. } => product.idle_mw(),
        Work { busy_ppm: 0, .. } => product.held_mw(),
        Work { busy_ppm, .. } => {
            let intensity = between(780_000, 1_000_000, fleet.seed, &[Salt::Draw as u64, gpu, slot]);
            let above = product.limit_mw() - product.held_mw();
            product.held_mw() + above * u64::from(busy_ppm) / 1_000_000 * intensity / 1_000_000
        }
    }
}

/// Power of the node around its GPUs: a base, and fans and processors that vary.
pub fn host_power_mw(fleet: &Fleet, node: u32, slot: u64) -> u64 {
    let base = fleet.product(node).host_mw();
    between(base, base * 5 / 4, fleet.seed, &[Salt::Host as u64, u64::from(node), slot])
}

/// Hour of the day and day of the week (0 is Monday), in UTC, of the middle of a stretch of slots.
fn when(first: u64, slots: u64) -> (u64, u64) {
    let hours = (first + slots / 2) / SLOTS_PER_HOUR;
    // The Unix epoch was a Thursday.
    (hours % 24, (hours / 24 + 3) % 7)
}

fn training(seed: u64, at: At, slot: u64) -> Work {
    let group = u64::from(at.node) << 16 | u64::from(at.gpu / GROUP);
    let booking = slot / SLOTS_PER_TRAINING;
    let within = slot % SLOTS_PER_TRAINING;
    let (_, weekday) = when(booking * SLOTS_PER_TRAINING, SLOTS_PER_TRAINING);
    let booked = if weekday < 5 { 930 } else { 720 };
    if !happens(booked, seed, &[Salt::Booked as u64, group, booking]) {
        return Work::default();
    }
    let (team, user) = somebody(&TRAINING, seed, &[group, booking]);
    let forgotten = happens(90, seed, &[Salt::Forgotten as u64, group, booking]);
    let waits = within == 0
        || (forgotten && within >= SLOTS_PER_TRAINING / 2)
        || happens(40, seed, &[Salt::Pause as u64, group, slot]);
    let busy = between(830_000, 1_000_000, seed, &[Salt::Busy as u64, place(at), slot]);
    worked(Tenancy::Alone { team, user }, if waits { 0 } else { busy })
}

fn serving(seed: u64, at: At, slot: u64) -> Work {
    let (hour, weekday) = when(slot, 1);
    // Requests in parts per million of what the GPU can do, hour by hour.
    let day = match hour {
        0..=4 => 40_000,
        5..=6 | 22..=23 => 150_000,
        7..=8 | 19..=21 => 380_000,
        _ => 620_000,
    };
    let asked = if weekday < 5 { day } else { day / 2 };
    let quiet = asked < 50_000 && happens(600, seed, &[Salt::Pause as u64, place(at), slot]);
    let busy = between(asked / 2, asked * 3 / 2, seed, &[Salt::Busy as u64, place(at), slot]);
    worked(SERVING, if quiet { 0 } else { busy })
}

fn workbench(seed: u64, at: At, slot: u64) -> Work {
    let gpu = place(at);
    let sitting = slot / SLOTS_PER_SITTING;
    let (hour, weekday) = when(sitting * SLOTS_PER_SITTING, SLOTS_PER_SITTING);
    let taken = match (weekday, hour) {
        (5.., _) => 160,
        (_, 8..=19) => 780,
        (_, 20..=23) => 380,
        _ => 210,
    };
    if !happens(taken, seed, &[Salt::Booked as u64, gpu, sitting]) {
        return Work::default();
    }
    let (team, user) = somebody(&WORKBENCH, seed, &[gpu, sitting]);
    let waits = happens(430, seed, &[Salt::Pause as u64, gpu, slot]);
    let busy = between(60_000, 900_000, seed, &[Salt::Busy as u64, gpu, slot]);
    worked(Tenancy::Alone { team, user }, if waits { 0 } else { busy })
}

fn worked(tenancy: Tenancy, busy_ppm: u64) -> Work {
    // Below 1,000,000 by construction.
    Work { tenancy: Some(tenancy), busy_ppm: u32::try_from(busy_ppm).unwrap_or(1_000_000) }
}

fn somebody(teams: &[Team], seed: u64, booking: &[u64; 2]) -> (&'static str, &'static str) {
    let pick = |salt: Salt, of: usize| {
        let drawn = draw(seed, &[salt as u64, booking[0], booking[1]]);
        // A remainder below a small length fits.
        usize::try_from(drawn % of as u64).unwrap_or(0)
    };
    let team = &teams[pick(Salt::Team, teams.len())];
    (team.name, team.users[pick(Salt::User, team.users.len())])
}

fn place(at: At) -> u64 {
    u64::from(at.node) << 16 | u64::from(at.gpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots of the four weeks from Monday, 2026-08-31.
    const MONDAY: u64 = 1_788_134_400_000 / SLOT_MS;
    const WEEK: u64 = 7 * 24 * SLOTS_PER_HOUR;

    fn fleet() -> Fleet {
        Fleet::ending_at(1_790_000_000_000, 30, 4, 8, 42)
    }

    /// Parts per thousand of the slots in which the GPU is held and busy.
    fn shares(at: At, slots: impl Iterator<Item = u64>) -> (usize, usize) {
        let fleet = fleet();
        let all: Vec<_> = slots.map(|slot| work(&fleet, at, slot)).collect();
        let held = all.iter().filter(|w| w.tenancy.is_some()).count();
        let busy = all.iter().filter(|w| w.busy_ppm > 0).count();
        (held * 1_000 / all.len(), busy * 1_000 / all.len())
    }

    #[test]
    fn monday_is_the_first_day_of_the_week() {
        assert_eq!(when(MONDAY, 1), (0, 0));
        assert_eq!(when(MONDAY + WEEK - 1, 1), (23, 6));
    }

    #[test]
    fn training_nodes_are_mostly_booked_and_mostly_busy_while_booked() {
        let (held, busy) = shares(At { node: 0, gpu: 0 }, MONDAY..MONDAY + 8 * WEEK);
        assert!((750..980).contains(&held), "{held}");
        assert!(busy < held && busy > held * 8 / 10, "{busy} of {held}");
    }

    #[test]
    fn the_gpus_of_a_group_are_booked_together() {
        let fleet = fleet();
        for slot in (MONDAY..MONDAY + WEEK).step_by(7) {
            let tenancy = |gpu| work(&fleet, At { node: 1, gpu }, slot).tenancy;
            assert_eq!(tenancy(4), tenancy(7));
        }
    }

    #[test]
    fn people_work_by_day_and_in_the_week() {
        let at = At { node: 3, gpu: 6 };
        let days = |days: std::ops::Range<u64>, hours: std::ops::Range<u64>| {
            let hours = move |slot: &u64| hours.contains(&(slot / SLOTS_PER_HOUR % 24));
            let slots = (0..12u64).flat_map(move |week| {
                let monday = MONDAY + week * WEEK;
                monday + days.start * 24 * SLOTS_PER_HOUR..monday + days.end * 24 * SLOTS_PER_HOUR
            });
            shares(at, slots.filter(hours)).0
        };
        let (day, night, weekend) = (days(0..5, 8..20), days(0..5, 0..8), days(5..7, 0..24));
        assert!(day > 2 * night && day > 2 * weekend, "{day} {night} {weekend}");
    }

    #[test]
    fn services_share_their_gpus_day_and_night() {
        let (held, busy) = shares(At { node: 2, gpu: 1 }, MONDAY..MONDAY + WEEK);
        assert_eq!(held, 1_000);
        assert!((700..1_000).contains(&busy), "{busy}");
    }

    #[test]
    fn power_lies_between_rest_and_limit_and_rises_with_work() {
        let fleet = fleet();
        for at in fleet.gpus() {
            let product = fleet.product(at.node);
            for slot in (MONDAY..MONDAY + WEEK).step_by(5) {
                let work = work(&fleet, at, slot);
                let power = power_mw(&fleet, at, slot, work);
                let least = if work.busy_ppm > 0 { product.held_mw() + 1 } else { product.idle_mw() };
                assert!((least..=product.limit_mw()).contains(&power), "{at:?} {work:?} {power}");
            }
        }
    }
}
