//! `wasi:http` as guests import it: types as wasmtime has them, and calls that may leave out the authority.
//!
//! A request without an authority is a call to the guest's own app. Below us such a request fails before the door is
//! asked, so it is given the name of its own app here, and then enters the same door as every other.
//!
//! An authority that is none is refused where it is set, also before the door is asked. That is told here.

use http::Method;
use http::uri::{Authority, PathAndQuery, Scheme};
use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::p3::bindings::http::{client, types as types_03};
use wasmtime_wasi_http::{RequestOptions, WasiHttp, WasiHttpView, p2, p3};

use crate::charges;
use crate::outgoing::Asked;
use crate::state::State;
use crate::turns::turn;

/// The authority of a guest's own app.
const OWN: &str = "self";

/// The scheme of a request that names none, as `wasi:http` has it.
const USUAL: &str = "https";

type Call02 = (
    Resource<HostOutgoingRequest>,
    Option<Resource<RequestOptions>>,
);
type Called02 = (Result<Resource<HostFutureIncomingResponse>, types::ErrorCode>,);
type Called03 = (Result<Resource<p3::Response>, types_03::ErrorCode>,);
type Set02 = (Resource<HostOutgoingRequest>, Option<String>);
type Set03 = (Resource<p3::Request>, Option<String>);
type Set = (Result<(), ()>,);

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let options = p2::bindings::LinkOptions::default();
    types::add_to_linker::<_, WasiHttp>(linker, &(&options).into(), State::http)?;
    types_03::add_to_linker::<_, WasiHttp>(linker, State::http)?;
    charges::add_to_linker(linker)?;
    add_setters_to_linker(linker)?;
    linker
        .instance("wasi:http/outgoing-handler@0.2.12")?
        .func_wrap(
            "handle",
            |store: StoreContextMut<'_, State>, call: Call02| handle_02(store, call),
        )?;
    linker
        .instance("wasi:http/client@0.3.0")?
        .func_wrap_concurrent("send", |store, (request,): (Resource<p3::Request>,)| {
            Box::pin(send_03(store, request))
        })
}

/// In place of those that `types` brought.
fn add_setters_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance("wasi:http/types@0.2.12")?.func_wrap(
        "[method]outgoing-request.set-authority",
        |store: StoreContextMut<'_, State>, set: Set02| set_authority_02(store, set),
    )?;
    linker.instance("wasi:http/types@0.3.0")?.func_wrap(
        "[method]request.set-authority",
        |store: StoreContextMut<'_, State>, set: Set03| set_authority_03(store, set),
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn set_authority_02(
    mut store: StoreContextMut<'_, State>,
    (request, authority): Set02,
) -> wasmtime::Result<Set> {
    turn(&mut store)?;
    store
        .data_mut()
        .holds(authority.as_ref().map_or(0, String::len))?;
    let mut http = store.data_mut().http();
    let same = Resource::new_borrow(request.rep());
    let set = types::HostOutgoingRequest::set_authority(&mut http, same, authority.clone())?;
    if let (Err(()), Some(authority)) = (set, authority) {
        let call = http.table.get(&request)?;
        let scheme = match &call.scheme {
            None => USUAL.to_owned(),
            Some(types::Scheme::Http) => "http".to_owned(),
            Some(types::Scheme::Https) => "https".to_owned(),
            Some(types::Scheme::Other(other)) => other.clone(),
        };
        let path = call.path_with_query.as_deref().unwrap_or("/");
        let asked = Asked::new(&method_02(&call.method), without_query(path));
        let setter = "wasi:http/types.outgoing-request.set-authority";
        if let Some(outgoing) = store.data().outgoing() {
            outgoing.refused(setter, &scheme, &authority, &asked);
        }
    }
    Ok((set,))
}

fn set_authority_03(
    mut store: StoreContextMut<'_, State>,
    (request, authority): Set03,
) -> wasmtime::Result<Set> {
    turn(&mut store)?;
    store
        .data_mut()
        .holds(authority.as_ref().map_or(0, String::len))?;
    let mut http = store.data_mut().http();
    let same = Resource::new_borrow(request.rep());
    let set = types_03::HostRequest::set_authority(&mut http, same, authority.clone())?;
    if let (Err(()), Some(authority)) = (set, authority) {
        let call = http.table.get(&request)?;
        let scheme = call
            .scheme
            .as_ref()
            .map_or(USUAL, Scheme::as_str)
            .to_owned();
        let path = call.path_with_query.as_ref();
        let asked = Asked::new(&call.method, path.map_or("/", PathAndQuery::path));
        let setter = "wasi:http/types.request.set-authority";
        if let Some(outgoing) = store.data().outgoing() {
            outgoing.refused(setter, &scheme, &authority, &asked);
        }
    }
    Ok((set,))
}

fn method_02(method: &types::Method) -> Method {
    match method {
        types::Method::Get => Method::GET,
        types::Method::Head => Method::HEAD,
        types::Method::Post => Method::POST,
        types::Method::Put => Method::PUT,
        types::Method::Delete => Method::DELETE,
        types::Method::Connect => Method::CONNECT,
        types::Method::Options => Method::OPTIONS,
        types::Method::Trace => Method::TRACE,
        types::Method::Patch => Method::PATCH,
        // It was checked when it was set.
        types::Method::Other(other) => other.parse().unwrap_or_default(),
    }
}

fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

fn handle_02(
    mut store: StoreContextMut<'_, State>,
    (request, options): Call02,
) -> wasmtime::Result<Called02> {
    turn(&mut store)?;
    // What comes back may be kept.
    store.data_mut().holds(0)?;
    let mut http = store.data_mut().http();
    let call = http.table.get_mut(&request)?;
    if call.authority.as_deref().unwrap_or_default().is_empty() {
        call.authority = Some(OWN.into());
        call.scheme = Some(types::Scheme::Http);
    }
    // A URI with an authority and without a path is not one that can be built.
    call.path_with_query.get_or_insert_with(|| "/".into());
    let own = options.as_ref().map(|own| Resource::new_own(own.rep()));
    let called = outgoing_handler::Host::handle(&mut http, request, options);
    // Below us they are read, and would stay for as long as the instance.
    let _: Option<Result<RequestOptions, _>> = own.map(|own| http.table.delete(own));
    match called {
        Ok(response) => Ok((Ok(response),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

async fn send_03(
    store: &Accessor<State>,
    request: Resource<p3::Request>,
) -> wasmtime::Result<Called03> {
    store.with(|mut access| -> wasmtime::Result<()> {
        turn(&mut access.as_context_mut())?;
        // What comes back may be kept.
        access.data_mut().holds(0)?;
        let call = access.data_mut().http().table.get_mut(&request)?;
        if call
            .authority
            .as_ref()
            .is_none_or(|authority| authority.as_str().is_empty())
        {
            call.authority = Some(Authority::from_static(OWN));
            call.scheme = Some(Scheme::HTTP);
        }
        call.path_with_query
            .get_or_insert_with(|| PathAndQuery::from_static("/"));
        Ok(())
    })?;
    let http = store.with_getter::<WasiHttp>(State::http);
    match <WasiHttp as client::HostWithStore<State>>::send(&http, request).await {
        Ok(response) => Ok((Ok(response),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}
