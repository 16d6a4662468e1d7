//! The messages of OTLP that are sent, under the numbers that `opentelemetry-proto` 1.x gives their fields, and as much
//! of protobuf as they need. What is never written is left out.
//!
//! No crate does it, because the small one for messages (`prost`) changes by its macros how those of the engine are built,
//! and the one that has these messages (`opentelemetry-proto`) brings the whole of OpenTelemetry's library along.

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: every number counts from the start of the process.
const CUMULATIVE: u64 = 2;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// What a process, or a part of it, says of all that it sends.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// Attributes of the process.
    pub(super) resource: Vec<KeyValue>,
    /// The name of what collects.
    pub(super) scope: &'static str,
    /// And its version.
    pub(super) version: &'static str,
}

/// `opentelemetry.proto.trace.v1.Span`
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    pub(super) parent: Option<[u8; 8]>,
    pub(super) state: String,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// In nanoseconds since 1970.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) attributes: Vec<KeyValue>,
    pub(super) failed: bool,
    pub(super) flags: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
}

/// `opentelemetry.proto.common.v1.KeyValue`
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KeyValue {
    pub(super) key: String,
    value: Value,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(String),
    Yes,
    Int(u16),
}

/// `opentelemetry.proto.metrics.v1.Metric`
#[derive(Clone, Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) data: Data,
}

#[derive(Clone, Debug)]
pub(super) enum Data {
    /// What only grows.
    Count(Vec<Point<u64>>),
    /// What also falls.
    Level(Vec<Point<u64>>),
    Histogram(Vec<Point<Distribution>>),
}

#[derive(Clone, Debug)]
pub(super) struct Point<V> {
    pub(super) attributes: Vec<KeyValue>,
    pub(super) value: V,
}

#[derive(Clone, Debug)]
pub(super) struct Distribution {
    pub(super) bounds: &'static [f64],
    /// One more than there are bounds.
    pub(super) buckets: Vec<u64>,
    pub(super) sum: f64,
}

/// The time that numbers are about, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period {
    pub(super) start: u64,
    pub(super) now: u64,
}

/// An attribute that is a text.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    let value = Value::Text(value.into());
    let key = key.to_owned();
    KeyValue { key, value }
}

/// An attribute that is a number.
pub(super) fn int(key: &str, value: u16) -> KeyValue {
    let value = Value::Int(value);
    let key = key.to_owned();
    KeyValue { key, value }
}

/// An attribute that holds.
pub(super) fn yes(key: &str) -> KeyValue {
    let key = key.to_owned();
    let value = Value::Yes;
    KeyValue { key, value }
}

/// `ExportTraceServiceRequest`
pub(super) fn traces(of: &Origin, spans: &[Span]) -> Vec<u8> {
    request(of, |scope| {
        spans
            .iter()
            .for_each(|span| scope.message(2, |to| span.write(to)));
    })
}

/// `ExportMetricsServiceRequest`
pub(super) fn metrics(of: &Origin, metrics: &[Metric], period: Period) -> Vec<u8> {
    request(of, |scope| {
        for metric in metrics {
            scope.message(2, |to| metric.write(period, to));
        }
    })
}

/// Both requests are resources with their scopes, under the same numbers.
fn request(of: &Origin, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut request = Writer::default();
    request.message(1, |by_resource| {
        by_resource.message(1, |resource| resource.attributes(1, &of.resource));
        by_resource.message(2, |by_scope| {
            by_scope.message(1, |scope| {
                scope.text(1, of.scope);
                scope.text(2, of.version);
            });
            write(by_scope);
        });
    });
    request.0
}

impl Span {
    fn write(&self, to: &mut Writer) {
        to.bytes(1, &self.trace);
        to.bytes(2, &self.span);
        to.text(3, &self.state);
        to.bytes(4, self.parent.as_ref().map_or(&[][..], |parent| parent));
        to.text(5, &self.name);
        to.number(6, self.kind as u64);
        to.fixed64(7, self.start);
        to.fixed64(8, self.end);
        to.attributes(9, &self.attributes);
        if self.failed {
            const ERROR: u64 = 2;
            to.message(15, |status| status.number(3, ERROR));
        }
        to.fixed32(16, self.flags);
    }
}

impl KeyValue {
    fn write(&self, to: &mut Writer) {
        to.text(1, &self.key);
        to.message(2, |any| match &self.value {
            // One of several: also what is empty or zero is written.
            Value::Text(text) => any.always_bytes(1, text.as_bytes()),
            Value::Yes => any.always_number(2, 1),
            Value::Int(number) => any.always_number(3, (*number).into()),
        });
    }
}

impl Metric {
    fn write(&self, period: Period, to: &mut Writer) {
        to.text(1, self.name);
        to.text(3, self.unit);
        match &self.data {
            Data::Count(points) => to.message(7, |sum| {
                points
                    .iter()
                    .for_each(|point| sum.message(1, |to| point.write(period, to)));
                sum.number(2, CUMULATIVE);
                sum.number(3, 1);
            }),
            Data::Level(points) => to.message(7, |sum| {
                points
                    .iter()
                    .for_each(|point| sum.message(1, |to| point.write(period, to)));
                sum.number(2, CUMULATIVE);
            }),
            Data::Histogram(points) => to.message(9, |histogram| {
                for point in points {
                    histogram.message(1, |to| point.write(period, to));
                }
                histogram.number(2, CUMULATIVE);
            }),
        }
    }
}

impl Point<u64> {
    fn write(&self, period: Period, to: &mut Writer) {
        to.fixed64(2, period.start);
        to.fixed64(3, period.now);
        to.fixed64(6, self.value);
        to.attributes(7, &self.attributes);
    }
}

impl Point<Distribution> {
    fn write(&self, period: Period, to: &mut Writer) {
        let Distribution {
            bounds,
            buckets,
            sum,
        } = &self.value;
        to.fixed64(2, period.start);
        to.fixed64(3, period.now);
        to.fixed64(4, buckets.iter().sum());
        to.fixed64(5, sum.to_bits());
        to.packed(6, buckets.iter().copied());
        to.packed(7, bounds.iter().map(|bound| bound.to_bits()));
        to.attributes(9, &self.attributes);
    }
}

/// Protobuf, field by field.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn tag(&mut self, field: u64, kind: u64) {
        self.varint(field << 3 | kind);
    }

    fn always_bytes(&mut self, field: u64, bytes: &[u8]) {
        self.tag(field, LENGTH);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.always_bytes(field, bytes);
        }
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn always_number(&mut self, field: u64, number: u64) {
        self.tag(field, VARINT);
        self.varint(number);
    }

    fn number(&mut self, field: u64, number: u64) {
        if number != 0 {
            self.always_number(field, number);
        }
    }

    fn fixed64(&mut self, field: u64, number: u64) {
        self.tag(field, FIXED64);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn fixed32(&mut self, field: u64, number: u32) {
        self.tag(field, FIXED32);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn packed(&mut self, field: u64, numbers: impl Iterator<Item = u64>) {
        let bytes: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
        self.bytes(field, &bytes);
    }

    fn message(&mut self, field: u64, write: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::default();
        write(&mut inner);
        self.always_bytes(field, &inner.0);
    }

    fn attributes(&mut self, field: u64, attributes: &[KeyValue]) {
        for attribute in attributes {
            self.message(field, |to| attribute.write(to));
        }
    }
}

/// What a collector says it has not taken, of a message that it has; 0 where it says nothing that makes sense.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    // `partial_success` is the first field of either answer, and its count the first of that.
    let Some(Read::Bytes(partial)) = field(answer, 1) else {
        return 0;
    };
    match field(partial, 1) {
        // As an int64, a negative one is the largest of numbers.
        Some(Read::Number(count)) => i64::try_from(count).map_or(0, i64::unsigned_abs),
        Some(Read::Bytes(_)) | None => 0,
    }
}

enum Read<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The first field of that number.
fn field(mut message: &[u8], wanted: u64) -> Option<Read<'_>> {
    while !message.is_empty() {
        let tag = read_varint(&mut message)?;
        let read = match tag & 7 {
            VARINT => Read::Number(read_varint(&mut message)?),
            FIXED64 => Read::Bytes(take(&mut message, 8)?),
            FIXED32 => Read::Bytes(take(&mut message, 4)?),
            LENGTH => {
                let length = read_varint(&mut message)?;
                Read::Bytes(take(&mut message, length.try_into().ok()?)?)
            }
            _ => return None,
        };
        if tag >> 3 == wanted {
            return Some(read);
        }
    }
    None
}

fn read_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (bytes, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_written_as_protobuf_has_it() {
        let mut writer = Writer::default();
        writer.number(1, 150);
        writer.number(2, 0);
        writer.text(2, "testing");
        writer.text(3, "");
        writer.message(3, |inner| inner.fixed32(16, 1));
        writer.packed(4, [2].into_iter());
        let expected = [
            &[0x08, 0x96, 0x01][..],
            &[0x12, 7],
            b"testing",
            &[0x1a, 6, 0x85, 0x01, 1, 0, 0, 0],
            &[0x22, 8, 2, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(writer.0, expected.concat());
    }

    #[test]
    fn of_an_answer_only_the_count_is_read_and_garbage_says_nothing() {
        let message = |field: u64, inner: &dyn Fn(&mut Writer)| {
            let mut writer = Writer::default();
            writer.message(field, inner);
            writer.0
        };
        let partial = |count: u64| {
            message(1, &move |to| {
                to.text(2, "why");
                to.number(1, count);
            })
        };
        for (answer, expected) in [
            (vec![], 0),
            (partial(3), 3),
            (partial(1 << 40), 1 << 40),
            (partial(u64::MAX), 0),
            (message(2, &|to| to.number(1, 3)), 0),
            (message(1, &|to| to.text(1, "3")), 0),
            (b"<html>garbage".to_vec(), 0),
            (vec![0xff; 20], 0),
            (vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], 0),
            (vec![0x0b], 0),
        ] {
            assert_eq!(rejected(&answer), expected, "{answer:x?}");
        }
    }
}
