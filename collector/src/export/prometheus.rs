//! One scrape: everything that is known now, from memory.

use super::cost::CostsView;
use super::health::Health;
use super::process;
use super::readings::{self, Current};
use super::text::Text;
use super::totals::TotalsView;
use crate::latest::Latest;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where a scrape takes its numbers from.
pub struct Exporter {
    pub latest: Arc<Latest>,
    pub totals: TotalsView,
    pub costs: CostsView,
    pub health: Arc<Health>,
}

impl Exporter {
    /// Writes the whole exposition.
    pub fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.render_nodes(out, &readings::current(&self.latest, now_ms), now_ms)
    }

    pub(super) fn render_nodes(&self, out: &mut dyn Write, nodes: &Current, now_ms: u64) -> io::Result<()> {
        let mut text = Text::new(out);
        readings::render(&mut text, nodes, now_ms)?;
        // The views are cloned out of their locks: a slow reader must not keep a refresh waiting.
        let totals = self.totals.borrow().clone();
        if let Some(totals) = totals {
            let gpus = nodes.iter().flat_map(|(_, node)| &node.inventory.gpus);
            totals.render(&mut text, &gpus.map(|gpu| &gpu.uuid).collect::<BTreeSet<_>>())?;
        }
        let costs = self.costs.borrow().clone();
        if let Some(costs) = costs {
            costs.render(&mut text)?;
        }
        self.health.render(text.raw())?;
        process::render(&mut text, Path::new("/proc"))
    }
}
