//! The key of this installation: made once, kept beside the entries, read by nobody else.

use std::io::{self, Read};

use ring::hmac::{self, HMAC_SHA256, Tag};

use super::dir::{self, Draft, PrivateDir};
use super::entry::{self, Fault};

/// Length of an HMAC-SHA256 tag, and of the key.
pub(super) const TAG: usize = 32;

/// Its file.
pub(super) const NAME: &str = "key";

/// What others may not do with it: anything. Who reads it can write entries.
const REACHABLE: u32 = 0o077;

/// What signs and verifies entries.
pub(super) struct Key {
    key: hmac::Key,
    id: [u8; 8],
}

impl Key {
    /// The key in `dir`, made if it is not there. One that others could know or have written is replaced; then its fault
    /// is given too.
    pub(super) fn of(dir: &PrivateDir) -> io::Result<(Key, Option<Fault>)> {
        if let Ok(Some(key)) = read(dir) {
            return Ok((key, None));
        }
        // From here on one process at a time: what two found broken is replaced once.
        let _turn = dir.lock();
        let fault = match read(dir) {
            Ok(Some(key)) => return Ok((key, None)),
            Ok(None) => None,
            Err(fault) => Some(fault),
        };
        make(dir, fault.is_some())?;
        match read(dir) {
            Ok(Some(key)) => Ok((key, fault)),
            Ok(None) => Err(io::ErrorKind::NotFound.into()),
            Err(fault) => Err(io::Error::other(format!("it {fault}"))),
        }
    }

    fn new(bytes: &[u8; TAG]) -> Key {
        let key = hmac::Key::new(HMAC_SHA256, bytes);
        let mut id = [0; 8];
        // No message of ours begins like this.
        id.copy_from_slice(&hmac::sign(&key, b"which key").as_ref()[..8]);
        Key { key, id }
    }

    /// Tells one key from another, and nothing about either.
    pub(super) fn id(&self) -> [u8; 8] {
        self.id
    }

    pub(super) fn sign(&self, message: &[u8]) -> Tag {
        hmac::sign(&self.key, message)
    }

    pub(super) fn verifies(&self, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.key, message, tag).is_ok()
    }
}

fn read(dir: &PrivateDir) -> Result<Option<Key>, Fault> {
    let Some((mut file, size)) = entry::open(dir, NAME, REACHABLE)? else {
        return Ok(None);
    };
    let mut bytes = [0; TAG];
    match size {
        0 => return Err(Fault::Empty),
        1..32 => return Err(Fault::Short),
        32 => {}
        33.. => return Err(Fault::Long),
    }
    file.read_exact(&mut bytes)?;
    Ok(Some(Key::new(&bytes)))
}

/// Makes the key. It is synced, unlike the entries: once in the life of an installation, and all of them hang on it.
fn make(dir: &PrivateDir, is_in_the_way: bool) -> io::Result<()> {
    let mut bytes = [0; TAG];
    dir::fill(&mut bytes)?;
    let draft = Draft::new(dir, NAME, &[&bytes])?;
    // What older keys signed says nothing any more.
    for entry in dir.names()?.iter().filter(|name| super::is_entry(name)) {
        let _ = dir.remove(entry);
    }
    if is_in_the_way {
        dir.clear(NAME)?;
    }
    draft.be_first()
}
