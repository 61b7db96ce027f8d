//! Commands that cannot run end at once, with one line that names the remedy, and with exit code 2.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use landfall_e2e::control_plane::free_port;
use landfall_e2e::landfall::RELEASE_NAMESPACE;
use landfall_e2e::landfall::run_to_end;
use landfall_e2e::{Cluster, objects, run};
use serde_json::json;

const TIMEOUT: Duration = Duration::from_secs(10);

#[test]
fn missing_crds_end_both_commands_with_one_line_that_names_them() -> Result<()> {
    run(async {
        let cluster = Cluster::bare("no-crds", "east").await?;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": RELEASE_NAMESPACE}});
        objects::apply(cluster.client(), &namespace).await?;
        let kubeconfig = cluster.control_plane.admin_kubeconfig()?;
        for command in ["operator", "dns"] {
            let line = only_line(command, &kubeconfig, &cluster.folder().join("log").join(command)).await?;
            ensure!(line.contains("serviceselections.landfall.dev"), "{command} does not name the CRD: {line}");
        }
        Ok(())
    })
}

#[test]
fn missing_or_invalid_kubeconfig_ends_both_commands_with_one_line() -> Result<()> {
    run(async {
        let folder = landfall_e2e::files::run_folder()?.join("kubeconfigs");
        std::fs::create_dir_all(&folder)?;
        let broken = folder.join("broken");
        std::fs::write(&broken, "clusters: [")?;
        for command in ["operator", "dns"] {
            for kubeconfig in [folder.join("missing"), broken.clone()] {
                let log =
                    folder.join(format!("{command}-{}.log", kubeconfig.file_name().unwrap_or_default().display()));
                let line = only_line(command, &kubeconfig, &log).await?;
                let named = line.contains(&kubeconfig.display().to_string());
                ensure!(named, "{command} does not name the file {}: {line}", kubeconfig.display());
            }
        }
        Ok(())
    })
}

/// Runs a command that must end with exit code 2 and one line of output. Returns the line.
async fn only_line(command: &str, kubeconfig: &Path, log: &Path) -> Result<String> {
    let mut arguments: Vec<OsString> =
        [command, "--cluster-id", "east", "--namespace", RELEASE_NAMESPACE].map(OsString::from).into();
    arguments.extend(["--kubeconfig".into(), kubeconfig.into()]);
    arguments.extend(["--admin".into(), format!("127.0.0.1:{}", free_port()?).into()]);
    arguments.extend(match command {
        // The default port for probes is one that another test may use at the same time.
        "dns" => vec![
            "--listen".into(),
            format!("127.0.0.1:{}", free_port()?).into(),
            "--probe".into(),
            format!("127.0.0.1:{}", free_port()?).into(),
        ],
        _ => vec!["--identity".into(), "it".into()],
    });
    let (status, printed) = run_to_end(&arguments, log, TIMEOUT).await?;
    ensure!(status.code() == Some(2), "{command} ended with {status}: {printed}");
    ensure!(printed.lines().count() == 1, "{command} printed more than one line: {printed}");
    Ok(printed)
}
