//! The values a component's manifest gives it: `[component.<id>.variables]`.
//!
//! One map, three interfaces: `fermyon:spin/variables@2.0.0`, `spin:variables/variables@3.0.0` and
//! `wasi:config/store@0.2.0-draft-2024-09-27`. A component sees the keys of its own table and no others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use runner_manifest::Value;
use wasmtime::component::{HasData, Linker};

mod bindings {
    wasmtime::component::bindgen!({ path: "wit", world: "imports" });
}

use bindings::fermyon::spin::variables as spin_2;
use bindings::spin::variables::variables as spin_3;
use bindings::wasi::config::store as config;

/// What one component was granted. Cheap to clone: every instance has one.
#[derive(Clone, Default)]
pub struct Session {
    values: Arc<BTreeMap<String, Counted>>,
}

/// A value, and how often it was read by any instance.
struct Counted {
    value: Value,
    reads: AtomicU64,
}

impl FromIterator<(String, Value)> for Session {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(values: I) -> Session {
        Session {
            values: Arc::new(
                values
                    .into_iter()
                    .map(|(name, value)| (name, Counted::new(value)))
                    .collect(),
            ),
        }
    }
}

impl Counted {
    fn new(value: Value) -> Counted {
        Counted {
            value,
            reads: AtomicU64::new(0),
        }
    }

    fn read(&self) -> String {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.value.expose().to_owned()
    }
}

impl Session {
    /// How often each was read, by its name. A component that asks for all of them has read each.
    pub fn reads(&self) -> impl Iterator<Item = (String, u64)> {
        self.values
            .iter()
            .map(|(name, counted)| (name.clone(), counted.reads.load(Ordering::Relaxed)))
    }

    /// The interfaces over these values.
    pub fn view(&mut self) -> View<'_> {
        View {
            values: &self.values,
        }
    }
}

/// Implements the interfaces for one instance.
pub struct View<'a> {
    values: &'a BTreeMap<String, Counted>,
}

impl View<'_> {
    fn find(&self, name: &str) -> Option<String> {
        self.values.get(name).map(Counted::read)
    }
}

struct Variables;

impl HasData for Variables {
    type Data<'a> = View<'a>;
}

/// Links the three interfaces.
///
/// # Errors
/// When one of them is linked already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> View<'_>,
) -> wasmtime::Result<()> {
    spin_2::add_to_linker::<T, Variables>(linker, view)?;
    spin_3::add_to_linker::<T, Variables>(linker, view)?;
    config::add_to_linker::<T, Variables>(linker, view)
}

/// Whether `name` could be a variable at all: lower case, a letter first, single underscores between words. As in a manifest.
fn is_name(name: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.split('_').all(word)
}

impl spin_2::Host for View<'_> {
    fn get(&mut self, name: String) -> Result<String, spin_2::Error> {
        if !is_name(&name) {
            return Err(spin_2::Error::InvalidName(name));
        }
        self.find(&name).ok_or(spin_2::Error::Undefined(name))
    }
}

impl spin_3::Host for View<'_> {
    fn get(&mut self, name: String) -> Result<String, spin_3::Error> {
        if !is_name(&name) {
            return Err(spin_3::Error::InvalidName(name));
        }
        self.find(&name).ok_or(spin_3::Error::Undefined(name))
    }
}

impl config::Host for View<'_> {
    fn get(&mut self, key: String) -> Result<Option<String>, config::Error> {
        Ok(self.find(&key))
    }

    fn get_all(&mut self) -> Result<Vec<(String, String)>, config::Error> {
        Ok(self
            .values
            .iter()
            .map(|(name, counted)| (name.clone(), counted.read()))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_read_of_a_variable_is_counted_and_what_is_not_there_is_not() {
        let mut session: Session = [("a", "1"), ("b", "2")]
            .map(|(name, value)| (name.to_owned(), value.into()))
            .into_iter()
            .collect();
        let mut other = session.clone();
        let _ = spin_2::Host::get(&mut session.view(), "a".into());
        let _ = spin_3::Host::get(&mut other.view(), "a".into());
        let _ = config::Host::get(&mut session.view(), "none".into());
        let _ = config::Host::get_all(&mut session.view());
        let reads: Vec<_> = session.reads().collect();
        assert_eq!(reads, [("a".to_owned(), 3), ("b".to_owned(), 1)]);
    }

    fn names(name: &str, expected: bool) {
        assert_eq!(is_name(name), expected, "{name:?}");
    }

    #[test]
    fn a_name_is_lower_case_words() {
        names("a", true);
        names("api_key2", true);
        names("key_2", true);
        names("", false);
        names("A", false);
        names("a__b", false);
        names("_a", false);
        names("a_", false);
        names("a-b", false);
        names("2a", false);
    }
}
