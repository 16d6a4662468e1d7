//! What a component imports, against what is provided and what it was granted.

use runner_manifest::{Code, Component as Wanted, Diagnostic};
use wasmtime::component::Component;

use crate::capabilities::{PROVIDED, Provided};

/// An import that nothing provides.
pub(crate) struct Missing {
    pub(crate) code: Code,
    pub(crate) what: String,
    pub(crate) note: Option<String>,
    pub(crate) help: String,
}

/// The names of a component's imports.
pub(crate) fn of(component: &Component, engine: &wasmtime::Engine) -> Vec<String> {
    component
        .component_type()
        .imports(engine)
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// The names of a component's exports.
pub(crate) fn exports(component: &Component, engine: &wasmtime::Engine) -> Vec<String> {
    component
        .component_type()
        .exports(engine)
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// Why `import` cannot be linked; nothing where it can.
pub(crate) fn missing(import: &str) -> Option<Missing> {
    let name = Name::parse(import);
    let known: Vec<&Provided> = PROVIDED
        .iter()
        .filter(|provided| provided.package == name.package)
        .collect();
    let of_interface: Vec<_> = known
        .iter()
        .filter(|p| p.interfaces.contains(&name.interface))
        .collect();
    if of_interface
        .iter()
        .any(|provided| compatible(name.version, provided.version))
    {
        return None;
    }
    let versions: Vec<_> = of_interface
        .iter()
        .map(|provided| provided.version)
        .collect();
    let note = match versions[..] {
        [] => planned(name.package).map(str::to_owned),
        _ => Some(format!(
            "provided: `{}/{}` {}",
            name.package,
            name.interface,
            versions.join(", ")
        )),
    };
    let (code, help) = match versions.is_empty() {
        true => (
            Code::ImportNotProvided,
            "remove the import, or the dependency that brings it",
        ),
        false => (
            Code::ImportVersion,
            "build it against a version that is provided",
        ),
    };
    Some(Missing {
        code,
        what: format!("`{import}`, which is not provided"),
        note,
        help: help.into(),
    })
}

/// What a known package is for, so that nobody looks for a misspelling.
fn planned(package: &str) -> Option<&'static str> {
    match package {
        "fermyon:spin" | "spin:key-value" | "spin:sqlite" | "spin:redis" | "spin:postgres"
        | "spin:mysql" | "spin:mqtt" | "wasi:keyvalue" => {
            Some("this version of runner has no stores and no databases yet")
        }
        "wasi:otel" => Some("this version of runner takes no telemetry from guests"),
        _ => None,
    }
}

struct Name<'a> {
    package: &'a str,
    interface: &'a str,
    version: &'a str,
}

impl Name<'_> {
    /// `wasi:http/types@0.2.3`
    fn parse(import: &str) -> Name<'_> {
        let (path, version) = import.split_once('@').unwrap_or((import, ""));
        let (package, interface) = path.split_once('/').unwrap_or((path, ""));
        Name {
            package,
            interface,
            version,
        }
    }
}

/// Whether a component built for `wanted` runs on `provided`: the rule of semantic versions.
fn compatible(wanted: &str, provided: &str) -> bool {
    if wanted.contains('-') || provided.contains('-') || wanted.is_empty() {
        return wanted == provided;
    }
    let track = |version: &str| -> String {
        let mut parts = version.split('.');
        match (parts.next(), parts.next()) {
            (Some("0"), Some(minor)) => format!("0.{minor}"),
            (Some(major), _) => major.to_owned(),
            _ => version.to_owned(),
        }
    };
    track(wanted) == track(provided)
}

/// Grants that nothing in `imports` could use.
pub(crate) fn unused(imports: &[String], wanted: &Wanted) -> Vec<Diagnostic> {
    let imports_any = |interfaces: &[&str]| {
        imports
            .iter()
            .any(|import| interfaces.contains(&import.split('@').next().unwrap_or_default()))
    };
    let grants: [(&str, bool, &[&str]); 4] = [
        (
            "allowed_outbound_hosts",
            !wanted.allow.rules().is_empty(),
            &["wasi:http/outgoing-handler", "wasi:http/client"],
        ),
        (
            "environment",
            !wanted.environment.is_empty(),
            &["wasi:cli/environment"],
        ),
        (
            "files",
            !wanted.files.is_empty(),
            &["wasi:filesystem/preopens"],
        ),
        (
            "variables",
            !wanted.variables.is_empty(),
            &[
                "fermyon:spin/variables",
                "spin:variables/variables",
                "wasi:config/store",
            ],
        ),
    ];
    let unused = grants
        .iter()
        .filter(|(_, granted, interfaces)| *granted && !imports_any(interfaces));
    unused
        .map(|(key, _, interfaces)| warning(key, interfaces, wanted))
        .collect()
}

fn warning(key: &str, interfaces: &[&str], wanted: &Wanted) -> Diagnostic {
    let old = ("allowed_http_hosts", "allowed_outbound_hosts");
    // The name that it was granted under.
    let key = match wanted.grants.contains_key(old.0) && !wanted.grants.contains_key(old.1) {
        true if key == old.1 => old.0,
        _ => key,
    };
    let place = wanted.grants.get(key);
    let message = format!(
        "component `{}` is granted `{key}` and imports nothing that could use it",
        wanted.id
    );
    let label = match interfaces {
        [only] => format!("`{only}` is not imported"),
        _ => format!("none of `{}` is imported", interfaces.join("`, `")),
    };
    Diagnostic::warning(Code::UnusedGrant, message)
        .at(place.unwrap_or(&wanted.place).clone(), label)
        .help(format!("remove `{key}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compatible_version_is_provided_and_another_is_not() {
        for import in [
            "wasi:http/types@0.2.0",
            "wasi:http/types@0.2.99",
            "wasi:http/client@0.3.0",
            "wasi:http/client@0.3.2",
            "wasi:sockets/ip-name-lookup@0.2.3",
            "fermyon:spin/variables@2.0.0",
            "wasi:config/store@0.2.0-draft-2024-09-27",
        ] {
            assert!(missing(import).is_none(), "{import}");
        }
        for import in [
            "wasi:http/types@0.2.0-rc-2023-11-10",
            "wasi:http/types@1.0.0",
            "wasi:http/client@0.2.0",
            "wasi:http/types",
            "wasi:nn/graph@0.2.0",
            "fermyon:spin/key-value@2.0.0",
            "acme:secret/vault@1.0.0",
            "plain",
        ] {
            assert!(missing(import).is_some(), "{import}");
        }
    }

    #[test]
    fn a_missing_import_says_which_versions_there_are() {
        let found = missing("wasi:http/types@0.2.0-rc-2023-11-10").unwrap();
        assert_eq!(
            found.what,
            "`wasi:http/types@0.2.0-rc-2023-11-10`, which is not provided"
        );
        assert_eq!(
            found.note.as_deref(),
            Some("provided: `wasi:http/types` 0.2.12, 0.3.0")
        );
        assert_eq!(found.help, "build it against a version that is provided");
    }
}
