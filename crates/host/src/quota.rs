//! What all tenants of an engine share, and how much of it each may take: places for instances, memory, open files,
//! processors.
//!
//! Places, memory and files: a tenant may take as much as is left when it has taken it. Alone it gets half, two get a third each,
//! a hundred a hundredth; and whoever comes next finds as much as the greediest has. No share is set aside for somebody who
//! does not come.
//!
//! Processors: a tenant whose guests have computed more than a fraction of its part of them is served behind the others
//! ([`Behind`](crate::behind::Behind)), and its guests wait for one another in the [`Gate`](crate::gate::Gate) from the first
//! moment on, and not only those that compute for long. This costs nothing while one tenant is there alone.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

use crate::caps;
use crate::compile::Needs;
use crate::tenant::TenantId;

/// What the tenants of one engine share.
pub(crate) struct Commons {
    places: Stock,
    memory: Stock,
    files: Stock,
    cores: u64,
    born: Instant,
    /// Nanoseconds since then, as of the last beat.
    now: AtomicU64,
    /// Whether there is anybody to share with.
    several: AtomicBool,
    /// Tenants whose guests have computed of late.
    active: AtomicU32,
    quotas: Mutex<Vec<Weak<Quota>>>,
}

/// So much there is of something, and so much is taken.
struct Stock {
    all: u64,
    taken: AtomicU64,
}

/// What one tenant has of it. There is one for all loads of an app.
pub(crate) struct Quota {
    tenant: TenantId,
    commons: Arc<Commons>,
    places: AtomicU64,
    memory: AtomicU64,
    files: AtomicU64,
    /// When it will have got, in front of the others, what it has computed: nanoseconds on the commons' clock.
    paid: AtomicU64,
    /// Until when its guests count as those that cannot be interrupted.
    long: AtomicU64,
    /// Requests since the last turn of the runtime's queue, and which turn that was.
    requests: AtomicU32,
    turn: AtomicU64,
}

/// What an instance has taken, until it is dropped.
pub(crate) struct Taken {
    quota: Arc<Quota>,
    places: u64,
    memory: u64,
    files: u64,
}

impl Commons {
    /// Of a machine with so many processors, and so much memory for guests.
    pub(crate) fn new(cores: usize, memory: u64) -> Arc<Commons> {
        Arc::new(Commons {
            places: Stock::of(u64::from(caps::INSTANCES)),
            memory: Stock::of(memory),
            files: Stock::of(files_for_guests()),
            cores: cores as u64,
            born: Instant::now(),
            now: AtomicU64::new(0),
            several: AtomicBool::new(false),
            active: AtomicU32::new(1),
            quotas: Mutex::default(),
        })
    }

    /// What this tenant has: what it has already, where a load of its app is still there.
    pub(crate) fn quota(self: &Arc<Commons>, tenant: TenantId) -> Arc<Quota> {
        let mut quotas = self.quotas();
        quotas.retain(|quota| quota.strong_count() > 0);
        let mut there = quotas.iter().filter_map(Weak::upgrade);
        if let Some(quota) = there.find(|quota| quota.tenant == tenant) {
            return quota;
        }
        drop(there);
        let quota = Arc::new(Quota::of(tenant, self.clone()));
        quotas.push(Arc::downgrade(&quota));
        self.several.store(quotas.len() > 1, Ordering::Relaxed);
        quota
    }

    /// Whether there is anybody to share with.
    pub(crate) fn is_shared(&self) -> bool {
        self.several.load(Ordering::Relaxed)
    }

    /// To be called at each beat: the clock goes on, and those that compute are counted now and then.
    pub(crate) fn beat(&self) {
        let before = self.now.load(Ordering::Relaxed);
        let now = nanoseconds(self.born.elapsed());
        self.now.store(now, Ordering::Relaxed);
        let every = nanoseconds(caps::COUNT_EVERY);
        if self.is_shared() && before / every != now / every {
            self.count(now);
        }
    }

    fn count(&self, now: u64) {
        let since = now.saturating_sub(nanoseconds(caps::ACTIVE));
        let quotas = self.quotas();
        let computes = |quota: &Arc<Quota>| quota.paid.load(Ordering::Relaxed) > since;
        let active = quotas.iter().filter_map(Weak::upgrade).filter(computes);
        let active = u32::try_from(active.count()).unwrap_or(u32::MAX);
        self.active.store(active.max(1), Ordering::Relaxed);
    }

    /// Tenants whose guests have computed of late, one at least.
    pub(crate) fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn quotas(&self) -> MutexGuard<'_, Vec<Weak<Quota>>> {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stock {
    fn of(all: u64) -> Stock {
        Stock {
            all,
            taken: AtomicU64::new(0),
        }
    }

    /// Takes so much for whoever has `own` of it, if no more than that is left then.
    fn take(&self, own: &AtomicU64, much: u64) -> bool {
        let (before, of_all) = (
            own.load(Ordering::Relaxed),
            self.taken.load(Ordering::Relaxed),
        );
        // What is refused is not counted for a moment either: it could be in the way of somebody else.
        if before
            .saturating_add(of_all)
            .saturating_add(much.saturating_mul(2))
            > self.all
        {
            return false;
        }
        let of_one = own.fetch_add(much, Ordering::Relaxed).saturating_add(much);
        let of_all = self.taken.fetch_add(much, Ordering::Relaxed);
        let of_all = of_all.saturating_add(much);
        let fits = of_one.saturating_add(of_all) <= self.all;
        if !fits {
            self.give_back(own, much);
        }
        fits
    }

    fn give_back(&self, own: &AtomicU64, much: u64) {
        own.fetch_sub(much, Ordering::Relaxed);
        self.taken.fetch_sub(much, Ordering::Relaxed);
    }
}

impl Quota {
    fn of(tenant: TenantId, commons: Arc<Commons>) -> Quota {
        Quota {
            tenant,
            commons,
            places: AtomicU64::new(0),
            memory: AtomicU64::new(0),
            files: AtomicU64::new(0),
            paid: AtomicU64::new(0),
            long: AtomicU64::new(0),
            requests: AtomicU32::new(0),
            turn: AtomicU64::new(0),
        }
    }

    pub(crate) fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// So many places of the pool for one instance, unless the tenant has its part already.
    pub(crate) fn take_places(self: &Arc<Quota>, places: u64) -> Option<Taken> {
        let places = if caps::LIMITED { places } else { 0 };
        let fits = places == 0 || self.commons.places.take(&self.places, places);
        fits.then(|| Taken {
            quota: self.clone(),
            places,
            memory: 0,
            files: 0,
        })
    }

    /// One of its guests has computed for so long, in one go. Where that was far longer than a slice, it could not be
    /// interrupted.
    pub(crate) fn charge(&self, poll: Duration) {
        let commons = &*self.commons;
        if !commons.is_shared() {
            return;
        }
        self.pay(poll);
        if poll > caps::LONG_POLL {
            let until = commons
                .now()
                .saturating_add(nanoseconds(caps::LONG_POLL_NOTED));
            self.long.store(until, Ordering::Relaxed);
        }
    }

    /// The host has something to do for it: a request, or a call of a guest.
    pub(crate) fn charge_request(&self) {
        if self.commons.is_shared() {
            self.pay(caps::REQUEST_PRICE);
        }
    }

    fn pay(&self, work: Duration) {
        let commons = &*self.commons;
        // Whoever gets no turn computes nothing, and is there all the same: nobody has more than half.
        let parts = u64::from(commons.active().max(2));
        let price = nanoseconds(work).saturating_mul(parts * caps::IN_FRONT) / commons.cores;
        let now = commons.now();
        let paid = self.paid.load(Ordering::Relaxed).max(now);
        let most = now.saturating_add(nanoseconds(caps::CPU_DEBT));
        // Two threads at once may lose one price: it is a measure, not an account.
        self.paid
            .store(paid.saturating_add(price).min(most), Ordering::Relaxed);
    }

    /// Whether its guests have computed more of late than it may in front of the others.
    pub(crate) fn is_in_debt(&self) -> bool {
        let credit = nanoseconds(caps::CPU_CREDIT);
        self.paid.load(Ordering::Relaxed) > self.commons.now().saturating_add(credit)
    }

    /// Whether what is done for it is done behind all else.
    pub(crate) fn is_to_go_behind(&self) -> bool {
        self.is_in_debt() || !self.is_interruptible()
    }

    /// Whether its guests could be interrupted of late. If not, none of them may have the last processor, which somebody
    /// else may need soon.
    pub(crate) fn is_interruptible(&self) -> bool {
        self.long.load(Ordering::Relaxed) <= self.commons.now()
    }

    /// Counts a request since the turn of that number, and says how many came before it.
    pub(crate) fn count_request(&self, turn: u64) -> u32 {
        if self.turn.load(Ordering::Relaxed) != turn {
            self.turn.store(turn, Ordering::Relaxed);
            self.requests.store(0, Ordering::Relaxed);
        }
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// How many requests between two turns are not too many for it, whatever else is asked.
    pub(crate) fn burst(&self) -> u32 {
        (caps::BURST / self.commons.active()).max(caps::LEAST_BURST)
    }
}

impl Taken {
    /// So much more memory for the same instance, unless the tenant has its part already.
    pub(crate) fn take_memory(&mut self, bytes: u64) -> bool {
        let quota = &self.quota;
        let fits = quota.commons.memory.take(&quota.memory, bytes);
        self.memory += if fits { bytes } else { 0 };
        fits
    }
}

impl Taken {
    /// So much of what was taken is not needed any more.
    pub(crate) fn give_memory_back(&mut self, bytes: u64) {
        let quota = &self.quota;
        quota.commons.memory.give_back(&quota.memory, bytes);
        self.memory -= bytes;
    }

    /// One open file more for the same instance, unless the tenant has its part already.
    pub(crate) fn take_file(&mut self) -> bool {
        let quota = &self.quota;
        let fits = quota.commons.files.take(&quota.files, 1);
        self.files += u64::from(fits);
        fits
    }

    /// Of those that were opened no more than so many are open.
    pub(crate) fn keep_files(&mut self, most: u64) {
        let closed = self.files.saturating_sub(most);
        self.quota
            .commons
            .files
            .give_back(&self.quota.files, closed);
        self.files -= closed;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let quota = &self.quota;
        quota.commons.places.give_back(&quota.places, self.places);
        quota.commons.memory.give_back(&quota.memory, self.memory);
        quota.commons.files.give_back(&quota.files, self.files);
    }
}

impl Needs {
    /// How many places of the pool an instance takes: one has room for a usual component.
    pub(crate) fn places(&self) -> u64 {
        let of = |has: u64, in_one: u32| has.div_ceil(u64::from(in_one));
        of(self.instances, caps::CORE_INSTANCES_IN_A_PLACE)
            .max(of(self.memories, caps::MEMORIES_IN_A_PLACE))
            .max(of(self.tables, caps::TABLES_IN_A_PLACE))
            .max(1)
    }
}

/// Files that all guests may have open together: of what the process may have, the rest is for its connections.
fn files_for_guests() -> u64 {
    let (part, of) = caps::OF_FILES;
    let most = getrlimit(Resource::Nofile).current;
    most.map_or(u64::MAX, |most| most / of * part)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commons(memory: u64) -> Arc<Commons> {
        Commons::new(2, memory)
    }

    #[test]
    fn a_tenant_may_take_what_is_left_for_each_other() {
        let commons = commons(900);
        let a = commons.quota(TenantId(1));
        let b = commons.quota(TenantId(2));
        let c = commons.quota(TenantId(3));
        let mut of_a = a.take_places(1).unwrap();
        assert!(of_a.take_memory(450), "half, alone");
        assert!(!of_a.take_memory(1));
        let mut of_b = b.take_places(1).unwrap();
        assert!(of_b.take_memory(225), "half of what is left");
        assert!(!of_b.take_memory(1));
        let mut of_c = c.take_places(1).unwrap();
        assert!(of_c.take_memory(112));
        drop(of_a);
        assert!(of_b.take_memory(100), "what was given back is there");
        drop((of_b, of_c));
        assert_eq!(commons.memory.taken.load(Ordering::Relaxed), 0);
        assert_eq!(commons.places.taken.load(Ordering::Relaxed), 0);
        assert_eq!(b.memory.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn no_tenant_fills_the_pool() {
        let commons = commons(0);
        let (a, b) = (commons.quota(TenantId(1)), commons.quota(TenantId(2)));
        let large = Needs {
            tables: u64::from(caps::TABLES_PER_COMPONENT),
            ..Needs::default()
        };
        let all = std::iter::from_fn(|| a.take_places(large.places()));
        let all: Vec<Taken> = all.collect();
        let half = u64::from(caps::INSTANCES) / 2;
        assert_eq!(all.len() as u64, half / large.places());
        assert!(b.take_places(half / 2).is_some());
    }

    #[test]
    fn what_an_instance_needs_is_counted_in_places() {
        let none = Needs::default();
        for (needs, places) in [
            (none, 1),
            (
                Needs {
                    instances: 4,
                    ..none
                },
                1,
            ),
            (
                Needs {
                    instances: 5,
                    ..none
                },
                2,
            ),
            (
                Needs {
                    memories: 16,
                    ..none
                },
                8,
            ),
            (Needs { tables: 64, ..none }, 16),
        ] {
            assert_eq!(needs.places(), places, "{needs:?}");
        }
    }

    #[test]
    fn all_loads_of_an_app_have_one_quota() {
        let commons = commons(0);
        let first = commons.quota(TenantId(1));
        assert!(Arc::ptr_eq(&first, &commons.quota(TenantId(1))));
        assert!(!commons.is_shared());
        let second = commons.quota(TenantId(2));
        assert!(commons.is_shared());
        drop(second);
        let _third = commons.quota(TenantId(3));
        assert_eq!(commons.quotas().len(), 2, "who is gone is forgotten");
    }

    #[test]
    fn who_computes_more_than_its_part_is_in_debt_for_a_while() {
        let commons = commons(0);
        let a = commons.quota(TenantId(1));
        a.charge(Duration::from_secs(9));
        assert!(!a.is_in_debt(), "it is alone");
        let b = commons.quota(TenantId(2));
        // Of two processors, one is its part.
        let once = caps::CPU_CREDIT / u32::try_from(caps::IN_FRONT).unwrap();
        a.charge(once);
        assert!(!a.is_in_debt());
        a.charge(once * 2);
        assert!(a.is_in_debt() && !b.is_in_debt());
        let later = nanoseconds(caps::CPU_CREDIT * 2);
        commons.now.fetch_add(later, Ordering::Relaxed);
        assert!(!a.is_in_debt(), "it has got its part meanwhile");
        a.charge(Duration::from_secs(3600));
        assert!(!a.is_interruptible() && b.is_interruptible());
        let later = caps::CPU_DEBT + caps::LONG_POLL_NOTED;
        commons.now.fetch_add(nanoseconds(later), Ordering::Relaxed);
        assert!(!a.is_in_debt() && a.is_interruptible());
    }

    #[test]
    fn who_computes_is_counted() {
        let commons = commons(0);
        let quotas: Vec<_> = (0..3).map(|id| commons.quota(TenantId(id))).collect();
        let late = nanoseconds(caps::ACTIVE) * 2;
        commons.now.store(late, Ordering::Relaxed);
        quotas[0].charge(Duration::from_millis(1));
        quotas[1].charge(Duration::from_millis(1));
        commons.count(late);
        assert_eq!(commons.active(), 2);
        assert_eq!(quotas[0].burst(), caps::BURST / 2);
        commons.count(late * 2);
        assert_eq!(commons.active(), 1);
    }

    #[test]
    fn requests_are_counted_from_turn_to_turn() {
        let quota = commons(0).quota(TenantId(1));
        let counted: Vec<u32> = [1, 1, 1, 2, 2].map(|turn| quota.count_request(turn)).into();
        assert_eq!(counted, [0, 1, 2, 0, 1]);
    }
}
