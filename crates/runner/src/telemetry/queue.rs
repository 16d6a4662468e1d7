//! A bounded queue of lines and the thread that writes them.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

/// A burst of a second's requests on a fast machine; at 8 KiB a line at most 32 MiB.
const CAPACITY: usize = 4096;

/// What guests print may not crowd out what happens to them.
const GUEST_CAPACITY: usize = CAPACITY / 2;

/// How long the end waits for a reader of stderr that has stopped reading.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    /// The runtime.
    Us,
    /// A component; its lines are the first to go.
    Guest,
}

/// The way to the writer; cheap to clone.
#[derive(Clone)]
pub(super) struct Queue {
    sender: Sender<Item>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

enum Item {
    Line(String),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

impl Queue {
    /// Starts the writer; `dropped` makes the line that says how many were lost.
    pub(super) fn start(
        out: Box<dyn Write + Send>,
        dropped: impl Fn(u64) -> String + Send + 'static,
    ) -> Queue {
        let (sender, receiver) = channel();
        let counts = Arc::new(Counts::default());
        let writer = Writer {
            out,
            counts: counts.clone(),
            dropped,
        };
        // Without a thread nothing is printed; serving goes on, and `flush` does not wait.
        let _ = thread::Builder::new()
            .name("runner-log".into())
            .spawn(move || writer.run(&receiver));
        Queue { sender, counts }
    }

    /// Leaves a line, or counts it as dropped; never waits.
    pub(super) fn push(&self, line: String, from: Speaker) {
        let room = match from {
            Speaker::Us => CAPACITY,
            Speaker::Guest => GUEST_CAPACITY,
        };
        if self.counts.waiting.fetch_add(1, Ordering::Relaxed) >= room
            || self.sender.send(Item::Line(line)).is_err()
        {
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits, not for ever, until all lines before are written.
    pub(super) fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.sender.send(Item::Flush(done)).is_ok() {
            let _ = written.recv_timeout(PATIENCE);
        }
    }
}

struct Writer<D> {
    out: Box<dyn Write + Send>,
    counts: Arc<Counts>,
    dropped: D,
}

impl<D: Fn(u64) -> String> Writer<D> {
    fn run(mut self, receiver: &Receiver<Item>) {
        while let Ok(first) = receiver.recv() {
            self.write(first);
            while let Ok(next) = receiver.try_recv() {
                self.write(next);
            }
            self.tell_dropped();
            let _ = self.out.flush();
        }
    }

    fn write(&mut self, item: Item) {
        match item {
            Item::Line(line) => {
                // Nobody is left to be told when stderr is gone.
                let _ = writeln!(self.out, "{line}");
                self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            Item::Flush(done) => {
                self.tell_dropped();
                let _ = self.out.flush();
                let _ = done.send(());
            }
        }
    }

    fn tell_dropped(&mut self) {
        let count = self.counts.dropped.swap(0, Ordering::Relaxed);
        if count > 0 {
            let _ = writeln!(self.out, "{}", (self.dropped)(count));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::*;

    /// A reader that reads only when it is let.
    #[derive(Clone, Default)]
    struct Gate {
        shut: Arc<Mutex<()>>,
        text: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.shut.lock().expect("no one panics with it");
            self.text
                .lock()
                .expect("no one panics with it")
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_queue_drops_and_says_so_and_guests_give_way_first() {
        let gate = Gate::default();
        let queue = Queue::start(Box::new(gate.clone()), |count| format!("dropped {count}"));
        let shut = gate.shut.lock().expect("no one panics with it");
        for _ in 0..CAPACITY {
            queue.push("guest".into(), Speaker::Guest);
        }
        for _ in 0..CAPACITY {
            queue.push("us".into(), Speaker::Us);
        }
        drop(shut);
        queue.flush();
        let text = String::from_utf8(gate.text.lock().expect("no one panics with it").clone())
            .expect("we wrote it");
        let count = |line: &str| text.lines().filter(|l| *l == line).count();
        // The writer has taken at most one line before it found the gate shut; its slot is free only when written.
        assert_eq!(count("guest"), GUEST_CAPACITY);
        assert_eq!(count("us"), CAPACITY - GUEST_CAPACITY);
        assert_eq!(
            text.lines().last(),
            Some(format!("dropped {CAPACITY}").as_str())
        );
    }
}
