//! What a guest sees of files. Every function reports in JSON.

use std::{fs, io};

use toolbox::{Query, json, wit_name};
use wasip2::filesystem::preopens;

/// `/files?path=`: a folder's entries, a file's text; without a path, the folders that were given.
pub fn read(query: &Query) -> String {
    let Some(path) = query.text("path") else {
        let given = preopens::get_directories()
            .into_iter()
            .map(|(_, path)| json::string(&path));
        return json::object([("preopens", json::array(given))]);
    };
    report(match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => entries(path),
        Ok(_) => {
            fs::read(path).map(|bytes| ("text", json::string(&String::from_utf8_lossy(&bytes))))
        }
        Err(error) => Err(error),
    })
}

fn entries(path: &str) -> io::Result<(&'static str, String)> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok((
        "entries",
        json::array(names.iter().map(|name| json::string(name))),
    ))
}

/// `/write?path=&text=`
pub fn write(query: &Query) -> String {
    done(fs::write(
        query.text("path").unwrap_or_default(),
        query.text("text").unwrap_or("written"),
    ))
}

/// `/remove?path=`
pub fn remove(query: &Query) -> String {
    done(fs::remove_file(query.text("path").unwrap_or_default()))
}

/// `/rename?path=&to=`
pub fn rename(query: &Query) -> String {
    done(fs::rename(
        query.text("path").unwrap_or_default(),
        query.text("to").unwrap_or_default(),
    ))
}

/// `/link?path=&to=`: a hard link.
pub fn link(query: &Query) -> String {
    done(fs::hard_link(
        query.text("path").unwrap_or_default(),
        query.text("to").unwrap_or_default(),
    ))
}

fn done(result: io::Result<()>) -> String {
    report(result.map(|()| ("done", "true".into())))
}

fn report(result: io::Result<(&'static str, String)>) -> String {
    match result {
        Ok(member) => json::object([member]),
        Err(error) => json::object([
            (
                "error",
                json::string(&wit_name(&format!("{:?}", error.kind()))),
            ),
            ("detail", json::string(&error.to_string())),
        ]),
    }
}
