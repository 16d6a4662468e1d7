//! Every bound on what the host does or keeps on a guest's behalf, in one table, each with its reason.

use std::time::Duration;

use runner_manifest::{InstanceReuse, Limits, Rate};

/// Whether guests are limited. They always are, but in the build that their limits' cost is measured against.
pub const LIMITED: bool = !cfg!(feature = "danger-no-limits");

/// What a component has where neither its manifest nor the operator says otherwise; what is not set is not bounded.
pub fn limits() -> Limits {
    Limits {
        memory: Some(MEMORY),
        cpu: Some(CPU),
        request_timeout: Some(REQUEST_TIMEOUT),
        response_timeout: Some(RESPONSE_TIMEOUT),
        concurrency: Some(CONCURRENCY),
        queue: Some(QUEUE),
        request_body: None,
        response_body: None,
        log_rate: Some(LOG_RATE),
        outbound_concurrency: Some(OUTBOUND_PER_INSTANCE),
        outbound_rate: None,
        instance_reuse: Some(InstanceReuse::Never),
        clock_resolution: None,
    }
}

/// Linear memories and tables of one instance together, where the manifest sets no `memory`: a JavaScript or Python
/// component needs some tens of MiB; a leak should not need the machine.
pub const MEMORY: u64 = 128 * 1024 * 1024;

/// The largest linear memory a pool slot has room for: all of what 32-bit WebAssembly can address. This is address
/// space, not memory; what is used is bounded by [`MEMORY`] or the manifest.
pub const MEMORY_SLOT: usize = 4 << 30;

/// Elements of one table. The largest toolchains (Python) declare some ten thousand.
pub const TABLE_ELEMENTS: usize = 100_000;

/// What a table element costs the host, in bytes.
pub const TABLE_ELEMENT: u64 = 16;

/// Places for instances, of all components of all apps. An instance of a usual component takes one; an app may take as
/// many as are left, so alone it has a thousand.
pub const INSTANCES: u32 = 2000;
/// Of the memory of the machine, or of the group of processes that the system limits, guests get three quarters at most:
/// the rest is for the host, its sockets, and whoever else is there.
pub const OF_MEMORY: (u64, u64) = (3, 4);

/// How long an instance waits for its next request, where `instance_reuse` lets it serve another: under load the next is
/// there at once, and who is not asked for holds no memory.
pub const IDLE: Duration = Duration::from_secs(10);
/// Instances of one component that wait: the guests that answer at once are as many as there are cores, and each that waits
/// may hold all of its `memory`.
pub const IDLE_PER_COMPONENT: usize = 4;
/// Instances that wait, of all components: a tenth of [`INSTANCES`], so that they never leave those who serve without.
pub const IDLE_INSTANCES: usize = 100;
/// Requests that one instance serves at once, where `instance_reuse` lets it: what goes wrong in it goes wrong for all of
/// those.
pub const CREW_COMPANY: usize = 16;
/// A request that no instance has taken for so long gets one of its own: they may all be held up by one task of theirs.
pub const CREW_PATIENCE: Duration = Duration::from_millis(20);
/// Requests that one instance serves: making it costs little beside so many, and what it leaks has an end.
pub const REQUESTS_PER_INSTANCE: u32 = 1000;

/// Requests that a component serves at once.
pub const CONCURRENCY: u32 = 256;
/// Requests that wait until one of those is done; the next are refused at once.
pub const QUEUE: u32 = 256;
/// How long they wait: a client that is told to come back does so sooner than one that is kept waiting gives up.
pub const QUEUE_WAIT: Duration = Duration::from_secs(1);

/// A guest that has waited so long for its client gives its place to a request that has none. A client on a bad line is
/// as slow as that now and then; it only matters while all places are taken.
pub const SLOW_CLIENT: Duration = Duration::from_millis(500);
/// Bytes a second that its client brings or takes are worth the waiting for them. Half a megabit: a line that is as slow as
/// that may be cut when there are others, and a client that trickles cannot hold a place by a byte now and then.
pub const SLOW_RATE: u64 = 64 * 1024;
/// How often a request that waits for a place looks for such a guest.
pub const MAKE_ROOM_EVERY: Duration = Duration::from_millis(50);

/// A request that finds the runtime's queue longer than this is refused: once it had its turn, its client would not wait
/// any more.
pub const QUEUE_DELAY: Duration = Duration::from_millis(200);
/// How often the length of that queue is measured at most.
pub const PULSE: Duration = Duration::from_millis(10);
/// So many requests are admitted whatever the queue's length, of all apps: it may be long because the process was stopped.
pub const BURST: u32 = 128;
/// And so many of each app, however many there are: who asks for little is not to blame for the queue.
pub const LEAST_BURST: u32 = 8;

/// Core instances, memories and tables of one component: adapters and linked libraries need several.
pub const CORE_INSTANCES_PER_COMPONENT: u32 = 64;
/// See [`CORE_INSTANCES_PER_COMPONENT`].
pub const MEMORIES_PER_COMPONENT: u32 = 16;
/// See [`CORE_INSTANCES_PER_COMPONENT`].
pub const TABLES_PER_COMPONENT: u32 = 64;

/// What one place of [`INSTANCES`] has room for; an instance that needs more takes several. Rust, JavaScript and Python
/// components of today fit into one or two.
pub const CORE_INSTANCES_IN_A_PLACE: u32 = 4;
/// See [`CORE_INSTANCES_IN_A_PLACE`].
pub const MEMORIES_IN_A_PLACE: u32 = 2;
/// See [`CORE_INSTANCES_IN_A_PLACE`].
pub const TABLES_IN_A_PLACE: u32 = 4;

/// Stack of WebAssembly code; the host's own frames need room above it.
pub const WASM_STACK: usize = 512 * 1024;
/// Stack of a guest's fiber: [`WASM_STACK`] plus the host functions it calls.
pub const FIBER_STACK: usize = 2 * 1024 * 1024;

/// Handles a guest may hold at once: requests, fields, streams, pollables, tasks; and things of the host behind them.
pub const RESOURCES: usize = 10_000;

/// Bytes a single call may make the host copy out of a guest (lists and strings of its arguments).
pub const HOSTCALL_FUEL: usize = 16 * 1024 * 1024;

/// Bytes of a text with which a guest says what went wrong with a body that it reads, or sends to somebody.
pub const ERROR_TEXT: usize = 1024;

/// Size of one header map, as the host holds it: 64 KiB on the wire is about twice that in memory.
pub const FIELDS: usize = 128 * 1024;

/// What a guest may have handed over for the host to keep before all of its handles are looked at: that is done for every
/// eighth call at most.
pub const UNSEEN: u64 = 1024 * 1024;
/// A guest hands a body over in pieces of this size at most, and two of them wait for whoever takes it: a writer does not wait
/// for each, and many bodies that nobody takes are not much.
pub const BODY_CHUNK: usize = 64 * 1024;
/// Files and folders that an instance may have open.
pub const FILES_OPEN: u64 = 256;
/// Of the descriptors that the process may have, guests have a quarter at most, all together, for files.
pub const OF_FILES: (u64, u64) = (1, 4);

/// Largest answer to one `get-random-bytes`.
pub const RANDOM: u64 = 1024 * 1024;

/// A guest's log line is cut here; what follows, up to the next line feed, is dropped.
pub const LOG_LINE: usize = 8 * 1024;

/// Bytes of log that all instances of a component write together, where the manifest sets no `log_rate`: some hundred
/// lines a second, which is more than anybody reads.
pub const LOG_RATE: Rate = Rate {
    amount: 16 * 1024,
    per: Duration::from_secs(1),
};
/// What they write at once on top of that: a stack trace, or what a start has to say.
pub const LOG_BURST: u64 = 64 * 1024;

/// How often the epoch advances while guests compute: what a guest in a loop takes before others get a turn.
pub const TICK: Duration = Duration::from_millis(1);
/// How often it does while none computes.
pub const REST: Duration = Duration::from_millis(100);
/// What every guest may compute before it needs a place among those that compute for long: most answer within it. With a
/// millisecond, guests of two were served at less than half of the rate.
pub const SLICE: Duration = Duration::from_millis(5);

/// An app that uses less than this fraction of an equal part of the processors is served before the others. Those who use
/// more are equal behind them, and have all that those leave.
pub const IN_FRONT: u64 = 4;
/// What an app's guests may compute at once, beyond that, before it is served behind the others: one
/// slice. Somebody else's request may find all of it in front of it, each time.
pub const CPU_CREDIT: Duration = SLICE;
/// What the host does for a request, and for a call of a guest, as a part of what the app's guests compute: about what it
/// takes to read it, to make an instance or a connection, to write and to record what comes of it.
pub const REQUEST_PRICE: Duration = Duration::from_micros(50);
/// And how long it pays at most for what they did beyond that.
pub const CPU_DEBT: Duration = Duration::from_secs(1);
/// An app whose guests have computed within this time counts among those that share the processors.
pub const ACTIVE: Duration = Duration::from_secs(1);
/// How often those are counted.
pub const COUNT_EVERY: Duration = Duration::from_millis(100);
/// A poll of a guest that took so long could not be interrupted: one instruction of WebAssembly may fill all its memory.
pub const LONG_POLL: Duration = SLICE.saturating_mul(4);
/// For so long after it that app is served behind the others: what it does again then costs them a thousandth of that time.
pub const LONG_POLL_NOTED: Duration = Duration::from_secs(300);

/// What a guest may compute for one request, where the manifest sets no `cpu`: ten thousand times a small answer.
pub const CPU: Duration = Duration::from_secs(1);

/// To the head of the response, where the manifest sets no `request_timeout`.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// From the request to the end of the response, where the manifest sets no `response_timeout`.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// What a guest may still do after its response has ended.
pub const AFTER_RESPONSE: Duration = Duration::from_secs(30);

/// Outbound calls of one instance at once, where the manifest sets no `outbound_concurrency`.
pub const OUTBOUND_PER_INSTANCE: u32 = 16;
/// Outbound calls of all instances of a component at once.
pub const OUTBOUND_PER_COMPONENT: usize = 256;

/// Calls inside an app, from one component to the next: A to B to A is two.
pub const DEPTH: u8 = 8;
/// Calls inside an app that one request leads to, all levels together: ten calls that make ten calls each are 110.
pub const CALLS: u32 = 100;

/// Largest `.wasm` that is read. CPython with a few libraries is 40 MiB.
pub const ARTIFACT: u64 = 256 * 1024 * 1024;

/// Computing to compile one component, over all threads: large ones of today take a few seconds.
pub const COMPILE_CPU: Duration = Duration::from_secs(60);
/// Memory to compile one component.
pub const COMPILE_MEMORY: u64 = 1 << 30;
/// Until one component is compiled: twice what it may compute, for those who serve go first.
pub const COMPILE_TIME: Duration = Duration::from_secs(120);
/// Components that are compiled at once, where there are as many cores: each may take [`COMPILE_MEMORY`].
pub const COMPILES: usize = 4;
/// Largest code of one component. It is held in memory as long as the component is served.
pub const CODE: usize = 256 * 1024 * 1024;

/// Files a component may be granted, together: they are copied at the start.
pub const FILES: u64 = 1024 * 1024 * 1024;

/// The compile cache, all entries together: some hundred components, and a fraction of any disk.
pub const CACHE_BYTES: u64 = 4 << 30;
/// An entry that no start has used for so long: of an old build, or of an engine that is gone.
pub const CACHE_UNUSED: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// An entry that is still being written after so long: its writer was killed.
pub const CACHE_DRAFT: Duration = Duration::from_secs(60 * 60);

/// Modules and components inside one another. Composed components nest a few levels.
pub const NESTING: usize = 64;

/// A section of component types, in bytes. All of WASI takes some 30 KiB; types nest inside a section, and whoever reads
/// them does so by recursion.
pub const TYPE_SECTION: usize = 256 * 1024;

/// Stack of a thread that reads components: address space, for the recursion that [`TYPE_SECTION`] leaves possible.
pub const LOADER_STACK: usize = 1 << 30;
/// The same in a process of its own, which may overflow it; it is part of [`COMPILE_MEMORY`].
pub const COMPILER_STACK: usize = 128 << 20;
/// Stack of a thread that links what was compiled elsewhere.
pub const LINKER_STACK: usize = 8 << 20;

/// Imports (also those that are missing), exports, memories or tables that are told of one component. Toolchains make some tens of each.
pub const LISTED: usize = 1000;

/// Bytes that are told of an import's or export's name.
pub const NAME: usize = 256;
