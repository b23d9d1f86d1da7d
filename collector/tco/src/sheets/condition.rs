//! `assets`: the condition of each serial, as a lender or a buyer asks for it.

use crate::calendar::Calendar;
use crate::decimal::{hours, kwh};
use crate::error::TcoError;
use crate::evaluate::Inputs;
use crate::formulas;
use crate::money::Currency;
use crate::pools::input;
use crate::sheet::{Cell, Sheet, Why};
use rust_decimal::Decimal;

/// What is known of the heat and the errors of a GPU; `None` where nothing measures it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// GPU as in the usage.
    pub gpu: usize,
    pub hottest_c: Option<Decimal>,
    pub throttled_hours: Option<Decimal>,
    /// Memory errors that were not corrected, and rows remapped for them.
    pub uncorrected_errors: Option<u64>,
    pub remapped_rows: Option<u64>,
    /// Fatal driver errors (Xid).
    pub fatal_errors: Option<u64>,
}

/// Every GPU of a usage with what it did in the period and what is known of its health.
pub fn condition(inputs: &Inputs, health: &[Condition]) -> Result<Sheet, TcoError> {
    let columns = [
        ("serial", ""),
        ("model", ""),
        ("node", ""),
        ("first seen", ""),
        ("active", "hours"),
        ("powered", "hours"),
        ("energy", "kWh"),
        ("hottest", "°C"),
        ("throttled", "hours"),
        ("uncorrected", ""),
        ("remapped", ""),
        ("fatal", ""),
    ];
    let mut sheet = Sheet::new("assets", "Condition of each GPU", inputs.currency, &columns);
    sheet.simulated = inputs.usage.simulated;
    let mut sums = vec![[0_u128; 3]; inputs.usage.gpus.len()];
    for row in &inputs.usage.gpu_rows {
        let Some(sum) = usize::try_from(row.gpu).ok().and_then(|gpu| sums.get_mut(gpu)) else { continue };
        let powered = [row.active_ms, row.held_ms, row.free_ms].into_iter().fold(0, u64::saturating_add);
        let energy = row.counter_mj.saturating_add(row.estimated_mj);
        for (sum, more) in sum.iter_mut().zip([row.active_ms, powered, energy]) {
            *sum = sum.saturating_add(more.into());
        }
    }
    for (number, (gpu, [active, powered, mj])) in inputs.usage.gpus.iter().zip(sums).enumerate() {
        let health = health.iter().find(|health| health.gpu == number).cloned().unwrap_or_default();
        let node = inputs.usage.nodes.get(gpu.node).map_or("", |node| node.name.as_str());
        let (active, powered, energy) = (hours(active)?, hours(powered)?, kwh(mj)?);
        let serial = gpu.serial.clone().unwrap_or_else(|| gpu.uuid.clone());
        let count = |count: Option<u64>| Cell::from(count.map(Decimal::from));
        let cells = vec![
            serial.clone().into(),
            gpu.model.as_str().into(),
            node.into(),
            first_day(gpu.seen_ms, &inputs.calendar).into(),
            active.into(),
            powered.into(),
            energy.into(),
            health.hottest_c.into(),
            health.throttled_hours.into(),
            count(health.uncorrected_errors),
            count(health.remapped_rows),
            count(health.fatal_errors),
        ];
        let why = Why {
            column: String::new(),
            formula_id: formulas::CONDITION,
            inputs: vec![
                input("active", active, "GPU-hours", "ledger"),
                input("powered", powered, "GPU-hours", "ledger"),
                input("energy", energy, "kWh", "ledger"),
            ],
        };
        sheet.push(gpu.uuid.clone(), cells, vec![why]);
    }
    Ok(sheet)
}

fn first_day(seen_ms: Option<(u64, u64)>, calendar: &Calendar) -> String {
    seen_ms
        .and_then(|(first, _)| i64::try_from(first).ok())
        .map_or_else(|| "never".to_owned(), |first| calendar.date(first).to_string())
}

impl Currency {
    /// An amount in the smallest unit.
    pub(crate) fn round(self, amount: Decimal) -> Decimal {
        crate::money::Money::new(amount, self).rounded().amount
    }
}
