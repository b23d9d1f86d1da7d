//! What a process has used, as the kernel counts it.

use std::io;
use std::time::Duration;

/// Processor time of a process, user and system, over all its threads.
pub fn cpu(pid: u32) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    ticks(&stat, &[14, 15]).map(seconds).ok_or_else(|| malformed(pid, "stat"))
}

/// Processor time of this process.
pub fn own_cpu() -> io::Result<Duration> {
    cpu(std::process::id())
}

/// Processor time of a process, of its children, and of those that have ended.
pub fn family_cpu(pid: u32) -> io::Result<Duration> {
    let mut sum = 0;
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(other) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that has ended since is counted with its parent.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let own = if other == pid {
            ticks(&stat, &[14, 15, 16, 17])
        } else if field(&stat, 4) == Some(u64::from(pid)) {
            ticks(&stat, &[14, 15])
        } else {
            continue;
        };
        sum += own.ok_or_else(|| malformed(other, "stat"))?;
    }
    Ok(seconds(sum))
}

/// The parent of a process, where the process has this name.
pub fn parent_of(pid: u32, name: &str) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let named = stat.split_once('(')?.1.rsplit_once(')')?.0 == name;
    field(&stat, 4).filter(|_| named).and_then(|parent| u32::try_from(parent).ok())
}

/// Resident memory of a process in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resident {
    pub now: u64,
    pub peak: u64,
}

pub fn resident(pid: u32) -> io::Result<Resident> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_suffix("kB"))?;
        line.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
    };
    let found = of("VmRSS:").zip(of("VmHWM:"));
    found.map(|(now, peak)| Resident { now, peak }).ok_or_else(|| malformed(pid, "status"))
}

/// A numbered field of `/proc/PID/stat`, from 3: the name before them may hold anything.
fn field(stat: &str, number: usize) -> Option<u64> {
    let behind_name = stat.rsplit_once(')')?.1;
    behind_name.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn ticks(stat: &str, fields: &[usize]) -> Option<u64> {
    fields.iter().map(|&number| field(stat, number)).sum()
}

fn seconds(ticks: u64) -> Duration {
    let a_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_millis(ticks.saturating_mul(1_000) / a_second)
}

fn malformed(pid: u32, file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/{file} is not as expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_hides_no_field() {
        let stat = "7 (a) b (c)) S 3 7 7 0 -1 4194560 1 2 3 4 150 50 20 10 20 0 1 0 9 9 9";
        assert_eq!(field(stat, 4), Some(3));
        assert_eq!(ticks(stat, &[14, 15]), Some(200));
        assert_eq!(ticks(stat, &[14, 15, 16, 17]), Some(230));
        assert_eq!(ticks("7 (x) S", &[14]), None);
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let mut digest = 0u64;
        let before = own_cpu().unwrap();
        while own_cpu().unwrap() < before + Duration::from_millis(20) {
            digest = digest.wrapping_mul(31).wrapping_add(7);
        }
        let memory = resident(std::process::id()).unwrap();
        assert!(memory.peak >= memory.now && memory.now > 1 << 20, "{memory:?} {digest}");
    }

    #[test]
    fn a_family_is_a_process_and_its_children_even_when_they_have_ended() {
        let mut child = std::process::Command::new("sh").args(["-c", "sleep 60"]).spawn().unwrap();
        let name = "sh";
        let parent = parent_of(child.id(), name);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(parent.is_none_or(|parent| parent == std::process::id()), "{parent:?}");
        assert_eq!(parent_of(std::process::id(), "no such name"), None);
        let own = own_cpu().unwrap();
        assert!(family_cpu(std::process::id()).unwrap() >= own);
    }
}
