//! Denied calls, told once and then folded: a guest in a loop must not drown the log it is named in.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use runner_manifest::ComponentId;

/// Equal denials within this time of one that was told are counted, not told.
const WINDOW: Duration = Duration::from_secs(10);

/// Different denials of one component remembered at once. One that makes up destinations gets the rest folded under its
/// own name, and takes no room from another.
const REMEMBERED: usize = 128;

/// Which denials were told, and how many were not.
#[derive(Default)]
pub(crate) struct Denials {
    told: Mutex<HashMap<ComponentId, Known>>,
}

/// The denials of one component.
#[derive(Default)]
struct Known {
    by_what: HashMap<String, Told>,
    /// Those for which there is no room.
    rest: Option<Told>,
    swept: Option<Instant>,
}

struct Told {
    at: Instant,
    folded: u64,
}

impl Denials {
    /// Whether to tell of a denial of `component` at `now`, of that method and destination: the number that were folded
    /// since, or none.
    pub(crate) fn tell(&self, component: &ComponentId, what: &str, now: Instant) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !told.contains_key(component) {
            told.insert(component.clone(), Known::default());
        }
        told.get_mut(component)?.tell(what, now)
    }
}

impl Known {
    fn tell(&mut self, what: &str, now: Instant) -> Option<u64> {
        if let Some(told) = self.by_what.get_mut(what) {
            return told.again(now);
        }
        if self.by_what.len() >= REMEMBERED {
            self.sweep(now);
        }
        if self.by_what.len() < REMEMBERED {
            self.by_what.insert(what.to_owned(), Told::new(now));
            return Some(0);
        }
        match &mut self.rest {
            Some(rest) => rest.again(now),
            None => {
                self.rest = Some(Told::new(now));
                Some(0)
            }
        }
    }

    /// Forgets what is over, at most once in the time that takes; what was folded and not told is told with the rest.
    fn sweep(&mut self, now: Instant) {
        let recent = |at: Instant| now.duration_since(at) < WINDOW;
        if self.swept.replace(now).is_some_and(recent) {
            return;
        }
        let mut folded = 0;
        self.by_what.retain(|_, told| {
            let stays = recent(told.at);
            folded += if stays { 0 } else { told.folded };
            stays
        });
        if folded > 0 {
            self.rest.get_or_insert(Told::new(now)).folded += folded;
        }
    }
}

impl Told {
    fn new(at: Instant) -> Told {
        Told { at, folded: 0 }
    }

    /// Another one, told or folded.
    fn again(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.at) < WINDOW {
            self.folded += 1;
            return None;
        }
        self.at = now;
        Some(std::mem::take(&mut self.folded))
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
        let b = "b".parse().unwrap();
        assert_eq!(
            denials.tell(&b, "http://x", now),
            Some(0),
            "another component has its own room"
        );
        let later = now + WINDOW;
        assert_eq!(denials.tell(&a, "http://new", later), Some(0), "room again");
        let known = denials.told.lock().unwrap();
        assert_eq!(known[&a].by_what.len(), 1);
        let folded = known[&a].rest.as_ref().map(|rest| rest.folded);
        assert_eq!(
            folded,
            Some(2 * REMEMBERED as u64 - 1),
            "none is forgotten uncounted"
        );
    }

    #[test]
    fn what_was_folded_and_forgotten_is_told_with_the_rest() {
        let denials = Denials::default();
        let (a, start) = ("a".parse().unwrap(), Instant::now());
        for n in 0..REMEMBERED {
            denials.tell(&a, &format!("http://{n}"), start);
            denials.tell(&a, &format!("http://{n}"), start);
        }
        let later = start + 2 * WINDOW;
        for n in 0..REMEMBERED {
            let told = denials.tell(&a, &format!("http://other{n}"), later);
            assert_eq!(told, Some(0));
        }
        let rest = denials.tell(&a, "http://more", later + WINDOW / 2);
        assert_eq!(rest, None, "within the window of the rest");
        let rest = denials.tell(&a, "http://even-more", later + WINDOW / 2);
        assert_eq!(rest, None);
        let known = denials.told.lock().unwrap();
        let folded = known[&a].rest.as_ref().map(|rest| rest.folded);
        assert_eq!(folded, Some(REMEMBERED as u64 + 2));
    }
}
