//! What no guest should do, driven by path and query. `tests/guests/README.md` lists it all.

mod answers;
mod files;
mod handles;
mod system;

use toolbox::Query;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

use answers::{answer, json};

struct Rogue;

wasip2::http::proxy::export!(Rogue);

impl Guest for Rogue {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = Query::of(&target);
        match path {
            "/set-twice" => answers::set_twice(out),
            "/set-and-trap" => answers::set_and_trap(out),
            "/finish-and-write" => answers::finish_and_write(out),
            "/overwrite" => answers::overwrite(out, &query),
            "/fields" => json(out, &answers::fields(&query)),
            "/huge-name" => json(out, &answers::huge_name()),
            "/huge-value" => json(out, &answers::huge_value(&query)),
            "/read" => answers::read(request, out, &query),
            "/leak" => json(out, &handles::leak(&query)),
            "/poll" => json(out, &handles::poll(&query)),
            "/about" => json(out, &system::about()),
            "/random" => json(out, &system::random(&query)),
            "/times" => json(out, &system::times()),
            "/exit" => system::exit(&query),
            "/abort" => std::process::abort(),
            "/open" => json(out, &files::open(&query)),
            "/open-many" => json(out, &files::open_many(&query)),
            "/change" => json(out, &files::change(&query)),
            _ => answer(out, "text/plain", "the rogue does not know this path\n"),
        }
    }
}
