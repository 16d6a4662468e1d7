//! An instance that serves one request after the other, where its manifest says so.

use std::sync::Arc;

use http::Request;
use wasmtime::Store;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::handler::{Proxy, ProxyPre};

use crate::admission::Places;
use crate::caps;
use crate::guest::{self, Ended, Failure, Reply};
use crate::meter::Meter;
use crate::outgoing::Outgoing;
use crate::shelf::{Shelf, Spare};
use crate::state::State;

/// An instance with all that is its own. Between two requests there is nothing of a request in it.
pub(crate) struct Instance {
    store: Store<State>,
    proxy: Proxy,
    served: u32,
}

/// Who serves a request.
pub(crate) enum Server {
    /// An instance that has yet to be made.
    Fresh(Arc<ProxyPre<State>>, Store<State>),
    /// One that has served before.
    Used(Box<Instance>),
}

impl Instance {
    /// A request begins, on an account of its own.
    pub(crate) fn begin(&mut self, outgoing: Outgoing, admitted: Places, meter: Arc<Meter>) {
        self.store.data_mut().begin(outgoing, admitted);
        guest::watch(&mut self.store, meter);
    }

    /// The guest has returned and has nothing left to do. Whether it may serve another request.
    fn rest(&mut self) -> bool {
        self.served += 1;
        let is_clean = self.store.data_mut().rest();
        // Tasks, streams and futures, of which wasmtime keeps an account of its own.
        let is_quiet = self.store.concurrent_state_table_size() == 0;
        is_clean && is_quiet && self.served < caps::REQUESTS_PER_INSTANCE
    }
}

/// Has `server` handle `request` as [`guest::run`] does, and gives back its instance where that may serve again.
pub(crate) async fn run(
    server: Server,
    shelf: Arc<Shelf>,
    meter: Arc<Meter>,
    request: Request<WasiBody>,
    reply: Reply,
) -> Ended {
    let mut instance = match server {
        Server::Used(instance) => instance,
        Server::Fresh(pre, mut store) => match pre.instantiate_async(&mut store).await {
            Ok(proxy) => Box::new(Instance {
                store,
                proxy,
                served: 0,
            }),
            Err(error) => {
                let error = guest::failure(&error, store.data(), &meter);
                return Err(Failure::with(error, store));
            }
        },
    };
    let Instance { store, proxy, .. } = &mut *instance;
    let served = guest::serve(proxy, store, request, reply);
    match guest::in_its_time(&meter, served).await {
        Ok(()) if instance.rest() => Ok(shelf.spare(instance)),
        Ok(()) => Ok(Spare::default()),
        Err(error) => {
            let error = guest::failure(&error, instance.store.data(), &meter);
            Err(Failure::with(error, instance))
        }
    }
}
