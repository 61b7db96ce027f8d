//! `landfall plan`: prints the plan of a folder.

use anyhow::Result;
use landfall_api::{ServiceSelection, ServiceSelectionStatus};
use landfall_operator::pipeline::Pipeline;
use landfall_operator::publish::{Told, selection_status};
use landfall_operator::run::at;
use serde::Serialize;

use crate::actions::inspect;
use crate::args::PlanArgs;
use crate::output::{self, print, print_findings, render};
use crate::summary::ClusterPlan;
use crate::table;

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
            let status = selection_status(planned, pipeline.view(), Told::default());
            selection.status = Some(ServiceSelectionStatus { observed_time: at(plan.changed()), ..status });
            selection
        })
        .collect()
}
