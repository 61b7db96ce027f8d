//! `landfall drain`: empties a cluster, if the others can bear it.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use kube::api::{Api, Patch, PatchParams};
use landfall_api::{ClusterFacts, ClusterFactsSpec, Drain};
use landfall_core::drain::{Short, short_without};
use landfall_core::name::ServiceKey;
use landfall_core::plan::ServicePlan;
use landfall_core::policy::Mode;
use landfall_core::snapshot::{Guidance, Kind};
use landfall_operator::pipeline::Pipeline;
use landfall_operator::run::{at, unix_seconds};
use landfall_operator::start;
use tokio::time::timeout;

use crate::live::{ONLY_WHY, PATIENCE, Present, unheard};
use crate::plan::print;
use crate::serve::{log, runtime};
use crate::{FOUND, WELL, args};

/// Whoever drains; the operator's own fields are none of it.
const MANAGER: &str = "landfall-drain";

pub fn run(args: &args::Drain) -> Result<u8> {
    // Whoever takes it back need not know how the fleet is, which a broker that is away does not tell.
    if args.undo {
        log(ONLY_WHY);
        write(args, false)?;
        print(&format!("{} serves again; the others are told within ten seconds\n", args.cluster))?;
        return Ok(WELL);
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
    write(args, true)?;
    let time = match args.over {
        0 => "at once".to_owned(),
        seconds => format!("over {seconds} s"),
    };
    print(&format!("{} is emptied {time}; landfall drain {} --undo takes it back\n", args.cluster, args.cluster))?;
    let stay = others(pipeline, args);
    if !stay.is_empty() {
        eprintln!("no capacity decides about these, so their clients stay where they are: {}", stay.join(", "));
    }
    Ok(WELL)
}

/// Why nobody can tell what the others can bear.
fn unknown(pipeline: &Pipeline, args: &args::Drain) -> Option<String> {
    let unheard = unheard(pipeline).map(|_| "what they say is not known".to_owned());
    unheard.or_else(|| {
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

/// Says it in the facts of the cluster, from which its operator takes it, or takes it back.
fn write(args: &args::Drain, drained: bool) -> Result<()> {
    let done = async {
        let client = start::client(args.server.kubeconfig.as_deref()).await?;
        let local = start::cluster_id(&client, &args.server.submariner_namespace).await;
        // Without Submariner nobody but the operator's own flag says which cluster this is.
        if let Ok(local) = local {
            ensure!(local == args.cluster, "the kubeconfig is of cluster {local}; use the one of {}", args.cluster);
        }
        let api: Api<ClusterFacts> = Api::namespaced(client, &args.server.namespace);
        let params = PatchParams::apply(MANAGER).force();
        let apply = async |params: &PatchParams, drain: Option<Drain>| {
            let spec = ClusterFactsSpec { cluster: args.cluster.to_string(), drain, ..ClusterFactsSpec::default() };
            let facts = ClusterFacts::new(args.cluster.as_str(), spec);
            let written = api.patch(args.cluster.as_str(), params, &Patch::Apply(&facts)).await;
            written.with_context(|| format!("cannot write ClusterFacts {}/{}", args.server.namespace, args.cluster))
        };
        if !drained {
            return apply(&params, None).await.map(|_| ());
        }
        // By the clock of the API server, as whoever types may have any: a write that is only tried tells it.
        let since = at(unix_seconds()).context("the clock is wrong")?;
        let drain = Drain { since, over_seconds: args.over };
        let tried = apply(&PatchParams { dry_run: true, ..params.clone() }, Some(drain.clone())).await?;
        let ours =
            tried.metadata.managed_fields.iter().flatten().find(|entry| entry.manager.as_deref() == Some(MANAGER));
        let since = ours.and_then(|entry| entry.time.clone()).unwrap_or_else(|| drain.since.clone());
        apply(&params, Some(Drain { since, ..drain })).await.map(|_| ())
    };
    let late = |_| anyhow!("the API server does not answer within {} s; is it up?", PATIENCE.as_secs());
    runtime()?.block_on(async { timeout(PATIENCE, done).await.map_err(late)? })
}
