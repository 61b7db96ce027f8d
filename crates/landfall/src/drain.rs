//! `landfall drain`: empties a cluster, if the others can bear it.

use anyhow::{Context, Result, ensure};
use kube::api::{Api, Patch, PatchParams};
use landfall_api::ClusterFacts;
use landfall_core::drain::{Short, short_without};
use landfall_core::name::ServiceKey;
use landfall_core::policy::Mode;
use landfall_core::snapshot::Guidance;
use landfall_operator::pipeline::Pipeline;
use landfall_operator::run::{at, unix_seconds};
use landfall_operator::start;
use serde_json::json;

use crate::live::Present;
use crate::plan::print;
use crate::serve::runtime;
use crate::{FOUND, WELL, args};

/// Whoever drains; the operator's own fields are none of it.
const MANAGER: &str = "landfall-drain";

pub fn run(args: &args::Drain) -> Result<u8> {
    // Whoever takes it back need not know how the fleet is, which a broker that is away does not tell.
    if args.undo {
        write(args, None)?;
        print(&format!("{} serves again; its share grows in the next round, within seconds\n", args.cluster))?;
        return Ok(WELL);
    }
    let server = args::ApiServer { cluster_id: Some(args.cluster.clone()), ..args.server.clone() };
    let present = Present::load(None, &server)?;
    let pipeline = present.clusters.first().context("nothing was read of the cluster")?;
    let short = short(pipeline, args);
    for (key, short) in &short {
        let Short { demand_rps, left_rps } = short;
        let missing = short.missing_rps();
        eprintln!("{key}: the others can bear {left_rps:.0} requests/s of {demand_rps:.0}; {missing:.0} are too many");
    }
    if !short.is_empty() && !args.force {
        eprintln!("{} is not drained; give the others more capacity first, or use --force", args.cluster);
        return Ok(FOUND);
    }
    write(args, Some(unix_seconds()))?;
    let time = match args.over {
        0 => "at once".to_owned(),
        seconds => format!("over {seconds} s"),
    };
    print(&format!("{} is emptied {time}; landfall drain {} --undo takes it back\n", args.cluster, args.cluster))?;
    let stay = others(pipeline, args);
    if !stay.is_empty() {
        eprintln!("not optimized, so their clients stay where they are: {}", stay.join(", "));
    }
    Ok(WELL)
}

/// The services for which the others have too little.
fn short(pipeline: &Pipeline, args: &args::Drain) -> Vec<(ServiceKey, Short)> {
    let services = pipeline.plan().into_iter().flat_map(|plan| plan.services());
    let short = |(key, planned): (&ServiceKey, &std::sync::Arc<landfall_core::plan::ServicePlan>)| {
        let Guidance::Optimized(policy, known, _) = planned.service.guidance.served() else { return None };
        Some((key.clone(), short_without(known, &policy.objective, &args.cluster)?))
    };
    services.filter_map(short).collect()
}

/// The services of the cluster that no capacity decides about.
fn others(pipeline: &Pipeline, args: &args::Drain) -> Vec<String> {
    let services = pipeline.plan().into_iter().flat_map(|plan| plan.services());
    let stays = services.filter(|(_, planned)| {
        planned.rule.mode != Mode::Optimized && planned.service.exports.contains_key(&args.cluster)
    });
    stays.map(|(key, _)| key.to_string()).collect()
}

/// Says it in the facts of the cluster, from which its operator takes it. `since`: `None` takes it back.
fn write(args: &args::Drain, since: Option<u64>) -> Result<()> {
    let drain = since.map(|since| json!({"since": at(since), "overSeconds": args.over}));
    let mut spec = json!({"cluster": args.cluster.as_str()});
    if let Some(drain) = drain {
        spec["drain"] = drain;
    }
    let patch = json!({
        "apiVersion": "landfall.dev/v1alpha1",
        "kind": "ClusterFacts",
        "metadata": {"name": args.cluster.as_str()},
        "spec": spec,
    });
    runtime()?.block_on(async {
        let client = start::client(args.server.kubeconfig.as_deref()).await?;
        let local = start::cluster_id(&client, &args.server.submariner_namespace).await;
        // Without Submariner nobody but the operator's own flag says which cluster this is.
        if let Ok(local) = local {
            ensure!(local == args.cluster, "the kubeconfig is of cluster {local}; use the one of {}", args.cluster);
        }
        let api: Api<ClusterFacts> = Api::namespaced(client, &args.server.namespace);
        let params = PatchParams::apply(MANAGER).force();
        let written = api.patch(args.cluster.as_str(), &params, &Patch::Apply(patch)).await;
        written
            .map(|_| ())
            .with_context(|| format!("cannot write ClusterFacts {}/{}", args.server.namespace, args.cluster))
    })
}
