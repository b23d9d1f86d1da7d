//! The columns of a file, and how its metadata says what it is.
//!
//! | column | type | |
//! |---|---|---|
//! | `day`, `version` | DATE, INT32 | the same in all rows of a file: which file of which day it is |
//! | `start` | TIMESTAMP (ms, UTC) | when the hour begins |
//! | `hour` | INT32 | the same in hours since 1970 |
//! | `gpu_key`, `owner_key` or `node_key` | INT32 | the ledger's own numbers; owner 0 is nobody, 1 is somebody unknown |
//! | `gpu_uuid`, `gpu_model`, `node`, `owner_kind`, `owner_account`, `owner_name`, `owner_job` | STRING | names as the register had them when the file was written, so that other engines need not ask us |
//! | `…_ms`, `…_mj`, `…_mw`, `…_mc`, `…_ppm_ms`, `samples` | INT64 | as in the ledger, in the unit that the name ends with |
//! | `memory_mib_ms`, `memory_rest_byte_ms` | INT64 | memory × time = MiB × 1,048,576 + rest |
//!
//! `power_max_mw` and `temperature_max_mc` may be NULL: nothing was measured. All else is never NULL.
//! Key-value metadata: `gpuledger.schema` (1), `gpuledger.table`, `gpuledger.day`,
//! `gpuledger.version` and `gpuledger.writer`, and checksums (`checksum.rs`). A reader takes columns by name, so that a later
//! version may add some; what the meaning of a column depends on is a new schema number, which an
//! older reader refuses.

use crate::names::Names;
use crate::table::{Kind, Number, RowKey};
use gpuledger_ledger::{Columns, Day, Table};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::TypePtr;
use std::sync::Arc;

/// Version of this schema.
pub const SCHEMA: u32 = 1;

/// Where a column's values come from.
#[derive(Clone, Copy)]
pub enum Source<K: 'static> {
    Day,
    Version,
    Start,
    Hour,
    Subject,
    Owner,
    Name(for<'a> fn(&'a Names, RowKey) -> &'a str),
    Number(&'static Number<K>),
}

pub struct Column<K: 'static> {
    pub name: &'static str,
    pub source: Source<K>,
}

impl<K: Kind> Column<K> {
    const fn new(name: &'static str, source: Source<K>) -> Self {
        Self { name, source }
    }

    fn declared(&self) -> String {
        let name = self.name;
        match &self.source {
            Source::Day => format!("required int32 {name} (DATE);"),
            Source::Start => format!("required int64 {name} (TIMESTAMP(MILLIS,true));"),
            Source::Version | Source::Hour | Source::Subject | Source::Owner => {
                format!("required int32 {name};")
            }
            Source::Name(_) => format!("required binary {name} (STRING);"),
            Source::Number(number) if number.optional => format!("optional int64 {name};"),
            Source::Number(_) => format!("required int64 {name};"),
        }
    }

    /// Whether reading these needs this column. Names and what follows from the hour do not come
    /// back: the register knows them.
    pub fn is_read(&self, asked: Columns) -> bool {
        match &self.source {
            Source::Subject => true,
            Source::Hour => asked.has(Columns::HOUR),
            Source::Owner => asked.has(Columns::OWNER),
            Source::Number(number) => asked.has(number.of),
            Source::Day | Source::Version | Source::Start | Source::Name(_) => false,
        }
    }
}

/// All columns of a table, in their order in the file.
pub fn columns<K: Kind>() -> Vec<Column<K>> {
    let mut columns = vec![
        Column::new("day", Source::Day),
        Column::new("version", Source::Version),
        Column::new("start", Source::Start),
        Column::new("hour", Source::Hour),
        Column::new(K::SUBJECT, Source::Subject),
    ];
    if K::HAS_OWNER {
        columns.extend([
            Column::new("owner_key", Source::Owner),
            Column::new("gpu_uuid", Source::Name(|names, key| names.gpu(key).uuid)),
            Column::new("gpu_model", Source::Name(|names, key| names.gpu(key).model)),
            Column::new("node", Source::Name(|names, key| names.gpu(key).node)),
            Column::new("owner_kind", Source::Name(|names, key| names.owner(key).kind)),
            Column::new("owner_account", Source::Name(|names, key| names.owner(key).account)),
            Column::new("owner_name", Source::Name(|names, key| names.owner(key).name)),
            Column::new("owner_job", Source::Name(|names, key| names.owner(key).job)),
        ]);
    } else {
        columns.push(Column::new("node", Source::Name(|names, key| names.node(key))));
    }
    columns.extend(K::NUMBERS.iter().map(|number| Column::new(number.name, Source::Number(number))));
    columns
}

pub fn message_type<K: Kind>() -> Result<TypePtr, ParquetError> {
    let fields: Vec<String> = columns::<K>().iter().map(Column::declared).collect();
    let text = format!("message {} {{ {} }}", K::TABLE.name(), fields.join(" "));
    parse_message_type(&text).map(Arc::new)
}

pub fn metadata(table: Table, day: Day, version: u32) -> Vec<KeyValue> {
    let entry = |key: &str, value: String| KeyValue::new(format!("gpuledger.{key}"), value);
    vec![
        entry("schema", SCHEMA.to_string()),
        entry("table", table.name().to_owned()),
        entry("day", day.to_string()),
        entry("version", version.to_string()),
        entry("writer", format!("gpuledger {}", env!("CARGO_PKG_VERSION"))),
    ]
}

/// Why a file is not the one that the manifest means.
pub fn check_metadata(found: &ParquetMetaData, table: Table, day: Day, version: u32) -> Result<(), String> {
    let entries = found.file_metadata().key_value_metadata().map(Vec::as_slice).unwrap_or_default();
    let get = |key: &str| {
        let entry = entries.iter().find(|entry| entry.key.strip_prefix("gpuledger.") == Some(key));
        entry.and_then(|entry| entry.value.as_deref()).unwrap_or_default()
    };
    let Ok(schema) = get("schema").parse::<u32>() else {
        return Err("is not a file of gpuledger".to_owned());
    };
    if schema > SCHEMA {
        return Err(format!(
            "was written by a newer version (schema {schema}, this build knows {SCHEMA}); use that version or a newer one"
        ));
    }
    let (is, should) = ((get("table"), get("day"), get("version")), (day.to_string(), version.to_string()));
    if is != (table.name(), should.0.as_str(), should.1.as_str()) {
        return Err(format!("is another file: it holds {} of {}, version {}", is.0, is.1, is.2));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpuledger_ledger::{GpuHour, NodeHour};

    #[test]
    fn the_columns_of_schema_1_are_these_and_no_others() {
        let names = |columns: Vec<&'static str>| columns.join(" ");
        assert_eq!(
            names(columns::<GpuHour>().iter().map(|column| column.name).collect()),
            "day version start hour gpu_key owner_key gpu_uuid gpu_model node owner_kind owner_account \
             owner_name owner_job active_ms held_ms free_ms down_ms counter_mj gap_mj estimated_mj active_mj \
             busy_ppm_ms busy_known_ms memory_mib_ms memory_rest_byte_ms throttled_ms power_max_mw \
             temperature_max_mc samples"
        );
        assert_eq!(
            names(columns::<NodeHour>().iter().map(|column| column.name).collect()),
            "day version start hour node_key node observed_ms counter_mj gap_mj estimated_mj metered_ms \
             cpu_ppm_ms cpu_known_ms memory_mib_ms memory_rest_byte_ms power_max_mw samples"
        );
        message_type::<GpuHour>().unwrap();
        message_type::<NodeHour>().unwrap();
    }
}
