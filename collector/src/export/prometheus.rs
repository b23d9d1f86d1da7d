//! One scrape: everything that is known now and asked for, from memory.

use super::archive::{self, KeeperView};
use super::cost::CostsView;
use super::devices;
use super::health::Health;
use super::process;
use super::readings::{self, Current};
use super::select::Selection;
use super::sites::Sites;
use super::tally::Tally;
use super::text::{Pages, Text};
use super::totals;
use crate::latest::Latest;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where a scrape takes its numbers from.
pub struct Exporter {
    pub latest: Arc<Latest>,
    pub tally: Arc<Tally>,
    pub costs: CostsView,
    pub health: Arc<Health>,
    /// `None` where days are not closed.
    pub keeper: Option<KeeperView>,
    pub sites: Arc<Sites>,
}

impl Exporter {
    /// Writes what is asked for.
    pub fn render(&self, pages: &mut dyn Pages, selection: &Selection) -> io::Result<()> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.render_nodes(pages, selection, readings::current(&self.latest, now_ms), now_ms)
    }

    pub(super) fn render_nodes(
        &self,
        pages: &mut dyn Pages,
        selection: &Selection,
        mut nodes: Current,
        now_ms: u64,
    ) -> io::Result<()> {
        let mut text = Text::new(pages, selection);
        if selection.takes_whole() {
            self.render_whole(&mut text, &nodes)?;
        }
        // Samples that are not asked for need not outlive newer ones.
        nodes.retain(|(name, _)| selection.takes_node(name.as_str()));
        let (of_nodes, of_gpus) = devices::of(nodes.iter().map(|(name, node)| (name, &**node)), now_ms);
        readings::render(&mut text, &of_nodes, &of_gpus)?;
        totals::render(&mut text, &self.tally, &of_gpus)?;
        // The view is cloned out of its lock: a slow reader must not keep a refresh waiting.
        let costs = self.costs.borrow().clone();
        if let Some(costs) = costs {
            costs.render(&mut text)?;
        }
        self.health.render(&mut text)?;
        text.finish()
    }

    /// What is of no node.
    fn render_whole(&self, text: &mut Text<'_>, nodes: &Current) -> io::Result<()> {
        readings::fleet(text, nodes)?;
        if let Some(status) = &self.keeper {
            archive::render(text, &status())?;
        }
        process::render(text, Path::new("/proc"))
    }
}
