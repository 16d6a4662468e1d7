//! What a guest was granted, asked for by the interfaces of 0.3. Every function reports in JSON.

use toolbox::{Query, json};
use wasip3::cli::environment::get_environment;
use wasip3::clocks::{monotonic_clock, system_clock};
use wasip3::filesystem::preopens::get_directories;
use wasip3::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};

/// `/env`: names and values.
pub fn environment() -> String {
    let pairs = get_environment().into_iter();
    json::pairs(pairs.map(|(name, value)| (name, value.into_bytes())))
}

/// `/clock`
pub fn clock() -> String {
    let wall = system_clock::now();
    json::object([
        ("monotonic", monotonic_clock::now().to_string()),
        ("resolution", monotonic_clock::get_resolution().to_string()),
        ("seconds", wall.seconds.to_string()),
        ("nanoseconds", wall.nanoseconds.to_string()),
    ])
}

/// `/files?path=`: opens it below the first folder that was given, and says whether that worked.
pub async fn open(query: &Query) -> String {
    let path = query.text("path").unwrap_or_default().trim_start_matches('/');
    let Some((folder, _)) = get_directories().into_iter().next() else {
        return json::object([("error", json::string("no folder"))]);
    };
    let opened = folder.open_at(
        PathFlags::empty(),
        path.into(),
        OpenFlags::empty(),
        DescriptorFlags::READ,
    );
    match opened.await {
        Ok(_) => json::object([("opened", "true".into())]),
        Err(error) => json::object([("error", json::string(&format!("{error:?}")))]),
    }
}
