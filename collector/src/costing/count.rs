//! A period of the ledger, counted row by row as they come, so that nobody holds them all.

use super::usage::{self, Known};
use super::{CostingError, assets, notes, range};
use crate::fleet::{Fleet, Holdings};
use gpuledger_ledger::{Hour, HourRange, Ledger, Wanted, gather};
use gpuledger_tco::calendar::{Calendar, Period};
use gpuledger_tco::evaluate::{Count, Counted as CountedRows, Evaluation, Frame};
use gpuledger_tco::exchange::localise;
use gpuledger_tco::statement::GroupBy;
use gpuledger_tco::usage::{GpuRow, Usage};
use gpuledger_tco::{Inputs, TcoError};
use jiff::Timestamp;

/// What every result of a period is made of.
pub struct Counted {
    /// Without rows of GPUs; amounts in the register's currency.
    pub inputs: Inputs,
    pub evaluation: Evaluation,
    /// What was bought, in the currencies in which it was.
    pub holdings: Holdings,
}

/// Counts a period; nothing after `now`.
pub async fn count(
    ledger: &dyn Ledger,
    fleet: &Fleet,
    period: Period,
    now: Option<Timestamp>,
) -> Result<Counted, CostingError> {
    count_with(ledger, fleet, period, now, |_| (), |(), _| ()).await.map(|(counted, ())| counted)
}

/// Counts a period, and adds each row to what `begin` makes. Rows can come anew from the beginning.
pub async fn count_with<X: Send>(
    ledger: &dyn Ledger,
    fleet: &Fleet,
    period: Period,
    now: Option<Timestamp>,
    begin: impl Fn(&Usage) -> X + Send + Sync,
    add: impl Fn(&mut X, &GpuRow) + Send + Sync,
) -> Result<(Counted, X), CostingError> {
    let (inputs, known, holdings) = inputs(ledger, fleet, period, now).await?;
    let frame = Frame::new(&inputs)?;
    // As one day for one GPU after the other: what is held is a piece.
    let begin = || frame.count(&inputs).map(|count| (count, begin(&inputs.usage), Vec::new()));
    let take = |taken: &mut Taken<'_, X>, piece: gpuledger_ledger::GpuHours| {
        let Ok((count, more, rows)) = taken else { return Ok(()) };
        rows.clear();
        rows.extend(piece.iter().filter_map(|(key, row)| known.row(key, &row)));
        for row in rows.iter() {
            add(more, row);
        }
        if let Err(error) = count.add(rows) {
            *taken = Err(error);
        }
        Ok(())
    };
    let wanted = Wanted { columns: usage::columns(), ..Wanted::all(range(period)) };
    let (count, more, _) = gather(ledger, &wanted, begin, take).await??;
    let mut counted = count.close()?;
    peaks(ledger, &known, &mut counted).await?;
    let tally = counted.finish();
    let evaluation = Evaluation::new(&inputs, frame, tally)?;
    Ok((Counted { inputs, evaluation, holdings }, more))
}

/// What rows were added to, while none of them was refused.
type Taken<'a, X> = Result<(Count<'a>, X, Vec<GpuRow>), TcoError>;

/// Who drew the highest power is asked of its hours alone.
async fn peaks(
    ledger: &dyn Ledger,
    keys: &usage::Keys,
    counted: &mut CountedRows,
) -> Result<(), CostingError> {
    for hour in counted.peak_hours() {
        let range = HourRange { from: Hour(hour.0), to: Hour(hour.0 + 1) };
        let wanted = Wanted { columns: usage::columns(), ..Wanted::all(range) };
        let take = |rows: &mut Vec<GpuRow>, piece: gpuledger_ledger::GpuHours| {
            rows.extend(piece.iter().filter_map(|(key, row)| keys.row(key, &row)));
            Ok(())
        };
        counted.add_peak_rows(&gather(ledger, &wanted, Vec::new, take).await?);
    }
    Ok(())
}

/// The inputs of a period without its rows, and which of them are whose.
pub async fn inputs(
    ledger: &dyn Ledger,
    fleet: &Fleet,
    period: Period,
    now: Option<Timestamp>,
) -> Result<(Inputs, usage::Keys, Holdings), CostingError> {
    let holdings = assets::holdings(ledger, fleet).await?;
    let assets = holdings.assets()?;
    let Known { usage, keys } = usage::read(ledger, fleet, &assets, range(period)).await?;
    let inputs = Inputs {
        title: "Total cost of ownership".to_owned(),
        period,
        as_of_ms: now.map(Timestamp::as_millisecond),
        calendar: Calendar::new(fleet.time_zone.clone()),
        by: GroupBy::Month,
        currency: fleet.currency,
        sites: fleet.sites.clone(),
        assets,
        overheads: fleet.overheads.clone(),
        capital_rate: fleet.capital_rate.clone(),
        prices: fleet.prices.clone(),
        usage,
        notes: notes(fleet),
    };
    let last_day = inputs.calendar.date(inputs.until_ms().saturating_sub(1));
    Ok((localise(&inputs, &fleet.rates, last_day)?, keys, holdings))
}
