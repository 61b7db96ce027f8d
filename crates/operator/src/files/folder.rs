//! Reads objects from a directory: one folder per cluster, manifests as `kubectl get -o yaml` prints them.
//!
//! A folder remembers which file has which objects, so that a changed file leads to a few changes and not to a new
//! start. A document that cannot be read is named and skipped, and its object keeps its previous version.

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

use crate::stopping::{Stopping, send};
use landfall_controller::change::{Change, ObjectEvent};
use landfall_controller::manifest::{Document, documents};
use landfall_controller::object::{Kind, ObjectRef};

/// Reason why a directory cannot be used.
#[derive(Debug, Error)]
pub enum FilesError {
    #[error("cannot read {}, which should be a folder with one sub-folder per cluster", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} has no sub-folder; make one per cluster, named by the cluster's id, and put its manifests there", path.display())]
    Empty { path: PathBuf },
    #[error("the name of folder {} is not a cluster id; rename it", path.display())]
    Name { path: PathBuf, source: InvalidName },
}

/// Reason why a folder cannot be followed any more.
#[derive(Debug, Error)]
pub enum FollowError {
    #[error("cannot watch {} for changes", path.display())]
    Unwatchable { path: PathBuf, source: notify::Error },
    #[error("the reader of the manifests panicked")]
    Panicked { source: tokio::task::JoinError },
}

/// Limit of queued events. A full queue holds back the thread that reads them from the system.
const MAX_QUEUED_EVENTS: usize = 1024;
/// Pause after the first of several changes, such as those of a `git checkout`, so that they are read together.
const SETTLE_PAUSE: Duration = Duration::from_millis(5);

/// Pause after a file was removed. Programs that replace a file remove the old one before the new one is complete.
const REPLACE_PAUSE: Duration = Duration::from_millis(100);
/// Interval of looking for a folder that was removed.
const ABSENT_INTERVAL: Duration = Duration::from_millis(200);

/// A problem in a file.
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

/// Content of one file.
#[derive(Debug, Default)]
struct File {
    objects: BTreeSet<(Kind, ObjectRef)>,
    problems: Vec<FileProblem>,
}

/// Returns the folders of a directory, ordered by cluster id. Does not read their files yet.
pub fn folders(dir: &Path) -> Result<Vec<Folder>, FilesError> {
    let unreadable = |source| FilesError::Unreadable { path: dir.to_owned(), source };
    // The system reports changes by absolute paths.
    let absolute = std::path::absolute(dir).map_err(unreadable)?;
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(&absolute).map_err(unreadable)? {
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

/// Returns the manifests beside the folders, which belong to no cluster.
pub fn strays(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut strays: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.is_file() && is_manifest(path)).collect();
    strays.sort();
    strays
}

impl Folder {
    /// Reads everything in the folder. Returns complete lists of all kinds.
    pub fn load(&mut self) -> Vec<ObjectEvent> {
        let mut changes: Vec<ObjectEvent> = Kind::ALL.into_iter().map(ObjectEvent::ListBegins).collect();
        for path in manifests(&self.path) {
            changes.extend(self.reload(&path));
        }
        changes.extend(Kind::ALL.into_iter().map(ObjectEvent::ListEnds));
        changes
    }

    /// Reads a path that changed or was removed: a file, or a folder with all files that were or are in it.
    pub fn reload_below(&mut self, path: &Path) -> Vec<ObjectEvent> {
        if is_manifest(path) && !path.is_dir() {
            return self.reload(path);
        }
        let known = self.files.keys().filter(|file| file.starts_with(path)).cloned();
        let files: BTreeSet<PathBuf> = known.chain(manifests(path)).collect();
        files.iter().flat_map(|file| self.reload(file)).collect()
    }

    fn reload(&mut self, path: &Path) -> Vec<ObjectEvent> {
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
        for Document { line, read, unknown } in documents(&text) {
            let unknown = unknown.into_iter().map(|what| FileProblem { path: path.to_owned(), line, what });
            file.problems.extend(unknown);
            match read {
                Ok(object) => {
                    file.objects.insert((object.kind(), object.reference()));
                    changes.push(ObjectEvent::Apply { object, origin: Some(Arc::clone(&origin)) });
                }
                Err(malformed) => {
                    // The object keeps its previous version. If it cannot be identified, all objects of the file do.
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

    /// Returns a line for each object that two files have: its version then depends on which file was read last.
    pub fn duplicates(&self) -> Vec<String> {
        let mut first: BTreeMap<&(Kind, ObjectRef), &Path> = BTreeMap::new();
        let mut found = Vec::new();
        for (path, file) in &self.files {
            for object in &file.objects {
                if let Some(other) = first.insert(object, path) {
                    let (kind, name) = object;
                    found.push(format!("{}: {kind} {name} is in {} too; keep one", path.display(), other.display()));
                }
            }
        }
        found
    }

    /// Returns the problems of all files.
    pub fn problems(&self) -> impl Iterator<Item = &FileProblem> {
        self.files.values().flat_map(|file| &file.problems)
    }

    /// Returns the changes that follow when a file does not have these objects any more. An object that another file
    /// has too is not deleted, but read from that file.
    fn deletions(&self, objects: BTreeSet<(Kind, ObjectRef)>) -> Vec<ObjectEvent> {
        let mut changes = Vec::new();
        for object in objects {
            match self.files.iter().find(|(_, file)| file.objects.contains(&object)) {
                Some((other, _)) => changes.extend(read_object(other, &object)),
                None => changes.push(ObjectEvent::Delete(object.0, object.1)),
            }
        }
        changes
    }
}

/// Reads one object from a file.
fn read_object(path: &Path, wanted: &(Kind, ObjectRef)) -> Option<ObjectEvent> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut objects = documents(&text).into_iter().filter_map(|document| document.read.ok());
    let object = objects.find(|object| (object.kind(), object.reference()) == *wanted)?;
    Some(ObjectEvent::Apply { object, origin: Some(path.into()) })
}

/// Loads the folder, then reads all changes in it, until the receiver is gone. `problems` gets the present problems of
/// the files. `readers` limits how many folders are read at once: with one per core the first cluster answers long
/// before the last one is read.
pub async fn follow(
    mut folder: Folder,
    changes: mpsc::Sender<Change>,
    problems: watch::Sender<Vec<FileProblem>>,
    readers: Arc<Semaphore>,
) -> Result<(), FollowError> {
    let mut paths = None;
    let (mut watcher, mut events) = watch_below(&folder.path)?;
    loop {
        let turn = Arc::clone(&readers).acquire_owned().await;
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let changes: Vec<ObjectEvent> = match paths {
                None => folder.load(),
                Some(paths) => BTreeSet::iter(&paths).flat_map(|path: &PathBuf| folder.reload_below(path)).collect(),
            };
            (folder, changes)
        });
        let (read_folder, read_changes) = read.await.map_err(|source| FollowError::Panicked { source })?;
        folder = read_folder;
        problems.send_if_modified(|known| {
            let found: Vec<FileProblem> = folder.problems().cloned().collect();
            std::mem::replace(known, found.clone()) != found
        });
        if send_all(&changes, read_changes).await.is_err() {
            return Ok(());
        }
        let touched = next_paths(&mut events, &folder.path).await;
        if touched.contains(&folder.path) {
            // The folder itself was removed or replaced, or events were lost: the watch may be of a folder that is
            // gone.
            drop(watcher);
            if !folder.path.is_dir() && send_all(&changes, folder.reload_below(&folder.path.clone())).await.is_err() {
                return Ok(());
            }
            while !folder.path.is_dir() && !changes.is_closed() {
                tokio::time::sleep(ABSENT_INTERVAL).await;
            }
            (watcher, events) = watch_below(&folder.path)?;
        }
        paths = Some(touched);
    }
}

async fn send_all(changes: &mpsc::Sender<Change>, read: Vec<ObjectEvent>) -> Result<(), Stopping> {
    for change in read {
        send(changes, change).await?;
    }
    Ok(())
}

/// A change of a path.
#[derive(Debug)]
enum Event {
    /// The path exists and is complete.
    Settled(PathBuf),
    /// The path was removed or renamed. Its replacement may not be complete yet; another event follows when it is.
    Gone(PathBuf),
}

/// Waits for changes, and returns the paths of those that come together.
async fn next_paths(events: &mut mpsc::Receiver<Event>, folder: &Path) -> BTreeSet<PathBuf> {
    let Some(first) = events.recv().await else { return BTreeSet::from([folder.to_owned()]) };
    let wait = if matches!(first, Event::Gone(_)) { REPLACE_PAUSE } else { SETTLE_PAUSE };
    tokio::time::sleep(wait).await;
    let mut found = vec![first];
    while let Ok(event) = events.try_recv() {
        found.push(event);
    }
    let settled = |event: Event| match event {
        Event::Settled(path) => Some(path),
        Event::Gone(path) => (path == folder || !path.is_file()).then_some(path),
    };
    found.into_iter().filter_map(settled).collect()
}

/// Watches a folder. Reports every path below it that was written and closed, moved, created or removed, and the folder
/// itself if events were lost.
fn watch_below(folder: &Path) -> Result<(notify::RecommendedWatcher, mpsc::Receiver<Event>), FollowError> {
    let unwatchable = |source| FollowError::Unwatchable { path: folder.to_owned(), source };
    let (events, queue) = mpsc::channel(MAX_QUEUED_EVENTS);
    let root = folder.to_owned();
    // Holding back the thread that reads from the system is better than losing a change.
    let on_event = move |event: notify::Result<notify::Event>| match event {
        Ok(event) if !event.need_rescan() => {
            let event_of = classify(event.kind);
            event.paths.into_iter().filter_map(event_of).for_each(|event| drop(events.blocking_send(event)));
        }
        Ok(_) | Err(_) => drop(events.blocking_send(Event::Settled(root.clone()))),
    };
    let mut watcher = notify::recommended_watcher(on_event).map_err(unwatchable)?;
    watcher.watch(folder, notify::RecursiveMode::Recursive).map_err(unwatchable)?;
    Ok((watcher, queue))
}

/// Returns the function from a path to its event. A file that is being written is read when it is closed, because half
/// a manifest would be a different fleet. Where the system does not report closing, every change counts.
fn classify(kind: notify::EventKind) -> fn(PathBuf) -> Option<Event> {
    use notify::EventKind;
    use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
    let reports_closing = cfg!(target_os = "linux");
    match kind {
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => |path| Some(Event::Gone(path)),
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => |path| Some(Event::Settled(path)),
        EventKind::Access(_) => |_| None,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) | EventKind::Create(CreateKind::File)
            if reports_closing =>
        {
            |_| None
        }
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Other => {
            |path| Some(Event::Settled(path))
        }
    }
}

/// Returns all manifests below a folder, in order.
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
    let known = |extension: &str| ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known));
    !hidden && extension.is_some_and(known)
}
