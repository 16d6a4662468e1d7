//! Adds a rule to a manifest's text and leaves every other byte as it was.
//!
//! `toml_edit` says where things are; the new text is spliced in there, so that comments, quotes, line ends and
//! the order of keys stay the user's own.

use toml_edit::{Document, Item, TableLike, Value};

use super::Entry;

/// The key that is added to.
pub(super) const KEY: &str = "allowed_outbound_hosts";

/// Why there is no place for the rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// Not TOML, or a shape that this page does not know how to extend.
    Unreadable,
    /// The component has no table of its own.
    NoTable,
    /// The key holds something else than a list.
    NotAList,
}

/// The text with `entry` as the last of the component's rules.
pub(super) fn add(text: &str, component: &str, entry: &Entry) -> Result<String, NoPlace> {
    let document = Document::parse(text).map_err(|_| NoPlace::Unreadable)?;
    let item = find(&document, component).ok_or(NoPlace::NoTable)?;
    let quoted = entry.to_string();
    let edited = match item.get(KEY) {
        Some(list) => extend(text, list, &quoted)?,
        None => create(text, item, &quoted).ok_or(NoPlace::NoTable)?,
    };
    let mut wanted = rules(item);
    wanted.push(entry.clone());
    // The splice is checked, not trusted: TOML has more layouts than tests have rows.
    let after = Document::parse(edited.as_str()).map_err(|_| NoPlace::Unreadable)?;
    let added = find(&after, component).is_some_and(|item| rules(item) == wanted);
    if added {
        Ok(edited)
    } else {
        Err(NoPlace::Unreadable)
    }
}

/// The component's rules as the text has them, each with the byte where it starts.
pub(super) fn written(text: &str, component: &str) -> Vec<(Entry, usize)> {
    let Ok(document) = Document::parse(text) else {
        return Vec::new();
    };
    let list = find(&document, component)
        .and_then(|item| item.get(KEY))
        .and_then(Item::as_array);
    let values = list.into_iter().flatten();
    values
        .filter_map(|value| Some((Entry::of(value), value.span()?.start)))
        .collect()
}

fn find<'a>(document: &'a Document<&str>, component: &str) -> Option<&'a Item> {
    document.as_table().get("component")?.get(component)
}

fn rules(item: &Item) -> Vec<Entry> {
    let list = item.get(KEY).and_then(Item::as_array);
    list.into_iter().flatten().map(Entry::of).collect()
}

/// Puts the rule behind the last element of a list that is there.
fn extend(text: &str, list: &Item, quoted: &str) -> Result<String, NoPlace> {
    let list = list.as_array().ok_or(NoPlace::NotAList)?;
    let span = list.span().ok_or(NoPlace::Unreadable)?;
    let close = span.end - 1;
    let Some(last) = list.iter().last() else {
        return Ok(fill(text, span.start + 1, close, quoted));
    };
    let last = last.span().ok_or(NoPlace::Unreadable)?;
    let Some(indent) = blank_before(text, last.start) else {
        return Ok(splice(text, last.end, &format!(", {quoted}")));
    };
    let line = format!("{}{indent}{quoted}", newline(text));
    // Behind a comment on the same line, which belongs to the element before.
    let behind = |at: usize| {
        if line_end(text, at) < close {
            line_end(text, at)
        } else {
            at
        }
    };
    Ok(match comma(text, last.end, close) {
        Some(comma) => splice(text, behind(comma + 1), &format!("{line},")),
        None => splice(&splice(text, behind(last.end), &line), last.end, ","),
    })
}

/// Puts the rule into an empty list, which may still hold comments.
fn fill(text: &str, open: usize, close: usize, quoted: &str) -> String {
    if text[open..close].trim().is_empty() {
        return format!("{}{quoted}{}", &text[..open], &text[close..]);
    }
    let margin = blank_before(text, close).unwrap_or_default();
    // A comment hides the rest of its line, so `]` stands on a later one.
    let at = close - margin.len();
    splice(text, at, &format!("{margin}    {quoted},{}", newline(text)))
}

/// Gives a component its list.
fn create(text: &str, item: &Item, quoted: &str) -> Option<String> {
    let assignment = format!("{KEY} = [{quoted}]");
    match item {
        Item::Value(Value::InlineTable(table)) => {
            let last = last_entry(table)?;
            let before = &text[..last.key];
            // In `{ a.source = …, a.build = … }` the new key needs its `a.` too.
            let prefix = if table.is_dotted() {
                before[before.rfind(['{', ','])? + 1..].trim()
            } else {
                ""
            };
            Some(splice(text, last.end, &format!(", {prefix}{assignment}")))
        }
        Item::Table(table) => match last_entry(table) {
            Some(last) => {
                // What stands before the key is its indent, or `component.name.` where the table has no header.
                let prefix = &text[line_start(text, last.key)..last.key];
                Some(splice(
                    text,
                    line_end(text, last.end),
                    &format!("{}{prefix}{assignment}", newline(text)),
                ))
            }
            None => {
                let header = table.span()?;
                Some(splice(
                    text,
                    line_end(text, header.start),
                    &format!("{}{assignment}", newline(text)),
                ))
            }
        },
        Item::None | Item::Value(_) | Item::ArrayOfTables(_) => None,
    }
}

/// Where the last entry of a table starts and ends.
struct Last {
    key: usize,
    end: usize,
}

fn last_entry(table: &dyn TableLike) -> Option<Last> {
    let entries = table.iter().filter_map(|(name, item)| {
        Some(Last {
            key: table.key(name)?.span()?.start,
            end: end(item)?,
        })
    });
    entries.max_by_key(|entry| entry.end)
}

/// Where an entry ends; `None` for a table under a header of its own, which does not stand among the entries.
fn end(item: &Item) -> Option<usize> {
    match item {
        Item::Value(Value::InlineTable(table)) if table.is_dotted() => {
            last_entry(table).map(|entry| entry.end)
        }
        Item::Value(value) => value.span().map(|span| span.end),
        Item::Table(table) if table.is_dotted() => last_entry(table).map(|entry| entry.end),
        Item::Table(_) | Item::ArrayOfTables(_) | Item::None => None,
    }
}

/// The comma behind the last element, past white space and comments.
fn comma(text: &str, from: usize, close: usize) -> Option<usize> {
    let mut in_comment = false;
    for (at, c) in text[from..close].char_indices() {
        match c {
            ',' if !in_comment => return Some(from + at),
            '#' => in_comment = true,
            '\n' => in_comment = false,
            _ => {}
        }
    }
    None
}

/// What stands before `at` on its line, if that is only white space.
fn blank_before(text: &str, at: usize) -> Option<&str> {
    let blank = &text[line_start(text, at)..at];
    blank.trim().is_empty().then_some(blank)
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

fn line_end(text: &str, at: usize) -> usize {
    let end = text[at..]
        .find('\n')
        .map_or(text.len(), |newline| at + newline);
    if text[at..end].ends_with('\r') {
        end - 1
    } else {
        end
    }
}

fn newline(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

fn splice(text: &str, at: usize, new: &str) -> String {
    format!("{}{new}{}", &text[..at], &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_joins_every_layout_and_nothing_else_changes() {
        // Each row: the lines before, and after `http://new` was added to `a`.
        let table = [
            // no key: behind the last entry, before the next header
            (
                "[component.a]\nsource = \"a.wasm\"\n",
                "[component.a]\nsource = \"a.wasm\"\nallowed_outbound_hosts = [\"http://new\"]\n",
            ),
            (
                "[component.a]\nsource = \"a.wasm\" # code\n\n[component.a.build]\ncommand = \"make\"\n",
                "[component.a]\nsource = \"a.wasm\" # code\nallowed_outbound_hosts = [\"http://new\"]\n\n[component.a.build]\ncommand = \"make\"\n",
            ),
            // no line end at the end
            (
                "[component.a]\nsource = \"a.wasm\"",
                "[component.a]\nsource = \"a.wasm\"\nallowed_outbound_hosts = [\"http://new\"]",
            ),
            // a value of several lines is the last
            (
                "[component.a]\nfiles = [\n  \"x\",\n]\n# next\n[component.b]\n",
                "[component.a]\nfiles = [\n  \"x\",\n]\nallowed_outbound_hosts = [\"http://new\"]\n# next\n[component.b]\n",
            ),
            // a dotted key is the last
            (
                "[component.a]\nsource = \"a\"\nbuild.command = \"make\"\n",
                "[component.a]\nsource = \"a\"\nbuild.command = \"make\"\nallowed_outbound_hosts = [\"http://new\"]\n",
            ),
            // indented
            (
                "[component.a]\n  source = \"a\"\n",
                "[component.a]\n  source = \"a\"\n  allowed_outbound_hosts = [\"http://new\"]\n",
            ),
            // a header and nothing else
            (
                "[component.a] # empty\n",
                "[component.a] # empty\nallowed_outbound_hosts = [\"http://new\"]\n",
            ),
            // CRLF
            (
                "[component.a]\r\nsource = \"a\"\r\n",
                "[component.a]\r\nsource = \"a\"\r\nallowed_outbound_hosts = [\"http://new\"]\r\n",
            ),
            // tables without a header of their own
            (
                "component.a.source = \"a\"\n[x]\n",
                "component.a.source = \"a\"\ncomponent.a.allowed_outbound_hosts = [\"http://new\"]\n[x]\n",
            ),
            (
                "[component]\na.source = \"a\"\nb.source = \"b\"\n",
                "[component]\na.source = \"a\"\na.allowed_outbound_hosts = [\"http://new\"]\nb.source = \"b\"\n",
            ),
            // inline tables
            (
                "[component]\na = { source = \"a\" }\n",
                "[component]\na = { source = \"a\", allowed_outbound_hosts = [\"http://new\"] }\n",
            ),
            (
                "component = { a = { source = \"a\" }, b = { source = \"b\" } }\n",
                "component = { a = { source = \"a\", allowed_outbound_hosts = [\"http://new\"] }, b = { source = \"b\" } }\n",
            ),
            (
                "component = { b.source = \"b\", a.source = \"a\" }\n",
                "component = { b.source = \"b\", a.source = \"a\", a.allowed_outbound_hosts = [\"http://new\"] }\n",
            ),
            (
                "[component]\na = { source = \"a\", allowed_outbound_hosts = [\"http://x\"] }\n",
                "[component]\na = { source = \"a\", allowed_outbound_hosts = [\"http://x\", \"http://new\"] }\n",
            ),
            // an empty list
            (
                "[component.a]\nallowed_outbound_hosts = [] # none yet\n",
                "[component.a]\nallowed_outbound_hosts = [\"http://new\"] # none yet\n",
            ),
            (
                "[component.a]\nallowed_outbound_hosts = [ ]\n",
                "[component.a]\nallowed_outbound_hosts = [\"http://new\"]\n",
            ),
            (
                "[component.a]\nallowed_outbound_hosts = [\n]\n",
                "[component.a]\nallowed_outbound_hosts = [\"http://new\"]\n",
            ),
            (
                "[component.a]\nallowed_outbound_hosts = [\n    # nothing, on purpose\n]\n",
                "[component.a]\nallowed_outbound_hosts = [\n    # nothing, on purpose\n    \"http://new\",\n]\n",
            ),
            (
                "[component.a]\nallowed_outbound_hosts = [ # nothing\n  ]\n",
                "[component.a]\nallowed_outbound_hosts = [ # nothing\n      \"http://new\",\n  ]\n",
            ),
            // one line
            (
                "[component.a]\nallowed_outbound_hosts = [\"http://x\"]\n",
                "[component.a]\nallowed_outbound_hosts = [\"http://x\", \"http://new\"]\n",
            ),
            (
                "[component.a]\nallowed_outbound_hosts = [ 'http://x', 'http://y', ] # two\n",
                "[component.a]\nallowed_outbound_hosts = [ 'http://x', 'http://y', \"http://new\", ] # two\n",
            ),
            // several lines
            (
                "[component.a]\nallowed_outbound_hosts = [\n    \"http://x\", # the api\n    \"http://y\", # the shop\n]\nsource = \"a\"\n",
                "[component.a]\nallowed_outbound_hosts = [\n    \"http://x\", # the api\n    \"http://y\", # the shop\n    \"http://new\",\n]\nsource = \"a\"\n",
            ),
            (
                "[component.a]\nallowed_outbound_hosts = [\n\t\"http://x\" # no comma, here\n]\n",
                "[component.a]\nallowed_outbound_hosts = [\n\t\"http://x\", # no comma, here\n\t\"http://new\"\n]\n",
            ),
            (
                "[component.a]\nallowed_outbound_hosts = [\n  \"http://x\",\n  # \"http://off\",\n]\n",
                "[component.a]\nallowed_outbound_hosts = [\n  \"http://x\",\n  \"http://new\",\n  # \"http://off\",\n]\n",
            ),
            (
                "[component.a]\nallowed_outbound_hosts = [\n  \"http://x\"]\n",
                "[component.a]\nallowed_outbound_hosts = [\n  \"http://x\",\n  \"http://new\"]\n",
            ),
            (
                "[component.a]\nallowed_outbound_hosts = [\n  \"http://x\",]\n",
                "[component.a]\nallowed_outbound_hosts = [\n  \"http://x\",\n  \"http://new\",]\n",
            ),
            (
                "[component.a]\nallowed_outbound_hosts = [\"http://x\",\n  \"http://y\"\n, \"http://z\"\n]\n",
                "[component.a]\nallowed_outbound_hosts = [\"http://x\",\n  \"http://y\"\n, \"http://z\", \"http://new\"\n]\n",
            ),
            (
                "[component.a]\r\nallowed_outbound_hosts = [\r\n  \"http://x\",\r\n]\r\n",
                "[component.a]\r\nallowed_outbound_hosts = [\r\n  \"http://x\",\r\n  \"http://new\",\r\n]\r\n",
            ),
            // a value that looks like syntax
            (
                "[component.a]\nallowed_outbound_hosts = [\n  \"http://]#,x\",\n]\n",
                "[component.a]\nallowed_outbound_hosts = [\n  \"http://]#,x\",\n  \"http://new\",\n]\n",
            ),
            // not the neighbour's list
            (
                "[component.a]\nsource = \"a\"\n[component.b]\nallowed_outbound_hosts = [\"http://x\"]\n",
                "[component.a]\nsource = \"a\"\nallowed_outbound_hosts = [\"http://new\"]\n[component.b]\nallowed_outbound_hosts = [\"http://x\"]\n",
            ),
        ];
        for (before, after) in table {
            assert_eq!(
                add(before, "a", &Entry::text("http://new")).as_deref(),
                Ok(after),
                "{before}"
            );
        }
    }

    #[test]
    fn where_there_is_no_place_nothing_is_made_up() {
        let table = [
            ("[component.b]\nsource = \"b\"\n", NoPlace::NoTable),
            (
                "[[trigger.http]]\ncomponent = { source = \"x\" }\n",
                NoPlace::NoTable,
            ),
            ("component = 1\n", NoPlace::NoTable),
            ("[component]\na = 1\n", NoPlace::NoTable),
            (
                "[component.a]\nallowed_outbound_hosts = \"http://x\"\n",
                NoPlace::NotAList,
            ),
            ("[component.a\n", NoPlace::Unreadable),
            ("", NoPlace::NoTable),
        ];
        for (text, expected) in table {
            assert_eq!(
                add(text, "a", &Entry::text("http://new")),
                Err(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn a_rule_is_quoted_as_toml_wants_it() {
        let rule = Entry::text("a\"b\\c\nd");
        let after = add("[component.a]\n", "a", &rule).expect("there is a place");
        assert_eq!(written(&after, "a"), [(rule, 40)]);
    }

    #[test]
    fn a_narrow_rule_is_a_table_among_the_others() {
        let before = "[component.a]\nallowed_outbound_hosts = [\n  \"http://x\",\n  { url = 'http://y/', inject = { header = 'a', value = 'b' } }, # z\n]\n";
        let both = Entry::table("https://new/v1/", &["GET", "HEAD"]);
        let path = Entry::table("https://new/v2", &[]);
        let after = add(before, "a", &both).expect("there is a place");
        let after = add(&after, "a", &path).expect("there is a place");
        let lines: Vec<_> = after.lines().collect();
        assert_eq!(
            lines[4..6],
            [
                r#"  { url = "https://new/v1/", methods = ["GET", "HEAD"] },"#,
                r#"  { url = "https://new/v2" },"#
            ]
        );
        let found: Vec<_> = written(&after, "a")
            .into_iter()
            .map(|(entry, _)| entry)
            .collect();
        assert_eq!(found[2..], [both, path]);
        assert!(matches!(found[1], Entry::Other(_)));
    }
}
