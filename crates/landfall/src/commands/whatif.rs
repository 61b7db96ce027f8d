//! `landfall simulate --live`: compares the present with what it would be after a change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use landfall_controller::accept::{Accepted, accept};
use landfall_controller::explain::BillLine;
use landfall_controller::facts::ClusterFacts;
use landfall_controller::manifest::documents;
use landfall_controller::object::{Kind, Object};
use landfall_controller::pipeline::Pipeline;
use landfall_controller::publish::selection::percent;
use landfall_controller::whatif::{
    Amount, Edit, Outcome, TrialPolicy, apply_trials, clusters, optimized_services, outcome,
};
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_operator::clock::unix_seconds;

use crate::args::{LiveArgs, SimulateArgs};
use crate::output::{self, print, print_findings, render};
use crate::text::list;
use crate::{present, table};
use landfall_controller::whatif::comparison::{ServiceChange, SourceChange, compare, note_overridden};
use landfall_operator::actions::inspect::Inspection;

pub fn run(args: &SimulateArgs) -> Result<u8> {
    let mut present = present::inspect(args.file.as_deref(), &args.live.server)?;
    let mut edits = edits(&args.live, &present.clusters)?;
    let trials: Vec<TrialPolicy> = args.policy.iter().map(|path| trial(path)).collect::<Result<_>>()?;
    let mut keys = services(args.live.service.as_ref(), &present.clusters)?;
    for (trial, path) in trials.iter().zip(&args.policy) {
        let unused = trial.target_services(&present.clusters).is_empty();
        ensure!(
            !unused,
            "{path}: SelectionPolicy {} applies to no service; check its namespace and targetRefs",
            trial.name()
        );
        keys.extend(trial.affected_services(&present.clusters).into_iter().filter(|_| args.live.service.is_none()));
    }
    let before = outcomes(&present, &keys, &[]);
    edits.extend(apply_trials(&trials, &mut present.clusters, unix_seconds()));
    let after = outcomes(&present, &keys, &edits);
    let mut changes = compare(&before, &after);
    trials.iter().for_each(|trial| note_overridden(trial, &present.clusters, &mut changes));
    print_findings(&present.findings);
    print(&render(args.output, || text(&changes), || &changes)?)?;
    let ok = changes.iter().all(ServiceChange::is_ok) && present.findings.is_empty();
    Ok(if ok { output::OK } else { output::FINDINGS })
}

/// Returns all changes. Every cluster that they name exists.
fn edits(args: &LiveArgs, pipelines: &[Pipeline]) -> Result<Vec<Edit>> {
    let mut known = clusters(pipelines);
    let mut edits = Vec::new();
    for path in &args.add_cluster {
        let facts = added(path)?;
        let new = known.insert(facts.cluster.clone());
        ensure!(
            new,
            "--add-cluster {}: {} is there already; there is {}",
            path.display(),
            facts.cluster,
            list(known.iter())
        );
        edits.push(("add-cluster", Edit::Add(Arc::new(facts))));
    }
    let of = |(cluster, amount): &(ClusterId, Amount)| (cluster.clone(), *amount);
    edits.extend(args.outage.iter().map(|cluster| ("outage", Edit::Outage(cluster.clone()))));
    edits.extend(args.demand.iter().map(of).map(|(cluster, amount)| ("demand", Edit::Demand(cluster, amount))));
    edits.extend(args.capacity.iter().map(of).map(|(cluster, amount)| ("capacity", Edit::Capacity(cluster, amount))));
    edits.extend(args.price.iter().cloned().map(|(from, to, usd)| ("price", Edit::Price(from, to, usd))));
    edits.extend(args.rtt.iter().cloned().map(|(a, b, ms)| ("rtt", Edit::Rtt(a, b, ms))));
    for (flag, edit) in &edits {
        if let Some(unknown) = edit.clusters().into_iter().find(|cluster| !known.contains(*cluster)) {
            bail!("--{flag} {unknown}: there is no such cluster; there is {}", list(known.iter()));
        }
    }
    Ok(edits.into_iter().map(|(_, edit)| edit).collect())
}

/// Reads the one object of a kind in a file. Objects of other kinds are allowed.
fn object(path: &Path, kind: Kind) -> Result<Object> {
    let place = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("{place}: cannot be read"))?;
    let mut found = None;
    for document in documents(&text) {
        let object = match document.read {
            Ok(object) => object,
            Err(malformed) => bail!("{place}:{}: {}", document.line + malformed.line, malformed.what),
        };
        if let Some(unknown) = document.unknown.first() {
            bail!("{place}:{}: {unknown}", document.line);
        }
        if object.kind() == kind {
            ensure!(found.replace(object).is_none(), "{place}: has more than one {kind}");
        }
    }
    found.with_context(|| format!("{place}: has no {kind}"))
}

fn added(path: &Path) -> Result<ClusterFacts> {
    let (accepted, left_out) = accept(object(path, Kind::ClusterFacts)?).with_context(|| path.display().to_string())?;
    if let Some(left_out) = left_out {
        bail!("{}: {left_out}", path.display());
    }
    if let Accepted::Facts(facts) = accepted { Ok(facts) } else { bail!("{}: has no facts", path.display()) }
}

/// Reads the SelectionPolicy of a file.
fn trial(path: &str) -> Result<TrialPolicy> {
    TrialPolicy::new(object(Path::new(path), Kind::SelectionPolicy)?).with_context(|| path.to_owned())
}

fn services(only: Option<&ServiceKey>, pipelines: &[Pipeline]) -> Result<BTreeSet<ServiceKey>> {
    let Some(only) = only else { return Ok(optimized_services(pipelines)) };
    let plans = pipelines.iter().filter_map(Pipeline::plan);
    let known: BTreeSet<ServiceKey> = plans.flat_map(|plan| plan.keys()).collect();
    ensure!(known.contains(only), "--service {only}: it is imported nowhere; there is {}", list(known.iter()));
    Ok(BTreeSet::from([only.clone()]))
}

fn outcomes(present: &Inspection, keys: &BTreeSet<ServiceKey>, edits: &[Edit]) -> BTreeMap<ServiceKey, Outcome> {
    let with_outcome = |key: &ServiceKey| Some((key.clone(), outcome(&present.clusters, key, edits, present.now)?));
    keys.iter().filter_map(with_outcome).collect()
}

fn text(changes: &[ServiceChange]) -> String {
    if changes.is_empty() {
        return "no service is optimized: simulate --live compares services with loadBalancing: optimized; try one with --policy FILE\n"
            .to_owned();
    }
    let row = |(change, source): (&ServiceChange, &SourceChange)| {
        let [before, after] =
            [&source.before, &source.after].map(|row| row.as_ref().map_or_else(|| "-".to_owned(), shares));
        let after = if before == after { "the same".to_owned() } else { after };
        [change.service.clone(), source.source.clone(), before, after]
    };
    let all = changes.iter().flat_map(|change| change.sources.iter().map(move |source| (change, source)));
    let mut rows: Vec<[String; 4]> = all.map(row).collect();
    rows.insert(0, ["SERVICE", "CLIENTS IN", "ANSWERED BY", "AFTER THE CHANGE"].map(str::to_owned));
    let mut text = table::align(rows) + "\n" + &totals(changes);
    for change in changes {
        let policy = change.policy.as_deref().unwrap_or_default();
        for overridden in &change.overridden {
            text.push_str(&format!("{}: SelectionPolicy {policy} overrides {overridden}\n", change.service));
        }
        text.extend(change.fallback.map(|why| format!("{}: {why}\n", change.service)));
        for cluster in &change.unmultiplied {
            let unknown = format!(
                "the demand of {cluster} is not known and cannot be multiplied; give it as --demand {cluster}=NUMBER"
            );
            text.push_str(&format!("{}: {unknown}\n", change.service));
        }
        text.extend(change.unanswered.then(|| format!("{}: no cluster answers\n", change.service)));
        for (cluster, part) in &change.over_capacity {
            let why = part
                .map_or_else(|| "no capacity".to_owned(), |part| format!("at {:.0}% of its capacity", 100.0 * part));
            text.push_str(&format!("{}: {cluster} is overloaded: {why}\n", change.service));
        }
    }
    text
}

fn shares(weights: &BTreeMap<String, u32>) -> String {
    let shares: Vec<String> =
        weights.iter().map(|(cluster, weight)| format!("{cluster} {}", percent(*weight))).collect();
    if shares.is_empty() { "none".to_owned() } else { shares.join(" ") }
}

/// Formats what each service costs over the clients of all clusters, before and after.
fn totals(changes: &[ServiceChange]) -> String {
    let row = |change: &ServiceChange| {
        let cell = |show: &dyn Fn(&BillLine) -> Option<String>| {
            let [before, after] = [&change.before, &change.after]
                .map(|bill| bill.as_ref().and_then(show).unwrap_or_else(|| "-".to_owned()));
            if before == after { before } else { format!("{before} → {after}") }
        };
        [
            change.service.clone(),
            cell(&|bill| bill.ms.map(|ms| format!("{ms:.1}"))),
            cell(&|bill| Some(format!("{:.3}", bill.usd_per_million))),
            cell(&|bill| Some(format!("{:.0}", bill.usd_per_month))),
            cell(&|bill| bill.fullest.map(|part| format!("{:.0}%", 100.0 * part))),
        ]
    };
    let mut rows: Vec<[String; 5]> = changes.iter().map(row).collect();
    rows.insert(0, ["TOTAL", "MEAN MS", "USD/MILLION", "USD/30 DAYS", "FULLEST"].map(str::to_owned));
    table::align_right(&mut rows, 1..5);
    table::align(rows)
}
