//! The rogue as a component of wasi:http 0.3: the same paths and queries, as far as 0.3 has them.

mod answers;
mod files;
mod handles;
mod system;

use toolbox::Query;
use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Request, Response};

use answers::{answer, json};

struct Rogue;

wasip3::http::service::export!(Rogue);

impl Guest for Rogue {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = Query::of(&target);
        Ok(match path {
            "/fields" => json(&answers::fields(&query)),
            "/huge-name" => json(&answers::huge_name()),
            "/huge-value" => json(&answers::huge_value(&query)),
            "/read" => answers::read(request, &query).await,
            "/huge-read" => answers::huge_read(request, &query),
            "/leak" => json(&handles::leak(&query)),
            "/hoard" => json(&handles::hoard(&query).await),
            "/about" => json(&system::about()),
            "/random" => json(&system::random(&query)),
            "/times" => json(&system::times().await),
            "/exit" => system::exit(&query),
            "/abort" => std::process::abort(),
            "/open" => json(&files::open(&query).await),
            "/open-many" => json(&files::open_many(&query).await),
            "/list-many" => json(&files::list_many(&query).await),
            "/pour" => json(&files::pour(&query).await),
            "/change" => json(&files::change(&query).await),
            _ => answer("text/plain", "the rogue does not know this path\n"),
        })
    }
}
