//! Where things are: the repository, the programs under test, and the folder of this run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

/// The repository's root.
#[must_use]
pub fn repository() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/e2e is two folders down").into()
    })
}

/// A file or folder of the test's own data, such as `lighthouse-v0.19/headless.yaml`.
#[must_use]
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

/// The folder with `hyperkube` and `helm`: `LANDFALL_E2E_BIN`, or what `scripts/controlplane.sh` builds (minutes,
/// when nothing is built yet).
pub fn control_plane_programs() -> Result<&'static Path> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    if let Some(folder) = FOLDER.get() {
        return Ok(folder);
    }
    let folder = match std::env::var_os("LANDFALL_E2E_BIN") {
        Some(folder) => PathBuf::from(folder),
        None => build_control_plane_programs()?,
    };
    ensure!(
        folder.join("hyperkube").is_file(),
        "{} has no hyperkube: LANDFALL_E2E_BIN must be what scripts/controlplane.sh prints",
        folder.display()
    );
    Ok(FOLDER.get_or_init(|| folder))
}

fn build_control_plane_programs() -> Result<PathBuf> {
    let script = repository().join("scripts/controlplane.sh");
    let output = Command::new(&script).arg("all").stderr(std::process::Stdio::inherit()).output();
    let output = output.with_context(|| format!("run {}", script.display()))?;
    ensure!(output.status.success(), "{} failed: {}", script.display(), output.status);
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

/// The program under test: `LANDFALL_BIN`, else the newest kind of build there is.
pub fn landfall_program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("LANDFALL_BIN") {
        return Ok(path.into());
    }
    let builds = ["target/release/landfall", "target/debug/landfall"].map(|path| repository().join(path));
    builds
        .into_iter()
        .find(|path| path.is_file())
        .context("no landfall program: run `cargo build --release -p landfall`, or set LANDFALL_BIN")
}

/// The folder in which this process keeps its clusters' state and logs. Those of processes that are gone are removed
/// when a new one begins, so the logs of the last run stay readable until the next.
pub fn run_folder() -> Result<&'static Path> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    if let Some(folder) = FOLDER.get() {
        return Ok(folder);
    }
    let parent = repository().join("target/e2e");
    fs::create_dir_all(&parent)?;
    remove_runs_of_ended_processes(&parent)?;
    let folder = parent.join(format!("run-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(FOLDER.get_or_init(|| folder))
}

fn remove_runs_of_ended_processes(parent: &Path) -> Result<()> {
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        let owner = path.file_name().and_then(|name| name.to_str()?.strip_prefix("run-"));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Two test processes may begin at once and remove the same folder; either of them is enough.
            let _ = fs::remove_dir_all(&path);
        }
    }
    Ok(())
}
