//! Event sets: a wait blocks until an event of the scenario happens or the time is over.

use std::collections::BTreeMap;
use std::ffi::{c_uint, c_ulonglong};
use std::ptr::without_provenance_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use nvml_wrapper_sys::bindings::{nvmlEventData_t, nvmlEventSet_t};

use crate::abi::export;
use crate::code::{Answer, INVALID_ARGUMENT, NOT_SUPPORTED, TIMEOUT};
use crate::exports::usage::NO_INSTANCE;
use crate::library::{Library, handle};

const XID: u64 = 8;
/// Bits of the events that a Hopper can send: ECC errors, P-state, XID, clocks.
const SUPPORTED: u64 = 0x1f;
/// The longest sleep between two looks, so that a freed set does not hold its waiter for long.
const LOOK: Duration = Duration::from_millis(50);

/// A set: the GPUs in it, and the moment up to which their events have been told.
#[derive(Clone, Debug, Default)]
struct Set {
    /// GPU, events wanted.
    gpus: Vec<(usize, u64)>,
    told_us: u64,
    /// Events of the very moment `told_us` that have been told already.
    told_here: usize,
}

static SETS: Mutex<BTreeMap<usize, Set>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicUsize = AtomicUsize::new(0x5e70_0000);

fn with_set<T>(set: usize, act: impl FnOnce(&mut Set) -> T) -> Answer<T> {
    let mut sets = SETS.lock().unwrap_or_else(PoisonError::into_inner);
    sets.get_mut(&set).map(act).ok_or(INVALID_ARGUMENT)
}

/// The first event that this set has not told yet, if it has happened by now.
fn next_event(library: &Library, set: &mut Set) -> Option<(usize, u64)> {
    let now_us = library.clock.now_us();
    let wanted = |gpu: usize| set.gpus.iter().any(|&(g, events)| g == gpu && events & XID != 0);
    let mut due: Vec<_> = library.model.xids.iter().filter(|xid| wanted(xid.gpu)).collect();
    due.retain(|xid| (set.told_us..=now_us).contains(&(xid.at_ms * 1000)));
    due.sort_by_key(|xid| xid.at_ms);
    let here = due.iter().take_while(|xid| xid.at_ms * 1000 == set.told_us).count();
    let event = due.get(set.told_here.min(here))?;
    let at_us = event.at_ms * 1000;
    set.told_here = if at_us == set.told_us { set.told_here + 1 } else { 1 };
    set.told_us = at_us;
    Some((event.gpu, event.code))
}

export! {
    library fn nvmlEventSetCreate(library, set: *mut nvmlEventSet_t) {
        let number = NEXT.fetch_add(0x10, Ordering::Relaxed);
        // Only what happens from now on is told.
        let fresh = Set { told_us: library.clock.now_us() + 1, ..Set::default() };
        SETS.lock().unwrap_or_else(PoisonError::into_inner).insert(number, fresh);
        set.put(without_provenance_mut(number))
    }

    device fn nvmlDeviceRegisterEvents(call, events: c_ulonglong, set: nvmlEventSet_t) {
        if events & !SUPPORTED != 0 {
            return Err(NOT_SUPPORTED);
        }
        with_set(set.number(), |set| set.gpus.push((call.gpu.index, events)))
    }

    device fn nvmlDeviceGetSupportedEventTypes(_call, events: *mut c_ulonglong) {
        events.put(SUPPORTED)
    }

    library fn nvmlEventSetWait_v2(library, set: nvmlEventSet_t, data: *mut nvmlEventData_t, timeout_ms: c_uint) {
        let until_us = library.clock.now_us() + u64::from(timeout_ms) * 1000;
        loop {
            if let Some((gpu, xid)) = with_set(set.number(), |set| next_event(library, set))? {
                return data.put(nvmlEventData_t {
                    device: handle(&library.model.gpus[gpu]),
                    eventType: XID,
                    eventData: xid,
                    gpuInstanceId: NO_INSTANCE,
                    computeInstanceId: NO_INSTANCE,
                });
            }
            let left_us = until_us.saturating_sub(library.clock.now_us());
            if left_us == 0 {
                return Err(TIMEOUT);
            }
            sleep(LOOK.min(Duration::from_micros(left_us)));
        }
    }

    library fn nvmlEventSetFree(_library, set: nvmlEventSet_t) {
        let removed = SETS.lock().unwrap_or_else(PoisonError::into_inner).remove(&set.number());
        removed.map(drop).ok_or(INVALID_ARGUMENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::tests::library;

    fn set(gpus: &[usize]) -> Set {
        Set { gpus: gpus.iter().map(|&gpu| (gpu, XID)).collect(), ..Set::default() }
    }

    #[test]
    fn events_come_once_each_in_order_to_those_who_registered() {
        let started_long_ago =
            format!("[clock]\nstart_boot_ms = {}\n", crate::clock::boot_ns() / 1_000_000 - 60_000);
        let library = library(&format!(
            "{started_long_ago}[[gpu]]\ncount = 2\n\
             [[xid]]\ngpu = 0\nat_ms = 20\ncode = 79\n[[xid]]\ngpu = 1\nat_ms = 10\ncode = 13\n\
             [[xid]]\ngpu = 0\nat_ms = 20\ncode = 48\n[[xid]]\ngpu = 0\nat_ms = 3600000\ncode = 94"
        ));
        let mut both = set(&[0, 1]);
        let told: Vec<_> = std::iter::from_fn(|| next_event(&library, &mut both)).collect();
        assert_eq!(told, [(1, 13), (0, 79), (0, 48)], "the last one lies in the future");
        assert_eq!(next_event(&library, &mut set(&[1])), Some((1, 13)));
        let mut others = set(&[0]);
        others.gpus[0].1 = 1;
        assert_eq!(next_event(&library, &mut others), None, "XIDs were not asked for");
    }
}
