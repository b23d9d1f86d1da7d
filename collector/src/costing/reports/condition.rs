//! `assets`: what each GPU did and went through, as far as the ledger holds it.

use super::super::count::inputs;
use super::super::{CostingError, range};
use super::{Asked, Sheets};
use gpuledger_ledger::{Columns, GpuHours, Wanted, gather};
use gpuledger_tco::asset::Asset;
use gpuledger_tco::calendar::Calendar;
use gpuledger_tco::evaluate::Frame;
use gpuledger_tco::sheets::{self, Condition};
use gpuledger_units::Overflow;
use jiff::civil::Date;
use rust_decimal::Decimal;

/// What the rows of one GPU add up to.
#[derive(Debug, Clone, Copy, Default)]
struct Wear {
    rows: u64,
    active_ms: u64,
    powered_ms: u64,
    down_ms: u64,
    energy_mj: u64,
    throttled_ms: u64,
    hottest_mc: Option<i64>,
    peak_mw: Option<u64>,
}

impl Wear {
    fn add(&mut self, row: &gpuledger_ledger::GpuHour) -> Result<(), Overflow> {
        let add = |sum: &mut u64, more: u64| {
            *sum = sum.checked_add(more).ok_or(Overflow("a sum of time or energy"))?;
            Ok::<(), Overflow>(())
        };
        self.rows += 1;
        add(&mut self.active_ms, row.active_ms.0)?;
        for powered in [row.active_ms, row.held_ms, row.free_ms] {
            add(&mut self.powered_ms, powered.0)?;
        }
        add(&mut self.down_ms, row.down_ms.0)?;
        add(&mut self.energy_mj, row.counter_mj.0)?;
        add(&mut self.energy_mj, row.estimated_mj.0)?;
        add(&mut self.throttled_ms, row.throttled_ms.0)?;
        self.hottest_mc = self.hottest_mc.max(row.temperature_max_mc.map(|heat| heat.0));
        self.peak_mw = self.peak_mw.max(row.power_max_mw.map(|power| power.0));
        Ok(())
    }
}

/// The condition of every GPU that the ledger knows, from the rows of the period.
pub async fn condition(of: Asked<'_>) -> Result<Sheets, CostingError> {
    let (inputs, keys, _) = inputs(of.ledger, of.fleet, of.period, Some(of.now)).await?;
    let columns = [Columns::ENERGY, Columns::THROTTLED, Columns::MAXIMA];
    let columns = columns.into_iter().fold(Columns::TIME, Columns::and);
    let wanted = Wanted { columns, ..Wanted::all(range(of.period)) };
    let gpus = inputs.usage.gpus.len();
    let take = |wear: &mut Vec<Wear>, piece: GpuHours| {
        for (key, row) in piece.iter() {
            if let Some(wear) = keys.gpu(key.gpu).and_then(|gpu| wear.get_mut(gpu)) {
                wear.add(&row)?;
            }
        }
        Ok(())
    };
    let wear = gather(of.ledger, &wanted, || vec![Wear::default(); gpus], take).await?;
    let frame = Frame::new(&inputs)?;
    let bought = bought(&frame, &inputs.assets, gpus);
    let condition = |(number, wear): (usize, &Wear)| {
        let gpu = inputs.usage.gpus.get(number)?;
        let node = inputs.usage.nodes.get(gpu.node).map(|node| node.name.clone()).unwrap_or_default();
        let known = wear.hottest_mc.is_some() || wear.peak_mw.is_some();
        Some(Condition {
            uuid: gpu.uuid.clone(),
            serial: gpu.serial.clone(),
            model: gpu.model.clone(),
            node,
            first_seen: gpu.seen_ms.and_then(|(first, _)| day(first, &inputs.calendar)),
            last_seen: gpu.seen_ms.and_then(|(_, last)| day(last, &inputs.calendar)),
            asset: bought.get(number).cloned().flatten(),
            active_hours: of_ms(wear.active_ms),
            powered_hours: of_ms(wear.powered_ms),
            down_hours: of_ms(wear.down_ms),
            energy_kwh: Decimal::from(wear.energy_mj) / Decimal::from(3_600_000_000_u64),
            hottest_c: wear.hottest_mc.map(|mc| Decimal::new(mc, 3).normalize()),
            peak_watts: wear.peak_mw.map(|mw| (Decimal::from(mw) / Decimal::ONE_THOUSAND).normalize()),
            // A driver that tells power and heat tells throttling: none is none then.
            throttled_hours: known.then(|| of_ms(wear.throttled_ms)),
            // No row of the ledger holds errors.
            uncorrected_errors: None,
            remapped_rows: None,
            fatal_errors: None,
            ledger_rows: wear.rows,
        })
    };
    let gpus: Vec<Condition> = wear.iter().enumerate().filter_map(condition).collect();
    let simulated = inputs.usage.simulated;
    let sheets = vec![sheets::condition(&gpus, inputs.currency)?];
    let notes = vec![
        "Hours, energy and heat are those of the period; ask for a longer one for the whole life.".to_owned(),
    ];
    Sheets { sheets, notes, simulated, ..Sheets::default() }.checked()
}

/// Serial of the asset that each GPU came with.
fn bought(frame: &Frame, assets: &[Asset], gpus: usize) -> Vec<Option<String>> {
    let mut bought = vec![None; gpus];
    for (asset, of_asset) in assets.iter().zip(frame.gpus_of_assets()).filter(|(asset, _)| asset.gpus > 0) {
        for &gpu in of_asset {
            if let Some(slot) = bought.get_mut(gpu) {
                *slot = Some(asset.of_register().to_owned());
            }
        }
    }
    bought
}

fn day(ms: u64, calendar: &Calendar) -> Option<Date> {
    i64::try_from(ms).ok().map(|ms| calendar.date(ms))
}

fn of_ms(ms: u64) -> Decimal {
    Decimal::from(ms) / Decimal::from(3_600_000_u64)
}
