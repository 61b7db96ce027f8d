//! The demo of `make demo`: a fleet of three clusters from files, queried by a real DNS client.
//!
//! Runs the binary as a user would, on a copy of `examples/three-clusters`. Compares the intended split with that of the
//! answers, and then makes an endpoint unready.

#![allow(clippy::disallowed_methods, reason = "it measures time")]

mod client;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use client::{Client, Fleet};
use serde_json::Value;

const QUERIES: u32 = 3000;
const SERVICE: &str = "service-1.demo.svc.clusterset.local";
/// Largest difference between the achieved and the intended share, in parts of 1000.
const MAX_DIFFERENCE: f64 = 10.0;

fn main() -> Result<()> {
    let landfall = landfall()?;
    let example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/three-clusters");
    let dir = tempfile::tempdir()?;
    copy(&example, dir.path())?;

    let intended = intended(&landfall, dir.path())?;
    let fleet = Fleet::up(&landfall, dir.path(), intended.len())?;
    let servers: Vec<(&String, SocketAddr)> = intended.keys().zip(fleet.servers()).collect();
    servers.iter().try_for_each(|(_, server)| Client::new(*server)?.wait_for(SERVICE))?;

    println!("$ landfall up examples/three-clusters --dns {}", servers[0].1);
    println!("\n{SERVICE}, {QUERIES} queries over UDP to the DNS of each cluster:\n");
    println!("  clients in  answered by  intended  achieved  (of 1000)");
    for &(source, server) in &servers {
        let achieved = ask(server, QUERIES)?;
        for (cluster, &intended) in &intended[source] {
            let achieved = achieved.get(cluster).copied().unwrap_or(0.0);
            println!("  {source:10}  {cluster:11}  {intended:8.0}  {achieved:8.1}");
            ensure!((achieved - intended).abs() <= MAX_DIFFERENCE, "{source} -> {cluster}: more than 1 point off");
        }
    }

    println!("\nThe last ready pod of service-1 in c3 becomes unready in the slices of every cluster:\n");
    println!("$ sed -i 's/ready: true/ready: false/' */service-1-c3.endpointslice.yaml");
    let changed = Instant::now();
    make_unready(dir.path())?;
    let (source, server) = servers[0];
    while ask(server, 20)?.contains_key("c3") {
        ensure!(changed.elapsed() < Duration::from_secs(5), "{source} still answers c3 after 5 s");
    }
    println!("\n  the answers followed after {} ms\n", changed.elapsed().as_millis());
    let achieved = ask(server, QUERIES)?;
    for cluster in ["c2", "c3"] {
        println!("  {source:10}  {cluster:11}            {:8.1}", achieved.get(cluster).copied().unwrap_or(0.0));
    }
    ensure!(achieved.keys().eq(["c2"]), "not all answers are c2's: {achieved:?}");
    drop(fleet);
    Ok(())
}

/// Returns the path of the binary, which cargo builds beside the folder of the examples, whatever the profile.
fn landfall() -> Result<PathBuf> {
    let demo = std::env::current_exe()?;
    let profile = demo.parent().and_then(Path::parent).context("the demo is in no folder of cargo")?;
    Ok(profile.join("landfall"))
}

/// Returns the shares of `landfall plan` by source and exporting cluster, in parts of 1000.
fn intended(landfall: &Path, dir: &Path) -> Result<BTreeMap<String, BTreeMap<String, f64>>> {
    let output = Command::new(landfall).arg("plan").arg(dir).args(["-o", "json"]).output()?;
    ensure!(output.status.success(), "landfall plan: {}", String::from_utf8_lossy(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout)?;
    let mut intended = BTreeMap::new();
    for selection in list["items"].as_array().context("no items")? {
        if selection["metadata"]["name"] == "service-1" {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let clusters = selection["status"]["clusters"].as_array().context("no clusters")?;
            let weights =
                clusters.iter().map(|share| (text(&share["cluster"]), share["weight"].as_f64().unwrap_or(0.0)));
            intended.insert(text(&selection["status"]["source"]), weights.collect());
        }
    }
    Ok(intended)
}

/// Returns how many of 1000 answers named each cluster. The service IP of cluster `c2` is 10.2.0.10, and so on.
fn ask(server: SocketAddr, queries: u32) -> Result<BTreeMap<String, f64>> {
    let mut client = Client::new(server)?;
    let mut found = BTreeMap::new();
    for _ in 0..queries {
        let [address] = client.addresses(SERVICE)?[..] else { bail!("not one address") };
        *found.entry(format!("c{}", address.octets()[1])).or_insert(0.0) += 1000.0 / f64::from(queries);
    }
    Ok(found)
}

fn make_unready(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let slice = entry?.path().join("service-1-c3.endpointslice.yaml");
        if !slice.exists() {
            continue;
        }
        let text = std::fs::read_to_string(&slice)?;
        ensure!(text.contains("ready: true"), "{} has no ready endpoint", slice.display());
        std::fs::write(&slice, text.replace("ready: true", "ready: false"))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
