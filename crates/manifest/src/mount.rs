//! Which requests an app is for, where one process serves several.

use std::fmt;

use crate::{Code, Diagnostic, Manifest, NormalPath, Place};

/// Which requests an app is for: what `[application.trigger.http]` says.
///
/// An app with hosts is for these, and goes before one without. Of those for a host, an app with a base is for it and what
/// is below, and goes before one without.
#[derive(Debug, Clone)]
pub struct Mount {
    /// The only hosts it is for, lower case and without port; none is any.
    pub hosts: Vec<String>,
    /// Where its routes begin; none is at `/`.
    pub base: Option<Base>,
    /// Where that is written, or the app's name where it is not.
    pub(crate) place: Place,
}

/// A path below which an app's routes begin: `/shop`, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base(String);

impl Base {
    /// The base as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a path is this one, or below it.
    pub fn covers(&self, path: &NormalPath) -> bool {
        is_within(path.as_str(), &self.0)
    }

    /// Its segments, without the empty one before the first slash.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1)
    }
}

impl std::str::FromStr for Base {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Base, &'static str> {
        let base = text.strip_suffix('/').unwrap_or(text);
        let is_normal = NormalPath::parse(text).is_ok_and(|path| path.as_str() == text);
        let is_plain = |segment: &str| {
            !segment.is_empty() && !segment.starts_with(':') && !segment.contains('*')
        };
        let mut segments = base.split('/').skip(1);
        match is_normal && segments.all(is_plain) && base != "/..." && !base.ends_with("/...") {
            true => Ok(Base(base.into())),
            false => Err("a base is a path such as `/shop`, without `:name` and `/...`"),
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Mount {
    /// Whether it is for every request there is.
    pub fn is_everything(&self) -> bool {
        self.hosts.is_empty() && self.base.is_none()
    }

    /// A host for which two apps would answer the same paths: a name, or `None` where both are for any.
    fn shared(&self, other: &Mount) -> Option<Option<&str>> {
        let paths = match (&self.base, &other.base) {
            (None, None) => true,
            (Some(a), Some(b)) => is_within(&a.0, &b.0) || is_within(&b.0, &a.0),
            // The one without a base is for what the other leaves.
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !paths {
            return None;
        }
        match (self.hosts.is_empty(), other.hosts.is_empty()) {
            (true, true) => Some(None),
            (false, false) => {
                let both = |host: &&String| other.hosts.contains(host);
                let host = self.hosts.iter().find(both)?;
                Some(Some(host))
            }
            (true, false) | (false, true) => None,
        }
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = self.base.as_ref().map_or("", Base::as_str);
        match self.hosts.as_slice() {
            [] if base.is_empty() => f.write_str("every host and path that no other app is for"),
            [] => write!(f, "{base} on every host"),
            hosts => {
                let urls: Vec<String> = hosts.iter().map(|host| format!("{host}{base}")).collect();
                f.write_str(&urls.join(", "))
            }
        }
    }
}

fn is_within(path: &str, base: &str) -> bool {
    let rest = path.strip_prefix(base);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Manifest {
    /// What is wrong with serving these together: two that are for the same requests, or whose names differ in case and
    /// punctuation only.
    pub fn clashes<'a>(apps: impl IntoIterator<Item = &'a Manifest>) -> Vec<Diagnostic> {
        let apps: Vec<&Manifest> = apps.into_iter().collect();
        let mut found = Vec::new();
        for (at, second) in apps.iter().enumerate() {
            for first in &apps[..at] {
                found.extend(same_name(first, second));
                found.extend(same_requests(first, second));
            }
        }
        found
    }
}

/// An app's name as it stands in the name of an environment variable: lower case, words joined by single underscores.
pub fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_lowercase()
}

fn same_name(first: &Manifest, second: &Manifest) -> Option<Diagnostic> {
    if slug(&first.name) != slug(&second.name) {
        return None;
    }
    let message = match first.name == second.name {
        true => format!("two apps are named `{}`", first.name),
        false => format!(
            "the names `{}` and `{}` are too much alike",
            first.name, second.name
        ),
    };
    let error = Diagnostic::error(Code::SameName, message)
        .at(second.named.clone(), "the second")
        .also(first.named.clone(), "the first");
    Some(error.help("give one of them another `name`: logs and metrics tell them apart by it"))
}

fn same_requests(first: &Manifest, second: &Manifest) -> Option<Diagnostic> {
    let host = first.mount.shared(&second.mount)?;
    let (a, b) = (&first.name, &second.name);
    let message = format!("the apps `{a}` and `{b}` are for the same requests");
    let host = host.map_or_else(String::new, |host| format!(" on `{host}`"));
    let says = |manifest: &Manifest| match &manifest.mount.base {
        Some(base) => format!("`{}` is for `{base}` and below{host}", manifest.name),
        None => format!("`{}` is for every path{host}", manifest.name),
    };
    let error = Diagnostic::error(Code::SameRequests, message)
        .at(second.mount.place.clone(), says(second))
        .also(first.mount.place.clone(), says(first));
    Some(error.help(
        "give one of them a host or a path of its own:\n\
         [application.trigger.http]\n\
         host = \"shop.example.com\" or base = \"/shop\"",
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Variables;

    fn app(name: &str, http: &str) -> Manifest {
        let text = format!(
            "spin_manifest_version = 2\n[application]\nname = \"{name}\"\n[application.trigger.http]\n{http}\n[trigger]\n"
        );
        let path = format!("{name}/spin-like.toml");
        Manifest::parse(&text, Path::new(&path), &Variables::default())
            .unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn two_apps_clash_where_both_would_answer_the_same_request() {
        for (first, second, clash) in [
            ("", "", true),
            ("", "base = \"/a\"", false),
            ("", "host = \"a.test\"", false),
            ("host = \"a.test\"", "host = \"b.test\"", false),
            ("host = \"a.test\"", "host = \"A.test.\"", true),
            (
                "host = [\"a.test\", \"b.test\"]",
                "host = [\"c.test\", \"b.test\"]",
                true,
            ),
            ("host = \"a.test\"", "base = \"/a\"", false),
            (
                "host = \"a.test\"",
                "host = \"a.test\"\nbase = \"/a\"",
                false,
            ),
            ("base = \"/a\"", "base = \"/a/\"", true),
            ("base = \"/a\"", "base = \"/a/b\"", true),
            ("base = \"/a/b\"", "base = \"/a\"", true),
            ("base = \"/a\"", "base = \"/ab\"", false),
            ("base = \"/a\"", "base = \"/b\"", false),
            (
                "host = \"a.test\"\nbase = \"/a\"",
                "host = \"b.test\"\nbase = \"/a\"",
                false,
            ),
            ("host = \"a.test\"\nbase = \"/a\"", "base = \"/a\"", false),
        ] {
            let (a, b) = (app("a", first), app("b", second));
            let found = Manifest::clashes([&a, &b]);
            assert_eq!(found.len(), usize::from(clash), "{first} | {second}");
        }
    }

    #[test]
    fn a_clash_names_both_apps_and_says_what_to_write() {
        let (a, b) = (
            app("a", "host = \"x.test\"\nbase = \"/a\""),
            app("b", "host = \"x.test\"\nbase = \"/a/b\""),
        );
        let found = Manifest::clashes([&a, &b]);
        let [found] = &found[..] else {
            panic!("{found:?}")
        };
        let expected = "\
error: the apps `a` and `b` are for the same requests
 --> b/spin-like.toml:6:8
  |
6 | base = \"/a/b\"
  |        ^^^^^^ `b` is for `/a/b` and below on `x.test`
  |
 ::: a/spin-like.toml:6:8
  |
6 | base = \"/a\"
  |        ---- `a` is for `/a` and below on `x.test`
  |
help: give one of them a host or a path of its own:
      [application.trigger.http]
      host = \"shop.example.com\" or base = \"/shop\"";
        assert_eq!(found.to_string(), expected);
        let again = app("a", "base = \"/other\"");
        let found = Manifest::clashes([&a, &again]);
        assert_eq!(found[0].message, "two apps are named `a`");
        assert_eq!(found.len(), 1);
        let alike = app("A.", "base = \"/other\"");
        let found = Manifest::clashes([&a, &alike]);
        assert_eq!(
            found[0].message,
            "the names `a` and `A.` are too much alike"
        );
    }

    #[test]
    fn a_slug_is_words_and_single_underscores() {
        for (name, expected) in [
            ("shop", "shop"),
            ("My Shop (2)", "my_shop_2"),
            ("__a--b__", "a_b"),
            ("日本", "日本"),
            ("!", ""),
        ] {
            assert_eq!(slug(name), expected, "{name}");
        }
    }

    #[test]
    fn a_base_is_a_plain_path() {
        for (text, base) in [
            ("/shop", Some("/shop")),
            ("/shop/", Some("/shop")),
            ("/a/b", Some("/a/b")),
            ("shop", None),
            ("", None),
            ("//", None),
            ("/a//b", None),
            ("/a/...", None),
            ("/a/*", None),
            ("/:a", None),
            ("/a/../b", None),
            ("/%61", None),
            ("/a?b", None),
        ] {
            let found: Option<Base> = text.parse().ok();
            assert_eq!(found.as_ref().map(Base::as_str), base, "{text}");
        }
    }

    #[test]
    fn a_base_covers_itself_and_what_is_below() {
        let base: Base = "/shop".parse().expect("a base");
        for (path, covered) in [
            ("/shop", true),
            ("/shop/", true),
            ("/shop/cart", true),
            ("/shopping", false),
            ("/", false),
            ("/shop/../blog", false),
            ("//shop", false),
        ] {
            let path = NormalPath::parse(path).expect(path);
            assert_eq!(base.covers(&path), covered, "{path}");
        }
    }
}
