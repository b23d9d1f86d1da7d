//! Samples on their way: series of many nodes in requests of bounded size.

use super::labels::Labels;
use std::sync::Arc;

/// Samples of one request, if its last series has no more: what receivers like best.
const SAMPLES_MAX: usize = 5_000;

/// The value that says "this series has ended": a NaN that no computation gives.
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub at_ms: i64,
    pub value: f64,
}

impl PartialEq for Sample {
    /// By its bits: the stale marker equals itself.
    fn eq(&self, other: &Self) -> bool {
        (self.at_ms, self.value.to_bits()) == (other.at_ms, other.value.to_bits())
    }
}

/// Samples of one series, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Position in the selection.
    pub family: u16,
    pub labels: Arc<Labels>,
    /// When the counter began at 0; 0 where that is not known.
    pub created_ms: i64,
    pub samples: Vec<Sample>,
}

/// What is sent in one request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    pub series: Vec<Series>,
    /// Position of the first series of each node.
    pub nodes: Vec<usize>,
}

impl Request {
    pub fn samples(&self) -> usize {
        self.series.iter().map(|series| series.samples.len()).sum()
    }

    /// Two halves of about equal size, none with a part of a node; `None` where there is one node only.
    pub fn split(&self) -> Option<(Self, Self)> {
        let cut = *self.nodes.get(self.nodes.len().div_ceil(2)).filter(|_| self.nodes.len() > 1)?;
        let (mut first, mut second) = (Self::default(), Self::default());
        first.series = self.series[..cut].to_vec();
        second.series = self.series[cut..].to_vec();
        first.nodes = self.nodes.iter().copied().filter(|&at| at < cut).collect();
        second.nodes = self.nodes.iter().filter(|&&at| at >= cut).map(|at| at - cut).collect();
        Some((first, second))
    }
}

/// Gathers series into requests.
#[derive(Debug, Default)]
pub struct Requests {
    done: Vec<Request>,
    open: Request,
    samples: usize,
    /// Whether the next series is the first of a node.
    begins: bool,
}

impl Requests {
    /// What follows belongs to another node.
    pub fn node(&mut self) {
        self.begins = true;
    }

    pub fn push(&mut self, series: Series) {
        if series.samples.is_empty() {
            return;
        }
        if self.samples > 0 && self.samples + series.samples.len() > SAMPLES_MAX {
            self.done.push(std::mem::take(&mut self.open));
            self.samples = 0;
            self.begins = true;
        }
        if std::mem::take(&mut self.begins) {
            self.open.nodes.push(self.open.series.len());
        }
        self.samples += series.samples.len();
        self.open.series.push(series);
    }

    pub fn finish(mut self) -> Vec<Request> {
        if !self.open.series.is_empty() {
            self.done.push(self.open);
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(samples: usize) -> Series {
        let samples = vec![Sample { at_ms: 1, value: 1.0 }; samples];
        Series { family: 0, labels: Arc::default(), created_ms: 0, samples }
    }

    fn requests(nodes: &[&[usize]]) -> Vec<Request> {
        let mut requests = Requests::default();
        for node in nodes {
            requests.node();
            node.iter().for_each(|&samples| requests.push(series(samples)));
        }
        requests.finish()
    }

    #[test]
    fn a_request_is_bounded_and_a_long_series_goes_whole() {
        let sizes = |nodes: &[&[usize]]| requests(nodes).iter().map(Request::samples).collect::<Vec<_>>();
        assert_eq!(sizes(&[&[3_000, 2_000], &[1]]), [5_000, 1]);
        assert_eq!(sizes(&[&[0, 6_000], &[10]]), [6_000, 10]);
        assert!(sizes(&[&[0], &[]]).is_empty());
    }

    #[test]
    fn a_request_is_split_between_nodes_until_one_is_left() {
        let request = requests(&[&[1, 2], &[], &[3], &[4]]).remove(0);
        assert_eq!(request.nodes, [0, 2, 3]);
        let (first, second) = request.split().unwrap();
        assert_eq!((first.samples(), second.samples()), (6, 4));
        assert!(second.split().is_none());
        let (first, second) = first.split().unwrap();
        assert_eq!((first.samples(), second.samples()), (3, 3));
        assert!(first.split().is_none() && second.split().is_none());
    }
}
