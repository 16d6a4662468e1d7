//! A `.wasm` from a file, as a component: read once, recognised by its bytes, core modules componentized.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bytes::Bytes;
use runner_manifest::Code;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

use crate::caps;
use crate::within::{Elsewhere, Within};

/// What is read of a file to say what it is, when it is not WebAssembly.
const HEAD: u64 = 4096;
/// How a native program, library or object begins.
const ELF: &[u8] = b"\x7fELF";
/// Where such a file says for which system it is, and what wasmtime writes there in what it has compiled.
const ELF_OS_ABI: usize = 7;
const WASMTIME: u8 = 200;

/// A component's bytes as they were read, once: what is hashed here is what is compiled. Only the head was looked at.
pub(crate) struct Artifact {
    /// The file.
    pub(crate) bytes: Bytes,
    /// SHA-256 of the file, in lower-case hexadecimal.
    pub(crate) digest: String,
    /// What the file is, if it is anything.
    pub(crate) form: Form,
}

/// What was found in a file that was checked.
pub(crate) struct Unpacked {
    /// A binary component.
    pub(crate) component: Vec<u8>,
    /// Who made it, from its metadata: `wit-component 0.254.2, rustc 1.95.0`.
    pub(crate) producers: Option<String>,
}

/// What kind of file a component came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A component.
    Component,
    /// A core module that says of which component it is the core.
    CoreModule,
}

/// Why a file is not a component that can be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read it: {0}")]
    Read(#[source] io::Error),
    #[error("it {0}")]
    Elsewhere(#[from] Elsewhere),
    #[error("there is no such file")]
    Missing,
    #[error("it is a directory")]
    Directory,
    #[error("it is not a regular file")]
    Special,
    #[error("it is larger than {} MiB", caps::ARTIFACT >> 20)]
    TooLarge,
    #[error("it is empty")]
    Empty,
    #[error("it is cut short: {0}")]
    Truncated(String),
    #[error(
        "it is precompiled code, which is not accepted: an app's bytes are never run as machine code"
    )]
    Precompiled,
    #[error("it is a native program or library (ELF), not WebAssembly")]
    Elf,
    #[error("it is WebAssembly text, not a binary")]
    Wat,
    #[error("it is text, not WebAssembly")]
    Text,
    #[error("it is not WebAssembly")]
    Unknown,
    #[error(
        "it is a core module without a `component-type` section, so nobody can tell what it imports and exports"
    )]
    CoreModule,
    #[error("it is a core module that cannot be made a component: {0}")]
    Componentize(String),
    #[error("it is damaged: {0}")]
    Invalid(String),
    #[error("it nests modules and components more than {} deep", caps::NESTING)]
    Nested,
    #[error("it has a section of types of more than {} KiB", caps::TYPE_SECTION >> 10)]
    Types,
}

impl Error {
    /// What kind of message it is.
    pub(crate) fn code(&self) -> Code {
        match self {
            Error::Read(_) => Code::ComponentUnreadable,
            Error::Elsewhere(_) => Code::FileAboveCeiling,
            Error::Missing => Code::ComponentMissing,
            Error::Directory => Code::ComponentIsAFolder,
            Error::Special => Code::ComponentNotAFile,
            Error::TooLarge => Code::ComponentTooLarge,
            Error::Empty => Code::ComponentEmpty,
            Error::Truncated(_) => Code::ComponentTruncated,
            Error::Precompiled => Code::ComponentPrecompiled,
            Error::Elf => Code::ComponentIsNative,
            Error::Wat => Code::ComponentIsWat,
            Error::Text => Code::ComponentIsText,
            Error::Unknown => Code::ComponentNotWasm,
            Error::CoreModule => Code::ComponentIsAModule,
            Error::Componentize(_) => Code::ComponentNotEncodable,
            Error::Invalid(_) => Code::ComponentDamaged,
            Error::Nested => Code::ComponentTooDeep,
            Error::Types => Code::ComponentTypesTooLarge,
        }
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> &'static str {
        match self {
            Error::Missing | Error::Empty | Error::Truncated(_) => {
                "build the component again, or correct `source`"
            }
            Error::Elsewhere(_) => "name a file below the manifest's folder",
            Error::Directory | Error::Special => "`source` names a `.wasm` file",
            Error::Read(_) => "check `source`, and that the file may be read",
            Error::TooLarge => "strip it and build it with optimisation",
            Error::Precompiled | Error::Elf | Error::Unknown => {
                "name the `.wasm` that the toolchain made"
            }
            Error::Wat => "turn it into a binary with `wasm-tools parse`",
            Error::Text => "`source` names a `.wasm` file, not its source code",
            Error::CoreModule => {
                "build for `wasm32-wasip2`, or run `wasm-tools component new` on it"
            }
            Error::Nested | Error::Types => "no toolchain makes such a component; leave it out",
            Error::Componentize(_) | Error::Invalid(_) => "build it again with a current toolchain",
        }
    }
}

impl Error {
    /// The same where no manifest names the file.
    pub(crate) fn help_of_file(&self) -> &'static str {
        match self {
            Error::Missing => "check the path",
            Error::Empty | Error::Truncated(_) => "build the component again",
            Error::Directory | Error::Special | Error::Text => {
                "name a `.wasm` file, or a component of the manifest by its id"
            }
            Error::Read(_) => "check that the file may be read",
            other => other.help(),
        }
    }
}

impl Artifact {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Artifact, Error> {
        Ok(Artifact::whole(read_file(path, None)?.into()))
    }

    /// Reads a file that must be the app's own.
    pub(crate) fn read_within(path: &Path, within: &Within) -> Result<Artifact, Error> {
        within.named(path)?;
        Ok(Artifact::whole(read_file(path, Some(within))?.into()))
    }

    /// Takes what a program has in memory.
    pub(crate) fn of(bytes: Bytes) -> Result<Artifact, Error> {
        if bytes.len() as u64 > caps::ARTIFACT {
            return Err(Error::TooLarge);
        }
        check_head(&bytes[..bytes.len().min(HEAD as usize)])?;
        Ok(Artifact::whole(bytes))
    }

    fn whole(bytes: Bytes) -> Artifact {
        let form = match Parser::is_core_wasm(&bytes) {
            true => Form::CoreModule,
            false => Form::Component,
        };
        Artifact {
            digest: sha256(&bytes),
            bytes,
            form,
        }
    }

    /// What its code is named by: a core module's depends on who makes it a component, too.
    pub(crate) fn origin(&self) -> String {
        match self.form {
            Form::Component => self.digest.clone(),
            Form::CoreModule => {
                let adapter = sha256(WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER);
                let version = env!("CARGO_PKG_VERSION");
                sha256(format!("{} {adapter} {version}", self.digest).as_bytes())
            }
        }
    }
}

/// Checks what a file holds, and makes a component of it. It may be hostile: this takes a large stack.
pub(crate) fn unpack(file: Vec<u8>) -> Result<Unpacked, Error> {
    check_head(&file[..file.len().min(HEAD as usize)])?;
    check_shape(&file)?;
    let component = into_component(file)?;
    let producers = producers(&component);
    Ok(Unpacked {
        component,
        producers,
    })
}

fn read_file(path: &Path, within: Option<&Within>) -> Result<Vec<u8>, Error> {
    let found = std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::Missing,
        _ => Error::Read(error),
    })?;
    if found.is_dir() {
        return Err(Error::Directory);
    }
    // Before it is opened: opening a device can do things.
    if !found.is_file() {
        return Err(Error::Special);
    }
    if found.len() > caps::ARTIFACT {
        return Err(Error::TooLarge);
    }
    // What was a file a moment ago may be a FIFO, and opening one waits for a writer.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(Error::Read)?;
    within.map_or(Ok(()), |within| within.opened(&file, path))?;
    if !file.metadata().map_err(Error::Read)?.is_file() {
        return Err(Error::Special);
    }
    let mut file = file.take(caps::ARTIFACT + 1);
    let mut bytes = Vec::new();
    file.by_ref()
        .take(HEAD)
        .read_to_end(&mut bytes)
        .map_err(Error::Read)?;
    // What cannot be WebAssembly is told by its head: the rest may be large.
    check_head(&bytes)?;
    bytes.reserve_exact(found.len().saturating_sub(HEAD) as usize);
    file.read_to_end(&mut bytes).map_err(Error::Read)?;
    if bytes.len() as u64 > caps::ARTIFACT {
        return Err(Error::TooLarge);
    }
    Ok(bytes)
}

/// Refuses by its first bytes what is not WebAssembly.
fn check_head(head: &[u8]) -> Result<(), Error> {
    if head.is_empty() {
        return Err(Error::Empty);
    }
    if head.starts_with(ELF) {
        return Err(match head.get(ELF_OS_ABI) {
            Some(&WASMTIME) => Error::Precompiled,
            _ => Error::Elf,
        });
    }
    if !head.starts_with(b"\0asm") {
        return Err(not_wasm(head));
    }
    if head.len() < 8 {
        return Err(Error::Truncated("the header is incomplete".into()));
    }
    Ok(())
}

fn into_component(bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    if Parser::is_component(&bytes) {
        return Ok(bytes);
    }
    if Parser::is_core_wasm(&bytes) {
        return componentize(&bytes);
    }
    Err(Error::Invalid(format!(
        "it has the unknown version {:02x?}",
        &bytes[4..8]
    )))
}

fn not_wasm(head: &[u8]) -> Error {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character may have been cut at the end of the head.
        Err(error) if error.error_len().is_none() => return Error::Text,
        Err(_) => return Error::Unknown,
    };
    if text.contains('\0') {
        return Error::Unknown;
    }
    let text = text.trim_start();
    if text.starts_with('(') || text.starts_with(";;") {
        Error::Wat
    } else {
        Error::Text
    }
}

fn componentize(module: &[u8]) -> Result<Vec<u8>, Error> {
    if !carries_component_type(module)? {
        return Err(Error::CoreModule);
    }
    let failed = |error| Error::Componentize(format!("{error:#}"));
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|e| {
            e.adapter(
                WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
                WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
            )
        })
        .and_then(|mut e| e.encode())
        .map_err(failed)
}

fn carries_component_type(module: &[u8]) -> Result<bool, Error> {
    for payload in Parser::new(0).parse_all(module) {
        match payload {
            Ok(Payload::CustomSection(section)) if section.name().starts_with("component-type") => {
                return Ok(true);
            }
            Ok(_) => {}
            Err(error) => return Err(broken(&error)),
        }
    }
    Ok(false)
}

/// What a parse error says of the file.
pub(crate) fn broken(error: &wasmparser::BinaryReaderError) -> Error {
    let text = error.to_string();
    if text.contains("unexpected end") {
        Error::Truncated(text)
    } else {
        Error::Invalid(text)
    }
}

/// Checks that WebAssembly is whole, and that reading it takes no recursion without end, before anything reads it so.
fn check_shape(wasm: &[u8]) -> Result<(), Error> {
    if !Parser::is_component(wasm) && !Parser::is_core_wasm(wasm) {
        return Ok(());
    }
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let types = match payload.map_err(|error| broken(&error))? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                depth += 1;
                0
            }
            Payload::End(_) => {
                depth = usize::saturating_sub(depth, 1);
                0
            }
            Payload::ComponentTypeSection(section) => section.range().len(),
            Payload::CoreTypeSection(section) => section.range().len(),
            Payload::CustomSection(section) if section.name().starts_with("component-type") => {
                section.data().len()
            }
            _ => 0,
        };
        if depth > caps::NESTING {
            return Err(Error::Nested);
        }
        if types > caps::TYPE_SECTION {
            return Err(Error::Types);
        }
    }
    Ok(())
}

fn producers(component: &[u8]) -> Option<String> {
    let producers = wasm_metadata::Producers::from_wasm(component).ok()??;
    let names: Vec<String> = ["processed-by", "sdk", "language"]
        .iter()
        .filter_map(|field| producers.get(field))
        .flat_map(|field| {
            field
                .iter()
                .map(|(name, version)| format!("{name} {version}"))
                .collect::<Vec<_>>()
        })
        .map(|name| {
            name.trim()
                .chars()
                .filter(|c| !c.is_control())
                .take(60)
                .collect()
        })
        .take(6)
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// In lower-case hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    hex.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(bytes: &[u8], expected: &str) {
        let head = &bytes[..bytes.len().min(HEAD as usize)];
        let Err(error) = check_head(head).and_then(|()| into_component(bytes.to_vec())) else {
            panic!("{expected:?} was accepted")
        };
        assert_eq!(error.to_string(), expected);
        assert!(!error.help().is_empty());
    }

    #[test]
    fn every_kind_of_file_that_is_no_component_is_called_by_its_name() {
        says(b"", "it is empty");
        says(b"\0asm\x0d", "it is cut short: the header is incomplete");
        says(
            b"\0asm\x07\0\x07\0",
            "it is damaged: it has the unknown version [07, 00, 07, 00]",
        );
        says(
            b"\x7fELF\x02\x01\x01",
            "it is a native program or library (ELF), not WebAssembly",
        );
        says(b"(component)", "it is WebAssembly text, not a binary");
        says(
            b"  ;; a comment\n(module)",
            "it is WebAssembly text, not a binary",
        );
        says(
            "fn main() {} // \u{fc}".as_bytes(),
            "it is text, not WebAssembly",
        );
        says(b"\x89PNG\r\n", "it is not WebAssembly");
        says(b"PK\0\0", "it is not WebAssembly");
        says(
            b"\0asm\x01\0\0\0",
            "it is a core module without a `component-type` section, so nobody can tell what it imports and exports",
        );
    }

    #[test]
    fn code_that_wasmtime_compiled_is_refused_whatever_it_is_called() {
        let engine = wasmtime::Engine::default();
        let code = engine.precompile_component(b"\0asm\x0d\0\x01\0").unwrap();
        says(
            &code,
            "it is precompiled code, which is not accepted: an app's bytes are never run as machine code",
        );
    }

    fn leb(mut number: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number > 127 {
            bytes.push(number as u8 & 127 | 128);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [vec![id], leb(content.len()), content.to_vec()].concat()
    }

    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn e43_types_and_components_that_nest_without_end_are_refused() {
        let types = [
            &[1],
            b"\x41\x01\x01".repeat(caps::TYPE_SECTION / 2).as_slice(),
        ]
        .concat();
        let deep = [COMPONENT, &section(7, &types)].concat();
        assert!(matches!(check_shape(&deep), Err(Error::Types)));

        let mut nested = COMPONENT.to_vec();
        for _ in 0..=caps::NESTING {
            nested = [COMPONENT, &section(4, &nested)].concat();
        }
        assert!(matches!(check_shape(&nested), Err(Error::Nested)));
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(caps::ARTIFACT + 1).unwrap();
        let Err(error) = Artifact::read(file.path()) else {
            panic!("it was read")
        };
        assert_eq!(error.to_string(), "it is larger than 256 MiB");
        assert_eq!(error.code(), Code::ComponentTooLarge);
    }

    #[test]
    fn what_is_not_a_regular_file_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Artifact::read(dir.path()), Err(Error::Directory)));
        assert!(matches!(
            Artifact::read(&dir.path().join("none.wasm")),
            Err(Error::Missing)
        ));
        assert!(matches!(
            Artifact::read(Path::new("/dev/zero")),
            Err(Error::Special)
        ));
    }
}
