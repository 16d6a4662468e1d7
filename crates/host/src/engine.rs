//! The wasmtime engine: its settings, its clock, and the cache of what it compiled.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;

use wasmtime::{Config, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::cache::Cache;
use crate::{Error, caps};

/// Compiles and runs components. Cheap to clone; one serves a whole process.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    wasmtime: wasmtime::Engine,
    cache: Option<Cache>,
    _ticker: Ticker,
}

/// How an [`Engine`] is made.
#[derive(Default, Debug)]
pub struct EngineOptions {
    /// Where compiled code is kept between starts. A private directory, made if it is not there; `None` keeps nothing.
    pub cache_dir: Option<PathBuf>,
}

impl Engine {
    /// An engine with its ticker running.
    ///
    /// # Errors
    /// When the machine cannot give the address space for the pool, or the cache directory is not private.
    pub fn new(options: EngineOptions) -> Result<Engine, Error> {
        let wasmtime =
            wasmtime::Engine::new(&config()).map_err(|e| Error::Engine(format!("{e:#}")))?;
        let cache = options.cache_dir.map(|dir| Cache::open(&dir)).transpose()?;
        let ticker = Ticker::start(wasmtime.weak());
        Ok(Engine {
            inner: Arc::new(Inner {
                wasmtime,
                cache,
                _ticker: ticker,
            }),
        })
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner.wasmtime
    }

    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.inner.cache.as_ref()
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool()))
        .epoch_interruption(true)
        .memory_init_cow(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(caps::WASM_STACK)
        .async_stack_size(caps::FIBER_STACK)
        .wasm_component_model_async(true)
        // A stack frame is worth its symbols only to the guest's author; a short one is enough, and it is cheap.
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16))
        // Proposals no guest of ours needs are surface no guest of ours should have.
        .wasm_memory64(false)
        .wasm_tail_call(true)
        .native_unwind_info(false);
    config
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(caps::INSTANCES)
        .total_core_instances(caps::INSTANCES * 4)
        .total_memories(caps::INSTANCES * 2)
        .total_tables(caps::INSTANCES * 4)
        .total_stacks(caps::INSTANCES)
        .max_core_instances_per_component(caps::CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(caps::MEMORIES_PER_COMPONENT)
        .max_tables_per_component(caps::TABLES_PER_COMPONENT)
        .max_memory_size(caps::MEMORY_SLOT)
        .table_elements(caps::TABLE_ELEMENTS)
        .max_unused_warm_slots(64)
        .linear_memory_keep_resident(256 * 1024)
        .table_keep_resident(64 * 1024);
    pool
}

/// Advances the engine's epoch for as long as it lives.
struct Ticker {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: wasmtime::EngineWeak) -> Ticker {
        let (stop, stopped) = mpsc::channel();
        let tick = move || {
            while stopped.recv_timeout(caps::TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
                let Some(engine) = engine.upgrade() else {
                    return;
                };
                engine.increment_epoch();
            }
        };
        let thread = thread::Builder::new()
            .name("runner-ticker".into())
            .spawn(tick)
            .ok();
        Ticker {
            stop: Some(stop),
            thread,
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
