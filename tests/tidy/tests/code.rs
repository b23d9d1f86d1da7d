//! How the code must not look: unfinished, or with a number where a reading is missing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use gpuledger_tidy::{File, Findings, has_word, tree};

/// Marks of unfinished work. Cut in two, so that this file does not break its own rule.
fn marks() -> Vec<String> {
    ["TO|DO", "FIX|ME", "#[ig|nore", "not implemented| yet", "not wired| yet", "//! Place|holder"]
        .iter()
        .map(|m| m.replace('|', ""))
        .collect()
}

#[test]
fn nothing_is_left_for_later() {
    let mut findings = Findings::default();
    for file in tree().iter().filter(|f| ["rs", "proto", "toml"].iter().any(|e| f.is_a(e))) {
        for (line, text) in file.lines() {
            for mark in marks().iter().filter(|mark| text.contains(mark.as_str())) {
                findings.add_line(file, line, format_args!("`{mark}`"));
            }
        }
    }
    findings.none_or("do it now, or leave it out and write an issue.");
}

/// Whether readings are made or changed in this file. The spool and the packing of columns only carry
/// what others made.
fn measures(file: &File) -> bool {
    let carries = file.path.starts_with("proto/src/column") || file.within("agent/spool");
    (file.within("agent") || file.within("proto")) && !carries
}

#[test]
fn an_absent_reading_never_becomes_zero() {
    let mut findings = Findings::default();
    for file in tree().iter().filter(|f| f.is_product() && measures(f)) {
        let at_the_source = file.within("agent/src/collect") || file.path.starts_with("agent/src/meter");
        for ((line, code), whole) in file.code().zip(file.text.lines()) {
            let zero = code.contains("unwrap_or(0") || code.contains("unwrap_or(-1");
            let default = code.contains("unwrap_or_default()") && at_the_source;
            if (zero || default) && !whole.contains("// not a measurement") {
                findings.add_line(file, line, code.trim());
            }
        }
    }
    findings.none_or(
        "carry a Reading with the reason for its absence. Where the value is no measurement, end the line with \
         `// not a measurement`.",
    );
}

#[test]
fn a_counter_that_falls_is_never_taken_for_a_wrap() {
    let mut findings = Findings::default();
    // The wire's packing wraps on purpose and back again: it must carry every integer there is.
    for file in tree().iter().filter(|f| f.is_product() && !f.within("proto/src/column")) {
        for (line, code) in file.code() {
            // A number that only has to differ may wrap.
            if code.contains("wrapping_sub") || code.contains("wrapping_add") && !code.contains("send_modify")
            {
                findings.add_line(file, line, code.trim());
            }
        }
    }
    findings
        .none_or("use checked arithmetic: a decrease is a reset, and a sum that does not fit is an error.");
}

#[test]
fn queues_between_tasks_are_bounded() {
    let mut findings = Findings::default();
    for file in tree().iter().filter(|f| f.is_product()) {
        for (line, code) in file.code() {
            if has_word(code, "unbounded_channel")
                || has_word(code, "mpsc::channel()")
                || code.contains("mpsc::channel::<") && code.contains(">()")
            {
                findings.add_line(file, line, code.trim());
            }
        }
    }
    findings.none_or("use a channel with a named length and a reason for it.");
}

#[test]
fn a_lint_is_silenced_only_with_a_reason() {
    let mut findings = Findings::default();
    for file in tree().iter().filter(|f| f.is_rust()) {
        for (line, text) in file.lines() {
            let text = text.trim();
            let one_line =
                (text.starts_with("#[allow(") || text.starts_with("#![allow(")) && text.ends_with(")]");
            if one_line && !text.contains("reason = ") {
                findings.add_line(file, line, text);
            }
        }
    }
    findings.none_or("give `reason = \"…\"`, or mend what the lint says.");
}

/// Where two branches are ready at once, an unbiased `select!` throws dice that no seed decides: a
/// simulation would not replay.
#[test]
fn every_select_is_biased() {
    let mut findings = Findings::default();
    for file in tree().iter().filter(|f| f.is_rust()) {
        let lines: Vec<(usize, &str)> = file.code().collect();
        for pair in lines.windows(2) {
            let [(line, code), (_, next)] = pair else { continue };
            if code.trim_end().ends_with("select! {") && next.trim() != "biased;" {
                findings.add_line(file, *line, code.trim());
            }
        }
    }
    findings.none_or("begin with `biased;` and put what must not wait first.");
}
