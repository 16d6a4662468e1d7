//! Denied calls, told once and then folded: a guest in a loop must not drown the log it is named in.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use runner_manifest::ComponentId;

/// Equal denials within this time of one that was told are counted, not told.
const WINDOW: Duration = Duration::from_secs(10);

/// Different denials remembered at once; a guest that makes up destinations gets the rest folded under its own name.
const REMEMBERED: usize = 1024;

/// Which denials were told, and how many were not.
#[derive(Default)]
pub(crate) struct Denials {
    told: Mutex<HashMap<Key, Told>>,
}

type Key = (ComponentId, Option<String>);

struct Told {
    at: Instant,
    folded: u64,
}

impl Denials {
    /// Whether to tell of a denial of `component` at `now`, of that method and destination: the number that were folded
    /// since, or none.
    pub(crate) fn tell(&self, component: &ComponentId, what: &str, now: Instant) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (component.clone(), Some(what.to_owned()));
        if told.len() >= REMEMBERED && !told.contains_key(&key) {
            told.retain(|_, told| now.duration_since(told.at) < WINDOW || told.folded > 0);
            if told.len() >= REMEMBERED {
                key.1 = None;
            }
        }
        match told.get_mut(&key) {
            Some(known) if now.duration_since(known.at) < WINDOW => {
                known.folded += 1;
                None
            }
            Some(known) => {
                known.at = now;
                Some(std::mem::take(&mut known.folded))
            }
            None => {
                told.insert(key, Told { at: now, folded: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_repeats_are_counted_and_the_next_after_the_window_says_how_many() {
        let denials = Denials::default();
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(denials.tell(&a, "http://x", at(0)), Some(0));
        assert_eq!(denials.tell(&a, "http://x", at(1)), None);
        assert_eq!(denials.tell(&a, "http://x", at(9)), None);
        assert_eq!(
            denials.tell(&a, "http://y", at(9)),
            Some(0),
            "another destination"
        );
        assert_eq!(
            denials.tell(&b, "http://x", at(9)),
            Some(0),
            "another component"
        );
        assert_eq!(denials.tell(&a, "http://x", at(10)), Some(2));
        assert_eq!(denials.tell(&a, "http://x", at(11)), None);
    }

    #[test]
    fn made_up_destinations_are_bounded() {
        let denials = Denials::default();
        let (a, now) = ("a".parse().unwrap(), Instant::now());
        let told = (0..3 * REMEMBERED)
            .filter(|i| denials.tell(&a, &format!("http://{i}"), now).is_some())
            .count();
        assert_eq!(told, REMEMBERED + 1);
        assert!(denials.told.lock().unwrap().len() <= REMEMBERED + 1);
    }
}
