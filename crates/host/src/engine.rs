//! The wasmtime engine: its settings, its clock, and the cache of what it compiled.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::artifact::Artifact;
use crate::cache::{Cache, CacheError};
use crate::compile::{self, Compiled, Compiler, Slots};
use crate::pressure::Pressure;
use crate::quota::Quota;
use crate::tenant::TenantId;
use crate::ticker::{Pace, Ticker};
use crate::{Error, caps, memory};

/// Compiles and runs components. Cheap to clone; one serves a whole process.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    wasmtime: wasmtime::Engine,
    cache: Option<Cache>,
    compiler: Compiler,
    compiling: Slots,
    /// What is wrong with the cache, until somebody who listens loads an app.
    untold: Mutex<Option<String>>,
    pace: Arc<Pace>,
    /// Places of instances that wait for another request.
    idle: Arc<Semaphore>,
    _ticker: Ticker,
}

/// How an [`Engine`] is made.
#[derive(Default, Debug)]
pub struct EngineOptions {
    /// Where compiled code is kept between starts.
    pub cache: CacheDir,
    /// Who compiles what is not kept.
    pub compiler: Compiler,
    /// Where instances are made.
    pub instances: Instances,
}

/// Where the memory of instances comes from.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub enum Instances {
    /// From a pool, which reserves 16 TiB of addresses at the start, and makes an instance in some ten microseconds.
    #[default]
    Pooled,
    /// From the system, each time: where such addresses cannot be had.
    OnDemand,
}

/// A private directory for compiled code, made if it is not there.
#[derive(Default, Debug)]
pub enum CacheDir {
    /// Nothing is kept.
    #[default]
    None,
    /// The usual one: when it cannot be used, nothing is kept, and that is told.
    Usual(PathBuf),
    /// One that somebody chose: when it is not private or cannot be made, there is no engine.
    Chosen(PathBuf),
}

impl Engine {
    /// An engine with its ticker running.
    ///
    /// # Errors
    /// When the machine cannot give the address space for the pool, or the chosen cache directory is not private.
    pub fn new(options: EngineOptions) -> Result<Engine, Error> {
        let config = match options.instances {
            Instances::Pooled => config(),
            Instances::OnDemand => config_without_pool(),
        };
        let wasmtime =
            wasmtime::Engine::new(&config).map_err(|e| Error::Engine(format!("{e:#}")))?;
        let (cache, untold) = open_cache(options.cache)?;
        let pace = Arc::new(Pace::new(cores(), memory_for_guests()));
        let ticker = Ticker::start(wasmtime.weak(), pace.clone()).map_err(|error| {
            Error::Engine(format!(
                "the thread that stops guests in time cannot start: {error}"
            ))
        })?;
        Ok(Engine {
            inner: Arc::new(Inner {
                wasmtime,
                cache,
                compiler: options.compiler,
                compiling: Slots::new(cores().min(caps::COMPILES)),
                untold: Mutex::new(untold),
                pace,
                idle: Arc::new(Semaphore::new(caps::IDLE_INSTANCES)),
                _ticker: ticker,
            }),
        })
    }

    /// How many instances there are now, of all components.
    pub fn instances(&self) -> u64 {
        let pool = self.inner.wasmtime.pooling_allocator_metrics();
        pool.map_or(0, |pool| pool.component_instances())
    }

    pub(crate) fn pressure(&self) -> &Pressure {
        &self.inner.pace.pressure
    }

    /// What a tenant has of what all share.
    pub(crate) fn quota(&self, tenant: TenantId) -> Arc<Quota> {
        let quota = self.inner.pace.commons.quota(tenant);
        if self.inner.pace.commons.is_shared() {
            // Not when they are needed: a server has as many threads under an attack as before and after it.
            self.behind();
        }
        quota
    }

    /// Where tenants are served that others go before.
    pub(crate) fn behind(&self) -> Option<&Handle> {
        self.inner.pace.behind.runtime()
    }

    /// Compiles, when it is its turn. Blocks until that is done.
    pub(crate) fn compile(&self, artifact: &Artifact) -> Result<Compiled, compile::Error> {
        let _slot = self.inner.compiling.take();
        self.inner
            .compiler
            .compile(&artifact.bytes, self.wasmtime())
    }

    /// The stack of a thread that loads components.
    pub(crate) fn loader_stack(&self) -> usize {
        self.inner.compiler.stack()
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner.wasmtime
    }

    /// By what its guests compute one after another.
    pub(crate) fn pace(&self) -> &Arc<Pace> {
        &self.inner.pace
    }

    /// How many instances may wait for another request, of all components together.
    pub(crate) fn idle(&self) -> &Arc<Semaphore> {
        &self.inner.idle
    }

    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.inner.cache.as_ref()
    }

    /// What was wrong with the cache when it was opened, once.
    pub(crate) fn untold(&self) -> Option<String> {
        let mut untold = self
            .inner
            .untold
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        untold.take()
    }
}

/// The cache, if it can be used, and what to tell of it.
fn open_cache(dir: CacheDir) -> Result<(Option<Cache>, Option<String>), CacheError> {
    let (dir, is_chosen) = match dir {
        CacheDir::None => return Ok((None, None)),
        CacheDir::Usual(dir) => (dir, false),
        CacheDir::Chosen(dir) => (dir, true),
    };
    match Cache::open(&dir) {
        Ok((cache, mended)) => Ok((Some(cache), mended)),
        Err(error) if is_chosen && error.blames_the_name() => Err(error),
        Err(error) => {
            let told = format!("{error}; compiled code is not kept; {}", error.help());
            Ok((None, Some(told)))
        }
    }
}

/// The settings that everything is compiled and run with.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool()))
        .epoch_interruption(caps::LIMITED)
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

/// The same settings for whoever compiles and runs nothing: the code is the same, and no pool is reserved.
pub(crate) fn config_without_pool() -> Config {
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    config
}

/// How many cores there are.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Bytes that all guests may have together.
fn memory_for_guests() -> u64 {
    let (part, of) = caps::OF_MEMORY;
    memory::available().map_or(u64::MAX, |bytes| bytes / of * part)
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(caps::INSTANCES)
        .total_core_instances(caps::INSTANCES * caps::CORE_INSTANCES_IN_A_PLACE)
        .total_memories(caps::INSTANCES * caps::MEMORIES_IN_A_PLACE)
        .total_tables(caps::INSTANCES * caps::TABLES_IN_A_PLACE)
        // A component of many parts has a stack for each that waits.
        .total_stacks(caps::INSTANCES * (caps::CORE_INSTANCES_IN_A_PLACE + 1))
        .max_core_instances_per_component(caps::CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(caps::MEMORIES_PER_COMPONENT)
        .max_tables_per_component(caps::TABLES_PER_COMPONENT)
        .max_memory_size(caps::MEMORY_SLOT)
        .table_elements(caps::TABLE_ELEMENTS)
        .max_unused_warm_slots(64)
        // Only what a guest has written is cleared, and only that stays, of each slot that was ever used: a server that
        // was asked a thousand things at once keeps so many.
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(64 * 1024)
        .table_keep_resident(64 * 1024);
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_without_a_pool_runs_with_one() {
        let engine = |config: Config| wasmtime::Engine::new(&config).unwrap();
        let (with, without) = (engine(config()), engine(config_without_pool()));
        assert_eq!(Cache::name("", &with), Cache::name("", &without));
        let mut other = config_without_pool();
        other.epoch_interruption(false);
        assert_ne!(Cache::name("", &with), Cache::name("", &engine(other)));
    }
}
