//! WASI's functions by which a component asks for its environment and opens its files, counted.
//!
//! Each is the one that WASI's own package linked, with one addition in front of it.

use wasmtime::component::{Access, Accessor, FutureReader, Linker, Resource, StreamReader};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::cli::WasiCliView;
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::cli::environment as environment_02;
use wasmtime_wasi::p2::bindings::filesystem::types::{self as types_02, HostDescriptor};
use wasmtime_wasi::p2::{DynInputStream, ReaddirIterator};
use wasmtime_wasi::p3::bindings::cli::environment as environment_03;
use wasmtime_wasi::p3::bindings::filesystem::types::{self as types_03, HostDescriptorWithStore};

use crate::state::State;
use crate::turns::turn;

type Environment = (Vec<(String, String)>,);
type Open02 = (
    Resource<Descriptor>,
    types_02::PathFlags,
    String,
    types_02::OpenFlags,
    types_02::DescriptorFlags,
);
type Opened02 = (Result<Resource<Descriptor>, types_02::ErrorCode>,);
type Open03 = (
    Resource<Descriptor>,
    types_03::PathFlags,
    String,
    types_03::OpenFlags,
    types_03::DescriptorFlags,
);
type Opened03 = (Result<Resource<Descriptor>, types_03::ErrorCode>,);

/// In place of those that WASI's package linked.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    const GET: &str = "get-environment";
    const OPEN: &str = "[method]descriptor.open-at";
    const READ: &str = "[method]descriptor.read-via-stream";
    linker.allow_shadowing(true);
    linker
        .instance("wasi:cli/environment@0.2.12")?
        .func_wrap(GET, |store, ()| environment_of_02(store))?;
    linker
        .instance("wasi:cli/environment@0.3.0")?
        .func_wrap(GET, |store, ()| environment_of_03(store))?;
    linker
        .instance("wasi:filesystem/types@0.2.12")?
        .func_wrap_async(OPEN, |store, open| Box::new(open_02(store, open)))?;
    linker
        .instance("wasi:filesystem/types@0.3.0")?
        .func_wrap_concurrent(OPEN, |store, open| Box::pin(open_03(store, open)))?;
    let mut types = linker.instance("wasi:filesystem/types@0.2.12")?;
    types.func_wrap(READ, read_02)?;
    types.func_wrap_async("[method]descriptor.read-directory", |store, folder| {
        Box::new(read_folder_02(store, folder))
    })?;
    let mut types = linker.instance("wasi:filesystem/types@0.3.0")?;
    types.func_wrap(READ, read_03)?;
    types.func_wrap("[method]descriptor.read-directory", read_folder_03)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn environment_of_02(mut store: StoreContextMut<'_, State>) -> wasmtime::Result<Environment> {
    store.data().usage.environment();
    Ok((environment_02::Host::get_environment(
        &mut store.data_mut().cli(),
    )?,))
}

fn environment_of_03(mut store: StoreContextMut<'_, State>) -> wasmtime::Result<Environment> {
    store.data().usage.environment();
    Ok((environment_03::Host::get_environment(
        &mut store.data_mut().cli(),
    )?,))
}

async fn open_02(
    mut store: StoreContextMut<'_, State>,
    (at, path_flags, path, open_flags, flags): Open02,
) -> wasmtime::Result<Opened02> {
    store.data().usage.opened();
    turn(&mut store)?;
    if !store.data_mut().begin_to_open(0) {
        return Ok((Err(types_02::ErrorCode::InsufficientMemory),));
    }
    let mut files = store.data_mut().filesystem();
    let opened = HostDescriptor::open_at(&mut files, at, path_flags, path, open_flags, flags).await;
    store.data_mut().opened();
    match opened {
        Ok(opened) => Ok((Ok(opened),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

async fn open_03(
    store: &Accessor<State>,
    (at, path_flags, path, open_flags, flags): Open03,
) -> wasmtime::Result<Opened03> {
    let may_open = store.with(|mut access| -> wasmtime::Result<bool> {
        access.data_mut().usage.opened();
        turn(&mut access.as_context_mut())?;
        let streams = access.as_context_mut().concurrent_state_table_size();
        Ok(access.data_mut().begin_to_open(streams))
    });
    if !may_open? {
        return Ok((Err(types_03::ErrorCode::InsufficientMemory),));
    }
    let files = store.with_getter::<WasiFilesystem>(State::filesystem);
    let opened = <WasiFilesystem as HostDescriptorWithStore<State>>::open_at(
        &files, at, path_flags, path, open_flags, flags,
    );
    let opened = opened.await;
    store.with(|mut access| access.data_mut().opened());
    match opened {
        Ok(opened) => Ok((Ok(opened),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

/// What is read ahead of it is held for it.
fn read_02(
    mut store: StoreContextMut<'_, State>,
    (file, offset): (Resource<Descriptor>, u64),
) -> wasmtime::Result<(Result<Resource<DynInputStream>, types_02::ErrorCode>,)> {
    store.data_mut().holds(0)?;
    let mut files = store.data_mut().filesystem();
    match HostDescriptor::read_via_stream(&mut files, file, offset) {
        Ok(stream) => Ok((Ok(stream),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

async fn read_folder_02(
    mut store: StoreContextMut<'_, State>,
    (folder,): (Resource<Descriptor>,),
) -> wasmtime::Result<(Result<Resource<ReaddirIterator>, types_02::ErrorCode>,)> {
    store.data_mut().holds(0)?;
    let mut files = store.data_mut().filesystem();
    match HostDescriptor::read_directory(&mut files, folder).await {
        Ok(names) => Ok((Ok(names),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

type Read03 = (
    StreamReader<u8>,
    FutureReader<Result<(), types_03::ErrorCode>>,
);

fn read_03(
    mut store: StoreContextMut<'_, State>,
    (file, offset): (Resource<Descriptor>, u64),
) -> wasmtime::Result<(Read03,)> {
    store.data_mut().streams();
    store.data_mut().holds(0)?;
    let files = Access::<State, WasiFilesystem>::new(store, State::filesystem);
    Ok((HostDescriptorWithStore::read_via_stream(
        files, file, offset,
    )?,))
}

type Listed03 = (
    StreamReader<types_03::DirectoryEntry>,
    FutureReader<Result<(), types_03::ErrorCode>>,
);

/// A folder is open for as long as it is read, by two descriptors.
fn read_folder_03(
    mut store: StoreContextMut<'_, State>,
    (folder,): (Resource<Descriptor>,),
) -> wasmtime::Result<(Listed03,)> {
    let streams = store.concurrent_state_table_size();
    let state = store.data_mut();
    let is_one = state.begin_to_open(streams);
    let are_two = is_one && state.begin_to_open(streams);
    (0..u8::from(is_one) + u8::from(are_two)).for_each(|_| state.opened());
    if !are_two {
        let refused =
            async { Ok::<_, wasmtime::Error>(Err(types_03::ErrorCode::InsufficientMemory)) };
        let nothing = StreamReader::new(&mut store, std::iter::empty())?;
        return Ok(((nothing, FutureReader::new(&mut store, refused)?),));
    }
    (0..2).for_each(|_| state.streams());
    state.holds(0)?;
    let files = Access::<State, WasiFilesystem>::new(store, State::filesystem);
    Ok((HostDescriptorWithStore::read_directory(files, folder)?,))
}
