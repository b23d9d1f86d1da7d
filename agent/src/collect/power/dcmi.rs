//! What the BMC says the node draws, by IPMI DCMI: through `ipmitool`, or `ipmi-dcmi` of freeipmi.

use crate::collect::command::{self, CommandError};
use gpuledger_proto::reading::{Absence, Reading};
use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

/// Where the kernel's driver puts the BMC. Without it no program is started.
pub const DEVICES: [&str; 3] = ["/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0"];

/// A program with its arguments, and what stands before the number in its answer.
pub type Tool<'a> = (&'a [&'a str], &'a str);
pub const TOOLS: [Tool<'static>; 2] = [
    (&["ipmitool", "dcmi", "power", "reading"], "Instantaneous power reading"),
    (&["ipmi-dcmi", "--get-system-power-statistics"], "Current Power"),
];

/// A BMC takes up to two seconds; one that takes longer is asked again later.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The power of the node in milliwatts. Blocks for as long as the answer may take.
pub fn read(devices: &[&str], tools: &[Tool<'_>]) -> Reading<i64> {
    match devices
        .iter()
        .map(|device| std::fs::File::options().read(true).write(true).open(device))
        .find(|opened| !matches!(opened, Err(error) if error.kind() == ErrorKind::NotFound))
    {
        None => return Reading::Absent(Absence::Unsupported),
        Some(Err(error)) if error.kind() == ErrorKind::PermissionDenied => {
            return Reading::Absent(Absence::NoPermission);
        }
        Some(Err(_)) => return Reading::Absent(Absence::Failed),
        Some(Ok(_)) => {}
    }
    let mut reading = Reading::Absent(Absence::Unsupported);
    for (line, label) in tools {
        let Some((program, arguments)) = line.split_first() else { continue };
        reading = match command::ask(Command::new(program).args(arguments), ANSWER_MAX) {
            Ok(answer) => parse(&answer, label).into(),
            // The next program may be there.
            Err(CommandError::Missing(_)) => continue,
            Err(CommandError::TimedOut(..)) => Reading::Absent(Absence::TimedOut),
            Err(_) => Reading::Absent(Absence::Failed),
        };
        break;
    }
    reading
}

/// `    Instantaneous power reading:                   220 Watts`
fn parse(answer: &str, label: &str) -> Result<i64, Absence> {
    let line =
        answer.lines().find(|line| line.trim_start().starts_with(label)).ok_or(Absence::Unsupported)?;
    let number = line.rsplit_once(':').and_then(|(_, value)| value.trim().strip_suffix("Watts"));
    let watts: i64 = number.and_then(|number| number.trim().parse().ok()).ok_or(Absence::Failed)?;
    // A BMC that does not measure says zero: a node that runs draws something.
    if watts == 0 { Err(Absence::Unsupported) } else { watts.checked_mul(1_000).ok_or(Absence::Failed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IPMITOOL: &str = "\n    Instantaneous power reading:                   2420 Watts\n    Minimum during sampling \
                            period:                 12 Watts\n    Power reading state is:                   activated\n";
    const FREEIPMI: &str =
        "Current Power                        : 344 Watts\nMinimum Power over sampling duration : 2 watts\n";

    #[test]
    fn both_programs_answers_are_read_and_a_bmc_that_measures_nothing_has_no_reading() {
        assert_eq!(parse(IPMITOOL, TOOLS[0].1), Ok(2_420_000));
        assert_eq!(parse(FREEIPMI, TOOLS[1].1), Ok(344_000));
        assert_eq!(parse("Current Power : 0 Watts", TOOLS[1].1), Err(Absence::Unsupported));
        assert_eq!(parse("Current Power : many", TOOLS[1].1), Err(Absence::Failed));
        assert_eq!(parse("", TOOLS[0].1), Err(Absence::Unsupported));
    }

    #[test]
    fn without_a_bmc_no_program_is_started_and_a_missing_program_gives_way_to_the_next() {
        let stand_in: Tool<'_> = (&["echo", "Current Power : 7 Watts"], "Current Power");
        assert_eq!(read(&["/nonexistent"], &[stand_in]), Reading::Absent(Absence::Unsupported));
        let missing: Tool<'_> = (&["gpuledger-no-such-program"], "x");
        assert_eq!(read(&["/nonexistent", "/dev/null"], &[missing, stand_in]), Reading::Value(7_000));
        assert_eq!(read(&["/dev/null"], &[missing]), Reading::Absent(Absence::Unsupported));
        assert_eq!(read(&["/dev/null"], &[(&["false"], "x")]), Reading::Absent(Absence::Failed));
    }
}
