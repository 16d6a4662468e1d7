//! `--observe`: the grants that would have allowed what was tried, as a patch that a person reads and applies.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use runner_host::{Decision, Verdict};
use runner_manifest::{ComponentId, Manifest, WrittenCall};
use runner_outbound::{Denied, Suggestion};

use crate::allow::{self, Entry};
use crate::draft;
use crate::exit::{Exit, Failure};
use crate::load::Reader;
use crate::telemetry::escaped;

/// More different calls of one component than anybody grants one by one.
const MAX_OF_ONE: usize = 50;
/// And of all of them: the manifest is read again for each.
const MAX_WANTED: usize = 200;
/// What is shown of a destination that is none.
const MAX_SHOWN: usize = 256;

/// Remembers what was denied; cheap to clone.
#[derive(Clone)]
pub(super) struct Observer {
    file: PathBuf,
    reader: Reader,
    tried: Arc<Mutex<Tried>>,
}

/// What was denied, each once.
#[derive(Clone, Default)]
struct Tried {
    wanted: BTreeSet<(ComponentId, Suggestion)>,
    /// What no rule can allow.
    hopeless: BTreeSet<(ComponentId, String)>,
    more: u64,
}

impl Observer {
    /// Says now what would be in the way of the file at the end.
    pub(super) fn new(file: &Path, reader: &Reader) -> Result<Observer, Failure> {
        let observer = Observer {
            file: file.to_owned(),
            reader: reader.clone(),
            tried: Arc::default(),
        };
        let there = fs::symlink_metadata(file);
        let is_manifest = || fs::canonicalize(file).ok() == fs::canonicalize(reader.path()).ok();
        if there.is_ok_and(|there| !there.is_file() || is_manifest()) {
            let why = io::Error::other("something else is there");
            return Err(observer.unwritable(&why));
        }
        draft::try_out(file).map_err(|error| observer.unwritable(&error))?;
        Ok(observer)
    }

    fn unwritable(&self, why: &io::Error) -> Failure {
        let sentence = format!("`{}` cannot be written: {why}", self.file.display());
        Failure::new(
            Exit::Environment,
            sentence,
            "name another file with `--observe`",
        )
    }

    /// Remembers a denial.
    pub(super) fn take(&self, decision: &Decision<'_>) {
        if let Verdict::Deny(denied) = decision.verdict {
            let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
            tried.add(denied);
        }
    }

    /// Writes the patch to its file, and says so.
    pub(super) fn write(&self) -> Result<String, Failure> {
        let (patch, count) = self.patch()?;
        // Its owner alone reads it: it says where secrets are sent.
        draft::replace(&self.file, &patch, None).map_err(|error| self.unwritable(&error))?;
        let file = escaped(&self.file.display().to_string()).into_owned();
        Ok(match count {
            0 => format!("observed: nothing was denied that a grant would allow; `{file}` says so"),
            1 => format!("observed: 1 grant would have allowed what was denied; read `{file}`"),
            count => format!(
                "observed: {count} grants would have allowed what was denied; read `{file}`"
            ),
        })
    }

    /// The patch against the manifest as it is now, and how many grants it has.
    pub(super) fn patch(&self) -> Result<(String, usize), Failure> {
        let tried = self
            .tried
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let manifest = self.reader.read()?;
        let path = self.reader.path();
        let old =
            fs::read_to_string(path).map_err(|error| Failure::of(Exit::Environment, &error))?;
        let missing = |(id, suggestion): &&(ComponentId, Suggestion)| {
            let allow = manifest
                .components
                .get(id)
                .map(|component| &component.allow);
            // It may have been granted since.
            let granted = call(suggestion)
                .zip(allow)
                .is_some_and(|(call, allow)| allow.covering(&call.as_call()).is_some());
            !granted
        };
        let (mut new, mut count, mut by_hand) = (old.clone(), 0, Vec::new());
        for (id, suggestion) in tried.wanted.iter().filter(missing) {
            match allow::with(&new, id.as_str(), &entry(suggestion)) {
                Some(text) => {
                    new = text;
                    count += 1;
                }
                None => by_hand.push(format!("# {id}: add {} by hand\n", entry(suggestion))),
            }
        }
        // What is to be applied must load.
        Manifest::parse(&new, path, self.reader.variables())
            .map_err(|error| Failure::diagnosed(Exit::App, error))?;
        let mut patch = tried.head(count, path);
        patch.extend(by_hand);
        if count > 0 {
            let name = path.file_name().unwrap_or_default();
            patch += &allow::patch(Path::new(name), &old, &new);
        }
        Ok((patch, count))
    }
}

impl Tried {
    fn add(&mut self, denied: &Denied) {
        let id = denied.component();
        let suggestions = denied.suggestions();
        if suggestions.is_empty() {
            let mut what = denied.destination();
            what.truncate(what.floor_char_boundary(MAX_SHOWN));
            self.more += u64::from(!remember(&mut self.hopeless, (id.clone(), what)));
        }
        for suggestion in suggestions {
            self.more += u64::from(!remember(&mut self.wanted, (id.clone(), suggestion)));
        }
    }

    /// What stands above the patch; `patch` and `git apply` skip it.
    fn head(&self, count: usize, manifest: &Path) -> String {
        let mut head = match count {
            0 => "# No grant is missing: nothing was denied that a rule would allow.\n".to_owned(),
            1 => format!(
                "# 1 grant that would have allowed what was denied. {}",
                how(manifest)
            ),
            _ => format!(
                "# {count} grants that would have allowed what was denied. {}",
                how(manifest)
            ),
        };
        for (id, what) in &self.hopeless {
            head += &format!("# {id}: no rule can allow {}\n", escaped(what));
        }
        if self.more > 0 {
            head += &format!(
                "# and {} more denied calls, which were too many to remember\n",
                self.more
            );
        }
        head
    }
}

/// What a reader does with the patch.
fn how(manifest: &Path) -> String {
    let folder = manifest.parent().map(|folder| folder.display().to_string());
    let folder = match folder.as_deref() {
        None | Some("" | ".") => "the folder of the manifest".into(),
        Some(folder) => escaped(folder),
    };
    format!(
        "Nothing has been changed.\n\
         # Read each line: a grant is for ever, and for everything this component does.\n\
         # To apply all of it, in {folder}: patch -p1 < this file\n"
    )
}

/// Keeps one more, while there is room for it: no component takes that of all others.
fn remember<T: Ord>(all: &mut BTreeSet<(ComponentId, T)>, one: (ComponentId, T)) -> bool {
    let of_one = all.iter().filter(|(id, _)| *id == one.0).count();
    let room = all.len() < MAX_WANTED && of_one < MAX_OF_ONE;
    all.contains(&one) || (room && all.insert(one))
}

fn entry(suggestion: &Suggestion) -> Entry {
    match &suggestion.method {
        None => Entry::text(&suggestion.url),
        Some(method) => Entry::table(&suggestion.url, &[method]),
    }
}

fn call(suggestion: &Suggestion) -> Option<WrittenCall> {
    let method = suggestion.method.as_deref().unwrap_or("GET");
    WrittenCall::new(method.parse().ok()?, &suggestion.url).ok()
}
