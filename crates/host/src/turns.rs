//! On whose account a guest calls that serves several requests at once: WASI's functions by which it writes, with one
//! addition in front of each. Which task calls is known while it does, and not later.

use wasmtime::StoreContextMut;
use wasmtime::component::{Access, FutureReader, Linker, Resource, StreamReader};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::p2::bindings::io::streams::{Host as _, HostOutputStream, StreamError};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, StreamResult};
use wasmtime_wasi::p3::bindings::cli::types::ErrorCode;
use wasmtime_wasi::p3::bindings::cli::{stderr, stdout};

use crate::caps;
use crate::state::State;

type Output = Resource<DynOutputStream>;
type Input = Resource<DynInputStream>;
type Done<T> = (Result<T, StreamError>,);
type Written = (FutureReader<Result<(), ErrorCode>>,);

/// In place of those that WASI's package linked.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut streams = linker.instance("wasi:io/streams@0.2.12")?;
    streams.func_wrap("[method]output-stream.write", write)?;
    streams.func_wrap("[method]output-stream.write-zeroes", write_zeroes)?;
    streams.func_wrap("[method]output-stream.splice", splice)?;
    streams.func_wrap_async(
        "[method]output-stream.blocking-write-and-flush",
        |store, write| Box::new(blocking_write(store, write)),
    )?;
    streams.func_wrap_async(
        "[method]output-stream.blocking-write-zeroes-and-flush",
        |store, write| Box::new(blocking_write_zeroes(store, write)),
    )?;
    streams.func_wrap_async("[method]output-stream.blocking-splice", |store, splice| {
        Box::new(blocking_splice(store, splice))
    })?;
    linker
        .instance("wasi:cli/stdout@0.3.0")?
        .func_wrap("write-via-stream", to_stdout)?;
    linker
        .instance("wasi:cli/stderr@0.3.0")?
        .func_wrap("write-via-stream", to_stderr)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// What comes now is on account of the request whose task calls.
pub(crate) fn turn(store: &mut StoreContextMut<'_, State>) -> wasmtime::Result<()> {
    if store.data().serves_many() {
        let task = store.async_call_stack()?.last();
        store.data_mut().turn_to(task);
    }
    Ok(())
}

fn done<T>(
    store: &mut StoreContextMut<'_, State>,
    result: StreamResult<T>,
) -> wasmtime::Result<Done<T>> {
    let result = match result {
        Ok(value) => Ok(value),
        Err(error) => Err(store.data_mut().table.convert_stream_error(error)?),
    };
    Ok((result,))
}

fn write(
    mut store: StoreContextMut<'_, State>,
    (to, bytes): (Output, Vec<u8>),
) -> wasmtime::Result<Done<()>> {
    turn(&mut store)?;
    let written = HostOutputStream::write(&mut store.data_mut().table, to, bytes);
    done(&mut store, written)
}

fn write_zeroes(
    mut store: StoreContextMut<'_, State>,
    (to, length): (Output, u64),
) -> wasmtime::Result<Done<()>> {
    turn(&mut store)?;
    let written = store.data_mut().table.write_zeroes(to, length);
    done(&mut store, written)
}

fn splice(
    mut store: StoreContextMut<'_, State>,
    (to, from, length): (Output, Input, u64),
) -> wasmtime::Result<Done<u64>> {
    turn(&mut store)?;
    let written = store.data_mut().table.splice(to, from, length);
    done(&mut store, written)
}

async fn blocking_write(
    mut store: StoreContextMut<'_, State>,
    (to, bytes): (Output, Vec<u8>),
) -> wasmtime::Result<Done<()>> {
    turn(&mut store)?;
    let table = &mut store.data_mut().table;
    let written = table.blocking_write_and_flush(to, bytes).await;
    done(&mut store, written)
}

async fn blocking_write_zeroes(
    mut store: StoreContextMut<'_, State>,
    (to, length): (Output, u64),
) -> wasmtime::Result<Done<()>> {
    turn(&mut store)?;
    let table = &mut store.data_mut().table;
    let written = table.blocking_write_zeroes_and_flush(to, length).await;
    done(&mut store, written)
}

async fn blocking_splice(
    mut store: StoreContextMut<'_, State>,
    (to, from, length): (Output, Input, u64),
) -> wasmtime::Result<Done<u64>> {
    turn(&mut store)?;
    let table = &mut store.data_mut().table;
    let written = table.blocking_splice(to, from, length).await;
    done(&mut store, written)
}

fn to_stdout(
    mut store: StoreContextMut<'_, State>,
    (data,): (StreamReader<u8>,),
) -> wasmtime::Result<Written> {
    turn(&mut store)?;
    store.data_mut().holds(caps::LOG_LINE)?;
    let access = Access::<State, WasiCli>::new(store, State::cli);
    Ok((stdout::HostWithStore::write_via_stream(access, data)?,))
}

fn to_stderr(
    mut store: StoreContextMut<'_, State>,
    (data,): (StreamReader<u8>,),
) -> wasmtime::Result<Written> {
    turn(&mut store)?;
    store.data_mut().holds(caps::LOG_LINE)?;
    let access = Access::<State, WasiCli>::new(store, State::cli);
    Ok((stderr::HostWithStore::write_via_stream(access, data)?,))
}
