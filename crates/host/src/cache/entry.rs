//! One entry: a head that says whose it is, how long and what it hashes to, and the code.
//!
//! The head is authenticated, and it authenticates the code. So what is read into memory is as long as what was
//! written, whatever the file has become.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use ring::digest::{SHA256, digest};
use rustix::io::Errno;

use super::dir::{PrivateDir, us};
use super::key::{Key, TAG};

/// How every entry begins. Changes with the format.
pub(super) const MAGIC: [u8; 16] = *b"runner's code 3\n";

/// Where each part of the head ends.
const WHOSE: usize = MAGIC.len() + 8;
const NAME: usize = WHOSE + 32;
const LENGTH: usize = NAME + 8;
const CODE: usize = LENGTH + 32;
const HEAD: usize = CODE + TAG;

/// Why a file of the cache is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("is a link")]
    Link,
    #[error("is not a regular file but {0}")]
    Kind(&'static str),
    #[error("belongs to user {0}")]
    Owner(u32),
    #[error("is open to others (mode {0:04o})")]
    Open(u32),
    #[error("is empty")]
    Empty,
    #[error("is cut short")]
    Short,
    #[error("is longer than what was written")]
    Long,
    #[error("is something else")]
    Alien,
    #[error("was written with another key, by another installation")]
    Foreign,
    #[error("was written for another component or engine")]
    Swapped,
    #[error("was changed after it was written")]
    Changed,
    #[error("does not fit this engine: {0}")]
    Stale(String),
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// Opens a file of ours and gives its length; `None` if there is none. `forbidden` are modes that others may not have.
pub(super) fn open(
    dir: &PrivateDir,
    name: &str,
    forbidden: u32,
) -> Result<Option<(File, u64)>, Fault> {
    let file = match dir.file(name) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(Fault::Link),
        Err(Errno::NXIO) => return Err(Fault::Kind("a socket")),
        Err(errno) => return Err(Fault::Read(errno.into())),
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(Fault::Kind(kind(found.file_type())));
    }
    if found.uid() != us() {
        return Err(Fault::Owner(found.uid()));
    }
    if found.mode() & forbidden != 0 {
        return Err(Fault::Open(found.mode() & 0o7777));
    }
    Ok(Some((file, found.len())))
}

fn kind(found: std::fs::FileType) -> &'static str {
    match () {
        () if found.is_dir() => "a directory",
        () if found.is_fifo() => "a pipe",
        () => "a device",
    }
}

/// What is written before `code`.
pub(super) fn head(name: &str, code: &[u8], key: &Key) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend(key.id());
    head.extend(digest(&SHA256, name.as_bytes()).as_ref());
    head.extend((code.len() as u64).to_le_bytes());
    head.extend(digest(&SHA256, code).as_ref());
    let tag = key.sign(&head);
    head.extend(tag.as_ref());
    head
}

/// The code of an entry that is ours, was written under `name`, and is as it was written.
pub(super) fn read(
    file: &mut impl Read,
    size: u64,
    name: &str,
    key: &Key,
) -> Result<Vec<u8>, Fault> {
    let mut head = [0; HEAD];
    if size == 0 {
        return Err(Fault::Empty);
    }
    if size < HEAD as u64 {
        return Err(Fault::Short);
    }
    read_exact(file, &mut head)?;
    let length = verify(&head, name, key)?;
    match size.cmp(&length.saturating_add(HEAD as u64)) {
        std::cmp::Ordering::Less => return Err(Fault::Short),
        std::cmp::Ordering::Greater => return Err(Fault::Long),
        std::cmp::Ordering::Equal => {}
    }
    let mut code = Vec::with_capacity(length as usize);
    file.take(length).read_to_end(&mut code)?;
    if code.len() as u64 != length {
        return Err(Fault::Short);
    }
    if digest(&SHA256, &code).as_ref() != &head[LENGTH..CODE] {
        return Err(Fault::Changed);
    }
    Ok(code)
}

/// The length of the code, by a head that we wrote. What is looked at before the tag only finds the word for it.
fn verify(head: &[u8; HEAD], name: &str, key: &Key) -> Result<u64, Fault> {
    if head[..MAGIC.len()] != MAGIC {
        return Err(Fault::Alien);
    }
    if head[MAGIC.len()..WHOSE] != key.id() {
        return Err(Fault::Foreign);
    }
    if &head[WHOSE..NAME] != digest(&SHA256, name.as_bytes()).as_ref() {
        return Err(Fault::Swapped);
    }
    if !key.verifies(&head[..CODE], &head[CODE..]) {
        return Err(Fault::Changed);
    }
    let mut length = [0; 8];
    length.copy_from_slice(&head[NAME..LENGTH]);
    Ok(u64::from_le_bytes(length))
}

fn read_exact(file: &mut impl Read, head: &mut [u8]) -> Result<(), Fault> {
    file.read_exact(head).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Fault::Short,
        _ => Fault::Read(error),
    })
}
