//! Objects from a directory: one folder per cluster, manifests as `kubectl get -o yaml` prints them.
//!
//! A folder remembers which file brought which objects, so that a changed file is a few changes and not a new start. What
//! cannot be read is named and skipped, and the object stays as it was before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use landfall_core::name::{ClusterId, InvalidName};
use thiserror::Error;

use crate::accept::reference;
use crate::manifest::{Document, documents};
use crate::object::{Kind, ObjectRef};
use crate::stores::Change;

#[derive(Debug, Error)]
pub enum FilesError {
    #[error("cannot read {}, which should be a folder with one sub-folder per cluster", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} has no sub-folder; make one per cluster, named by the cluster's id, and put its manifests there", path.display())]
    Empty { path: PathBuf },
    #[error("folder {} is not named by the id of a cluster", path.display())]
    Name { path: PathBuf, source: InvalidName },
}

/// What is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileProblem {
    pub path: PathBuf,
    /// Counted from 1.
    pub line: usize,
    pub what: String,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.what)
    }
}

/// The manifests of one cluster.
#[derive(Debug)]
pub struct Folder {
    pub cluster: ClusterId,
    pub path: PathBuf,
    files: BTreeMap<PathBuf, File>,
}

#[derive(Debug, Default)]
struct File {
    objects: BTreeSet<(Kind, ObjectRef)>,
    problems: Vec<FileProblem>,
}

/// The folders of a directory, by cluster id. Nothing in them is read yet.
pub fn folders(dir: &Path) -> Result<Vec<Folder>, FilesError> {
    let unreadable = |source| FilesError::Unreadable { path: dir.to_owned(), source };
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && !name.starts_with('.') {
            let cluster = ClusterId::new(&name).map_err(|source| FilesError::Name { path: path.clone(), source })?;
            folders.push(Folder { cluster, path, files: BTreeMap::new() });
        }
    }
    folders.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    if folders.is_empty() { Err(FilesError::Empty { path: dir.to_owned() }) } else { Ok(folders) }
}

impl Folder {
    /// Everything in the folder, as complete lists of all kinds.
    pub fn load(&mut self) -> Vec<Change> {
        let mut changes: Vec<Change> = Kind::ALL.into_iter().map(Change::ListBegins).collect();
        for path in manifests(&self.path) {
            changes.extend(self.reload(&path));
        }
        changes.extend(Kind::ALL.into_iter().map(Change::ListEnds));
        changes
    }

    /// What a change of that file, or its removal, changes.
    pub fn reload(&mut self, path: &Path) -> Vec<Change> {
        if !is_manifest(path) {
            return Vec::new();
        }
        let before = self.files.remove(path).unwrap_or_default();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.deletions(before.objects),
            Err(error) => {
                let problem = FileProblem { path: path.to_owned(), line: 1, what: format!("cannot be read: {error}") };
                self.files.insert(path.to_owned(), File { problems: vec![problem], ..before });
                return Vec::new();
            }
        };
        let mut file = File::default();
        let mut changes = Vec::new();
        for Document { line, read } in documents(&text) {
            match read {
                Ok(object) => {
                    file.objects.insert((object.kind(), reference(&object)));
                    changes.push(Change::Apply(object));
                }
                Err(malformed) => {
                    // What it was before stays in force; when it cannot even be told which object it is, all of them.
                    match malformed.object {
                        Some(object) => file.objects.extend(before.objects.contains(&object).then_some(object)),
                        None => file.objects.extend(before.objects.iter().cloned()),
                    }
                    let line = line + malformed.line;
                    file.problems.push(FileProblem { path: path.to_owned(), line, what: malformed.what });
                }
            }
        }
        let gone = before.objects.difference(&file.objects).cloned().collect();
        self.files.insert(path.to_owned(), file);
        changes.extend(self.deletions(gone));
        changes
    }

    pub fn problems(&self) -> impl Iterator<Item = &FileProblem> {
        self.files.values().flat_map(|file| &file.problems)
    }

    /// The file that an object came from.
    pub fn file_of(&self, kind: Kind, object: &ObjectRef) -> Option<&Path> {
        let entry = (kind, object.clone());
        self.files.iter().find(|(_, file)| file.objects.contains(&entry)).map(|(path, _)| path.as_path())
    }

    /// An object that another file has too is not gone.
    fn deletions(&self, objects: BTreeSet<(Kind, ObjectRef)>) -> Vec<Change> {
        let elsewhere = |object: &(Kind, ObjectRef)| self.files.values().any(|file| file.objects.contains(object));
        let gone = objects.into_iter().filter(|object| !elsewhere(object));
        gone.map(|(kind, object)| Change::Delete(kind, object)).collect()
    }
}

/// All manifests below a folder, in order.
fn manifests(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(manifests(&path));
        } else if is_manifest(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn is_manifest(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && matches!(extension, Some("yaml" | "yml" | "json"))
}
