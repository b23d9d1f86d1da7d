//! A CSV file to series of readings. Every row is checked before anything else happens.

use super::integrate::Row;
use super::mapping::{Mapping, NodeSource, Quantity};
use super::source::{self, Meter, Progress};
use super::{ImportError, Place, number};
use csv::StringRecord;
use gpuledger_proto::ids::{GpuUuid, NodeName};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Readings held in memory at once: 16 bytes each, so at most 1.6 GB. A fleet's year is imported
/// month by month.
pub const READINGS_MAX: usize = 100_000_000;
/// Rows between two tellings of the progress.
const PROGRESS_ROWS: u64 = 8_192;

/// What one series is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    pub node: NodeName,
    /// `None` for readings of the whole node.
    pub gpu: Option<GpuUuid>,
}

impl std::fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.gpu {
            Some(gpu) => write!(f, "{gpu} in {}", self.node),
            None => write!(f, "node {}", self.node),
        }
    }
}

/// A file that was read to its end and found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Rows of each series in the order of time, equal times in the order of the file.
    pub series: BTreeMap<SeriesKey, Vec<Row>>,
    /// Rows that a filter left out.
    pub filtered: u64,
    /// SHA-256 of the file's bytes.
    pub digest: [u8; 32],
}

/// Reads a whole file. `now_ms` is what this machine's clock says.
pub fn read(
    path: &Path,
    mapping: &Mapping,
    now_ms: u64,
    progress: &mut Progress<'_>,
) -> Result<Table, ImportError> {
    let (text, meter) =
        source::open(path).map_err(|source| ImportError::Read { path: path.to_owned(), source })?;
    // Only a line feed ends a line, so that lines are counted as editors do; the carriage return
    // before it is a blank, and blanks around a cell mean nothing.
    let lines = csv::Terminator::Any(b'\n');
    let mut reader = csv::ReaderBuilder::new().has_headers(true).terminator(lines).from_reader(text);
    let at = |place: Place, problem: String| ImportError::Input { path: path.to_owned(), place, problem };
    let header = reader.headers().map_err(|error| csv_error(path, error))?.clone();
    let columns = Columns::find(&header, mapping)
        .map_err(|problem| at(Place { line: Some(1), column: None }, problem))?;
    let mut rows = Rows::new(mapping, &columns, now_ms);
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| csv_error(path, error))? {
        let line = record.position().map_or(0, csv::Position::line);
        rows.take(&record).map_err(|(column, problem)| {
            at(Place { line: Some(line), column: column.map(str::to_owned) }, problem)
        })?;
        if line.is_multiple_of(PROGRESS_ROWS) {
            tell(&meter, progress);
        }
    }
    tell(&meter, progress);
    let filtered = rows.filtered;
    let series = rows.finish();
    if series.is_empty() {
        return Err(at(Place::default(), nothing_left(filtered, mapping)));
    }
    Ok(Table { series, filtered, digest: meter.digest() })
}

fn tell(meter: &Meter, progress: &mut Progress<'_>) {
    let (done, size) = meter.position();
    progress(done, size);
}

fn nothing_left(filtered: u64, mapping: &Mapping) -> String {
    if filtered == 0 {
        return "the file has a header and no rows".to_owned();
    }
    let filters: Vec<String> = mapping.filters.iter().map(|(c, v)| format!("{c}={v}")).collect();
    format!("none of its {filtered} rows has {}: check --where", filters.join(" and "))
}

fn csv_error(path: &Path, error: csv::Error) -> ImportError {
    let line = error.position().map(csv::Position::line);
    let problem = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("expected {expected_len} cells as in the header, found {len}")
        }
        csv::ErrorKind::Utf8 { .. } => "expected UTF-8 text, found other bytes".to_owned(),
        _ => {
            return match error.into_kind() {
                csv::ErrorKind::Io(source) => ImportError::Read { path: path.to_owned(), source },
                other => {
                    let place = Place { line, column: None };
                    ImportError::Input {
                        path: path.to_owned(),
                        place,
                        problem: format!("not a CSV file: {other:?}"),
                    }
                }
            };
        }
    };
    ImportError::Input { path: path.to_owned(), place: Place { line, column: None }, problem }
}

/// Where in a record the mapped columns are.
struct Columns {
    node: Option<usize>,
    gpu: Option<usize>,
    time: usize,
    value: usize,
    filters: Vec<usize>,
}

impl Columns {
    fn find(header: &StringRecord, mapping: &Mapping) -> Result<Self, String> {
        let find = |name: &str| column(header, name);
        Ok(Self {
            node: match &mapping.node {
                NodeSource::Column(name) => Some(find(name)?),
                NodeSource::Always(_) => None,
            },
            gpu: mapping.gpu_column.as_deref().map(find).transpose()?,
            time: find(&mapping.time_column)?,
            value: find(mapping.quantity.column())?,
            filters: mapping.filters.iter().map(|(name, _)| find(name)).collect::<Result<_, _>>()?,
        })
    }
}

/// The position of the one column with this name.
fn column(header: &StringRecord, name: &str) -> Result<usize, String> {
    let clean = |cell: &str| cell.trim_start_matches('\u{feff}').trim().to_owned();
    let names: Vec<String> = header.iter().map(clean).collect();
    let mut found = names.iter().enumerate().filter(|(_, n)| *n == name).map(|(position, _)| position);
    match (found.next(), found.next()) {
        (Some(position), None) => Ok(position),
        (Some(_), Some(_)) => Err(format!("there are two columns {name:?}: which one counts is not clear")),
        (None, _) => {
            let near = names.iter().max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)));
            let near = near.filter(|n| strsim::jaro(n, name) > 0.7);
            let hint = near.map_or_else(String::new, |n| format!("; did you mean {n:?}?"));
            Err(format!("there is no column {name:?}; the file has {}{hint}", names.join(", ")))
        }
    }
}

/// Gathers rows by series.
struct Rows<'a> {
    mapping: &'a Mapping,
    columns: &'a Columns,
    now_ms: u64,
    /// Cells that name a series, joined, to its place in `series`.
    places: HashMap<String, usize>,
    series: Vec<(SeriesKey, Vec<Row>)>,
    /// The node that each GPU is in: one file, one node.
    homes: HashMap<GpuUuid, NodeName>,
    filtered: u64,
    count: usize,
    key: String,
}

/// The column where a row is wrong, and what is.
type Wrong<'a> = (Option<&'a str>, String);

impl<'a> Rows<'a> {
    fn new(mapping: &'a Mapping, columns: &'a Columns, now_ms: u64) -> Self {
        let (places, homes) = (HashMap::new(), HashMap::new());
        Self {
            mapping,
            columns,
            now_ms,
            places,
            series: Vec::new(),
            homes,
            filtered: 0,
            count: 0,
            key: String::new(),
        }
    }

    fn take(&mut self, record: &StringRecord) -> Result<(), Wrong<'a>> {
        let cell = |position: usize| record.get(position).unwrap_or_default().trim();
        let mut filters = self.mapping.filters.iter().zip(&self.columns.filters);
        if !filters.all(|((_, wanted), &position)| cell(position) == wanted) {
            self.filtered += 1;
            return Ok(());
        }
        if self.count == READINGS_MAX {
            return Err((None, format!("more than {READINGS_MAX} readings: import in parts with --where")));
        }
        let (mapping, columns) = (self.mapping, self.columns);
        let wall_ms = number::time_ms(cell(columns.time), mapping.time_unit, self.now_ms)
            .map_err(|problem| (Some(mapping.time_column.as_str()), problem))?;
        let value = match &mapping.quantity {
            Quantity::Power { unit, .. } => number::power_uw(cell(columns.value), *unit),
            Quantity::Energy { unit, .. } => number::energy_mj(cell(columns.value), *unit),
        };
        let value = value.map_err(|problem| (Some(mapping.quantity.column()), problem))?;
        let place = self.place(columns.node.map(cell), columns.gpu.map(cell))?;
        self.series[place].1.push(Row { wall_ms, value });
        self.count += 1;
        Ok(())
    }

    /// The place of the series that a row belongs to.
    fn place(&mut self, node: Option<&str>, gpu: Option<&str>) -> Result<usize, Wrong<'a>> {
        self.key.clear();
        self.key.extend([node.unwrap_or_default(), "\n", gpu.unwrap_or_default()]);
        if let Some(&place) = self.places.get(&self.key) {
            return Ok(place);
        }
        let name = match &self.mapping.node {
            NodeSource::Always(name) => name.clone(),
            NodeSource::Column(column) => {
                let cell = node.unwrap_or_default().trim();
                NodeName::new(cell).map_err(|e| (Some(column.as_str()), e.to_string()))?
            }
        };
        let gpu = match (gpu, &self.mapping.gpu_column) {
            (Some(cell), Some(column)) => {
                let uuid = GpuUuid::new(cell.trim()).map_err(|e| (Some(column.as_str()), e.to_string()))?;
                self.settle(&uuid, &name).map_err(|problem| (Some(column.as_str()), problem))?;
                Some(uuid)
            }
            _ => None,
        };
        let key = SeriesKey { node: name, gpu };
        // Cells that differ only in blanks around them name the same series.
        let known = self.series.iter().position(|(other, _)| *other == key);
        let place = known.unwrap_or_else(|| {
            self.series.push((key, Vec::new()));
            self.series.len() - 1
        });
        self.places.insert(self.key.clone(), place);
        Ok(place)
    }

    fn settle(&mut self, gpu: &GpuUuid, node: &NodeName) -> Result<(), String> {
        match self.homes.get(gpu) {
            Some(home) if home != node => Err(format!(
                "GPU {} is in node {} further up and in node {} here: import the two with --where, one after the other",
                gpu.as_str(),
                home.as_str(),
                node.as_str()
            )),
            Some(_) => Ok(()),
            None => {
                self.homes.insert(gpu.clone(), node.clone());
                Ok(())
            }
        }
    }

    fn finish(self) -> BTreeMap<SeriesKey, Vec<Row>> {
        let mut series: BTreeMap<_, _> = self.series.into_iter().collect();
        for rows in series.values_mut() {
            if !rows.is_sorted_by_key(|row| row.wall_ms) {
                rows.sort_by_key(|row| row.wall_ms);
            }
        }
        series
    }
}
