//! What the kernel says of this process, under the names that all Prometheus libraries use.
//! Where `/proc` lacks a number there is no sample.

use super::families::{
    PROCESS_CPU, PROCESS_MAX_FDS, PROCESS_OPEN_FDS, PROCESS_RESIDENT, PROCESS_START, PROCESS_THREADS,
    PROCESS_VIRTUAL,
};
use super::labels::Block;
use super::text::Text;
use std::fs;
use std::io;
use std::path::Path;

/// Places of the decimal point in a clock tick: Linux counts hundredths of a second towards users
/// (`USER_HZ`) on every architecture that we build for.
const TICK_DECIMALS: i8 = 2;

pub fn render(text: &mut Text<'_>, proc: &Path) -> io::Result<()> {
    let read = |path: &str| fs::read_to_string(proc.join(path)).unwrap_or_default();
    let (stat, status, limits) = (read("self/stat"), read("self/status"), read("self/limits"));
    // The second field is the name in brackets and may hold anything; the third is the first after.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|f| f.parse::<i128>().ok());
    let cpu = ticks(14).zip(ticks(15)).map(|(user, system)| user + system);
    let booted = word_after(&read("stat"), "btime");
    let started = booted.zip(ticks(22)).map(|(boot, since)| boot * 100 + since);
    let open = fs::read_dir(proc.join("self/fd")).ok().map(|entries| entries.count() as i128);
    for (family, value, decimals) in [
        (&PROCESS_CPU, cpu, TICK_DECIMALS),
        (&PROCESS_RESIDENT, word_after(&status, "VmRSS:").map(|kib| kib * 1_024), 0),
        (&PROCESS_VIRTUAL, word_after(&status, "VmSize:").map(|kib| kib * 1_024), 0),
        (&PROCESS_OPEN_FDS, open, 0),
        (&PROCESS_MAX_FDS, word_after(&limits, "Max open files"), 0),
        (&PROCESS_THREADS, word_after(&status, "Threads:"), 0),
        (&PROCESS_START, started, TICK_DECIMALS),
    ] {
        if let Some(value) = value {
            text.family(family, |samples| samples.scaled_with(Block::NONE, &[], value, decimals))?;
        }
    }
    Ok(())
}

/// The number that follows a word at the beginning of a line.
fn word_after(text: &str, word: &str) -> Option<i128> {
    let rest = text.lines().find_map(|line| line.strip_prefix(word))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::written;
    use super::*;

    fn rendered(proc: &Path) -> String {
        written(|text| render(text, proc))
    }

    #[test]
    fn numbers_are_read_from_a_recorded_process_with_brackets_in_its_name() {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir_all(proc.path().join("self/fd")).unwrap();
        fs::write(proc.path().join("self/fd/0"), "").unwrap();
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 0 0 0 150 25 0 0 20 0 3 0 12345 999 8 0";
        fs::write(proc.path().join("self/stat"), stat).unwrap();
        fs::write(proc.path().join("self/status"), "VmSize:\t  20 kB\nVmRSS:\t  10 kB\nThreads:\t3\n")
            .unwrap();
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024    4096    files\n";
        fs::write(proc.path().join("self/limits"), limits).unwrap();
        fs::write(proc.path().join("stat"), "cpu 1 2\nbtime 1700000000\n").unwrap();
        let text = rendered(proc.path());
        for line in [
            "process_cpu_seconds_total 1.75",
            "process_resident_memory_bytes 10240",
            "process_virtual_memory_bytes 20480",
            "process_open_fds 1",
            "process_max_fds 1024",
            "process_threads 3",
            "process_start_time_seconds 1700000123.45",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn without_proc_there_are_no_samples() {
        assert_eq!(rendered(Path::new("/nonexistent")), "");
    }
}
