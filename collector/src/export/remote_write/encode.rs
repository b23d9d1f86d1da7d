//! Requests as the messages of the protocol.
//!
//! ```text
//! 1.0  prometheus.WriteRequest            2.0  io.prometheus.write.v2.Request
//!      1 TimeSeries timeseries…                4 string symbols…  the first is empty
//!        1 Label labels…                       5 TimeSeries timeseries…
//!          1 string name                         1 uint32 labels_refs…  packed pairs
//!          2 string value                        2 Sample samples…
//!        2 Sample samples…                       5 Metadata metadata
//!          1 double value                          1 type: 1 counter, 2 gauge
//!          2 int64 timestamp                       3 uint32 help_ref
//!                                                  4 uint32 unit_ref
//!                                                6 int64 created_timestamp
//! ```
//!
//! Written by hand because nearly all of a message repeats: the labels of a device are encoded once
//! for all of its series, where generated types would allocate every text for every series.

use super::labels::Labels;
use super::protocol::Protocol;
use super::request::{Request, Sample, Series};
use super::selection::{Selection, Sent};
use std::collections::HashMap;
use std::sync::Arc;

const NAME: &str = "__name__";
const COUNTER: u64 = 1;
const GAUGE: u64 = 2;

/// A request's message, not compressed yet.
pub fn encode(request: &Request, selection: &Selection, protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::V1 => first(request, selection),
        Protocol::V2 => second(request, selection),
    }
}

fn first(request: &Request, selection: &Selection) -> Vec<u8> {
    let mut out = Vec::with_capacity(request.series.len() * 160 + request.samples() * 18);
    let (mut body, mut block) = (Vec::new(), Vec::new());
    let mut labels: Option<&Arc<Labels>> = None;
    for (series, family) in known(request, selection) {
        if !labels.is_some_and(|labels| Arc::ptr_eq(labels, &series.labels)) {
            labels = Some(&series.labels);
            block.clear();
            series.labels.pairs().for_each(|(name, value)| put_label(&mut block, name, value));
        }
        body.clear();
        put_label(&mut body, NAME, family.name);
        body.extend_from_slice(&block);
        put_samples(&mut body, &series.samples);
        put_bytes(&mut out, 1, &body);
    }
    out
}

fn second(request: &Request, selection: &Selection) -> Vec<u8> {
    let mut symbols = Symbols::default();
    let name = symbols.of(NAME);
    let mut all = Vec::with_capacity(request.series.len() * 48 + request.samples() * 18);
    let (mut body, mut refs, mut block, mut metadata) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut labels: Option<&Arc<Labels>> = None;
    for (series, family) in known(request, selection) {
        if !labels.is_some_and(|labels| Arc::ptr_eq(labels, &series.labels)) {
            labels = Some(&series.labels);
            block.clear();
            for (name, value) in series.labels.pairs() {
                put_varint(&mut block, symbols.of(name));
                put_varint(&mut block, symbols.of(value));
            }
        }
        refs.clear();
        put_varint(&mut refs, name);
        put_varint(&mut refs, symbols.of(family.name));
        refs.extend_from_slice(&block);
        metadata.clear();
        put_number(&mut metadata, 1, if family.is_counter { COUNTER } else { GAUGE });
        put_number(&mut metadata, 3, symbols.of(family.help));
        put_number(&mut metadata, 4, symbols.of(family.unit));
        body.clear();
        put_bytes(&mut body, 1, &refs);
        put_samples(&mut body, &series.samples);
        put_bytes(&mut body, 5, &metadata);
        put_number(&mut body, 6, series.created_ms.cast_unsigned());
        put_bytes(&mut all, 5, &body);
    }
    let mut out = Vec::with_capacity(all.len() + symbols.texts.len() * 32);
    symbols.texts.iter().for_each(|text| put_bytes(&mut out, 4, text.as_bytes()));
    out.extend_from_slice(&all);
    out
}

/// Series with their families; all are known, since one selection made the request.
fn known<'a>(request: &'a Request, selection: &'a Selection) -> impl Iterator<Item = (&'a Series, &'a Sent)> {
    request.series.iter().filter_map(|series| {
        selection.families.get(usize::from(series.family)).map(|family| (series, family))
    })
}

/// Every text once, the empty one first.
struct Symbols<'a> {
    texts: Vec<&'a str>,
    places: HashMap<&'a str, u64>,
}

impl Default for Symbols<'_> {
    fn default() -> Self {
        Self { texts: vec![""], places: HashMap::from([("", 0)]) }
    }
}

impl<'a> Symbols<'a> {
    fn of(&mut self, text: &'a str) -> u64 {
        *self.places.entry(text).or_insert_with(|| {
            self.texts.push(text);
            self.texts.len() as u64 - 1
        })
    }
}

fn put_samples(out: &mut Vec<u8>, samples: &[Sample]) {
    for sample in samples {
        let mut time = [0; 10];
        let time = varint(sample.at_ms.cast_unsigned(), &mut time);
        out.push(key(2, BYTES));
        // A key and a double, a key and the time: below 128.
        out.push(10 + time.len().to_le_bytes()[0]);
        out.push(key(1, DOUBLE));
        out.extend_from_slice(&sample.value.to_le_bytes());
        out.push(key(2, VARINT));
        out.extend_from_slice(time);
    }
}

fn put_label(out: &mut Vec<u8>, name: &str, value: &str) {
    let bytes = text_bytes(name) + text_bytes(value);
    out.push(key(1, BYTES));
    put_varint(out, bytes as u64);
    put_bytes(out, 1, name.as_bytes());
    put_bytes(out, 2, value.as_bytes());
}

/// A text with its key and its length.
fn text_bytes(text: &str) -> usize {
    let mut length = [0; 10];
    1 + varint(text.len() as u64, &mut length).len() + text.len()
}

const VARINT: u8 = 0;
const DOUBLE: u8 = 1;
const BYTES: u8 = 2;

/// Fields are numbered below 16, so a key is one byte.
const fn key(field: u8, kind: u8) -> u8 {
    field << 3 | kind
}

/// A number; 0 is what a reader takes where there is none.
fn put_number(out: &mut Vec<u8>, field: u8, value: u64) {
    if value != 0 {
        out.push(key(field, VARINT));
        put_varint(out, value);
    }
}

fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(key(field, BYTES));
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(varint(value, &mut [0; 10]));
}

fn varint(mut value: u64, buffer: &mut [u8; 10]) -> &[u8] {
    let mut length = 0;
    loop {
        let low = value.to_le_bytes()[0];
        value >>= 7;
        buffer[length] = if value == 0 { low & 0x7f } else { low | 0x80 };
        length += 1;
        if value == 0 {
            return &buffer[..length];
        }
    }
}

#[cfg(test)]
pub(super) mod judge;
#[cfg(test)]
mod tests;
