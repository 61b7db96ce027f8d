//! `landfall plan` and `landfall crds`: print and exit.

use std::io::Write;

use anyhow::{Context, Result};
use landfall_api::{ServiceSelection, ServiceSelectionStatus};
use landfall_operator::pipeline::Pipeline;
use landfall_operator::publish::{Told, selection_status};
use landfall_operator::run::at;
use serde::Serialize;

use crate::args::{self, Output};
use crate::fleet;
use crate::{FOUND, WELL, table};

pub fn run(args: &args::Plan) -> Result<u8> {
    let (clusters, problems) = fleet::loaded(&args.fleet)?;
    problems.iter().for_each(|problem| eprintln!("{problem}"));
    let pipelines = clusters.iter();
    let text = match args.output {
        Output::Table => table::all(pipelines.filter_map(table::Source::of).collect()),
        Output::Json => serde_json::to_string_pretty(&List::of(pipelines))? + "\n",
        Output::Yaml => serde_saphyr::to_string(&List::of(pipelines))?,
    };
    print(&text)?;
    Ok(if problems.is_empty() { WELL } else { FOUND })
}

pub fn crds() -> Result<u8> {
    for crd in landfall_api::crds() {
        print(&format!("---\n{}", serde_saphyr::to_string(&crd)?))?;
    }
    Ok(WELL)
}

/// A reader that has seen enough, such as `head`, is no error.
pub fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// As `kubectl get -o yaml` prints several objects.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<ServiceSelection>,
}

impl List {
    fn of<'a>(pipelines: impl Iterator<Item = &'a Pipeline>) -> Self {
        Self { api_version: "v1", kind: "List", items: pipelines.flat_map(selections).collect() }
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
