//! Paths of the repository, the programs under test, and the folder of this run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

/// Root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/e2e is two folders down").into()
    })
}

/// File or folder of the test data, such as `lighthouse-v0.19/headless.yaml`.
#[must_use]
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

/// Returns the folder with `hyperkube` and `helm`: `LANDFALL_E2E_BIN`, or the folder that `scripts/controlplane.sh`
/// builds, which takes minutes the first time.
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

/// Returns the program under test: `LANDFALL_BIN`, or else the release build, or else the debug build.
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

/// Returns the folder for the state and the logs of this process's clusters. A new process removes the folders of ended
/// ones, so the logs of the last run stay until the next run.
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
            // Two test processes may start at once and remove the same folder. One of them succeeds.
            let _ = fs::remove_dir_all(&path);
        }
    }
    Ok(())
}
