//! `wasi:http`'s functions by which a guest has the host keep something, each with the account of it in front: see
//! [`Holdings`](crate::holdings::Holdings).

use wasmtime::StoreContextMut;
use wasmtime::component::{Access, FutureReader, Linker, Resource, StreamReader};
use wasmtime_wasi::TrappableError;
use wasmtime_wasi_http::p2::HeaderError as Error02;
use wasmtime_wasi_http::p2::bindings::http::types as types_02;
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::p2::types::{HostOutgoingRequest, HostOutgoingResponse};
use wasmtime_wasi_http::p3::bindings::http::types as types_03;
use wasmtime_wasi_http::p3::{Request, Response};
use wasmtime_wasi_http::{FieldMap, WasiHttp, WasiHttpView};

use crate::caps;
use crate::state::State;

mod texts;

use self::texts::{Outcome, with_short_texts};

type Store<'a> = StoreContextMut<'a, State>;
type Fields = Resource<FieldMap>;
type Outgoing = Resource<HostOutgoingRequest>;
type Body = wasmtime::Result<(Result<Resource<HostOutgoingBody>, ()>,)>;
type Set = wasmtime::Result<(Result<(), ()>,)>;
type Done02<T> = wasmtime::Result<(Result<T, types_02::HeaderError>,)>;
type Done03<T> = wasmtime::Result<(Result<T, types_03::HeaderError>,)>;

/// In place of those that `types` brought.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance("wasi:http/types@0.2.12")?;
    types.func_wrap("[static]fields.from-list", from_list_02)?;
    types.func_wrap("[method]fields.set", set_02)?;
    types.func_wrap("[method]fields.append", append_02)?;
    types.func_wrap("[method]fields.delete", delete_02)?;
    types.func_wrap("[method]outgoing-request.set-method", set_method_02)?;
    types.func_wrap("[method]outgoing-request.set-scheme", set_scheme_02)?;
    types.func_wrap("[method]outgoing-request.set-path-with-query", set_path_02)?;
    types.func_wrap("[method]outgoing-request.body", body_of_request_02)?;
    types.func_wrap("[method]outgoing-response.body", body_of_response_02)?;
    let mut types = linker.instance("wasi:http/types@0.3.0")?;
    types.func_wrap("[static]fields.from-list", from_list_03)?;
    types.func_wrap("[method]fields.set", set_03)?;
    types.func_wrap("[method]fields.append", append_03)?;
    types.func_wrap("[method]fields.delete", delete_03)?;
    types.func_wrap("[method]fields.get-and-delete", get_and_delete_03)?;
    types.func_wrap("[method]request.set-method", set_method_03)?;
    types.func_wrap("[method]request.set-scheme", set_scheme_03)?;
    types.func_wrap("[method]request.set-path-with-query", set_path_03)?;
    types.func_wrap("[static]request.new", new_request_03)?;
    types.func_wrap("[static]request.consume-body", consume_request_03)?;
    types.func_wrap("[static]response.consume-body", consume_response_03)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn of_list(entries: &[(String, Vec<u8>)]) -> usize {
    let of = |(name, value): &(String, Vec<u8>)| name.len() + value.len();
    entries.iter().map(of).sum()
}

fn of_values(name: &str, values: &[Vec<u8>]) -> usize {
    name.len() + values.iter().map(Vec::len).sum::<usize>()
}

fn done_02<T>(result: Result<T, Error02>) -> Done02<T> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

fn done_03<T>(result: Result<T, TrappableError<types_03::HeaderError>>) -> Done03<T> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

fn from_list_02(mut store: Store<'_>, (list,): (Vec<(String, Vec<u8>)>,)) -> Done02<Fields> {
    store.data_mut().holds(of_list(&list))?;
    let mut http = store.data_mut().http();
    done_02(types_02::HostFields::from_list(&mut http, list))
}

fn set_02(
    mut store: Store<'_>,
    (fields, name, values): (Fields, String, Vec<Vec<u8>>),
) -> Done02<()> {
    store.data_mut().holds(of_values(&name, &values))?;
    let mut http = store.data_mut().http();
    done_02(types_02::HostFields::set(&mut http, fields, name, values))
}

fn append_02(mut store: Store<'_>, (fields, name, value): (Fields, String, Vec<u8>)) -> Done02<()> {
    store.data_mut().holds(name.len() + value.len())?;
    let mut http = store.data_mut().http();
    done_02(types_02::HostFields::append(&mut http, fields, name, value))
}

fn delete_02(mut store: Store<'_>, (fields, name): (Fields, String)) -> Done02<()> {
    store.data_mut().holds(0)?;
    let mut http = store.data_mut().http();
    done_02(types_02::HostFields::delete(&mut http, fields, name))
}

fn set_method_02(mut store: Store<'_>, (call, method): (Outgoing, types_02::Method)) -> Set {
    let bytes = match &method {
        types_02::Method::Other(other) => other.len(),
        _ => 0,
    };
    store.data_mut().holds(bytes)?;
    let mut http = store.data_mut().http();
    let set = types_02::HostOutgoingRequest::set_method(&mut http, call, method);
    Ok((set?,))
}

fn set_scheme_02(
    mut store: Store<'_>,
    (call, scheme): (Outgoing, Option<types_02::Scheme>),
) -> Set {
    let bytes = match &scheme {
        Some(types_02::Scheme::Other(other)) => other.len(),
        _ => 0,
    };
    store.data_mut().holds(bytes)?;
    let mut http = store.data_mut().http();
    let set = types_02::HostOutgoingRequest::set_scheme(&mut http, call, scheme);
    Ok((set?,))
}

fn set_path_02(mut store: Store<'_>, (call, path): (Outgoing, Option<String>)) -> Set {
    store
        .data_mut()
        .holds(path.as_ref().map_or(0, String::len))?;
    let mut http = store.data_mut().http();
    let set = types_02::HostOutgoingRequest::set_path_with_query(&mut http, call, path);
    Ok((set?,))
}

/// What is written there waits for whoever takes it.
fn body_of_request_02(mut store: Store<'_>, (call,): (Outgoing,)) -> Body {
    store.data_mut().holds(2 * caps::BODY_CHUNK)?;
    let mut http = store.data_mut().http();
    Ok((types_02::HostOutgoingRequest::body(&mut http, call)?,))
}

fn body_of_response_02(mut store: Store<'_>, (answer,): (Resource<HostOutgoingResponse>,)) -> Body {
    store.data_mut().holds(2 * caps::BODY_CHUNK)?;
    let mut http = store.data_mut().http();
    Ok((types_02::HostOutgoingResponse::body(&mut http, answer)?,))
}

fn from_list_03(mut store: Store<'_>, (list,): (Vec<(String, Vec<u8>)>,)) -> Done03<Fields> {
    store.data_mut().holds(of_list(&list))?;
    let mut http = store.data_mut().http();
    done_03(types_03::HostFields::from_list(&mut http, list))
}

fn set_03(
    mut store: Store<'_>,
    (fields, name, values): (Fields, String, Vec<Vec<u8>>),
) -> Done03<()> {
    store.data_mut().holds(of_values(&name, &values))?;
    let mut http = store.data_mut().http();
    done_03(types_03::HostFields::set(&mut http, fields, name, values))
}

fn append_03(mut store: Store<'_>, (fields, name, value): (Fields, String, Vec<u8>)) -> Done03<()> {
    store.data_mut().holds(name.len() + value.len())?;
    let mut http = store.data_mut().http();
    done_03(types_03::HostFields::append(&mut http, fields, name, value))
}

fn delete_03(mut store: Store<'_>, (fields, name): (Fields, String)) -> Done03<()> {
    store.data_mut().holds(0)?;
    let mut http = store.data_mut().http();
    done_03(types_03::HostFields::delete(&mut http, fields, name))
}

fn get_and_delete_03(
    mut store: Store<'_>,
    (fields, name): (Fields, String),
) -> Done03<Vec<Vec<u8>>> {
    store.data_mut().holds(0)?;
    let mut http = store.data_mut().http();
    done_03(types_03::HostFields::get_and_delete(
        &mut http, fields, name,
    ))
}

fn set_method_03(
    mut store: Store<'_>,
    (call, method): (Resource<Request>, types_03::Method),
) -> Set {
    let bytes = match &method {
        types_03::Method::Other(other) => other.len(),
        _ => 0,
    };
    store.data_mut().holds(bytes)?;
    let mut http = store.data_mut().http();
    let set = types_03::HostRequest::set_method(&mut http, call, method);
    Ok((set?,))
}

fn set_scheme_03(
    mut store: Store<'_>,
    (call, scheme): (Resource<Request>, Option<types_03::Scheme>),
) -> Set {
    let bytes = match &scheme {
        Some(types_03::Scheme::Other(other)) => other.len(),
        _ => 0,
    };
    store.data_mut().holds(bytes)?;
    let mut http = store.data_mut().http();
    let set = types_03::HostRequest::set_scheme(&mut http, call, scheme);
    Ok((set?,))
}

fn set_path_03(mut store: Store<'_>, (call, path): (Resource<Request>, Option<String>)) -> Set {
    store
        .data_mut()
        .holds(path.as_ref().map_or(0, String::len))?;
    let mut http = store.data_mut().http();
    let set = types_03::HostRequest::set_path_with_query(&mut http, call, path);
    Ok((set?,))
}

type NewRequest = (
    Fields,
    Option<StreamReader<u8>>,
    Outcome<Option<Fields>>,
    Option<Resource<types_03::RequestOptions>>,
);
type New = (
    Resource<Request>,
    FutureReader<Result<(), types_03::ErrorCode>>,
);

fn new_request_03(
    mut store: Store<'_>,
    (fields, body, outcome, options): NewRequest,
) -> wasmtime::Result<(New,)> {
    let outcome = with_short_texts(&mut store, outcome)?;
    let http = Access::<State, WasiHttp>::new(store, State::http);
    Ok((types_03::HostRequestWithStore::new(
        http, fields, body, outcome, options,
    )?,))
}

type Consumed = (
    StreamReader<u8>,
    FutureReader<Result<Option<Fields>, types_03::ErrorCode>>,
);

fn consume_request_03(
    mut store: Store<'_>,
    (request, outcome): (Resource<Request>, Outcome<()>),
) -> wasmtime::Result<(Consumed,)> {
    let outcome = with_short_texts(&mut store, outcome)?;
    let http = Access::<State, WasiHttp>::new(store, State::http);
    Ok((types_03::HostRequestWithStore::consume_body(
        http, request, outcome,
    )?,))
}

fn consume_response_03(
    mut store: Store<'_>,
    (response, outcome): (Resource<Response>, Outcome<()>),
) -> wasmtime::Result<(Consumed,)> {
    let outcome = with_short_texts(&mut store, outcome)?;
    let http = Access::<State, WasiHttp>::new(store, State::http);
    Ok((types_03::HostResponseWithStore::consume_body(
        http, response, outcome,
    )?,))
}
