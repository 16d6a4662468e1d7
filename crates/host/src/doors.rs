//! What is counted over all loads of an app: requests that are served, bytes of log, calls.
//!
//! It belongs to the tenant. A reload begins nothing anew, and who is still served by an old load counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use runner_manifest::{ComponentId, Limits, Manifest, Rate};
use tokio::sync::Semaphore;

use crate::admission::{self, Admission};
use crate::bucket::Bucket;
use crate::caps;

/// The doors of one tenant.
#[derive(Default)]
pub(crate) struct Doors(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    components: BTreeMap<ComponentId, Arc<Door>>,
    /// That of the app. Once it is there it stays: those who came through it count.
    app: Option<Arc<Admission>>,
}

/// What is counted of one component.
pub(crate) struct Door {
    pub(crate) admission: Arc<Admission>,
    /// Outbound calls of all instances at once.
    pub(crate) outbound: Arc<Semaphore>,
    pub(crate) log: Arc<Bucket>,
    outbound_rate: OnceLock<Arc<Bucket>>,
}

impl Doors {
    /// That of a component: the one it has had, or with these limits a new one.
    pub(crate) fn of(&self, id: &ComponentId, limits: &Limits) -> Arc<Door> {
        let mut inner = self.lock();
        let new = || Arc::new(Door::new(limits));
        inner
            .components
            .entry(id.clone())
            .or_insert_with(new)
            .clone()
    }

    /// From now on these limits hold, for those too who are served by a load before. Gives the door of the app, if it has
    /// one.
    pub(crate) fn hold(&self, manifest: &Manifest) -> Option<Arc<Admission>> {
        let mut inner = self.lock();
        for (id, component) in &manifest.components {
            if let Some(door) = inner.components.get(id) {
                door.hold(&component.limits);
            }
        }
        let has = |id: &ComponentId| manifest.components.contains_key(id);
        let is_renamed = inner.components.keys().any(|id| !has(id));
        // The doors of what is gone, until the last of its requests has ended.
        inner
            .components
            .retain(|id, door| has(id) || Arc::strong_count(door) > 1);
        let mosts: Vec<u32> = inner.components.values().map(|door| door.most()).collect();
        let (most, is_narrow) = admission::of_app(&manifest.limits, &mosts);
        // With other names its components have other doors: without one of its own, an app could have any number.
        if is_narrow || is_renamed || inner.app.is_some() {
            let new = || Arc::new(Admission::of(&manifest.limits));
            let door = inner.app.get_or_insert_with(new);
            door.hold(most, &manifest.limits);
        }
        inner.app.clone()
    }

    /// Forgets what nobody has: of a load that failed, whose components may all have new names.
    pub(crate) fn forget(&self) {
        let mut inner = self.lock();
        inner
            .components
            .retain(|_, door| Arc::strong_count(door) > 1);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    fn new(limits: &Limits) -> Door {
        let log_rate = limits.log_rate.unwrap_or(caps::LOG_RATE);
        Door {
            admission: Arc::new(Admission::of(limits)),
            outbound: Arc::new(Semaphore::new(caps::OUTBOUND_PER_COMPONENT)),
            log: Arc::new(Bucket::new(log_rate, caps::LOG_BURST)),
            outbound_rate: OnceLock::new(),
        }
    }

    /// What its calls are taken from, where they have a rate.
    pub(crate) fn outbound_rate(&self, rate: Rate) -> Arc<Bucket> {
        let new = || Arc::new(Bucket::new(rate, 1));
        self.outbound_rate.get_or_init(new).clone()
    }

    fn most(&self) -> u32 {
        self.admission.most()
    }

    fn hold(&self, limits: &Limits) {
        let most = limits.concurrency.unwrap_or(caps::CONCURRENCY);
        self.admission.hold(most, limits);
        let log_rate = limits.log_rate.unwrap_or(caps::LOG_RATE);
        self.log.set(log_rate, caps::LOG_BURST);
        if let (Some(rate), Some(bucket)) = (limits.outbound_rate, self.outbound_rate.get()) {
            bucket.set(rate, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use runner_manifest::Variables;

    use super::*;

    /// An app of these components, each with so many places, and with so many of its own.
    fn manifest(own: u32, components: &[(&str, u32)]) -> Manifest {
        let mut text = format!(
            "spin_manifest_version = 2\n[application]\nname = \"a\"\n[application.limits]\nconcurrency = {own}\n"
        );
        for (id, most) in components {
            text += &format!(
                "[[trigger.http]]\nroute = \"/{id}\"\ncomponent = \"{id}\"\n\
                 [component.{id}]\nsource = \"a.wasm\"\nlimits = {{ concurrency = {most} }}\n"
            );
        }
        let path = Path::new("spin-like.toml");
        Manifest::parse(&text, path, &Variables::default()).unwrap()
    }

    /// Loads it: its doors as its handlers have them, and how many the app may serve.
    fn load(doors: &Doors, manifest: &Manifest) -> (Vec<Arc<Door>>, Option<u32>) {
        let components = manifest.components.values();
        let held = components.map(|component| doors.of(&component.id, &component.limits));
        let held = held.collect();
        let app = doors.hold(manifest);
        (held, app.map(|door| door.most()))
    }

    #[test]
    fn a_component_keeps_its_door_and_an_app_has_one_where_its_own_could_be_too_many() {
        let doors = Doors::default();
        let (first, app) = load(&doors, &manifest(4, &[("x", 4)]));
        assert_eq!(app, None);
        let (second, app) = load(&doors, &manifest(4, &[("x", 2)]));
        assert!(Arc::ptr_eq(&first[0], &second[0]));
        assert_eq!((second[0].most(), app), (2, None));
        drop(second);

        // Its requests count as long as there are any.
        let (third, app) = load(&doors, &manifest(4, &[("y", 4)]));
        assert_eq!((third[0].most(), app), (4, Some(4)));
        assert_eq!(doors.lock().components.len(), 2);
        drop(first);
        let (_, app) = load(&doors, &manifest(3, &[("y", 3)]));
        assert_eq!(app, Some(3), "what it has once it keeps");
        assert_eq!(doors.lock().components.len(), 1);

        let failed = doors.of(&"z".parse().unwrap(), &Limits::default());
        doors.forget();
        assert_eq!(doors.lock().components.len(), 2, "of `y` and `z`");
        drop((failed, third));
        doors.forget();
        assert_eq!(doors.lock().components.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_before_a_load_is_taken_after_it() {
        let doors = Doors::default();
        let rate = |amount: u64| Rate {
            amount,
            per: std::time::Duration::from_secs(3600),
        };
        let limits = |amount: u64| Limits {
            log_rate: Some(rate(amount)),
            outbound_rate: Some(rate(amount)),
            ..Limits::default()
        };
        let id: ComponentId = "x".parse().unwrap();
        let door = doors.of(&id, &limits(10));
        let calls = door.outbound_rate(rate(10));
        assert!(calls.take(10) && door.log.take(caps::LOG_BURST));
        let mut manifest = manifest(1, &[("x", 1)]);
        for amount in [10, 5] {
            manifest.components.get_mut("x").unwrap().limits = limits(amount);
            doors.hold(&manifest);
            let door = doors.of(&id, &limits(amount));
            let calls = door.outbound_rate(rate(amount));
            assert!(!calls.take(1) && !door.log.take(100), "{amount}");
        }
    }
}
