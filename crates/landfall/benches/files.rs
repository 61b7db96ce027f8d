//! Speed of file mode: from start to the first answer, from a changed file to a changed answer; and its memory.
//!
//! 1,000 services of 10 clusters, each exported by all of them, as YAML: 110,000 documents. `cargo bench --bench files`.

#![allow(clippy::disallowed_methods, reason = "it measures time")]

#[path = "../examples/client/mod.rs"]
mod client;

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use client::{Client, Fleet};

const SERVICES: usize = 1000;
const CLUSTERS: usize = 10;
const CHANGES: usize = 50;

fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let size = write_fleet(dir.path())?;
    println!("{SERVICES} services x {CLUSTERS} clusters, {} MB of YAML", size >> 20);

    let started = Instant::now();
    let fleet = Fleet::up(Path::new(env!("CARGO_BIN_EXE_landfall")), dir.path(), CLUSTERS)?;
    let mut clients = fleet.servers().take(CLUSTERS).map(Client::new).collect::<Result<Vec<_>>>()?;
    let mut answered = Vec::new();
    while answered.len() < CLUSTERS {
        clients.retain_mut(|client| {
            let right = client.addresses(&name(SERVICES - 1)).is_ok_and(|addresses| !addresses.is_empty());
            answered.extend(right.then(|| started.elapsed()));
            !right
        });
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("start to first answer       {:8.0} ms", millis(answered[0]));
    println!("start to answer of all {CLUSTERS}   {:8.0} ms", millis(answered[CLUSTERS - 1]));

    let mut client = Client::new(fleet.servers().next().context("no server")?)?;
    let mut times = Vec::new();
    for change in 0..CHANGES {
        let address = Ipv4Addr::new(10, 9, 9, u8::try_from(change + 1)?);
        let changed = Instant::now();
        std::fs::write(dir.path().join("c0/changing.yaml"), slice(0, 0, address))?;
        client.wait_until(&name(0), |addresses| addresses == [address])?;
        times.push(changed.elapsed());
    }
    times.sort_unstable();
    let (p50, p99) = (times[CHANGES / 2], times[CHANGES * 99 / 100]);
    println!("changed file to answer      {:8.1} ms p50, {:.1} ms p99 ({CHANGES} changes)", millis(p50), millis(p99));
    println!("resident memory             {:8.0} MB for all {CLUSTERS} clusters", resident(fleet.pid())? / 1024.0);
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn name(service: usize) -> String {
    format!("svc-{service}.shop.svc.clusterset.local")
}

/// Writes a folder per cluster: a file with all imports, a file with slices per exporter, and one that will be changed.
fn write_fleet(dir: &Path) -> Result<u64> {
    let mut size = 0;
    let mut write = |path: &Path, text: &str| {
        size += text.len() as u64;
        std::fs::write(path, text)
    };
    for cluster in 0..CLUSTERS {
        let folder = dir.join(format!("c{cluster}"));
        std::fs::create_dir(&folder)?;
        let imports: String = (0..SERVICES).map(import).collect();
        write(&folder.join("imports.yaml"), &imports)?;
        for exporter in 0..CLUSTERS {
            let address = |service: usize| Ipv4Addr::from(0x0A00_0000 + (exporter * 65_536 + service) as u32 + 1);
            // The local slice of the first service is the one that changes, in a file of its own.
            let first = usize::from(exporter == cluster);
            let slices: String = (first..SERVICES).map(|service| slice(service, exporter, address(service))).collect();
            write(&folder.join(format!("slices-c{exporter}.yaml")), &slices)?;
        }
        write(&folder.join("changing.yaml"), &slice(0, cluster, Ipv4Addr::new(10, 9, 9, 0)))?;
    }
    Ok(size)
}

fn import(service: usize) -> String {
    let mut text = format!(
        "---\napiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceImport\nmetadata:\n  name: svc-{service}\n  namespace: \
         shop\nspec:\n  ports:\n  - name: http\n    port: 8080\n    protocol: TCP\n  sessionAffinity: None\n  type: \
         ClusterSetIP\nstatus:\n  clusters:\n"
    );
    (0..CLUSTERS).for_each(|cluster| writeln!(text, "  - cluster: c{cluster}").unwrap_or_default());
    text
}

fn slice(service: usize, exporter: usize, address: Ipv4Addr) -> String {
    format!(
        "---\naddressType: IPv4\napiVersion: discovery.k8s.io/v1\nendpoints:\n- addresses:\n  - {address}\n  conditions:\n    \
         ready: true\nkind: EndpointSlice\nmetadata:\n  annotations:\n    lighthouse.submariner.io/globalnet-enabled: \
         \"false\"\n    lighthouse.submariner.io/publish-not-ready-addresses: \"false\"\n  labels:\n    \
         endpointslice.kubernetes.io/managed-by: lighthouse-agent.submariner.io\n    lighthouse.submariner.io/is-headless: \
         \"false\"\n    lighthouse.submariner.io/sourceNamespace: shop\n    \
         multicluster.kubernetes.io/service-name: svc-{service}\n    multicluster.kubernetes.io/source-cluster: \
         c{exporter}\n  name: svc-{service}-c{exporter}x\n  namespace: shop\nports:\n- name: http\n  port: 8080\n  protocol: \
         TCP\n"
    )
}

/// Returns the resident memory in KiB, as the kernel reports it.
fn resident(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
