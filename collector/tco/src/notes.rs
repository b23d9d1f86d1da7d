//! What a reader of a statement must know beside its figures.

use crate::statement::Family;
use crate::view::View;

impl View<'_> {
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(as_of) = self.inputs.as_of_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
            && self.inputs.until_ms() < self.inputs.period.to().start_ms()
        {
            notes.push(if self.inputs.until_ms() <= self.inputs.period.from().start_ms() {
                format!("The period had not begun at {as_of}: nothing is counted.")
            } else {
                format!("The period is not over: time, energy and cost are counted to {as_of}.")
            });
        }
        notes.extend(self.fleet.notes.iter().cloned());
        notes.extend(self.notes_on_sites());
        if self.tally.meters_not_believed > 0 {
            notes.push(format!(
                "In {} hours a node's meter showed less than its GPUs' own counters: the counters stand.",
                self.tally.meters_not_believed
            ));
        }
        if self.inputs.usage.simulated {
            notes.push("Some or all readings come from simulated GPUs.".to_owned());
        }
        notes
    }

    fn notes_on_sites(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (site, unknown) in self.inputs.sites.iter().zip(&self.tally.carbon_unknown) {
            match (unknown, &site.intensity) {
                (Some(hour), Some(intensity)) => notes.push(format!(
                    "Emissions are not stated: {} has no carbon intensity for {hour}.",
                    intensity.source()
                )),
                (Some(_), None) => {
                    notes.push(format!(
                        "Emissions are not stated: site {} has no carbon intensity.",
                        site.name
                    ));
                }
                (None, _) => {}
            }
            let unknown_pue =
                site.supply.pue.as_ref().map_or(0, |series| series.missing(self.inputs.period).len());
            if unknown_pue > 0 {
                notes.push(format!(
                    "{unknown_pue} hours have no PUE in the series of {}: they take the site's own, {}.",
                    site.name, site.pue
                ));
            }
            let used = self.pools.iter().any(|pool| {
                pool.family == Family::Energy && pool.item.starts_with(&format!("{}/", site.name))
            });
            if used && site.tariff.is_none() && !site.power_included() {
                notes.push(format!("Site {} has no tariff: its electricity is not in the cost.", site.name));
            }
        }
        notes
    }
}
