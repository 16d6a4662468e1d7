//! `runner explain`: what would be decided about a call, by the very code that decides.

use std::net::SocketAddr;
use std::sync::Arc;

use runner_manifest::{
    AllowedHost, Code, Component, ComponentId, Diagnostic, Manifest, Place, WrittenCall,
};
use runner_outbound::{Denied, Error, Grants, Outbound, Permit, Permitted, permit};
use serde_json::{Value, json};

use crate::cli::{Explain, Format, Global};
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::load::{self, Reader};
use crate::print::Print;
use crate::telemetry::{denial, diagnostic, escaped, headed, short_safe};
use crate::up;

/// A decision, and what it rests on.
enum Decision {
    Denied(Box<Denied>),
    Allowed {
        to: String,
        rule: Box<AllowedHost>,
        goes: Goes,
    },
}

/// Where an allowed call goes.
enum Goes {
    /// Into the app: no socket, no address.
    Inside,
    /// To one of these.
    To(Vec<SocketAddr>),
    /// Nowhere: the name is allowed and has no address.
    Unresolved(String),
}

/// Prints the decision; exits with 1 when it is no.
pub(crate) fn run(
    args: &Explain,
    global: &Global,
    environment: &Environment,
    print: &Print,
) -> Result<Exit, Failure> {
    let reader = Reader::new(&args.app, global.directory.as_deref(), environment)?;
    let manifest = reader.without_values().read()?;
    let component = component(&manifest, &args.component)?;
    let left_out = left_out(&manifest, component);
    let decision = up::runtime()?.block_on(decide(component, args))?;
    let (exit, text) = match &decision {
        Decision::Denied(denied) => (Exit::App, denied.to_string()),
        Decision::Allowed { to, rule, goes } => {
            (goes.exit(), allowed(&component.id, to, rule, goes))
        }
    };
    match args.format.format {
        Format::Text => {
            if !left_out.is_empty() {
                let diagnostics = left_out;
                print.talk(&runner_manifest::Error { diagnostics }.to_string());
            }
            print.data(&headed(&text));
        }
        Format::Json => {
            let mut document = decision.json(&component.id, &text);
            let left_out = left_out.iter().map(diagnostic);
            document["left_out"] = left_out.map(Value::Object).collect();
            print.data(&short_safe(&document));
        }
    }
    Ok(exit)
}

/// The rules of a component that allow nothing, because of the value that a variable has or lacks.
fn left_out(manifest: &Manifest, component: &Component) -> Vec<Diagnostic> {
    let list = component.allow.place().map(Place::span).unwrap_or_default();
    let of_rule = |warning: &&Diagnostic| {
        let at = warning.place.as_ref().map(|place| place.span().start);
        matches!(warning.code, Code::RuleNotSet | Code::RuleLeftOut)
            && at.is_some_and(|at| list.contains(&at))
    };
    manifest.warnings.iter().filter(of_rule).cloned().collect()
}

/// The component of that name.
pub(crate) fn component<'a>(manifest: &'a Manifest, name: &str) -> Result<&'a Component, Failure> {
    let found = name
        .parse()
        .ok()
        .and_then(|id: ComponentId| manifest.components.get(&id));
    found.ok_or_else(|| {
        let there: Vec<_> = manifest
            .components
            .keys()
            .map(|id| format!("`{id}`"))
            .collect();
        let sentence = format!(
            "there is no component `{}` in `{}`",
            escaped(name),
            manifest.path.display()
        );
        Failure::new(
            Exit::Usage,
            sentence,
            format!("it has {}", there.join(", ")),
        )
    })
}

async fn decide(component: &Component, args: &Explain) -> Result<Decision, Failure> {
    let grants = Arc::new(Grants {
        component: component.id.clone(),
        allow: component.allow.clone(),
        place: Some(component.place.clone()),
        generation: 0,
    });
    let call = match WrittenCall::new(args.method.clone(), &args.url) {
        Ok(call) => call,
        Err(bad) => return Ok(Decision::Denied(Box::new(Denied::bad(&grants, bad)))),
    };
    match permit(&grants, &call.as_call()) {
        Err(denied) => Ok(Decision::Denied(Box::new(denied))),
        Ok(inside @ (Permitted::Own(_) | Permitted::Component(..))) => Ok(Decision::Allowed {
            to: call.as_call().to.to_string(),
            rule: Box::new(inside.rule().clone()),
            goes: Goes::Inside,
        }),
        Ok(Permitted::Remote(permit)) => address(&load::outbound(&args.door)?, &permit).await,
    }
}

/// The second decision, on the addresses.
async fn address(outbound: &Outbound, permit: &Permit) -> Result<Decision, Failure> {
    let goes = match outbound.addresses(permit).await {
        Ok(addresses) => Goes::To(addresses),
        Err(Error::Denied(denied)) => return Ok(Decision::Denied(denied)),
        Err(error) => Goes::Unresolved(error.to_string()),
    };
    Ok(Decision::Allowed {
        to: permit.origin().to_string(),
        rule: Box::new(permit.rule().clone()),
        goes,
    })
}

fn allowed(component: &ComponentId, to: &str, rule: &AllowedHost, goes: &Goes) -> String {
    let mut text = format!("allowed: {component} may connect to {to}");
    if let Some(place) = rule.place() {
        text += &format!("\n  --> {}", at(place));
    }
    text += &format!("\n   = rule: {}", escaped(&rule.to_string()));
    if let Some(inject) = rule.inject() {
        text += &format!("\n   = adds the header `{}`", inject.name());
    }
    match goes {
        Goes::Inside => text += "\n   = inside the app: no connection is made",
        Goes::To(addresses) => {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            text += &format!("\n   = address: {}", addresses.join(", "));
        }
        Goes::Unresolved(why) => text += &format!("\n   = but now: {}", escaped(why)),
    }
    text
}

/// A place as terminals make it clickable.
pub(crate) fn at(place: &Place) -> String {
    format!(
        "{}:{}:{}",
        place.path().display(),
        place.line(),
        place.column()
    )
}

impl Goes {
    fn exit(&self) -> Exit {
        match self {
            Goes::Inside | Goes::To(_) => Exit::Done,
            Goes::Unresolved(_) => Exit::Environment,
        }
    }

    fn addresses(&self) -> Vec<String> {
        match self {
            Goes::To(addresses) => addresses.iter().map(ToString::to_string).collect(),
            Goes::Inside | Goes::Unresolved(_) => Vec::new(),
        }
    }
}

impl Decision {
    fn json(&self, component: &ComponentId, text: &str) -> Value {
        match self {
            Decision::Denied(denied) => {
                let mut fields = denial(denied);
                fields.insert("schema".into(), 1.into());
                fields.insert("allowed".into(), false.into());
                Value::Object(fields)
            }
            Decision::Allowed { to, rule, goes } => json!({
                "schema": 1,
                "allowed": true,
                "component": component.as_str(),
                "destination": to,
                "rule": rule.to_string(),
                "place": rule.place().map(at),
                "addresses": goes.addresses(),
                "text": text,
            }),
        }
    }
}
