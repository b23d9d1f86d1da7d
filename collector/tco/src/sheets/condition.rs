//! `assets`: the condition of each serial, as a lender or a buyer asks for it.

use crate::error::TcoError;
use crate::formulas;
use crate::money::Currency;
use crate::pools::input;
use crate::sheet::{Cell, Sheet, Why};
use jiff::civil::Date;
use rust_decimal::Decimal;

/// What one GPU did, and what is known of its heat and its errors; `None` where nothing tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    pub uuid: String,
    pub serial: Option<String>,
    pub model: String,
    pub node: String,
    pub first_seen: Option<Date>,
    pub last_seen: Option<Date>,
    /// Asset of the register that it belongs to.
    pub asset: Option<String>,
    pub active_hours: Decimal,
    /// Time in which it was seen and not down.
    pub powered_hours: Decimal,
    /// Time in which it was lost or hung.
    pub down_hours: Decimal,
    pub energy_kwh: Decimal,
    pub hottest_c: Option<Decimal>,
    pub peak_watts: Option<Decimal>,
    pub throttled_hours: Option<Decimal>,
    /// Memory errors that were not corrected, and rows remapped for them.
    pub uncorrected_errors: Option<u64>,
    pub remapped_rows: Option<u64>,
    /// Fatal driver errors (Xid).
    pub fatal_errors: Option<u64>,
    /// Rows of the ledger that this was added up from.
    pub ledger_rows: u64,
}

/// A row a GPU.
pub fn condition(gpus: &[Condition], currency: Currency) -> Result<Sheet, TcoError> {
    let columns = [
        ("serial", ""),
        ("model", ""),
        ("node", ""),
        ("asset", ""),
        ("first seen", ""),
        ("last seen", ""),
        ("active", "hours"),
        ("powered", "hours"),
        ("down", "hours"),
        ("energy", "kWh"),
        ("hottest", "°C"),
        ("peak", "W"),
        ("throttled", "hours"),
        ("uncorrected", "errors"),
        ("remapped", "rows"),
        ("fatal", "errors"),
    ];
    let mut sheet = Sheet::new("assets", "Condition of each GPU", currency, &columns);
    UNKNOWN.clone_into(&mut sheet.absent);
    let day = |day: Option<Date>| Cell::from(day.map_or_else(|| "never".to_owned(), |day| day.to_string()));
    let count = |count: Option<u64>| Cell::from(count.map(Decimal::from));
    let two = |value: Decimal| crate::decimal::round(value, 2);
    for gpu in gpus {
        let cells = vec![
            gpu.serial.clone().unwrap_or_else(|| gpu.uuid.clone()).into(),
            gpu.model.as_str().into(),
            gpu.node.as_str().into(),
            gpu.asset.as_deref().unwrap_or("none").into(),
            day(gpu.first_seen),
            day(gpu.last_seen),
            two(gpu.active_hours).into(),
            two(gpu.powered_hours).into(),
            two(gpu.down_hours).into(),
            two(gpu.energy_kwh).into(),
            gpu.hottest_c.into(),
            gpu.peak_watts.into(),
            gpu.throttled_hours.map(two).into(),
            count(gpu.uncorrected_errors),
            count(gpu.remapped_rows),
            count(gpu.fatal_errors),
        ];
        let mut inputs = vec![
            input("active", gpu.active_hours, "GPU-hours", "ledger"),
            input("powered", gpu.powered_hours, "GPU-hours", "ledger"),
            input("down", gpu.down_hours, "GPU-hours", "ledger"),
            input("energy", gpu.energy_kwh, "kWh", "ledger"),
            input("rows", Decimal::from(gpu.ledger_rows), "", "ledger"),
        ];
        let known = [
            ("hottest", gpu.hottest_c, "°C"),
            ("peak", gpu.peak_watts, "W"),
            ("throttled", gpu.throttled_hours, "hours"),
        ];
        inputs.extend(
            known
                .into_iter()
                .filter_map(|(name, value, unit)| value.map(|value| input(name, value, unit, "ledger"))),
        );
        let why = Why { column: String::new(), formula_id: formulas::CONDITION, inputs };
        sheet.push(gpu.uuid.clone(), cells, vec![why]);
    }
    sheet.notes = notes(gpus);
    Ok(sheet)
}

const UNKNOWN: &str = "unknown";

/// What a lender has to ask for elsewhere.
fn notes(gpus: &[Condition]) -> Vec<String> {
    let mut notes = Vec::new();
    let mut missing = |what: &str, absent: fn(&Condition) -> bool| {
        let without = gpus.iter().filter(|gpu| absent(gpu)).count();
        if without == gpus.len() && without > 0 {
            notes.push(format!("{what}: unknown of every GPU; the ledger holds no reading of it."));
        } else if without > 0 {
            notes.push(format!("{what}: unknown of {without} of {} GPUs.", gpus.len()));
        }
    };
    missing("Serial (the UUID stands for it)", |gpu| gpu.serial.is_none());
    missing("Heat", |gpu| gpu.hottest_c.is_none());
    missing("Throttling", |gpu| gpu.throttled_hours.is_none());
    missing("Memory errors", |gpu| gpu.uncorrected_errors.is_none());
    missing("Remapped rows", |gpu| gpu.remapped_rows.is_none());
    missing("Fatal errors", |gpu| gpu.fatal_errors.is_none());
    notes.push("Down: the GPU was lost or hung while its node was watched.".to_owned());
    notes
}

impl Currency {
    /// An amount in the smallest unit.
    pub(crate) fn round(self, amount: Decimal) -> Decimal {
        crate::money::Money::new(amount, self).rounded().amount
    }
}
