//! What one instance has: a field for each capability, and nothing that its component was not granted.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::admission::Places;
use crate::caps;
use crate::outgoing::Outgoing;
use crate::usage::Usage;

/// The `T` of an instance's `Store<T>`.
pub(crate) struct State {
    pub(crate) table: ResourceTable,
    pub(crate) wasi: WasiCtx,
    pub(crate) http: WasiHttpCtx,
    pub(crate) outgoing: Outgoing,
    pub(crate) variables: runner_variables::Session,
    pub(crate) usage: Arc<Usage>,
    pub(crate) memory: Memory,
    _admitted: Places,
}

impl State {
    pub(crate) fn new(
        wasi: WasiCtx,
        outgoing: Outgoing,
        variables: runner_variables::Session,
        usage: Arc<Usage>,
        memory: u64,
        admitted: Places,
    ) -> State {
        let mut table = ResourceTable::new();
        table.set_max_capacity(caps::RESOURCES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(caps::FIELDS);
        State {
            table,
            wasi,
            http,
            outgoing,
            variables,
            usage,
            memory: Memory::new(memory),
            _admitted: admitted,
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
            hooks: &mut self.outgoing,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

/// Bytes that all memories and tables of an instance may have, together.
pub(crate) struct Memory {
    limit: u64,
    left: u64,
    refused: bool,
}

/// What a table element costs the host.
const ELEMENT: u64 = caps::TABLE_ELEMENT;

impl Memory {
    fn new(limit: u64) -> Memory {
        Memory {
            limit,
            left: limit,
            refused: false,
        }
    }

    /// The limit, where it has refused anything.
    pub(crate) fn refused(&self) -> Option<u64> {
        self.refused.then_some(self.limit)
    }

    fn take(&mut self, bytes: u64) -> bool {
        let Some(left) = self.left.checked_sub(bytes) else {
            self.refused = true;
            return false;
        };
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
    use wasmtime::ResourceLimiter;

    #[test]
    fn the_limit_is_the_sum_over_all_memories_and_tables() {
        let mut memory = Memory::new(100 << 16);
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
        assert_eq!(memory.refused(), Some(100 << 16));
        assert!(memory.table_growing(0, 1 << 16, None).unwrap());
        assert!(!memory.table_growing(0, 1 << 17, None).unwrap());
    }
}
