//! The report as a page for people: values in the units that people use.

use super::{GpuReport, InstanceReport, Report, Row};
use gpuledger_proto::catalogue::Unit;
use gpuledger_proto::reading::Absence;
use std::fmt::Write;

/// Names of readings in one line of the paragraph of what is not supported.
const LACKING_A_LINE: usize = 4;

pub(super) fn render(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = write_report(&mut page, report);
    page
}

fn write_report(page: &mut String, report: &Report) -> std::fmt::Result {
    let driver = report.driver.as_deref().unwrap_or("none");
    writeln!(page, "node {}, driver {driver}, {} GPUs", report.node, report.gpus.len())?;
    if report.simulated {
        writeln!(page, "SIMULATED: the GPU library is a simulation, not hardware")?;
    }
    if let Some(fault) = &report.fault {
        writeln!(page, "no GPU readings: {}\n  what helps: {}", fault.reason, fault.help)?;
    }
    for gpu in &report.gpus {
        write_gpu(page, gpu)?;
    }
    let host = &report.host.host;
    writeln!(page, "\nhost {} ({})", host.hostname, host.os)?;
    write_rows(page, &report.host.readings)
}

fn write_gpu(page: &mut String, report: &GpuReport) -> std::fmt::Result {
    let gpu = &report.gpu;
    let simulated = if gpu.simulated { ", simulated" } else { "" };
    let address = gpu.pci_bus_id.as_deref().unwrap_or("unknown PCI address");
    writeln!(page, "\nGPU {} {} ({}, {address}{simulated})", gpu.index, gpu.uuid, gpu.model)?;
    let facts =
        [("VBIOS", &report.facts.vbios), ("board part", &report.facts.board_part), ("serial", &gpu.serial)];
    let known: Vec<_> =
        facts.iter().filter_map(|(name, fact)| Some(format!("{name} {}", fact.as_ref()?))).collect();
    if !known.is_empty() {
        writeln!(page, "  {}", known.join(", "))?;
    }
    write_rows(page, &report.readings)?;
    for instance in &report.instances {
        let share = instance.share_ppm.map_or("unknown".to_owned(), |ppm| value(Unit::Ppm, i64::from(ppm)));
        let InstanceReport { uuid, gpu_instance, compute_instance, slices, .. } = instance;
        writeln!(
            page,
            "  instance {gpu_instance}/{compute_instance} {uuid} ({slices} slices; estimated share of the power {share})"
        )?;
        write_rows(page, &instance.readings)?;
    }
    for holder in report.holders.iter().flatten() {
        let share = value(Unit::Ppm, i64::from(holder.share_ppm));
        writeln!(page, "    held by {} {} ({share})", holder.kind, holder.name)?;
    }
    Ok(())
}

/// One line a reading. What the device does not have is one paragraph: there is nothing to do about it.
fn write_rows(page: &mut String, rows: &[Row]) -> std::fmt::Result {
    let lacks = |row: &&Row| row.absence == Some(Absence::Unsupported.name());
    for row in rows.iter().filter(|row| !lacks(row)) {
        match (row.value, row.absence) {
            (Some(number), _) => writeln!(page, "  {:<30} {:>18}", row.metric, value(row.scale, number))?,
            (None, reason) => {
                let (reason, help) = (reason.unwrap_or("absent"), row.help.unwrap_or_default());
                writeln!(page, "  {:<30} {:>18}  {help}", row.metric, format!("- {reason}"))?;
            }
        }
    }
    let lacking: Vec<&str> = rows.iter().filter(lacks).map(|row| row.metric).collect();
    for (number, line) in lacking.chunks(LACKING_A_LINE).enumerate() {
        let head = if number == 0 { "  not supported:" } else { "                " };
        writeln!(page, "{head} {}", line.join(", "))?;
    }
    Ok(())
}

/// A value in the unit that people use for it.
fn value(unit: Unit, number: i64) -> String {
    match unit {
        Unit::Millijoules => decimal(number, 3, "J"),
        Unit::Milliwatts => decimal(number, 3, "W"),
        Unit::Millicelsius => decimal(number, 3, "°C"),
        Unit::Millis => decimal(number, 3, "s"),
        Unit::Kilohertz => decimal(number, 3, "MHz"),
        Unit::Ppm => decimal(number, 4, "%"),
        Unit::BytesPerSecond => decimal(number, 6, "MB/s"),
        Unit::Bytes if number >= 1 << 20 => format!("{} MiB", number >> 20),
        Unit::Bytes => format!("{number} B"),
        Unit::Count | Unit::Code => number.to_string(),
    }
}

/// An integer with so many decimal places, without the zeros at the end.
fn decimal(number: i64, places: u32, unit: &str) -> String {
    let scale = 10i64.pow(places);
    let sign = if number < 0 { "-" } else { "" };
    let (whole, rest) = ((number / scale).unsigned_abs(), (number % scale).unsigned_abs());
    let digits = format!("{rest:0width$}", width = places as usize);
    match digits.trim_end_matches('0') {
        "" => format!("{sign}{whole} {unit}"),
        digits => format!("{sign}{whole}.{digits} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_in_the_units_that_people_use() {
        for (unit, number, expected) in [
            (Unit::Milliwatts, 77_700, "77.7 W"),
            (Unit::Millijoules, 1_234, "1.234 J"),
            (Unit::Millicelsius, -500, "-0.5 °C"),
            (Unit::Ppm, 1_000_000, "100 %"),
            (Unit::Ppm, 123_456, "12.3456 %"),
            (Unit::Kilohertz, 1_980_000, "1980 MHz"),
            (Unit::Bytes, 85_520_809_984, "81559 MiB"),
            (Unit::Bytes, 12, "12 B"),
            (Unit::BytesPerSecond, 1_500_000, "1.5 MB/s"),
            (Unit::Code, 4, "4"),
        ] {
            assert_eq!(value(unit, number), expected);
        }
    }
}
