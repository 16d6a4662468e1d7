//! What one instance has: a field for each capability, and nothing that its component was not granted.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use wasmtime::component::{GuestTaskId, ResourceTable};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::DynOutputStream;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use crate::admission::Places;
use crate::caps;
use crate::holdings::{Held, Holdings};
use crate::limit::Limit;
use crate::log::LogStream;
use crate::outgoing::{Nobody, Outgoing};
use crate::quota::Taken;
use crate::usage::Usage;

/// The `T` of an instance's `Store<T>`.
pub(crate) struct State {
    pub(crate) table: ResourceTable,
    pub(crate) wasi: WasiCtx,
    pub(crate) http: WasiHttpCtx,
    requests: Requests,
    nobody: Nobody,
    pub(crate) variables: runner_variables::Session,
    pub(crate) usage: Arc<Usage>,
    pub(crate) memory: Memory,
    holdings: Holdings,
    admitted: Option<Places>,
    /// Its output streams, whose lines are those of the request that it serves.
    logs: [LogStream; 2],
    /// How many folders it was granted, where it may serve again: libraries look once for them.
    folders: Option<usize>,
}

/// The calls out of the requests that an instance serves.
enum Requests {
    /// Of one after the other; none between two.
    One(Option<Outgoing>),
    /// Of several at once, by the task of each, and which of them calls.
    Many {
        all: BTreeMap<GuestTaskId, Outgoing>,
        calls: Option<GuestTaskId>,
        /// Outbound calls of all of them at once.
        slots: Arc<Semaphore>,
    },
}

impl State {
    pub(crate) fn new(
        wasi: WasiCtx,
        first: First,
        variables: runner_variables::Session,
        usage: Arc<Usage>,
        memory: Memory,
        logs: [LogStream; 2],
        folders: Option<usize>,
    ) -> State {
        let (requests, admitted) = match first {
            First::Alone(outgoing, admitted) => (Requests::One(Some(*outgoing)), Some(admitted)),
            First::OfMany(slots) => (Requests::many(slots), None),
        };
        let mut table = ResourceTable::new();
        table.set_max_capacity(caps::RESOURCES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(caps::FIELDS);
        State {
            table,
            wasi,
            http,
            requests,
            nobody: Nobody,
            variables,
            usage,
            memory,
            holdings: Holdings::default(),
            admitted,
            logs,
            folders,
        }
    }

    /// The guest hands over so many bytes for the host to keep.
    ///
    /// # Errors
    /// When its handles hold more than its memory may be.
    pub(crate) fn holds(&mut self, bytes: usize) -> wasmtime::Result<()> {
        if !caps::LIMITED {
            return Ok(());
        }
        let lines = self.logs.iter().map(LogStream::streams).sum();
        self.holdings
            .come(bytes, lines, &mut self.table, &mut self.memory)
    }

    /// Whether the guest may open one file more: then it is being opened, until [`State::opened`]. Where it may not, that is
    /// told. There are `streams` streams of 0.3 at most.
    pub(crate) fn begin_to_open(&mut self, streams: usize) -> bool {
        let may = self
            .holdings
            .begin_to_open(streams as u64, &mut self.table, &mut self.memory);
        if let (false, Some(outgoing)) = (may, self.outgoing()) {
            outgoing.hits.hit(Limit::OpenFiles, outgoing.request_id);
        }
        may
    }

    /// What was being opened is open, or is not.
    pub(crate) fn opened(&mut self) {
        self.holdings.opened();
    }

    /// A file is read as a stream of 0.3.
    pub(crate) fn streams(&mut self) {
        self.holdings.streams();
    }

    /// The calls out of the request that is served, or of the one whose task calls.
    pub(crate) fn outgoing(&self) -> Option<&Outgoing> {
        match &self.requests {
            Requests::One(outgoing) => outgoing.as_ref(),
            Requests::Many { all, calls, .. } => all.get(calls.as_ref()?),
        }
    }

    /// Whether it may serve several requests at once.
    pub(crate) fn serves_many(&self) -> bool {
        matches!(self.requests, Requests::Many { .. })
    }

    /// One of several requests begins, as this task.
    pub(crate) fn begin_task(&mut self, task: GuestTaskId, mut outgoing: Outgoing) {
        if let Requests::Many { all, slots, .. } = &mut self.requests {
            outgoing.of_instance = slots.clone();
            all.insert(task, outgoing);
        }
    }

    /// What comes now is done for the request of this task.
    pub(crate) fn turn_to(&mut self, task: Option<GuestTaskId>) {
        let Requests::Many { all, calls, .. } = &mut self.requests else {
            return;
        };
        *calls = task;
        if let Some(outgoing) = task.and_then(|task| all.get(&task)) {
            self.logs
                .iter()
                .for_each(|log| log.begin(outgoing.request_id));
        }
    }

    /// None of several requests is served any more.
    pub(crate) fn forget_requests(&mut self) {
        if let Requests::Many { all, .. } = &mut self.requests {
            all.clear();
        }
    }

    /// Another request begins.
    pub(crate) fn begin(&mut self, outgoing: Outgoing, admitted: Places) {
        self.logs
            .iter()
            .for_each(|log| log.begin(outgoing.request_id));
        self.requests = Requests::One(Some(outgoing));
        self.admitted = Some(admitted);
    }

    /// Lets go of the request that was served. Whether nothing of it is left with the guest, and it was refused nothing.
    pub(crate) fn rest(&mut self) -> bool {
        (self.requests, self.admitted) = (Requests::One(None), None);
        let Some(folders) = self.folders else {
            return false;
        };
        self.logs.iter().for_each(LogStream::end);
        self.has_no_more_than(folders) && self.memory.refused().is_none()
    }

    /// Whether its table has nothing but its output streams and so many folders.
    fn has_no_more_than(&mut self, most: usize) -> bool {
        let (mut streams, mut folders) = (0, 0);
        for entry in self.table.iter_mut() {
            if entry.is::<DynOutputStream>() {
                streams += 1;
            } else if let Some(Descriptor::Dir(_)) = entry.downcast_ref() {
                folders += 1;
            } else {
                return false;
            }
        }
        // Each output stream is one of the log where there are as many of those in the guest's hands.
        let logs: usize = self.logs.iter().map(LogStream::given).sum();
        streams == logs && folders <= most
    }
}

/// Whom an instance serves first.
pub(crate) enum First {
    /// One request, which holds this place.
    Alone(Box<Outgoing>, Places),
    /// The first of several at once, whose calls take these slots.
    OfMany(Arc<Semaphore>),
}

impl Requests {
    fn many(slots: Arc<Semaphore>) -> Requests {
        Requests::Many {
            all: BTreeMap::new(),
            calls: None,
            slots,
        }
    }

    fn hooks<'a>(&'a mut self, nobody: &'a mut Nobody) -> &'a mut dyn WasiHttpHooks {
        let outgoing = match self {
            Requests::One(outgoing) => outgoing.as_mut(),
            Requests::Many { all, calls, .. } => calls.as_ref().and_then(|task| all.get_mut(task)),
        };
        match outgoing {
            Some(outgoing) => outgoing,
            None => nobody,
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: self.requests.hooks(&mut self.nobody),
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

/// Bytes that all memories and tables of an instance may have, together, and its place among all instances.
pub(crate) struct Memory {
    limit: u64,
    left: u64,
    taken: Taken,
    held: Held,
    refused: Option<Refused>,
}

/// Why an instance got no more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It had as much as its component's limit.
    ByLimit(u64),
    /// Its app had as much as is left to each other.
    ByQuota,
}

/// What a table element costs the host.
const ELEMENT: u64 = caps::TABLE_ELEMENT;

impl Memory {
    pub(crate) fn new(limit: u64, taken: Taken) -> Memory {
        Memory {
            limit,
            left: limit,
            taken,
            held: Held::default(),
            refused: None,
        }
    }

    /// Why it was refused any, where it was.
    pub(crate) fn refused(&self) -> Option<Refused> {
        self.refused
    }

    /// What the host holds for its handles, as of now. Whether it may have that.
    pub(crate) fn hold(&mut self, held: Held) -> bool {
        let (before, now) = (self.held.bytes, held.bytes);
        let fits = match now.checked_sub(before) {
            Some(more) => self.take(more),
            None => {
                self.left += before - now;
                self.taken.give_memory_back(before - now);
                true
            }
        };
        self.taken.keep_files(held.files);
        self.held.files = held.files;
        if fits {
            self.held.bytes = now;
        }
        fits
    }

    /// Takes one file more, unless it or its app has as many as it may.
    pub(crate) fn open_file(&mut self) -> bool {
        let fits = self.held.files < caps::FILES_OPEN && self.taken.take_file();
        self.held.files += u64::from(fits);
        fits
    }

    fn take(&mut self, bytes: u64) -> bool {
        let Some(left) = self.left.checked_sub(bytes) else {
            self.refused = Some(Refused::ByLimit(self.limit));
            return false;
        };
        if !self.taken.take_memory(bytes) {
            self.refused = Some(Refused::ByQuota);
            return false;
        }
        self.left = left;
        true
    }
}

impl wasmtime::ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(fits && self.take(desired.saturating_sub(current) as u64))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(fits && self.take(desired.saturating_sub(current) as u64 * ELEMENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::Commons;
    use crate::tenant::TenantId;
    use wasmtime::ResourceLimiter;

    #[test]
    fn the_limit_is_the_sum_over_all_memories_and_tables() {
        let quota = Commons::new(1, u64::MAX).quota(TenantId(1));
        let mut memory = Memory::new(100 << 16, quota.take_places(1).unwrap());
        assert!(memory.memory_growing(0, 60 << 16, None).unwrap());
        assert!(
            !memory.memory_growing(0, 60 << 16, None).unwrap(),
            "a second one does not get its own"
        );
        assert!(memory.memory_growing(60 << 16, 80 << 16, None).unwrap());
        assert!(
            !memory.memory_growing(0, 5 << 16, Some(4 << 16)).unwrap(),
            "its own maximum holds"
        );
        assert_eq!(memory.refused(), Some(Refused::ByLimit(100 << 16)));
        assert!(memory.table_growing(0, 1 << 16, None).unwrap());
        assert!(!memory.table_growing(0, 1 << 17, None).unwrap());
    }

    #[test]
    fn an_instance_gets_what_its_limit_and_its_quota_allow() {
        let quota = Commons::new(1, 10 << 16).quota(TenantId(1));
        let mut memory = Memory::new(100 << 16, quota.take_places(1).unwrap());
        assert!(memory.memory_growing(0, 5 << 16, None).unwrap());
        assert!(!memory.memory_growing(5 << 16, 6 << 16, None).unwrap());
        assert_eq!(memory.refused(), Some(Refused::ByQuota));
        drop(memory);
        let mut memory = Memory::new(100 << 16, quota.take_places(1).unwrap());
        assert!(memory.memory_growing(0, 5 << 16, None).unwrap());
    }
}
