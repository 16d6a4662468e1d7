//! Files, by the calls below those of the standard library: what they refuse is what the host refuses.

use toolbox::{Query, json, wit_name};
use wasip3::cli::stdout;
use wasip3::clocks::monotonic_clock::wait_for;
use wasip3::clocks::system_clock::Instant;
use wasip3::filesystem::preopens::get_directories;
use wasip3::filesystem::types::{
    Descriptor, DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
};
use wasip3::wit_stream;

const READ: DescriptorFlags = DescriptorFlags::READ;
const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;

/// `/open?path=&folder=`: opens it below the n-th folder that was given.
pub async fn open(query: &Query) -> String {
    let path = query.text("path").unwrap_or_default();
    let opened = match folder(query, "folder") {
        Ok(folder) => folder
            .open_at(FOLLOW, path.into(), OpenFlags::empty(), READ)
            .await
            .map(drop),
        Err(error) => Err(error),
    };
    report(opened)
}

/// `/open-many?path=&n=&close=&stream=`: opens it so often, and lets none of them go without `close`; with `stream` it is
/// streams of them that are kept. Says how often it could.
pub async fn open_many(query: &Query) -> String {
    let path = query.text("path").unwrap_or_default();
    let count: usize = query.number("n", 1);
    let (mut kept, mut streams, mut opened) = (Vec::new(), Vec::new(), 0);
    if let Ok(folder) = folder(query, "folder") {
        while opened < count
            && let Ok(file) = folder
                .open_at(FOLLOW, path.into(), OpenFlags::empty(), READ)
                .await
        {
            opened += 1;
            if query.flag("stream") {
                streams.push(file.read_via_stream(0));
            } else if !query.flag("close") {
                kept.push(file);
            }
        }
    }
    json::object([("opened", opened.to_string())])
}

/// `/list-many?n=&ms=`: begins to read a folder so often, reads none of it, and waits so long.
pub async fn list_many(query: &Query) -> String {
    let count: usize = query.number("n", 1);
    let mut streams = Vec::new();
    if let Ok(folder) = folder(query, "folder") {
        streams.extend((0..count).map(|_| folder.read_directory()));
    }
    wait_for(query.number::<u64>("ms", 0) * 1_000_000).await;
    json::object([("began", streams.len().to_string())])
}

/// `/pour?path=&n=`: has the host write the file to standard output so often, all of it at once.
pub async fn pour(query: &Query) -> String {
    let path = query.text("path").unwrap_or_default();
    let count: usize = query.number("n", 1);
    let opened = match folder(query, "folder") {
        Ok(folder) => {
            folder
                .open_at(FOLLOW, path.into(), OpenFlags::empty(), READ)
                .await
        }
        Err(error) => Err(error),
    };
    let Ok(file) = opened else {
        return json::object([("poured", "0".into())]);
    };
    let poured: Vec<_> = (0..count)
        .map(|_| stdout::write_via_stream(file.read_via_stream(0).0))
        .collect();
    for written in poured {
        let _ = written.await;
    }
    json::object([("poured", count.to_string())])
}

/// `/change?how=&path=&to=&folder=&to-folder=`: does that to it.
pub async fn change(query: &Query) -> String {
    report(match folder(query, "folder") {
        Ok(folder) => changed(&folder, query).await,
        Err(error) => Err(error),
    })
}

async fn changed(folder: &Descriptor, query: &Query) -> Result<(), ErrorCode> {
    let (path, to) = (
        query.text("path").unwrap_or_default().to_owned(),
        query.text("to").unwrap_or_default().to_owned(),
    );
    let open = |how, flags| folder.open_at(FOLLOW, path.clone(), how, flags);
    let late = NewTimestamp::Timestamp(Instant {
        seconds: query.number("seconds", i64::MAX),
        nanoseconds: query.number("nanoseconds", u32::MAX),
    });
    match query.text("how").unwrap_or_default() {
        "create" => open(OpenFlags::CREATE, DescriptorFlags::WRITE)
            .await
            .map(drop),
        "create-only" => open(OpenFlags::CREATE, READ).await.map(drop),
        "truncate" => open(OpenFlags::TRUNCATE, READ).await.map(drop),
        "write" => open(OpenFlags::empty(), DescriptorFlags::WRITE)
            .await
            .map(drop),
        "change-folder" => open(OpenFlags::DIRECTORY, DescriptorFlags::MUTATE_DIRECTORY)
            .await
            .map(drop),
        "set-size" => {
            open(OpenFlags::empty(), READ)
                .await?
                .set_size(1 << 40)
                .await
        }
        "write-to" => {
            let (mut bytes, contents) = wit_stream::new();
            let opened = open(OpenFlags::empty(), READ).await?;
            let written = opened.write_via_stream(contents, 0);
            bytes.write_all(b"mine".to_vec()).await;
            drop(bytes);
            written.await
        }
        "set-times" => {
            open(OpenFlags::empty(), READ)
                .await?
                .set_times(late, late)
                .await
        }
        "set-times-at" => folder.set_times_at(FOLLOW, path, late, late).await,
        "unlink" => folder.unlink_file_at(path).await,
        "make-folder" => folder.create_directory_at(path).await,
        "remove-folder" => folder.remove_directory_at(path).await,
        "symlink" => folder.symlink_at(to, path).await,
        "link" => {
            let other = self::folder(query, "to-folder")?;
            folder.link_at(PathFlags::empty(), path, &other, to).await
        }
        "rename" => {
            let other = self::folder(query, "to-folder")?;
            folder.rename_at(path, &other, to).await
        }
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
        Err(error) => json::string(&wit_name(&format!("{error:?}"))),
    }
}
