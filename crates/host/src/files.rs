//! A component's files: copied once at the start into a private directory, and given to it read-only.
//!
//! A copy, because what a component may read is what stood there when the operator started it: no link that leads
//! elsewhere, nothing that is put there later.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component as Part, Path, PathBuf};

use glob::Pattern;
use runner_manifest::{Code, FileMount};
use rustix::fs::OFlags;

use crate::caps;
use crate::copies::Folder;
use crate::within::{Elsewhere, Within};

/// The files granted to one component.
pub(crate) struct Files {
    root: Folder,
    /// Guest directory, and the directory of ours behind it.
    mounts: Vec<(String, PathBuf)>,
}

/// Why the files cannot be granted, and for which of them.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(crate) struct Refused {
    pub(crate) error: Error,
    /// Which of the mounts; none when it is `exclude_files`.
    pub(crate) mount: Option<usize>,
}

/// What is wrong with a mount; the text names it, or the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("`{0}` is not a glob: {1}")]
    Glob(String, String),
    #[error("`{0}` matches no file")]
    Nothing(String),
    #[error("`{0}` leads out of the app's directory")]
    Outside(String),
    #[error("`{0}` {1}")]
    Elsewhere(String, #[source] Elsewhere),
    #[error("`{0}` is a link; links are not followed, name what it leads to")]
    Link(String),
    #[error("there is no `{0}`")]
    Missing(String),
    #[error("`{0}` is not a directory; a mount's `source` is one")]
    NotADirectory(String),
    #[error("the files are larger than {} MiB together", caps::FILES >> 20)]
    TooLarge,
    #[error("cannot copy `{0}`: {1}")]
    Copy(String, #[source] io::Error),
}

impl Error {
    /// What kind of message it is.
    pub(crate) fn code(&self) -> Code {
        match self {
            Error::Glob(..) => Code::FilesGlob,
            Error::Nothing(_) => Code::FilesNothing,
            Error::Outside(_) => Code::FilesOutside,
            Error::Elsewhere(..) => Code::FileAboveCeiling,
            Error::Link(_) => Code::FilesLink,
            Error::Missing(_) => Code::FilesMissing,
            Error::NotADirectory(_) => Code::FilesNotAFolder,
            Error::TooLarge => Code::FilesTooLarge,
            Error::Copy(..) => Code::FilesCopy,
        }
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> &'static str {
        match self {
            Error::Glob(..) => "a pattern has `*`, `?`, `[abc]`, and `**` between slashes",
            Error::Nothing(_) => {
                "correct it, or remove it; patterns begin in the manifest's folder"
            }
            Error::Outside(_) | Error::Elsewhere(..) => "name files below the manifest's folder",
            Error::Link(_) => {
                "put the files themselves there, or leave the link out with `exclude_files`"
            }
            Error::Missing(_) => "correct `source`; it is looked for in the manifest's folder",
            Error::NotADirectory(_) => "name its folder, or write the file as a pattern of its own",
            Error::TooLarge => "name fewer, or leave some out with `exclude_files`",
            Error::Copy(..) => "check that it can be read, and that there is room for a copy",
        }
    }
}

impl Files {
    /// Copies what `wanted` names below `app`, without what `exclude` names; nothing that is not `within` where that is
    /// given. `None` where nothing is wanted.
    pub(crate) fn copy(
        app: &Path,
        wanted: &[FileMount],
        exclude: &[String],
        within: Option<&Within>,
    ) -> Result<Option<Files>, Refused> {
        if wanted.is_empty() {
            return Ok(None);
        }
        let root = Folder::new()
            .map_err(|e| Error::Copy("a temporary directory".into(), e))
            .map_err(|error| Refused { error, mount: None })?;
        let exclude = exclude
            .iter()
            .map(|text| pattern(text))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Refused { error, mount: None })?;
        let mut copier = Copier {
            app,
            within,
            exclude,
            left: caps::FILES,
        };
        let mut files = Files {
            root,
            mounts: Vec::new(),
        };
        for (n, mount) in wanted.iter().enumerate() {
            let copied = match mount {
                FileMount::Glob(text) => copier.glob(text, &files.mount("/")),
                FileMount::Directory {
                    source,
                    destination,
                } => copier.directory(source, &files.mount(destination)),
            };
            copied.map_err(|error| Refused {
                error,
                mount: Some(n),
            })?;
        }
        Ok(Some(files))
    }

    /// Guest directory and the directory behind it, for each mount.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.mounts
            .iter()
            .map(|(guest, host)| (guest.as_str(), host.as_path()))
    }

    fn mount(&mut self, guest: &str) -> PathBuf {
        if let Some((_, host)) = self.mounts.iter().find(|(name, _)| name == guest) {
            return host.clone();
        }
        let host = self.root.path().join(self.mounts.len().to_string());
        self.mounts.push((guest.to_owned(), host.clone()));
        host
    }
}

struct Copier<'a> {
    app: &'a Path,
    within: Option<&'a Within>,
    exclude: Vec<Pattern>,
    /// Bytes that may still be copied.
    left: u64,
}

impl Copier<'_> {
    fn glob(&mut self, text: &str, to: &Path) -> Result<(), Error> {
        inside(Path::new(text), text)?;
        // By itself, or the error would count from the beginning of the app's path.
        pattern(text)?;
        let whole = format!("{}/{text}", Pattern::escape(&self.app.to_string_lossy()));
        let found = glob::glob(&whole).map_err(|e| Error::Glob(text.into(), e.to_string()))?;
        fs::create_dir_all(to).map_err(|e| Error::Copy(text.into(), e))?;
        let mut any = false;
        for path in found.flatten() {
            let Ok(relative) = path.strip_prefix(self.app).map(Path::to_path_buf) else {
                continue;
            };
            any = true;
            self.stays_inside(&path, &relative)?;
            self.entry(&path, &relative, &to.join(&relative))?;
        }
        if any {
            Ok(())
        } else {
            Err(Error::Nothing(text.into()))
        }
    }

    /// `source` is as the manifest gives it: joined to the manifest's folder.
    fn directory(&mut self, source: &Path, to: &Path) -> Result<(), Error> {
        let failed = |error| Error::Copy(source.display().to_string(), error);
        let from = std::path::absolute(source).map_err(failed)?;
        let inside = from.strip_prefix(self.app).map(Path::to_path_buf);
        let relative = inside.clone().unwrap_or_else(|_| source.to_path_buf());
        let name = relative.display().to_string();
        self.is_own(&name, |within| within.named(&from))?;
        let found = match fs::symlink_metadata(&from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Missing(name));
            }
            found => found.map_err(failed)?,
        };
        if found.is_symlink() {
            return Err(Error::Link(name));
        }
        if !found.is_dir() {
            return Err(Error::NotADirectory(name));
        }
        if inside.is_ok() {
            self.stays_inside(&from, &relative)?;
        }
        self.entry(&from, &relative, to)
    }

    /// A path may walk through links to directories; what is behind them is not below the app.
    fn stays_inside(&self, path: &Path, relative: &Path) -> Result<(), Error> {
        let name = relative.display().to_string();
        let real = |path: &Path| fs::canonicalize(path).map_err(|e| Error::Copy(name.clone(), e));
        let parent = path.parent().unwrap_or(path);
        if real(parent)? == real(self.app)?.join(relative.parent().unwrap_or(Path::new(""))) {
            return Ok(());
        }
        Err(Error::Link(name))
    }

    fn entry(&mut self, from: &Path, relative: &Path, to: &Path) -> Result<(), Error> {
        if self
            .exclude
            .iter()
            .any(|pattern| pattern.matches_path(relative))
        {
            return Ok(());
        }
        let name = || relative.display().to_string();
        let failed = |error| Error::Copy(name(), error);
        let found = fs::symlink_metadata(from).map_err(failed)?;
        if found.is_symlink() {
            return Err(Error::Link(name()));
        }
        if found.is_dir() {
            fs::create_dir_all(to).map_err(failed)?;
            for entry in fs::read_dir(from).map_err(failed)? {
                let entry = entry.map_err(failed)?.file_name();
                self.entry(&from.join(&entry), &relative.join(&entry), &to.join(&entry))?;
            }
            return Ok(());
        }
        if !found.is_file() {
            return Ok(());
        }
        if found.len() > self.left {
            return Err(Error::TooLarge);
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let source = open(from).map_err(failed)?;
        self.is_own(&name(), |within| within.opened(&source, from))?;
        self.take(source, to, &name())
    }

    /// What is read counts: files of the kernel's own are of no length, and a file can grow while it is read.
    fn take(&mut self, source: File, to: &Path, name: &str) -> Result<(), Error> {
        let failed = |error| Error::Copy(name.into(), error);
        let mut copy = File::create(to).map_err(failed)?;
        let mut source = source.take(self.left + 1);
        let copied = io::copy(&mut source, &mut copy).map_err(failed)?;
        self.left = self.left.checked_sub(copied).ok_or(Error::TooLarge)?;
        Ok(())
    }

    fn is_own(
        &self,
        name: &str,
        is_own: impl FnOnce(&Within) -> Result<(), Elsewhere>,
    ) -> Result<(), Error> {
        self.within
            .map_or(Ok(()), is_own)
            .map_err(|elsewhere| Error::Elsewhere(name.into(), elsewhere))
    }
}

/// What was a file a moment ago may be a link by now, or a pipe that waits for its writer.
fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let mut options = File::options();
    options.read(true).custom_flags(flags).open(path)
}

fn pattern(text: &str) -> Result<Pattern, Error> {
    Pattern::new(text).map_err(|e| Error::Glob(text.into(), e.to_string()))
}

fn inside(path: &Path, text: &str) -> Result<(), Error> {
    let stays = path
        .components()
        .all(|part| matches!(part, Part::Normal(_) | Part::CurDir));
    if stays {
        Ok(())
    } else {
        Err(Error::Outside(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    fn app() -> TempDir {
        let app = tempfile::tempdir().unwrap();
        for name in [
            "assets/a.txt",
            "assets/deep/b.txt",
            "assets/secret.key",
            "other.txt",
        ] {
            let path = app.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        app
    }

    fn listing(files: &Files) -> Vec<String> {
        let mut found = Vec::new();
        for (guest, host) in files.mounts() {
            for path in glob::glob(&format!("{}/**/*", host.display()))
                .unwrap()
                .flatten()
                .filter(|p| p.is_file())
            {
                found.push(format!(
                    "{guest}: {}",
                    path.strip_prefix(host).unwrap().display()
                ));
            }
        }
        found.sort();
        found
    }

    #[test]
    fn globs_land_in_the_root_directories_where_they_are_mounted_and_excluded_files_nowhere() {
        let app = app();
        let wanted = [
            FileMount::Glob("assets/*.txt".into()),
            FileMount::Directory {
                source: app.path().join("assets"),
                destination: "/data".into(),
            },
        ];
        let files = Files::copy(app.path(), &wanted, &["**/*.key".into()], None)
            .unwrap()
            .unwrap();
        assert_eq!(
            listing(&files),
            ["/: assets/a.txt", "/data: a.txt", "/data: deep/b.txt"]
        );
        let root = files.root.path().to_path_buf();
        let mode = fs::metadata(&root).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "nobody else on the machine reads it");
        drop(files);
        assert!(!root.exists(), "the copy goes when the app does");
    }

    #[test]
    fn a_mount_is_held_to_exclusions_and_to_no_links_wherever_one_stands() {
        let app = app();
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(outside.path().join("sub")).unwrap();
        std::os::unix::fs::symlink(outside.path(), app.path().join("link")).unwrap();
        let mount = |source: &str| FileMount::Directory {
            source: app.path().join(source),
            destination: "/d".into(),
        };
        let files = Files::copy(
            app.path(),
            &[mount("assets")],
            &["assets/secret.key".into()],
            None,
        );
        let files = files.unwrap().unwrap();
        assert_eq!(listing(&files), ["/d: a.txt", "/d: deep/b.txt"]);
        let linked = Files::copy(app.path(), &[mount("link/sub")], &[], None)
            .err()
            .unwrap();
        assert_eq!(
            linked.to_string(),
            "`link/sub` is a link; links are not followed, name what it leads to"
        );
    }

    #[test]
    fn files_that_are_too_large_together_are_not_copied() {
        let app = app();
        let large = fs::File::create(app.path().join("assets/large")).unwrap();
        large.set_len(caps::FILES + 1).unwrap();
        let refused = Files::copy(
            app.path(),
            &[FileMount::Glob("assets/large".into())],
            &[],
            None,
        )
        .err()
        .unwrap();
        assert_eq!(
            refused.to_string(),
            "the files are larger than 1024 MiB together"
        );
        assert_eq!(
            (refused.error.code(), refused.mount),
            (Code::FilesTooLarge, Some(0))
        );
    }

    #[test]
    fn nothing_leads_out_of_the_app() {
        let app = app();
        std::os::unix::fs::symlink("/etc", app.path().join("assets/etc")).unwrap();
        let copy = |mount| {
            Files::copy(app.path(), &[mount], &[], None)
                .err()
                .unwrap()
                .to_string()
        };
        assert_eq!(
            copy(FileMount::Glob("../*".into())),
            "`../*` leads out of the app's directory"
        );
        assert_eq!(
            copy(FileMount::Glob("/etc/*".into())),
            "`/etc/*` leads out of the app's directory"
        );
        assert_eq!(
            copy(FileMount::Glob("assets/etc/passwd".into())),
            "`assets/etc/passwd` is a link; links are not followed, name what it leads to"
        );
        assert_eq!(
            copy(FileMount::Glob("none/*".into())),
            "`none/*` matches no file"
        );
        assert_eq!(
            copy(FileMount::Directory {
                source: app.path().join("assets"),
                destination: "/".into()
            }),
            "`assets/etc` is a link; links are not followed, name what it leads to"
        );
        assert_eq!(
            copy(FileMount::Directory {
                source: app.path().join("other.txt"),
                destination: "/".into()
            }),
            "`other.txt` is not a directory; a mount's `source` is one"
        );
    }

    #[test]
    fn what_is_read_counts_whatever_length_it_says_it_has() {
        // It is of no length, and longer than nothing.
        let endless = Path::new("/proc/self/maps");
        assert_eq!(fs::metadata(endless).unwrap().len(), 0);
        let length = fs::read(endless).unwrap().len() as u64;
        let to = tempfile::tempdir().unwrap();
        for (left, fits) in [(2 * length, true), (length / 2, false)] {
            let mut copier = Copier {
                app: to.path(),
                within: None,
                exclude: Vec::new(),
                left,
            };
            let copied = copier.take(open(endless).unwrap(), &to.path().join("copy"), "maps");
            assert_eq!(copied.is_ok(), fits, "{left} of {length}");
            if fits {
                assert!(copier.left < left, "it was counted");
            }
        }
    }

    #[test]
    fn an_app_that_is_held_to_its_folder_has_no_mount_from_elsewhere() {
        let app = app();
        let outside = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(outside.path()).unwrap();
        let within = Within::new(app.path()).unwrap();
        let copy = |source: PathBuf, within| {
            let destination = "/d".into();
            let mount = FileMount::Directory {
                source,
                destination,
            };
            Files::copy(app.path(), &[mount], &[], within)
        };
        assert!(copy(real.clone(), None).is_ok());
        assert!(copy(app.path().join("assets"), Some(&within)).is_ok());
        let refused = copy(real.clone(), Some(&within)).err().unwrap();
        let shown = real.display();
        assert_eq!(
            refused.to_string(),
            format!("`{shown}` leads to `{shown}`, which is not in the app's own folder")
        );
    }
}
