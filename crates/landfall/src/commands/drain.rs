//! `landfall drain`: empties a cluster, if the others can bear it.

use std::sync::Arc;

use anyhow::{Context, Result};
use landfall_core::drain::{Short, short_without};
use landfall_core::name::ServiceKey;
use landfall_core::plan::ServicePlan;
use landfall_core::policy::Mode;
use landfall_core::snapshot::{Guidance, Kind};
use landfall_operator::pipeline::Pipeline;

use crate::actions::drain as mark;
use crate::actions::drain::Marked;
use crate::actions::inspect::{ONLY_WHY, Present, unheard};
use crate::commands::plan::print;
use crate::commands::serve::log;
use crate::{FOUND, WELL, args};

pub fn run(args: &args::Drain) -> Result<u8> {
    // Whoever takes it back need not know how the fleet is, which a broker that is away does not tell.
    if args.undo {
        log(ONLY_WHY);
        return told(args, &format!("{} serves again", args.cluster), mark::undo(args)?);
    }
    let server = args::ApiServer { cluster_id: Some(args.cluster.clone()), ..args.server.clone() };
    let present = Present::load(None, &server)?;
    let pipeline = present.clusters.first().context("nothing was read of the cluster")?;
    present.problems.iter().for_each(|problem| eprintln!("{problem}"));
    let unknown = unknown(pipeline, args);
    if let Some(why) = &unknown {
        eprintln!("whether the others can bear what {} serves is not known: {why}", args.cluster);
    }
    let short = short(pipeline, args);
    for (key, short) in &short {
        let Short { demand_rps, left_rps } = short;
        let missing = short.missing_rps();
        eprintln!("{key}: the others can bear {left_rps:.0} requests/s of {demand_rps:.0}; {missing:.0} are too many");
    }
    if (unknown.is_some() || !short.is_empty()) && !args.force {
        let remedy = if short.is_empty() { "mend that first" } else { "give the others more capacity first" };
        eprintln!("{} is not drained; {remedy}, or use --force", args.cluster);
        return Ok(FOUND);
    }
    let time = match args.over {
        0 => "at once".to_owned(),
        seconds => format!("over {seconds} s"),
    };
    let cluster = &args.cluster;
    let done = format!("{cluster} is emptied {time}; landfall drain {cluster} --undo takes it back");
    let code = told(args, &done, mark::drain(args)?)?;
    let stay = others(pipeline, args);
    if !stay.is_empty() {
        eprintln!("no capacity decides about these, so their clients stay where they are: {}", stay.join(", "));
    }
    Ok(code)
}

/// Says what was done, and whether the other clusters know.
fn told(args: &args::Drain, done: &str, marked: Marked) -> Result<u8> {
    let cluster = &args.cluster;
    match marked {
        Marked::Already(how) => print(&format!("{cluster} {how}; nothing is to be done\n"))?,
        Marked::Told => print(&format!("{done}\n"))?,
        Marked::NotSeen(why) => {
            print(&format!("{done}\n"))?;
            eprintln!("whether the others are told is not known: {why}");
        }
        Marked::NotTold => {
            print(&format!("{done}, when its operator has told the others\n"))?;
            eprintln!(
                "it has not within {} s: is it running, is {} its namespace (--namespace), and does it reach the broker?",
                mark::TOLD.as_secs(),
                args.server.namespace
            );
            return Ok(FOUND);
        }
    }
    Ok(WELL)
}

/// Why nobody can tell what the others can bear.
fn unknown(pipeline: &Pipeline, args: &args::Drain) -> Option<String> {
    let unheard = unheard(pipeline).map(|_| "what they say is not known".to_owned());
    unheard.or_else(|| strange(pipeline, args)).or_else(|| {
        let optimized = |planned: &ServicePlan| match planned.service.guidance.served() {
            Guidance::Optimized(_, known, _) => Some(known.facts.demand_unknown),
            Guidance::Policy(_) | Guidance::Published(_) | Guidance::Shadowed { .. } => None,
        };
        let services = pipeline.plan().into_iter().flat_map(|plan| plan.services());
        let exported = services.filter(|(_, planned)| planned.service.exports.contains_key(&args.cluster));
        let uncounted =
            exported.filter(|(_, planned)| optimized(planned) == Some(true)).map(|(key, _)| key.to_string());
        let uncounted: Vec<String> = uncounted.collect();
        (!uncounted.is_empty()).then(|| format!("nobody knows what clients ask of {}", uncounted.join(", ")))
    })
}

/// Why the kubeconfig can hardly be of this cluster.
fn strange(pipeline: &Pipeline, args: &args::Drain) -> Option<String> {
    let (stores, cluster) = (pipeline.stores(), &args.cluster);
    if stores.broker.as_ref().is_some_and(|broker| broker.double.is_some()) {
        return Some(format!("another cluster than the one of the kubeconfig is {cluster} on the broker"));
    }
    let exports = || stores.imports.exporters().any(|exporter| exporter == cluster);
    (!stores.peers.contains_key(cluster) && !exports()).then(|| format!("nobody knows a cluster {cluster}"))
}

/// The services for which the others have too little.
fn short(pipeline: &Pipeline, args: &args::Drain) -> Vec<(ServiceKey, Short)> {
    let services = pipeline.plan().into_iter().flat_map(|plan| plan.services());
    let peers = pipeline.stores().peers.iter();
    let drained = peers.filter(|(_, facts)| facts.drain.is_some()).map(|(cluster, _)| cluster.clone()).collect();
    let short = |(key, planned): (&ServiceKey, &Arc<ServicePlan>)| {
        let Guidance::Optimized(policy, known, _) = planned.service.guidance.served() else { return None };
        Some((key.clone(), short_without(known, &policy.objective, &args.cluster, &drained)?))
    };
    services.filter_map(short).collect()
}

/// The services of the cluster that no capacity decides about.
fn others(pipeline: &Pipeline, args: &args::Drain) -> Vec<String> {
    let services = pipeline.plan().into_iter().flat_map(|plan| plan.services());
    let is_decided = |planned: &ServicePlan| {
        let named = planned.service.kind != Kind::Headless && planned.clusterset_ips().is_empty();
        named && planned.rule.mode == Mode::Optimized
    };
    let stays =
        services.filter(|(_, planned)| planned.service.exports.contains_key(&args.cluster) && !is_decided(planned));
    stays.map(|(key, _)| key.to_string()).collect()
}
