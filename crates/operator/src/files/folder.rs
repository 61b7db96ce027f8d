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

use landfall_controller::change::{Change, ObjectEvent};
use landfall_controller::manifest::{Document, documents};
use landfall_controller::object::{Kind, ObjectRef};

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

/// Events that wait to be read.
const EVENTS: usize = 1024;
/// After the first change of several, such as those of a `git checkout`, so that they are read together.
const SETTLE: Duration = Duration::from_millis(5);

/// After a file went: programs that replace a file remove the old one before they have written the new one.
const REPLACED: Duration = Duration::from_millis(100);
/// Between two looks for a folder that is gone.
const ABSENT: Duration = Duration::from_millis(200);

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
    // The system tells of changes by absolute paths.
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

/// Manifests beside the folders, which are nobody's.
pub fn strays(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut strays: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.is_file() && is_manifest(path)).collect();
    strays.sort();
    strays
}

impl Folder {
    /// Everything in the folder, as complete lists of all kinds.
    pub fn load(&mut self) -> Vec<ObjectEvent> {
        let mut changes: Vec<ObjectEvent> = Kind::ALL.into_iter().map(ObjectEvent::ListBegins).collect();
        for path in manifests(&self.path) {
            changes.extend(self.reload(&path));
        }
        changes.extend(Kind::ALL.into_iter().map(ObjectEvent::ListEnds));
        changes
    }

    /// What a change of that path, or its removal, changes: a file, or a folder and all that was or is in it.
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

    /// Objects that are in two files: which of them counts depends on which was read last.
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

    pub fn problems(&self) -> impl Iterator<Item = &FileProblem> {
        self.files.values().flat_map(|file| &file.problems)
    }

    /// An object that another file has too is not gone, but as that file says.
    fn deletions(&self, objects: BTreeSet<(Kind, ObjectRef)>) -> Vec<ObjectEvent> {
        let mut changes = Vec::new();
        for object in objects {
            match self.files.iter().find(|(_, file)| file.objects.contains(&object)) {
                Some((other, _)) => changes.extend(applied_from(other, &object)),
                None => changes.push(ObjectEvent::Delete(object.0, object.1)),
            }
        }
        changes
    }
}

/// What a file says of one object.
fn applied_from(path: &Path, wanted: &(Kind, ObjectRef)) -> Option<ObjectEvent> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut objects = documents(&text).into_iter().filter_map(|document| document.read.ok());
    let object = objects.find(|object| (object.kind(), object.reference()) == *wanted)?;
    Some(ObjectEvent::Apply { object, origin: Some(path.into()) })
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
        if send(&changes, read_changes).await.is_err() {
            return Ok(());
        }
        let touched = next_paths(&mut events, &folder.path).await;
        if touched.contains(&folder.path) {
            // The folder itself went or was replaced, or events were lost: what is watched may not be it any more.
            drop(watcher);
            if !folder.path.is_dir() && send(&changes, folder.reload_below(&folder.path.clone())).await.is_err() {
                return Ok(());
            }
            while !folder.path.is_dir() && !changes.is_closed() {
                tokio::time::sleep(ABSENT).await;
            }
            (watcher, events) = watch_below(&folder.path)?;
        }
        paths = Some(touched);
    }
}

/// The receiver is gone: all is ending.
struct Ending;

async fn send(changes: &mpsc::Sender<Change>, read: Vec<ObjectEvent>) -> Result<(), Ending> {
    for change in read {
        changes.send(change.into()).await.map_err(|_| Ending)?;
    }
    Ok(())
}

/// What happened to a path.
#[derive(Debug)]
enum Event {
    /// It is there, and complete.
    Settled(PathBuf),
    /// It was removed or renamed; what takes its place may not be complete yet, and will be told of when it is.
    Gone(PathBuf),
}

/// What changed since the last time, all that comes together together.
async fn next_paths(events: &mut mpsc::Receiver<Event>, folder: &Path) -> BTreeSet<PathBuf> {
    let Some(first) = events.recv().await else { return BTreeSet::from([folder.to_owned()]) };
    let wait = if matches!(first, Event::Gone(_)) { REPLACED } else { SETTLE };
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

/// Tells of every path below `folder` that was written to its end, moved, made or removed; of the folder itself when
/// events were lost.
fn watch_below(folder: &Path) -> Result<(notify::RecommendedWatcher, mpsc::Receiver<Event>), FollowError> {
    let unwatchable = |source| FollowError::Unwatchable { path: folder.to_owned(), source };
    let (events, told) = mpsc::channel(EVENTS);
    let root = folder.to_owned();
    // Holding back the thread that listens to the system is better than losing a change.
    let tell = move |event: notify::Result<notify::Event>| match event {
        Ok(event) if !event.need_rescan() => {
            let of = event_of(event.kind);
            event.paths.into_iter().filter_map(of).for_each(|event| drop(events.blocking_send(event)));
        }
        Ok(_) | Err(_) => drop(events.blocking_send(Event::Settled(root.clone()))),
    };
    let mut watcher = notify::recommended_watcher(tell).map_err(unwatchable)?;
    watcher.watch(folder, notify::RecursiveMode::Recursive).map_err(unwatchable)?;
    Ok((watcher, told))
}

/// A file that is being written is looked at when it is closed; half a manifest would be a different fleet. Where the
/// system does not tell of closing, every change counts.
fn event_of(kind: notify::EventKind) -> fn(PathBuf) -> Option<Event> {
    use notify::EventKind;
    use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
    let tells_of_closing = cfg!(target_os = "linux");
    match kind {
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => |path| Some(Event::Gone(path)),
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => |path| Some(Event::Settled(path)),
        EventKind::Access(_) => |_| None,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) | EventKind::Create(CreateKind::File)
            if tells_of_closing =>
        {
            |_| None
        }
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Other => {
            |path| Some(Event::Settled(path))
        }
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
    let known = |extension: &str| ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known));
    !hidden && extension.is_some_and(known)
}
