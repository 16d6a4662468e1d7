//! From a `[[trigger.http]]` table to a [`Route`].

use super::{BadRoute, Executor, Reply, Route, RoutePattern, StaticResponse};
use crate::quote::shorten;
use crate::raw::{Item, Table, Text};
use crate::{BadPath, Code, Diagnostic, Host, Place};

/// What the host decides itself, for every response.
const FRAMING: [&str; 5] = [
    "connection",
    "content-length",
    "keep-alive",
    "transfer-encoding",
    "upgrade",
];

/// A trigger, with its component not looked up yet.
pub(crate) struct Trigger<'a> {
    pub(crate) pattern: Option<RoutePattern>,
    pub(crate) host: Option<String>,
    pub(crate) executor: Executor,
    pub(crate) target: Target<'a>,
    pub(crate) middleware: Option<Place>,
    pub(crate) executor_place: Option<Place>,
    pub(crate) place: Place,
}

/// Who a trigger wants to answer.
pub(crate) enum Target<'a> {
    Component(Item<'a>),
    /// The host itself, with what is written there.
    Static(StaticResponse, Place),
}

impl<'a> Trigger<'a> {
    pub(crate) fn read(table: Table<'a>) -> Option<Trigger<'a>> {
        table.text("id");
        let route = table.required("route", "route = \"/...\"");
        let place = route
            .as_ref()
            .map_or(&table.place, |item| &item.place)
            .clone();
        let pattern = route.and_then(|item| pattern(&item, &table));
        let host = table.text("host").and_then(|text| host(&text, &table));
        let executor_place = table.item("executor").map(|item| item.place);
        let executor = table
            .table("executor")
            .and_then(executor)
            .unwrap_or_default();
        let middleware = table.table("dependencies").and_then(middleware);
        let target = target(&table);
        table.finish();
        let (pattern, target) = (pattern?, target?);
        Some(Trigger {
            pattern,
            host,
            executor,
            target,
            middleware,
            executor_place,
            place,
        })
    }

    pub(crate) fn into_route(self, reply: Reply) -> Route {
        Route {
            pattern: self.pattern,
            host: self.host,
            reply,
            executor: self.executor,
            place: self.place,
        }
    }
}

/// `Some(None)` is a private route.
fn pattern(item: &Item<'_>, table: &Table<'_>) -> Option<Option<RoutePattern>> {
    if item.is_table() {
        let private = item.table()?;
        let is_private = private.flag("private") == Some(true);
        private.finish();
        return if is_private {
            Some(None)
        } else {
            item.wrong(Code::BadRouteValue, "a path, or `{ private = true }`")
        };
    }
    let text = item.text()?;
    match text.text.parse::<RoutePattern>() {
        Ok(pattern) => Some(Some(pattern)),
        Err(bad) => {
            let message = format!("`{}` is not a route: {bad}", shorten(text.text, 80));
            let error = Diagnostic::error(code(&bad), message);
            table.findings.error(
                error
                    .at(text.place.clone(), "not a route")
                    .help(help(text.text, &bad)),
            );
            None
        }
    }
}

fn code(bad: &BadRoute) -> Code {
    match bad {
        BadRoute::Path(_) => Code::RouteNotAPath,
        BadRoute::NotNormal(_) => Code::RouteNotNormal,
        BadRoute::EmptySegment => Code::RouteEmptySegment,
        BadRoute::Wildcard => Code::RouteWildcard,
        BadRoute::Parameter => Code::RouteParameter,
        BadRoute::Twice(_) => Code::RouteParameterTwice,
        BadRoute::TooLong => Code::RouteTooLong,
    }
}

fn help(text: &str, bad: &BadRoute) -> String {
    match bad {
        BadRoute::Path(BadPath::NotAbsolute) => format!("write `/{}`", shorten(text, 80)),
        BadRoute::NotNormal(normal) => format!("write `{}`", shorten(normal, 80)),
        BadRoute::Path(BadPath::Unescaped) => {
            "escape what is no letter, digit or sign: a space is `%20`".into()
        }
        BadRoute::EmptySegment => format!("write `{}`", shorten(&without_empty(text), 80)),
        BadRoute::Wildcard => "write `/...` at the end, or `:name` for one segment".into(),
        BadRoute::Parameter => "write it such as `:user-name`".into(),
        BadRoute::Twice(_) => "give each a name of its own".into(),
        BadRoute::TooLong => "make it shorter: `/...` at its end takes all that is below".into(),
        BadRoute::Path(_) => "a route looks like `/exact`, `/users/:id` or `/files/...`".into(),
    }
}

fn without_empty(route: &str) -> String {
    let segments: Vec<&str> = route.split('/').filter(|part| !part.is_empty()).collect();
    format!("/{}", segments.join("/"))
}

pub(crate) fn host(text: &Text<'_>, table: &Table<'_>) -> Option<String> {
    match text.text.parse::<Host>() {
        Ok(host) => Some(host.to_string()),
        Err(bad) => {
            let message = format!("`{}` is not a host: {bad}", shorten(text.text, 80));
            let error = Diagnostic::error(Code::BadHost, message);
            let help = match inner_host(text.text) {
                Some(host) => format!("write `{host}`"),
                None => "write a name such as `shop.example.com`, without scheme and port".into(),
            };
            table
                .findings
                .error(error.at(text.place.clone(), "not a host").help(help));
            None
        }
    }
}

/// The host within a URL, or before a port.
fn inner_host(text: &str) -> Option<Host> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split('/').next()?;
    crate::host::split_port(authority).0.parse().ok()
}

fn executor(table: Table<'_>) -> Option<Executor> {
    let kind = table.required("type", "type = \"http\"")?;
    let executor = match kind.text()?.text {
        "http" | "spin" => Some(Executor::Http),
        "cgi" => Some(Executor::Cgi),
        "wagi" => {
            let argv = table
                .owned("argv")
                .unwrap_or_else(|| "${SCRIPT_NAME} ${ARGS}".into());
            let entrypoint = table.owned("entrypoint").unwrap_or_else(|| "_start".into());
            Some(Executor::Wagi { argv, entrypoint })
        }
        _ => kind.unfit(Code::BadExecutor, "`\"http\"`, `\"wagi\"` or `\"cgi\"`"),
    };
    table.finish();
    executor
}

/// The place of the first middleware.
fn middleware(table: Table<'_>) -> Option<Place> {
    let middleware: Vec<_> = table.list("middleware").collect();
    crate::component::check_dependencies(&middleware);
    table.finish();
    middleware.first().map(|item| item.place.clone())
}

fn target<'a>(table: &Table<'a>) -> Option<Target<'a>> {
    let (component, response) = (table.item("component"), table.item("static_response"));
    match (component, response) {
        (Some(component), None) => Some(Target::Component(component)),
        (None, Some(response)) => {
            let place = response.place.clone();
            static_response(response.table()?).map(|response| Target::Static(response, place))
        }
        (Some(component), Some(response)) => {
            let message = "a trigger has either `component` or `static_response`, not both";
            let error = Diagnostic::error(Code::TwoAnswers, message)
                .at(response.place, "the host answers with this")
                .also(component.place, "or this component answers");
            table.findings.error(error.help("remove one of them"));
            None
        }
        (None, None) => {
            let error = Diagnostic::error(Code::NoAnswer, "a trigger needs a `component`")
                .at(table.place.clone(), "who answers?");
            let help =
                "write `component = \"NAME\"`, or a `static_response` that the host answers with";
            table.findings.error(error.help(help));
            None
        }
    }
}

fn static_response(table: Table<'_>) -> Option<StaticResponse> {
    let status = table.item("status_code").map(|item| status(&item));
    let headers = table
        .entries_of("headers")
        .iter()
        .filter_map(|(name, item)| header(name, item, &table))
        .collect();
    let body = table.owned("body").unwrap_or_default();
    table.finish();
    Some(StaticResponse {
        status: status.unwrap_or(Some(200))?,
        headers,
        body,
    })
}

fn status(item: &Item<'_>) -> Option<u16> {
    let status = item.integer()?;
    match u16::try_from(status) {
        Ok(status @ 200..600) => Some(status),
        _ => item.unfit(Code::BadStatus, "a status from 200 to 599"),
    }
}

fn header(name: &Text<'_>, item: &Item<'_>, table: &Table<'_>) -> Option<(String, String)> {
    let Ok(header) = name.text.parse::<http::HeaderName>() else {
        let message = format!("`{}` is not the name of a header", shorten(name.text, 80));
        let error = Diagnostic::error(Code::BadHeaderName, message);
        table.findings.error(
            error
                .at(name.place.clone(), "not a name")
                .help("write letters, digits and `-`"),
        );
        return None;
    };
    if FRAMING.contains(&header.as_str()) {
        let message = format!("`{header}` is written by the host itself");
        let error = Diagnostic::error(Code::ReservedHeader, message);
        table.findings.error(
            error
                .at(name.place.clone(), "not for a response to say")
                .help("leave it out"),
        );
        return None;
    }
    let value = item.text()?.text;
    if value.parse::<http::HeaderValue>().is_err() {
        return item.unfit(Code::BadHeaderValue, "a header's value: text on one line");
    }
    Some((header.as_str().into(), value.into()))
}
