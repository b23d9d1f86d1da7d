//! XID events from the kernel's log: all codes, also of GPUs that have fallen off the bus and of which the
//! driver's own events tell nothing any more.
//!
//! `/dev/kmsg` belongs to root (or to `CAP_SYSLOG`, where `dmesg_restrict` is set), so the agent reads it
//! only where it is let in. A record is `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS[,…];TEXT`; facility 0 is the
//! kernel's, and what programs write there is left alone. Reading begins at the end of the log.

use super::gpu::xid::{Teller, XidLog};
use crate::clock::WallClock;
use gpuledger_proto::reading::{Absence, Reading};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub const KMSG: &str = "/dev/kmsg";

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The kernel's own limit of a record.
const RECORD_BYTES_MAX: usize = 8_192;
/// In one look: a log that floods does not hold up its own end.
const RECORDS_MAX: usize = 4_096;
const STACK_BYTES: usize = 128 * 1024;

/// Whether the log can be read: a value, or why not.
pub fn access(path: &Path) -> Reading<()> {
    match open(path) {
        Ok(_) => Reading::Value(()),
        Err(error) => Reading::Absent(match error.kind() {
            ErrorKind::PermissionDenied => Absence::NoPermission,
            ErrorKind::NotFound => Absence::Unsupported,
            _ => Absence::Failed,
        }),
    }
}

/// Listens from now on, where it may; the thread ends within a second after `stop`.
pub fn start(path: &Path, xids: XidLog, stop: CancellationToken) -> std::io::Result<()> {
    let Ok(mut log) = open(path) else { return Ok(()) };
    xids.begin(Teller::KernelLog);
    let body = move || {
        let clock = WallClock::system();
        while !stop.is_cancelled() && listen(&mut log, &xids, &clock) {
            std::thread::sleep(LOOK_EVERY);
        }
        xids.end(Teller::KernelLog);
    };
    std::thread::Builder::new().name("kernel-log".to_owned()).stack_size(STACK_BYTES).spawn(body)?;
    Ok(())
}

fn listen(log: &mut File, xids: &XidLog, clock: &WallClock) -> bool {
    look(log, |text| {
        // Whether it was an XID does not matter here.
        let _ = xids.kernel_line(text, clock.now_ms());
    })
}

fn open(path: &Path) -> std::io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(std::io::Error::other)?;
    let mut log = File::options().read(true).custom_flags(flags).open(path)?;
    log.seek(SeekFrom::End(0))?;
    Ok(log)
}

/// Hands on what has been written since the last look; `false` when the log cannot be read any more.
fn look(log: &mut impl Read, mut hear: impl FnMut(&str)) -> bool {
    let mut record = [0; RECORD_BYTES_MAX];
    for _ in 0..RECORDS_MAX {
        match log.read(&mut record) {
            Ok(0) => return true,
            Ok(length) => {
                if let Some(text) = record.get(..length).and_then(kernel_text) {
                    hear(&text);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            // Records were overwritten before we came; the next read goes on behind them.
            Err(error) if error.kind() == ErrorKind::BrokenPipe || error.kind() == ErrorKind::Interrupted => {
            }
            Err(_) => return false,
        }
    }
    true
}

/// The text of a record that the kernel itself wrote.
fn kernel_text(record: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(record);
    let (head, body) = text.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    // The lower three bits are the level.
    (priority >> 3 == 0).then(|| body.lines().next().map(str::to_owned)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::io;

    /// A log that gives a record with each read, as the kernel does.
    struct Log(VecDeque<io::Result<&'static str>>);

    impl Read for Log {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let next = self.0.pop_front().unwrap_or_else(|| Err(ErrorKind::WouldBlock.into()))?;
            into[..next.len()].copy_from_slice(next.as_bytes());
            Ok(next.len())
        }
    }

    #[test]
    fn records_of_the_kernel_are_heard_and_those_of_programs_are_not() {
        let mut log = Log(VecDeque::from([
            Ok(
                "3,1201,98765,-;NVRM: Xid (PCI:0000:1b:00): 79, GPU has fallen off the bus.\n SUBSYSTEM=pci\n",
            ),
            Err(ErrorKind::BrokenPipe.into()),
            Ok("11,1202,98766,-;NVRM: Xid (PCI:0000:1b:00): 48, forged by a program\n"),
            Ok("nonsense"),
            Ok("6,1203,98767,-,caller=T1;usb 1-1: new device\n"),
        ]));
        let mut heard = Vec::new();
        assert!(look(&mut log, |text| heard.push(text.to_owned())));
        assert_eq!(
            heard,
            ["NVRM: Xid (PCI:0000:1b:00): 79, GPU has fallen off the bus.", "usb 1-1: new device"]
        );
        let mut broken = Log(VecDeque::from([Err(ErrorKind::Other.into())]));
        assert!(!look(&mut broken, |_| ()));
    }

    #[test]
    fn a_log_that_may_not_be_read_or_is_not_there_is_told_apart() {
        assert_eq!(access(Path::new("/nonexistent")), Reading::Absent(Absence::Unsupported));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(access(file.path()), Reading::Value(()));
    }
}
