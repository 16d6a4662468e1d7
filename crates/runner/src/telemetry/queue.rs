//! A bounded queue of lines and the thread that writes them. What cannot be written is counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

/// A burst of a second's requests on a fast machine; at 8 KiB a line at most 32 MiB.
const CAPACITY: usize = 4096;

/// What guests print may not crowd out what happens to them.
const GUEST_CAPACITY: usize = CAPACITY / 2;

/// So much is gathered before it is written.
const BATCH: usize = 64 * 1024;

/// How long lines gather after those that were written: whoever says one while nobody waits for it wakes nobody. A line
/// after a pause is written at once.
const GATHER: Duration = Duration::from_millis(3);

/// How long the end waits for a reader that has stopped reading.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// The runtime.
    Us,
    /// A component; its lines are the first to go.
    Guest,
}

/// The way to the writer; cheap to clone.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: Sender<Item>,
    counts: Arc<Counts>,
    share: Option<Share>,
}

/// How many lines of one of several apps wait. It has half of the room at most: the other half is for the others.
type Share = Arc<AtomicUsize>;

#[derive(Default)]
struct Counts {
    waiting: AtomicUsize,
    /// Not told yet.
    lost: AtomicU64,
    /// Told or not.
    lost_in_all: AtomicU64,
}

/// How many lines of a queue nobody will read; cheap to clone.
#[derive(Clone)]
pub(crate) struct Dropped(Arc<Counts>);

impl Dropped {
    /// Since the process started.
    pub(crate) fn count(&self) -> u64 {
        self.0.lost_in_all.load(Ordering::Relaxed)
    }
}

impl Counts {
    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        self.lost_in_all.fetch_add(lines, Ordering::Relaxed);
    }
}

enum Item {
    Line(String, Option<Share>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

impl Queue {
    /// Starts the writer; `lost` makes the line that says how many were.
    pub(crate) fn start(
        out: Box<dyn Write + Send>,
        lost: impl Fn(u64) -> String + Send + 'static,
    ) -> Queue {
        let (sender, receiver) = channel();
        let counts = Arc::new(Counts::default());
        let writer = Writer {
            out,
            counts: counts.clone(),
            lost,
            batch: Batch::default(),
        };
        // Without a thread nothing is printed; serving goes on, and `flush` does not wait.
        let _ = thread::Builder::new()
            .name("runner-log".into())
            .spawn(move || writer.run(&receiver));
        Queue {
            sender,
            counts,
            share: None,
        }
    }

    /// The same, for the lines of one of several apps.
    pub(crate) fn for_one_of_several(&self) -> Queue {
        Queue {
            share: Some(Share::default()),
            ..self.clone()
        }
    }

    /// Leaves a line, or counts it as lost; never waits.
    pub(crate) fn push(&self, line: String, from: Speaker) {
        let room = match from {
            Speaker::Us => CAPACITY,
            Speaker::Guest => GUEST_CAPACITY,
        };
        let share = self.share.clone();
        if !takes_place(share.as_deref(), room / 2) {
            return self.counts.lose(1);
        }
        if !takes_place(Some(&self.counts.waiting), room) {
            leave_place(share.as_deref());
            return self.counts.lose(1);
        }
        if self.sender.send(Item::Line(line, share.clone())).is_err() {
            leave_place(share.as_deref());
            leave_place(Some(&self.counts.waiting));
            self.counts.lose(1);
        }
    }

    /// Whether there is a thread that writes.
    pub(crate) fn is_written(&self) -> bool {
        let (done, _) = sync_channel(1);
        self.sender.send(Item::Flush(done)).is_ok()
    }

    /// What it has dropped.
    pub(crate) fn dropped(&self) -> Dropped {
        Dropped(self.counts.clone())
    }

    /// Waits, not for ever, until all lines before are written.
    pub(crate) fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.sender.send(Item::Flush(done)).is_ok() {
            let _ = written.recv_timeout(PATIENCE);
        }
    }
}

/// Whether there was one left; where nothing is counted there always is.
fn takes_place(waiting: Option<&AtomicUsize>, room: usize) -> bool {
    let Some(waiting) = waiting else { return true };
    let is_free = waiting.fetch_add(1, Ordering::Relaxed) < room;
    if !is_free {
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
    is_free
}

fn leave_place(waiting: Option<&AtomicUsize>) {
    if let Some(waiting) = waiting {
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Writer<L> {
    out: Box<dyn Write + Send>,
    counts: Arc<Counts>,
    lost: L,
    batch: Batch,
}

/// Lines that are written together.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    lines: Vec<Line>,
    /// What was written last ends within a line.
    torn: bool,
}

/// Where a line of a batch ends, and what it is.
struct Line {
    end: usize,
    what: What,
}

enum What {
    /// It came through the queue, and gives its place back once it is written.
    Said(Option<Share>),
    /// It tells of so many lost ones, and stands for them.
    TellsOf(u64),
}

impl<L: Fn(u64) -> String> Writer<L> {
    fn run(mut self, receiver: &Receiver<Item>) {
        while let Ok(first) = receiver.recv() {
            self.take(first);
            while let Ok(next) = receiver.try_recv() {
                self.take(next);
            }
            self.tell_lost();
            self.write();
            thread::sleep(GATHER);
        }
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Line(line, share) => {
                self.batch.add(&line, What::Said(share));
                if self.batch.text.len() >= BATCH {
                    self.write();
                }
            }
            Item::Flush(done) => {
                self.tell_lost();
                self.write();
                let _ = done.send(());
            }
        }
    }

    fn tell_lost(&mut self) {
        let count = self.counts.lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            self.batch.add(&(self.lost)(count), What::TellsOf(count));
        }
    }

    /// Writes the batch. What the disk or the reader does not take is lost, and counted.
    fn write(&mut self) {
        let written = write(&mut self.out, &self.batch.text);
        let ended = self.batch.end(written);
        self.counts.lose(ended.lost);
        // These were counted when they were lost: they are to be told again.
        self.counts.lost.fetch_add(ended.untold, Ordering::Relaxed);
        self.counts
            .waiting
            .fetch_sub(ended.taken, Ordering::Relaxed);
    }
}

/// What became of a batch.
struct Ended {
    /// Lines that came through the queue.
    taken: usize,
    /// Lines that nobody will read.
    lost: u64,
    /// Lines lost before, of which nobody will read either.
    untold: u64,
}

impl Batch {
    fn add(&mut self, line: &str, what: What) {
        if self.torn && self.text.is_empty() {
            self.text.push(b'\n');
        }
        self.text.extend_from_slice(line.as_bytes());
        self.text.push(b'\n');
        let end = self.text.len();
        self.lines.push(Line { end, what });
    }

    /// Begins anew after the first `written` bytes have gone out.
    fn end(&mut self, written: usize) -> Ended {
        let mut ended = Ended {
            taken: 0,
            lost: 0,
            untold: 0,
        };
        for line in &self.lines {
            let is_lost = line.end > written;
            match &line.what {
                What::Said(share) => {
                    leave_place(share.as_deref());
                    ended.taken += 1;
                    ended.lost += u64::from(is_lost);
                }
                What::TellsOf(count) if is_lost => ended.untold += count,
                What::TellsOf(_) => {}
            }
        }
        let whole = self.lines.iter().any(|line| line.end == written);
        let mended = self.torn && written == 1;
        if written > 0 {
            self.torn = !whole && !mended;
        }
        self.text.clear();
        self.lines.clear();
        ended
    }
}

/// How much could be written.
fn write(out: &mut impl Write, text: &[u8]) -> usize {
    let mut written = 0;
    while written < text.len() {
        match out.write(&text[written..]) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    // Without a buffer there is nothing left to fail.
    let _ = out.flush();
    written
}

#[cfg(test)]
mod tests {
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

    /// A disk with room for so many bytes.
    #[derive(Clone)]
    struct Disk {
        room: Arc<AtomicUsize>,
        text: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let some = bytes.len().min(self.room.load(Ordering::SeqCst));
            if some == 0 {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            self.room.fetch_sub(some, Ordering::SeqCst);
            let mut text = self.text.lock().expect("no one panics with it");
            text.extend_from_slice(&bytes[..some]);
            Ok(some)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted_and_told_when_there_is_room() {
        let disk = Disk {
            room: Arc::new(AtomicUsize::new(12)),
            text: Arc::default(),
        };
        let queue = Queue::start(Box::new(disk.clone()), |count| format!("lost {count}"));
        for line in ["first", "second", "third"] {
            queue.push(line.into(), Speaker::Us);
            queue.flush();
        }
        disk.room.store(1000, Ordering::SeqCst);
        queue.push("fourth".into(), Speaker::Us);
        queue.flush();
        let text = disk.text.lock().expect("no one panics with it").clone();
        let text = String::from_utf8(text).expect("we wrote it");
        assert_eq!(text, "first\nsecond\nfourth\nlost 2\n");
        assert_eq!(queue.dropped().count(), 2, "each line once");
    }

    #[test]
    fn no_app_of_several_fills_the_queue_alone() {
        let gate = Gate::default();
        let queue = Queue::start(Box::new(gate.clone()), |count| format!("dropped {count}"));
        let (loud, quiet) = (queue.for_one_of_several(), queue.for_one_of_several());
        let shut = gate.shut.lock().expect("no one panics with it");
        for _ in 0..CAPACITY {
            loud.push("loud".into(), Speaker::Us);
            loud.push("loud guest".into(), Speaker::Guest);
        }
        for _ in 0..CAPACITY / 4 {
            quiet.push("quiet".into(), Speaker::Us);
        }
        drop(shut);
        queue.flush();
        let text = String::from_utf8(gate.text.lock().expect("no one panics with it").clone())
            .expect("we wrote it");
        let count = |line: &str| text.lines().filter(|l| *l == line).count();
        assert_eq!(count("loud") + count("loud guest"), CAPACITY / 2);
        assert_eq!(count("quiet"), CAPACITY / 4);
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
        // Told once, or twice when the writer looked in between.
        let told = text
            .lines()
            .filter_map(|line| line.strip_prefix("dropped "));
        let told: Vec<usize> = told.map(|count| count.parse().expect("a number")).collect();
        assert_eq!(told.iter().sum::<usize>(), CAPACITY, "{told:?}");
        assert_eq!(queue.dropped().count(), CAPACITY as u64);
    }
}
