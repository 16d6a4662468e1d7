//! Files, by the calls below those of the standard library: what they refuse is what the host refuses.

use toolbox::{Query, json};
use wasip2::clocks::wall_clock::Datetime;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
};

const READ: DescriptorFlags = DescriptorFlags::READ;
const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;

/// `/open?path=&folder=`: opens it below the n-th folder that was given.
pub fn open(query: &Query) -> String {
    let path = query.text("path").unwrap_or_default();
    report(folder(query, "folder").and_then(|folder| {
        let opened = folder.open_at(FOLLOW, path, OpenFlags::empty(), READ);
        opened.map(drop)
    }))
}

/// `/open-many?path=&n=&close=&stream=`: opens it so often, and lets none of them go without `close`; with `stream` it is
/// streams of them that are kept. Says how often it could.
pub fn open_many(query: &Query) -> String {
    let path = query.text("path").unwrap_or_default();
    let count: usize = query.number("n", 1);
    let (mut kept, mut streams, mut opened) = (Vec::new(), Vec::new(), 0);
    if let Ok(folder) = folder(query, "folder") {
        while opened < count
            && let Ok(file) = folder.open_at(FOLLOW, path, OpenFlags::empty(), READ)
        {
            opened += 1;
            if query.flag("stream") {
                streams.extend(file.read_via_stream(0));
            } else if !query.flag("close") {
                kept.push(file);
            }
        }
    }
    json::object([("opened", opened.to_string())])
}

/// `/change?how=&path=&to=&folder=&to-folder=`: does that to it.
pub fn change(query: &Query) -> String {
    report(folder(query, "folder").and_then(|folder| changed(&folder, query)))
}

fn changed(folder: &Descriptor, query: &Query) -> Result<(), ErrorCode> {
    let (path, to) = (
        query.text("path").unwrap_or_default(),
        query.text("to").unwrap_or_default(),
    );
    let open = |how, flags| folder.open_at(FOLLOW, path, how, flags);
    let late = NewTimestamp::Timestamp(Datetime {
        seconds: query.number("seconds", u64::MAX),
        nanoseconds: query.number("nanoseconds", u32::MAX),
    });
    match query.text("how").unwrap_or_default() {
        "create" => open(OpenFlags::CREATE, DescriptorFlags::WRITE).map(drop),
        "create-only" => open(OpenFlags::CREATE, READ).map(drop),
        "truncate" => open(OpenFlags::TRUNCATE, READ).map(drop),
        "write" => open(OpenFlags::empty(), DescriptorFlags::WRITE).map(drop),
        "change-folder" => open(OpenFlags::DIRECTORY, DescriptorFlags::MUTATE_DIRECTORY).map(drop),
        "set-size" => open(OpenFlags::empty(), READ)?.set_size(1 << 40),
        "write-to" => open(OpenFlags::empty(), READ)?.write(b"mine", 0).map(drop),
        "set-times" => open(OpenFlags::empty(), READ)?.set_times(late, late),
        "set-times-at" => folder.set_times_at(FOLLOW, path, late, late),
        "unlink" => folder.unlink_file_at(path),
        "make-folder" => folder.create_directory_at(path),
        "remove-folder" => folder.remove_directory_at(path),
        "symlink" => folder.symlink_at(to, path),
        "link" => folder.link_at(
            PathFlags::empty(),
            path,
            &self::folder(query, "to-folder")?,
            to,
        ),
        "rename" => folder.rename_at(path, &self::folder(query, "to-folder")?, to),
        _ => Err(ErrorCode::Unsupported),
    }
}

fn folder(query: &Query, key: &str) -> Result<Descriptor, ErrorCode> {
    let mut given = get_directories().into_iter();
    let given = given.nth(query.number(key, 0));
    given
        .map(|(folder, _)| folder)
        .ok_or(ErrorCode::BadDescriptor)
}

fn report(done: Result<(), ErrorCode>) -> String {
    match done {
        Ok(()) => json::string("done"),
        Err(error) => json::string(error.name()),
    }
}
