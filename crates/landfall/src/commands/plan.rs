//! `landfall plan`: prints the plan of a folder.

use anyhow::Result;
use landfall_api::time::from_unix_seconds;
use landfall_api::{ServiceSelection, ServiceSelectionStatus};
use landfall_controller::pipeline::Pipeline;
use landfall_controller::publish::selection::{RoundInfo, selection_status};
use serde::Serialize;

use crate::args::PlanArgs;
use crate::output::{self, print, print_findings, render};
use crate::table;
use landfall_controller::summary::ClusterPlan;
use landfall_operator::actions::inspect;

pub fn run(args: &PlanArgs) -> Result<u8> {
    let present = inspect::folder(&args.folder.dir, &args.folder.namespace)?;
    print_findings(&present.findings);
    let table = || table::plan::all(present.clusters.iter().filter_map(ClusterPlan::of).collect());
    print(&render(args.output, table, || List::of(&present.clusters))?)?;
    Ok(if present.findings.is_empty() { output::OK } else { output::FINDINGS })
}

/// A list of objects, as `kubectl get -o yaml` prints several of them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<ServiceSelection>,
}

impl List {
    fn of(pipelines: &[Pipeline]) -> Self {
        Self { api_version: "v1", kind: "List", items: pipelines.iter().flat_map(selections).collect() }
    }
}

fn selections(pipeline: &Pipeline) -> Vec<ServiceSelection> {
    let Some(plan) = pipeline.plan() else { return Vec::new() };
    plan.services()
        .map(|(key, planned)| {
            let mut selection = ServiceSelection::new(key.name(), Default::default());
            selection.metadata.namespace = Some(key.namespace().to_owned());
            let status = selection_status(planned, pipeline.view(), RoundInfo::default());
            selection.status =
                Some(ServiceSelectionStatus { observed_time: from_unix_seconds(plan.changed()), ..status });
            selection
        })
        .collect()
}
