//! `--observe`: the grants that would have allowed what was tried, as a patch that a person reads and applies.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use runner_host::{Decision, Verdict};
use runner_manifest::{ComponentId, WrittenCall};
use runner_outbound::{Denied, Suggestion};

use crate::allow::{self, Entry};
use crate::exit::{Exit, Failure};
use crate::load::Reader;
use crate::telemetry::escaped;

/// More different calls than anybody grants one by one.
const MAX_WANTED: usize = 1000;

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
    pub(super) fn new(file: &Path, reader: &Reader) -> Observer {
        Observer {
            file: file.to_owned(),
            reader: reader.clone(),
            tried: Arc::default(),
        }
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
        fs::write(&self.file, patch).map_err(|error| {
            let sentence = format!("`{}` cannot be written: {error}", self.file.display());
            Failure::new(
                Exit::Environment,
                sentence,
                "name another file with `--observe`",
            )
        })?;
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
        let mut new = old.clone();
        let (mut count, mut by_hand) = (0, Vec::new());
        for (id, suggestion) in &tried.wanted {
            let allowed = |call: WrittenCall| {
                let component = manifest.components.get(id);
                component
                    .is_some_and(|component| component.allow.covering(&call.as_call()).is_some())
            };
            // It may have been granted since.
            if call(suggestion).is_some_and(allowed) {
                continue;
            }
            match allow::with(&new, id.as_str(), &entry(suggestion)) {
                Some(text) => {
                    new = text;
                    count += 1;
                }
                None => by_hand.push(format!("# {id}: add {} by hand\n", entry(suggestion))),
            }
        }
        let mut patch = tried.head(count, path);
        patch.extend(by_hand);
        if count > 0 {
            let name = path.file_name().unwrap_or_default();
            patch += &allow::difference(Path::new(name), &old, &new);
        }
        Ok((patch, count))
    }
}

impl Tried {
    fn add(&mut self, denied: &Denied) {
        let id = denied.component();
        let suggestions = denied.suggestions();
        if suggestions.is_empty() {
            let what = (id.clone(), denied.destination());
            if self.hopeless.contains(&what) || self.hopeless.len() < MAX_WANTED {
                self.hopeless.insert(what);
            } else {
                self.more += 1;
            }
        }
        for suggestion in suggestions {
            let wanted = (id.clone(), suggestion);
            if self.wanted.contains(&wanted) || self.wanted.len() < MAX_WANTED {
                self.wanted.insert(wanted);
            } else {
                self.more += 1;
            }
        }
    }

    /// What stands above the patch; `patch` and `git apply` skip it.
    fn head(&self, count: usize, manifest: &Path) -> String {
        let folder = manifest
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).display().to_string();
        let folder = escaped(&folder);
        let mut head = match count {
            0 => "# No grant is missing: nothing was denied that a rule would allow.\n".to_owned(),
            _ => format!(
                "# {count} grants that would have allowed what was denied. Nothing has been changed.\n\
                 # Read each line: a grant is for ever, and for everything this component does.\n\
                 # To apply all of it, in {folder}: patch -p1 < this file\n"
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
