//! What the host holds for the handles of an instance, as a part of its memory: header fields, what a call is to say, bodies
//! that nobody takes yet, and open files.
//!
//! Nobody keeps an account of each piece. What may have come is added up, at more than it can be, and when that is much,
//! all handles are looked at: then it is known.

use std::any::Any;

use http::HeaderMap;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::{DynInputStream, ReaddirIterator};
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::bindings::http::types::{Method, Scheme};
use wasmtime_wasi_http::p2::body::HostFutureTrailers;
use wasmtime_wasi_http::p2::types::{
    HostIncomingResponse, HostOutgoingRequest, HostOutgoingResponse,
};
use wasmtime_wasi_http::p3;

use crate::caps;
use crate::state::Memory;

/// What has come since all handles were looked at last.
#[derive(Default)]
pub(crate) struct Holdings {
    bytes: u64,
    /// Files that are being opened.
    opening: u64,
    /// Files that were begun to be read as a stream of 0.3, which is no entry of the table.
    streamed: u64,
    lines: u64,
}

/// What all handles of an instance hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

/// An instance holds more than it may.
#[derive(Debug, thiserror::Error)]
#[error("its handles hold more than it may have")]
struct TooMuch;

/// What a handle costs that holds nothing.
const HANDLE: u64 = 128;

/// What a stream has read ahead of its reader.
const STREAM: u64 = 64 * 1024;

/// What the names of a folder cost that is read: of some thousands of files.
const FOLDER: u64 = 256 * 1024;

/// What a field costs beside its name and its value.
const FIELD: u64 = 128;

impl Holdings {
    /// The guest hands over so many bytes, and may by that make the host copy one map of fields. It writes to so many
    /// streams of 0.3, each of which holds a line of the log and is no entry of the table.
    pub(crate) fn come(
        &mut self,
        bytes: usize,
        lines: usize,
        table: &mut ResourceTable,
        memory: &mut Memory,
    ) -> wasmtime::Result<()> {
        self.lines = lines as u64;
        self.bytes = self
            .bytes
            .saturating_add(bytes as u64)
            .saturating_add(caps::FIELDS as u64);
        if self.bytes <= caps::UNSEEN {
            return Ok(());
        }
        match self.look(table, memory) {
            true => Ok(()),
            false => Err(TooMuch.into()),
        }
    }

    /// Whether it may open one file more, of which there may be `streams` as streams of 0.3. Where it may, its opening has
    /// begun.
    pub(crate) fn begin_to_open(
        &mut self,
        streams: u64,
        table: &mut ResourceTable,
        memory: &mut Memory,
    ) -> bool {
        self.streamed = self.streamed.min(streams);
        let may = memory.open_file() || self.look(table, memory) && memory.open_file();
        self.opening += u64::from(may);
        may
    }

    /// It is open and in the table, or it is not.
    pub(crate) fn opened(&mut self) {
        self.opening = self.opening.saturating_sub(1);
    }

    /// A file is read as a stream of 0.3.
    pub(crate) fn streams(&mut self) {
        self.streamed += 1;
    }

    fn look(&mut self, table: &mut ResourceTable, memory: &mut Memory) -> bool {
        let mut held = Held::by(table);
        held.files += self.opening + self.streamed;
        held.bytes += self.streamed * STREAM + self.lines * caps::LOG_LINE as u64;
        let fits = memory.hold(held);
        // Whoever holds too much is looked at again, whatever it did in between.
        if fits {
            self.bytes = 0;
        }
        fits
    }
}

impl Held {
    fn by(table: &mut ResourceTable) -> Held {
        let mut held = Held::default();
        for entry in table.iter_mut() {
            let entry: &dyn Any = entry;
            held.bytes += HANDLE + of_entry(entry);
            // A stream of a file keeps it open; of which streams are those of files nothing is known.
            let is_file = entry.is::<Descriptor>() || entry.is::<DynInputStream>();
            held.files += u64::from(is_file);
        }
        held
    }
}

fn of_entry(entry: &dyn Any) -> u64 {
    if let Some(fields) = entry.downcast_ref::<FieldMap>() {
        of_fields(fields)
    } else if let Some(request) = entry.downcast_ref::<HostOutgoingRequest>() {
        let method = match &request.method {
            Method::Other(other) => other.len(),
            _ => 0,
        };
        let scheme = match &request.scheme {
            Some(Scheme::Other(other)) => other.len(),
            _ => 0,
        };
        let texts = [&request.authority, &request.path_with_query];
        let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
        (method + scheme + texts) as u64
            + of_fields(&request.headers)
            + of_body(request.body.is_some())
    } else if let Some(response) = entry.downcast_ref::<HostOutgoingResponse>() {
        of_fields(&response.headers) + of_body(response.body.is_some())
    } else if let Some(response) = entry.downcast_ref::<HostIncomingResponse>() {
        of_fields(&response.headers)
    } else if let Some(request) = entry.downcast_ref::<p3::Request>() {
        let scheme = request.scheme.as_ref().map_or(0, |it| it.as_str().len());
        let authority = request.authority.as_ref().map_or(0, |it| it.as_str().len());
        let path = request.path_with_query.as_ref();
        let path = path.map_or(0, |it| it.as_str().len());
        (request.method.as_str().len() + scheme + authority + path) as u64
            + of_fields(&request.headers)
    } else if let Some(response) = entry.downcast_ref::<p3::Response>() {
        of_fields(&response.headers)
    } else if let Some(HostFutureTrailers::Done(Ok(Some(fields)))) = entry.downcast_ref() {
        of_fields(fields)
    } else if entry.is::<DynInputStream>() {
        STREAM
    } else if entry.is::<ReaddirIterator>() {
        FOLDER
    } else {
        0
    }
}

fn of_fields(fields: &HeaderMap) -> u64 {
    let of = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        FIELD + (name.as_str().len() + value.len()) as u64
    };
    fields.iter().map(of).sum()
}

/// A body that nobody takes yet has room for so much, and for its trailers.
fn of_body(is_there: bool) -> u64 {
    match is_there {
        true => (2 * caps::BODY_CHUNK + caps::FIELDS) as u64,
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::quota::Commons;
    use crate::tenant::TenantId;

    fn fields(bytes: usize) -> FieldMap {
        let mut fields = FieldMap::new_mutable(caps::FIELDS);
        let value = HeaderValue::try_from(vec![b'x'; bytes]).unwrap();
        fields
            .append_raw(HeaderName::from_static("x"), value)
            .unwrap();
        fields
    }

    #[test]
    fn what_is_held_is_a_part_of_the_memory_and_no_more_than_is_there() {
        let quota = Commons::new(1, u64::MAX).quota(TenantId(1));
        let mut memory = Memory::new(8 << 20, quota.take_places(1).unwrap());
        let mut table = ResourceTable::new();
        let mut holdings = Holdings::default();
        let mut kept = Vec::new();
        for _ in 0..2000 {
            kept.push(table.push(fields(100_000)).unwrap());
            if holdings.come(100_000, 0, &mut table, &mut memory).is_err() {
                break;
            }
        }
        // At the latest when twice of what is not seen has come beyond the limit.
        let most = ((8 << 20) + 2 * caps::UNSEEN as usize) / 100_000;
        assert!((80..=most).contains(&kept.len()), "{}", kept.len());
        assert!(memory.refused().is_some());
        // Also where it asked for something else meanwhile, and got it or not.
        assert!(!holdings.look(&mut table, &mut memory));
        let handed = holdings.come(0, 0, &mut table, &mut memory);
        assert!(handed.is_err(), "it is looked at again");
        // What was let go of is there again.
        for fields in kept.drain(..) {
            table.delete(fields).unwrap();
        }
        assert!(holdings.look(&mut table, &mut memory));
        for _ in 0..1000 {
            holdings.come(100_000, 0, &mut table, &mut memory).unwrap();
        }
        // Each stream of 0.3 that is written to has a line.
        let mut come = |lines| holdings.come(caps::UNSEEN as usize, lines, &mut table, &mut memory);
        assert!(come(1023).is_ok() && come(1025).is_err());
    }

    #[test]
    fn entries_are_worth_what_they_hold() {
        assert_eq!(of_entry(&fields(1000)), FIELD + 1 + 1000);
        assert_eq!(of_entry(&()), 0);
        let request = HostOutgoingRequest {
            method: Method::Other("x".repeat(7)),
            scheme: Some(Scheme::Other("x".repeat(30))),
            authority: Some("x".repeat(200)),
            path_with_query: Some("x".repeat(1000)),
            headers: fields(9),
            body: None,
        };
        assert_eq!(of_entry(&request), 1237 + FIELD + 10);
    }
}
