//! Who may go on computing after a first slice: as many guests as there are cores but one, the tenants taking turns.
//!
//! A guest that answers at once never comes here, unless its tenant has computed more than its part of late. So it goes
//! before those that compute for long, and a tenant with many of those does not queue in front of another's. Nor do they
//! queue in front of anybody in the run queue of a thread, where all tasks are equal: whoever waits for a place is woken when
//! there is one, and not before. Between two of them the thread does all else that there is ([`Gate::keep`]). The last core is
//! theirs too while nobody waits: then whoever is on it gives it up soon enough for a guest that answers, unless it belongs
//! to a tenant whose guests could not be interrupted of late. A place is held for one poll, which ends at the next beat, and
//! is then handed on. Whoever it is handed to is woken and takes it when it is polled. Some are not polled soon: a connection
//! does not poll a guest whose client reads nothing. Its place goes to the next after a few beats ([`Gate::beat`]); it was
//! woken, so it asks again whenever it is polled.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::quota::Quota;
use crate::tenant::TenantId;

/// Beats that a place is kept for the one it was handed to.
const KEPT: u8 = 3;

/// The places of one engine.
pub(crate) struct Gate {
    queue: Mutex<Queue>,
}

/// What a guest has of a gate.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing.
    #[default]
    None,
    /// This ticket, for which there may be a place by now.
    Waiting(u64),
    /// A place, and after the thread's other work this ticket to go on with it, if nobody waits then.
    Kept(u64),
    /// A place.
    Held,
    /// The place on the last core.
    Last,
}

struct Queue {
    free: usize,
    /// Whether the place on the last core is free. It is never handed on.
    is_last_free: bool,
    next_ticket: u64,
    /// Every tenant that ever waited: as many as there are apps.
    lines: Vec<Line>,
    /// Places that were handed on so far.
    turns: u64,
    /// Places that were handed to somebody who has not come yet.
    handed: Vec<Handed>,
}

struct Line {
    tenant: TenantId,
    guests: VecDeque<(u64, Waker)>,
    /// Its last turn. One that has just computed and waits again has not lost its place behind the others.
    turn: u64,
}

struct Handed {
    ticket: u64,
    tenant: TenantId,
    kept: u8,
}

impl Handed {
    fn to(ticket: u64, tenant: TenantId) -> Handed {
        Handed {
            ticket,
            tenant,
            kept: KEPT,
        }
    }

    /// Whether whoever it was handed to is late.
    fn is_late(&self) -> bool {
        self.kept < KEPT
    }
}

impl Gate {
    /// A gate of a machine with so many cores.
    pub(crate) fn new(cores: usize) -> Gate {
        let all_but_one = cores.saturating_sub(1);
        Gate::of(all_but_one.max(1), all_but_one > 0)
    }

    /// The gate of those behind the others, on a machine with so many cores: the system takes any of them from who is on it
    /// when somebody in front needs it.
    pub(crate) fn behind(cores: usize) -> Gate {
        Gate::of(cores.max(1), false)
    }

    fn of(free: usize, is_last_free: bool) -> Gate {
        Gate {
            queue: Mutex::new(Queue {
                free,
                is_last_free,
                next_ticket: 0,
                lines: Vec::new(),
                turns: 0,
                handed: Vec::new(),
            }),
        }
    }

    /// Ready with `place` held.
    pub(crate) fn poll_take(&self, place: &mut Place, quota: &Quota, cx: &Context<'_>) -> Poll<()> {
        let tenant = quota.tenant();
        let mut queue = self.queue();
        let is_there = match *place {
            Place::Held | Place::Last => return Poll::Ready(()),
            Place::None => queue.take_free(),
            Place::Kept(ticket) => match queue.pass_on(ticket) {
                Some(next) => {
                    *place = Place::Waiting(queue.enter(tenant, cx.waker().clone()));
                    drop(queue);
                    next.wake();
                    return Poll::Pending;
                }
                None => queue.take_handed(ticket, tenant),
            },
            Place::Waiting(ticket) => match queue.waker(ticket) {
                Some(waker) => {
                    waker.clone_from(cx.waker());
                    return Poll::Pending;
                }
                None => queue.take_handed(ticket, tenant),
            },
        };
        *place = if is_there {
            Place::Held
        } else if quota.is_interruptible() && queue.take_last() {
            Place::Last
        } else {
            Place::Waiting(queue.enter(tenant, cx.waker().clone()))
        };
        match place {
            Place::Held | Place::Last => Poll::Ready(()),
            Place::None | Place::Kept(_) | Place::Waiting(_) => Poll::Pending,
        }
    }

    /// Gives way to all else that its thread has to do. The place is not handed on before that: its next would be polled at
    /// once.
    pub(crate) fn keep(&self, place: &mut Place, tenant: TenantId) {
        match place {
            Place::Held => *place = Place::Kept(self.queue().keep(tenant)),
            Place::None | Place::Kept(_) | Place::Waiting(_) | Place::Last => self.leave(place),
        }
    }

    /// Hands a place that is held on, or leaves the queue.
    pub(crate) fn leave(&self, place: &mut Place) {
        let next = match std::mem::take(place) {
            Place::None => return,
            Place::Held => self.queue().hand_on(),
            Place::Last => {
                self.queue().is_last_free = true;
                return;
            }
            Place::Kept(ticket) | Place::Waiting(ticket) => self.queue().leave(ticket),
        };
        // Outside the lock: whoever is woken may come at once.
        if let Some(next) = next {
            next.wake();
        }
    }

    /// What was handed to somebody who does not come goes to the next. The clock does not wait for who is in here now: the
    /// next beat comes.
    pub(crate) fn beat(&self) {
        let Ok(mut queue) = self.queue.try_lock() else {
            return;
        };
        let next = queue.beat();
        drop(queue);
        next.into_iter().for_each(Waker::wake);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn take_free(&mut self) -> bool {
        // Nobody waits while one is free: it would have been handed on.
        let is_free = self.free > 0;
        self.free -= usize::from(is_free);
        is_free
    }

    fn take_last(&mut self) -> bool {
        self.nobody_waits() && std::mem::take(&mut self.is_last_free)
    }

    fn nobody_waits(&self) -> bool {
        self.lines.iter().all(|line| line.guests.is_empty())
    }

    fn keep(&mut self, tenant: TenantId) -> u64 {
        let ticket = self.next_ticket();
        self.handed.push(Handed::to(ticket, tenant));
        ticket
    }

    /// What was kept goes to whoever waits.
    fn pass_on(&mut self, ticket: u64) -> Option<Waker> {
        if self.nobody_waits() {
            return None;
        }
        let at = self
            .handed
            .iter()
            .position(|handed| handed.ticket == ticket)?;
        self.handed.remove(at);
        self.hand_on()
    }

    fn next_ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// The place that was handed to `ticket`. Whoever comes too late for it takes one of its own tenant, or one that
    /// somebody else is late for, or on a machine where all come late nobody would ever compute.
    fn take_handed(&mut self, ticket: u64, tenant: TenantId) -> bool {
        let own = |handed: &Handed| handed.ticket == ticket;
        let of_tenant = |handed: &Handed| handed.tenant == tenant;
        if let Some(at) = self.handed.iter().position(own) {
            self.handed.remove(at);
            return true;
        }
        if self.take_free() {
            return true;
        }
        let mut all = self.handed.iter();
        let other = all.position(|handed| of_tenant(handed) || handed.is_late());
        other.map(|at| self.handed.remove(at)).is_some()
    }

    fn waker(&mut self, ticket: u64) -> Option<&mut Waker> {
        let mut guests = self.lines.iter_mut().flat_map(|line| &mut line.guests);
        let found = guests.find(|(of, _)| *of == ticket);
        found.map(|(_, waker)| waker)
    }

    fn enter(&mut self, tenant: TenantId, waker: Waker) -> u64 {
        let ticket = self.next_ticket();
        match self.lines.iter_mut().find(|line| line.tenant == tenant) {
            Some(line) => line.guests.push_back((ticket, waker)),
            None => self.lines.push(Line {
                tenant,
                guests: VecDeque::from([(ticket, waker)]),
                turn: self.turns,
            }),
        }
        ticket
    }

    /// Gives a place to the first guest of the tenant that has waited longest for a turn. The guest is to be woken.
    fn hand_on(&mut self) -> Option<Waker> {
        let waiting = self.lines.iter_mut().filter(|line| !line.guests.is_empty());
        let next = waiting.min_by_key(|line| line.turn).and_then(|line| {
            let (ticket, waker) = line.guests.pop_front()?;
            Some((&mut line.turn, Handed::to(ticket, line.tenant), waker))
        });
        let Some((turn, handed, waker)) = next else {
            self.free += 1;
            return None;
        };
        self.turns += 1;
        *turn = self.turns;
        self.handed.push(handed);
        Some(waker)
    }

    fn leave(&mut self, ticket: u64) -> Option<Waker> {
        if let Some(at) = self
            .handed
            .iter()
            .position(|handed| handed.ticket == ticket)
        {
            self.handed.remove(at);
            return self.hand_on();
        }
        for line in &mut self.lines {
            line.guests.retain(|(of, _)| *of != ticket);
        }
        None
    }

    fn beat(&mut self) -> Vec<Waker> {
        let before = self.handed.len();
        self.handed.retain_mut(|handed| {
            handed.kept -= 1;
            handed.kept > 0
        });
        let lost = before - self.handed.len();
        (0..lost).filter_map(|_| self.hand_on()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::quota::Commons;

    const A: TenantId = TenantId(1);
    const B: TenantId = TenantId(2);

    /// A guest that is polled by hand and counts how often it was woken.
    struct Guest {
        quota: Arc<Quota>,
        place: Place,
        woken: Arc<Woken>,
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Guest {
        fn of(tenant: TenantId) -> Guest {
            Guest {
                quota: Commons::new(2, 0).quota(tenant),
                place: Place::None,
                woken: Arc::default(),
            }
        }

        fn takes(&mut self, gate: &Gate) -> bool {
            let waker = Waker::from(self.woken.clone());
            let cx = Context::from_waker(&waker);
            gate.poll_take(&mut self.place, &self.quota, &cx).is_ready()
        }

        fn woken(&self) -> usize {
            self.woken.0.load(Ordering::Relaxed)
        }
    }

    /// Who of these was woken and not yet polled; each is polled then, and holds its place.
    fn next(gate: &Gate, guests: &mut [Guest]) -> Option<usize> {
        let at = guests.iter().position(|guest| guest.woken() > 0)?;
        guests[at].woken = Arc::default();
        assert!(guests[at].takes(gate), "{at} was woken for a place");
        Some(at)
    }

    #[test]
    fn tenants_take_turns_and_so_do_the_guests_of_each() {
        let gate = Gate::new(1);
        let mut guests: Vec<Guest> = [A, A, A, B].map(Guest::of).into();
        let mut first = Guest::of(A);
        assert!(first.takes(&gate));
        for guest in &mut guests {
            assert!(!guest.takes(&gate));
        }
        gate.leave(&mut first.place);
        let mut turns = Vec::new();
        for _ in 0..8 {
            let at = next(&gate, &mut guests).expect("somebody is next");
            turns.push(at);
            gate.leave(&mut guests[at].place);
            // It wants to go on, and is last of its tenant's.
            if !guests[at].takes(&gate) {
                continue;
            }
            gate.leave(&mut guests[at].place);
        }
        assert_eq!(turns, [0, 3, 1, 3, 2, 3, 0, 3]);
    }

    #[test]
    fn as_many_compute_as_there_are_places() {
        let gate = Gate::new(3);
        gate.queue().is_last_free = false;
        let mut guests: Vec<Guest> = [A, A, A].map(Guest::of).into();
        assert!(guests[0].takes(&gate));
        assert!(guests[0].takes(&gate), "it has it already");
        assert!(guests[1].takes(&gate));
        assert!(!guests[2].takes(&gate));
        assert!(!guests[2].takes(&gate), "woken by something else");
        gate.leave(&mut guests[0].place);
        assert_eq!(next(&gate, &mut guests), Some(2));
        gate.leave(&mut guests[1].place);
        gate.leave(&mut guests[2].place);
        assert_eq!(gate.queue().free, 2);
    }

    #[test]
    fn who_is_dropped_leaves_the_queue_and_what_it_was_handed_goes_on() {
        let gate = Gate::new(1);
        let mut guests: Vec<Guest> = [A, A, B, B].map(Guest::of).into();
        assert!(guests[0].takes(&gate));
        for guest in &mut guests[1..] {
            assert!(!guest.takes(&gate));
        }
        gate.leave(&mut guests[2].place);
        gate.leave(&mut guests[0].place);
        assert_eq!([guests[1].woken(), guests[3].woken()], [1, 0]);
        gate.leave(&mut guests[1].place);
        assert_eq!(guests[3].woken(), 1, "what the one before left behind");
        gate.leave(&mut guests[3].place);
        let queue = gate.queue();
        let waiting = queue.lines.iter().map(|line| line.guests.len());
        assert_eq!((queue.free, waiting.sum(), queue.handed.len()), (1, 0, 0));
    }

    #[test]
    fn who_does_not_come_is_passed_over_and_asks_again() {
        let gate = Gate::new(1);
        let mut guests: Vec<Guest> = [A, A, A].map(Guest::of).into();
        assert!(guests[0].takes(&gate));
        assert!(!guests[1].takes(&gate));
        assert!(!guests[2].takes(&gate));
        gate.leave(&mut guests[0].place);
        for beat in 0..KEPT {
            assert_eq!(guests[2].woken(), 0, "{beat}");
            gate.beat();
        }
        assert_eq!(next(&gate, &mut guests[2..]), Some(0));
        assert!(!guests[1].takes(&gate), "too late, and nobody else is late");
        gate.leave(&mut guests[2].place);
        assert_eq!(guests[1].woken(), 2);
        assert!(guests[1].takes(&gate));
    }

    #[test]
    fn where_everybody_comes_late_whoever_comes_computes() {
        let gate = Gate::new(1);
        let mut guests: Vec<Guest> = [A, A, A].map(Guest::of).into();
        assert!(guests[0].takes(&gate));
        assert!(!guests[1].takes(&gate));
        assert!(!guests[2].takes(&gate));
        gate.leave(&mut guests[0].place);
        for _ in 0..KEPT {
            gate.beat();
        }
        assert_eq!([guests[1].woken(), guests[2].woken()], [1, 1]);
        assert!(guests[1].takes(&gate), "the other has not come yet");
        assert!(!guests[2].takes(&gate));
        gate.leave(&mut guests[1].place);
        assert!(guests[2].takes(&gate));
    }

    #[test]
    fn a_place_that_nobody_waits_for_is_free_after_a_while() {
        let gate = Gate::new(1);
        let (mut first, mut late) = (Guest::of(A), Guest::of(B));
        assert!(first.takes(&gate));
        assert!(!late.takes(&gate));
        gate.leave(&mut first.place);
        (0..KEPT).for_each(|_| gate.beat());
        assert!(first.takes(&gate));
        gate.leave(&mut first.place);
        assert!(late.takes(&gate));
    }

    #[test]
    fn the_last_core_is_for_one_more_while_nobody_waits() {
        let gate = Gate::new(2);
        let mut guests: Vec<Guest> = [A, A, B].map(Guest::of).into();
        assert!(guests[0].takes(&gate) && guests[1].takes(&gate));
        assert_eq!(
            [&guests[0].place, &guests[1].place],
            [&Place::Held, &Place::Last]
        );
        assert!(!guests[2].takes(&gate));
        gate.leave(&mut guests[1].place);
        assert_eq!(guests[2].woken(), 0, "it is not handed on");
        assert!(!guests[1].takes(&gate), "somebody waits");
        gate.leave(&mut guests[0].place);
        assert_eq!(next(&gate, &mut guests), Some(2));
        gate.leave(&mut guests[2].place);
        assert_eq!(next(&gate, &mut guests), Some(1));
        assert!(guests[0].takes(&gate), "nobody waits");
        assert_eq!(
            [&guests[0].place, &guests[1].place],
            [&Place::Last, &Place::Held]
        );
    }

    #[test]
    fn who_gives_way_goes_on_unless_somebody_waits_by_then() {
        let gate = Gate::new(1);
        let mut guests: Vec<Guest> = [A, B].map(Guest::of).into();
        assert!(guests[0].takes(&gate));
        gate.keep(&mut guests[0].place, A);
        assert!(guests[0].takes(&gate), "nobody waits");
        assert!(!guests[1].takes(&gate));
        gate.keep(&mut guests[0].place, A);
        assert_eq!(guests[1].woken(), 0, "not before the thread's other work");
        assert!(!guests[0].takes(&gate), "the other waits");
        assert_eq!(next(&gate, &mut guests), Some(1));
        gate.keep(&mut guests[1].place, B);
        gate.leave(&mut guests[1].place);
        assert_eq!(next(&gate, &mut guests), Some(0), "it was dropped");
        gate.keep(&mut guests[0].place, A);
        assert!(!guests[1].takes(&gate));
        (0..KEPT).for_each(|_| gate.beat());
        assert_eq!(next(&gate, &mut guests), Some(1), "it did not come");
        assert!(!guests[0].takes(&gate));
    }

    #[test]
    fn who_comes_late_takes_no_place_that_another_tenant_comes_for_in_time() {
        let gate = Gate::new(1);
        let mut guests: Vec<Guest> = [A, A, B].map(Guest::of).into();
        assert!(guests[0].takes(&gate));
        assert!(!guests[1].takes(&gate) && !guests[2].takes(&gate));
        gate.leave(&mut guests[0].place);
        (0..KEPT).for_each(|_| gate.beat());
        assert_eq!(guests[2].woken(), 1, "the other did not come in time");
        assert!(!guests[1].takes(&gate), "it is not for this one");
        gate.beat();
        assert!(!guests[0].takes(&gate), "it has not waited for it");
        assert!(guests[2].takes(&gate));
    }

    #[test]
    fn one_core_has_one_place() {
        let gate = Gate::new(1);
        let mut guests: Vec<Guest> = [A, A].map(Guest::of).into();
        assert!(guests[0].takes(&gate));
        assert!(!guests[1].takes(&gate));
    }
}
