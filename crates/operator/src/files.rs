//! Objects from a directory: one folder per cluster, manifests as `kubectl get -o yaml` prints them.
//!
//! A folder remembers which file brought which objects, so that a changed file is a few changes and not a new start. What
//! cannot be read is named and skipped, and the object stays as it was before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use landfall_core::name::{ClusterId, InvalidName};
use notify::Watcher;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, watch};

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

/// Why a folder cannot be followed any more.
#[derive(Debug, Error)]
pub enum FollowError {
    #[error("cannot watch {} for changes", path.display())]
    Unwatchable { path: PathBuf, source: notify::Error },
    #[error("the reader of the manifests panicked")]
    Panicked { source: tokio::task::JoinError },
}

/// Paths that wait to be read.
const EVENTS: usize = 1024;
/// After the first change of several, such as those of a `git checkout`, so that they are read together.
const SETTLE: Duration = Duration::from_millis(5);

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

    /// What a change of that path, or its removal, changes: a file, or a folder and all that was or is in it.
    pub fn reload_below(&mut self, path: &Path) -> Vec<Change> {
        let known = self.files.keys().filter(|file| file.starts_with(path)).cloned();
        let mut files: BTreeSet<PathBuf> = known.collect();
        match path.is_dir() {
            true => files.extend(manifests(path)),
            false => files.extend(is_manifest(path).then(|| path.to_owned())),
        }
        files.iter().flat_map(|file| self.reload(file)).collect()
    }

    fn reload(&mut self, path: &Path) -> Vec<Change> {
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
        let origin: Arc<Path> = path.into();
        let mut file = File::default();
        let mut changes = Vec::new();
        for Document { line, read } in documents(&text) {
            match read {
                Ok(object) => {
                    file.objects.insert((object.kind(), reference(&object)));
                    changes.push(Change::Apply { object, origin: Some(Arc::clone(&origin)) });
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

    /// An object that another file has too is not gone.
    fn deletions(&self, objects: BTreeSet<(Kind, ObjectRef)>) -> Vec<Change> {
        let elsewhere = |object: &(Kind, ObjectRef)| self.files.values().any(|file| file.objects.contains(object));
        let gone = objects.into_iter().filter(|object| !elsewhere(object));
        gone.map(|(kind, object)| Change::Delete(kind, object)).collect()
    }
}

/// Loads the folder, and then whatever changes in it, until the receiver is gone. `problems` is what is wrong with the
/// files at the moment. `readers` is how many folders may be read at once: with one per core the first cluster answers
/// long before the last one is read.
pub async fn follow(
    mut folder: Folder,
    changes: mpsc::Sender<Change>,
    problems: watch::Sender<Vec<FileProblem>>,
    readers: Arc<Semaphore>,
) -> Result<(), FollowError> {
    let (events, mut touched) = mpsc::channel(EVENTS);
    let _watcher = watch_below(&folder.path, events)?;
    let mut paths = BTreeSet::new();
    loop {
        let turn = Arc::clone(&readers).acquire_owned().await;
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let changes: Vec<Change> = match paths.is_empty() {
                true => folder.load(),
                false => paths.iter().flat_map(|path: &PathBuf| folder.reload_below(path)).collect(),
            };
            (folder, changes)
        });
        let (read_folder, read_changes) = read.await.map_err(|source| FollowError::Panicked { source })?;
        folder = read_folder;
        problems.send_if_modified(|known| {
            let found: Vec<FileProblem> = folder.problems().cloned().collect();
            std::mem::replace(known, found.clone()) != found
        });
        for change in read_changes {
            if changes.send(change).await.is_err() {
                return Ok(());
            }
        }
        let Some(first) = touched.recv().await else { return Ok(()) };
        tokio::time::sleep(SETTLE).await;
        paths = BTreeSet::from([first]);
        while let Ok(path) = touched.try_recv() {
            paths.insert(path);
        }
    }
}

/// Tells of every path below `folder` that was written to its end, moved, made or removed.
fn watch_below(folder: &Path, events: mpsc::Sender<PathBuf>) -> Result<notify::RecommendedWatcher, FollowError> {
    let unwatchable = |source| FollowError::Unwatchable { path: folder.to_owned(), source };
    let told = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        if is_finished(event.kind) {
            // Holding back the thread that listens to the system is better than losing a change.
            event.paths.into_iter().for_each(|path| drop(events.blocking_send(path)));
        }
    };
    let mut watcher = notify::recommended_watcher(told).map_err(unwatchable)?;
    watcher.watch(folder, notify::RecursiveMode::Recursive).map_err(unwatchable)?;
    Ok(watcher)
}

/// A file that is being written is looked at when it is closed; half a manifest would be a different fleet. Where the
/// system does not tell of closing, every change counts.
fn is_finished(kind: notify::EventKind) -> bool {
    use notify::EventKind;
    use notify::event::{AccessKind, AccessMode, ModifyKind};
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => !cfg!(target_os = "linux"),
        EventKind::Create(notify::event::CreateKind::File) => !cfg!(target_os = "linux"),
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
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
