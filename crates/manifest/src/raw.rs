//! TOML with a place for each value, and a table that knows which of its keys nobody asked for.
//!
//! Not serde: its derived readers stop at the first mistake, and here all of them are reported together.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::nearest::nearest;
use crate::place::File;
use crate::quote::shorten;
use crate::{Code, Diagnostic, Place};

/// More mistakes than anybody reads; it bounds what is kept of a hostile file.
const MAX_MISTAKES: usize = 200;
/// What an error shows of the file's own words.
const MAX_SHOWN: usize = 80;
/// What an error shows of a value beside its place.
const MAX_VALUE_SHOWN: usize = 40;

/// Where the mistakes and warnings of one file are gathered.
pub(crate) struct Findings {
    file: Arc<File>,
    errors: RefCell<Vec<Diagnostic>>,
    warnings: RefCell<Vec<Diagnostic>>,
    #[cfg(test)]
    asked: RefCell<Vec<Asked>>,
}

/// A table by its name, and the keys that were asked for.
#[cfg(test)]
pub(crate) type Asked = (String, BTreeSet<&'static str>);

/// A text of the file.
#[derive(Clone)]
pub(crate) struct Text<'a> {
    pub(crate) text: &'a str,
    pub(crate) place: Place,
}

/// A value of the file, not looked at yet.
#[derive(Clone)]
pub(crate) struct Item<'a> {
    name: String,
    value: &'a DeValue<'a>,
    pub(crate) place: Place,
    findings: &'a Findings,
}

/// A table of the file.
pub(crate) struct Table<'a> {
    /// As an error names it: `[component.cart]`.
    name: String,
    entries: &'a DeTable<'a>,
    pub(crate) place: Place,
    pub(crate) findings: &'a Findings,
    known: RefCell<BTreeSet<&'static str>>,
}

impl Findings {
    pub(crate) fn new(file: Arc<File>) -> Findings {
        Findings {
            file,
            errors: RefCell::default(),
            warnings: RefCell::default(),
            #[cfg(test)]
            asked: RefCell::default(),
        }
    }

    /// The keys that every table that was finished was asked for.
    #[cfg(test)]
    pub(crate) fn into_asked(self) -> Vec<Asked> {
        self.asked.into_inner()
    }

    /// Whether another error would still be kept.
    pub(crate) fn has_room(&self) -> bool {
        self.errors.borrow().len() < MAX_MISTAKES
    }

    pub(crate) fn error(&self, error: Diagnostic) {
        let mut errors = self.errors.borrow_mut();
        if errors.len() < MAX_MISTAKES {
            errors.push(error);
        }
    }

    pub(crate) fn warning(&self, warning: Diagnostic) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < MAX_MISTAKES {
            warnings.push(warning);
        }
    }

    /// Errors and warnings, each in the order of the file.
    pub(crate) fn into_parts(self) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        (
            in_order(self.errors.into_inner()),
            in_order(self.warnings.into_inner()),
        )
    }
}

/// As they stand in the file; what has no place comes last.
pub(crate) fn in_order(mut found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    found.sort_by_key(|diagnostic| {
        diagnostic
            .place
            .as_ref()
            .map_or(usize::MAX, |place| place.span().start)
    });
    found
}

impl<'a> Item<'a> {
    pub(crate) fn text(&self) -> Option<Text<'a>> {
        match self.value {
            DeValue::String(text) => Some(Text {
                text,
                place: self.place.clone(),
            }),
            _ => self.wrong(Code::NotAString, "a string"),
        }
    }

    pub(crate) fn flag(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(flag) => Some(*flag),
            _ => self.wrong(Code::NotAFlag, "`true` or `false`"),
        }
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        match self.value {
            DeValue::Integer(digits) => {
                match i64::from_str_radix(digits.as_str(), digits.radix()) {
                    Ok(integer) => Some(integer),
                    Err(_) => self.unfit(Code::NumberTooLarge, "a number of at most 63 bits"),
                }
            }
            _ => self.wrong(Code::NotANumber, "a whole number"),
        }
    }

    /// Its items, none of them made before it is asked for: there may be half a million.
    pub(crate) fn list(self) -> impl Iterator<Item = Item<'a>> {
        let values = match self.value {
            DeValue::Array(values) => Some(values.iter()),
            _ => self.wrong(Code::NotAList, "a list"),
        };
        values
            .into_iter()
            .flatten()
            .map(move |value| self.inner(self.name.clone(), value))
    }

    pub(crate) fn table(&self) -> Option<Table<'a>> {
        let DeValue::Table(entries) = self.value else {
            return self.wrong(Code::NotATable, "a table");
        };
        let known = RefCell::default();
        Some(Table {
            name: format!("[{}]", self.name),
            entries,
            place: self.place.clone(),
            findings: self.findings,
            known,
        })
    }

    /// Its name, as an error shows it.
    pub(crate) fn shown(&self) -> String {
        shorten(&self.name, MAX_SHOWN)
    }

    pub(crate) fn is_text(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self.value, DeValue::Array(_))
    }

    pub(crate) fn is_integer(&self) -> bool {
        matches!(self.value, DeValue::Integer(_))
    }

    pub(crate) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    pub(crate) fn is_flag(&self) -> bool {
        matches!(self.value, DeValue::Boolean(_))
    }

    /// Reports that the value is of another type than it must be.
    pub(crate) fn wrong<T>(&self, code: Code, expected: &str) -> Option<T> {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "`true` or `false`",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.report(code, expected, format!("this is {found}"))
    }

    /// Reports that the value is of the right type, and not what it must be.
    pub(crate) fn unfit<T>(&self, code: Code, expected: &str) -> Option<T> {
        let found = match self.value {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(digits) => digits.as_str(),
            _ => return self.wrong(code, expected),
        };
        let label = match found {
            "" => "this is empty".into(),
            found => format!("`{}` is not one", shorten(found, MAX_VALUE_SHOWN)),
        };
        self.report(code, expected, label)
    }

    fn report<T>(&self, code: Code, expected: &str, label: String) -> Option<T> {
        let error = Diagnostic::error(code, format!("`{}` is not {expected}", self.shown()))
            .at(self.place.clone(), label)
            .help(format!("write {expected} here"));
        self.findings.error(error);
        None
    }

    fn inner(&self, name: String, value: &'a Spanned<DeValue<'a>>) -> Item<'a> {
        let place = self.findings.file.place(value.span());
        Item {
            name,
            value: value.get_ref(),
            place,
            findings: self.findings,
        }
    }
}

impl<'a> Table<'a> {
    /// The whole file, which an error calls `name`.
    pub(crate) fn root(name: &str, entries: &'a DeTable<'a>, findings: &'a Findings) -> Table<'a> {
        let place = findings.file.place(0..0);
        Table {
            name: name.into(),
            entries,
            place,
            findings,
            known: RefCell::default(),
        }
    }

    /// The value of a key that this table may have.
    pub(crate) fn item(&self, key: &'static str) -> Option<Item<'a>> {
        self.known.borrow_mut().insert(key);
        let value = self.entries.get(key)?;
        let place = self.findings.file.place(value.span());
        Some(Item {
            name: self.path(key),
            value: value.get_ref(),
            place,
            findings: self.findings,
        })
    }

    /// The value of a key that this table must have; `example` is what to write.
    pub(crate) fn required(&self, key: &'static str, example: &str) -> Option<Item<'a>> {
        let item = self.item(key);
        if item.is_none() {
            let message = format!("{} has no `{key}`", self.shown());
            let error = Diagnostic::error(Code::MissingKey, message);
            self.findings.error(
                error
                    .at(self.place.clone(), format!("`{key}` is missing"))
                    .help(format!("add `{example}`")),
            );
        }
        item
    }

    pub(crate) fn text(&self, key: &'static str) -> Option<Text<'a>> {
        self.item(key)?.text()
    }

    pub(crate) fn owned(&self, key: &'static str) -> Option<String> {
        self.text(key).map(|text| text.text.into())
    }

    pub(crate) fn flag(&self, key: &'static str) -> Option<bool> {
        self.item(key)?.flag()
    }

    pub(crate) fn table(&self, key: &'static str) -> Option<Table<'a>> {
        self.item(key)?.table()
    }

    /// The items of a list; none when the key is not there.
    pub(crate) fn list(&self, key: &'static str) -> impl Iterator<Item = Item<'a>> + use<'a> {
        self.item(key).into_iter().flat_map(Item::list)
    }

    pub(crate) fn texts(&self, key: &'static str) -> impl Iterator<Item = Text<'a>> + use<'a> {
        self.list(key).filter_map(|item| item.text())
    }

    pub(crate) fn strings(&self, key: &'static str) -> Vec<String> {
        self.texts(key).map(|text| text.text.into()).collect()
    }

    /// All entries of a table whose keys are names, in the order of the file.
    pub(crate) fn entries(&self) -> Vec<(Text<'a>, Item<'a>)> {
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .map(|(key, value)| self.entry(key, value))
            .collect();
        entries.sort_by_key(|(key, _)| key.place.span().start);
        entries
    }

    /// The entries of a table under a key; none when the key is not there.
    pub(crate) fn entries_of(&self, key: &'static str) -> Vec<(Text<'a>, Item<'a>)> {
        self.table(key)
            .map(|table| table.entries())
            .unwrap_or_default()
    }

    fn entry(
        &self,
        key: &'a Spanned<std::borrow::Cow<'a, str>>,
        value: &'a Spanned<DeValue<'a>>,
    ) -> (Text<'a>, Item<'a>) {
        let place = |span| self.findings.file.place(span);
        let text = Text {
            text: key.get_ref(),
            place: place(key.span()),
        };
        let name = self.path(text.text);
        (
            text,
            Item {
                name,
                value: value.get_ref(),
                place: place(value.span()),
                findings: self.findings,
            },
        )
    }

    fn path(&self, key: &str) -> String {
        match self
            .name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
        {
            Some(name) => format!("{name}.{key}"),
            None => key.into(),
        }
    }

    fn shown(&self) -> String {
        match self.name.starts_with('[') {
            true => format!("`{}`", shorten(&self.name, MAX_SHOWN)),
            false => self.name.clone(),
        }
    }

    /// Reports every key that was not asked for.
    pub(crate) fn finish(self) {
        let known = self.known.borrow();
        #[cfg(test)]
        self.findings
            .asked
            .borrow_mut()
            .push((self.name.clone(), known.clone()));
        for (key, _) in self.entries() {
            if known.contains(key.text) || !self.findings.has_room() {
                continue;
            }
            let name = shorten(key.text, MAX_SHOWN);
            let message = format!("`{name}` is not a key of {}", self.shown());
            let error = Diagnostic::error(Code::UnknownKey, message);
            let help = match nearest(key.text, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("its keys are {}", names(known.iter().copied())),
            };
            self.findings
                .error(error.at(key.place, "unknown key").help(help));
        }
    }
}

/// Names as a person lists them: `` `a`, `b`, `c` ``.
pub(crate) fn names<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    const MAX_NAMES: usize = 20;
    let mut names = names.into_iter();
    let mut listed: Vec<String> = names
        .by_ref()
        .take(MAX_NAMES)
        .map(|name| format!("`{}`", shorten(name, MAX_SHOWN)))
        .collect();
    let more = names.count();
    if more > 0 {
        listed.push(format!("and {more} more"));
    }
    listed.join(", ")
}
