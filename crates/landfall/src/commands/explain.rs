//! `landfall explain`: prints where each share comes from.

use std::cmp::Reverse;

use anyhow::{Context, Result, bail};
use landfall_controller::explain::{AchievedShare, ClusterShare, Explanation, Input, Plan, Served, explain};
use landfall_controller::pipeline::Pipeline;
use landfall_controller::publish::selection::percent;
use landfall_core::name::ClusterId;

use crate::args::ExplainArgs;
use crate::output::{self, print, print_findings, render};
use crate::text::{bills, list, number};
use crate::{present, table};

/// Services that an error message lists at most.
const MAX_LISTED: usize = 20;

pub fn run(args: &ExplainArgs) -> Result<u8> {
    let present = present::inspect(args.place.dir.as_deref(), &args.place.server)?;
    let pipeline = cluster(&present.clusters, args.from.as_ref())?;
    let explanation = explain(pipeline, &args.service, present.now).with_context(|| unknown_service(args, pipeline))?;
    print_findings(&present.findings);
    print(&render(args.output, || text(&explanation), || &explanation)?)?;
    let answered = explanation.clusters.iter().any(|cluster| cluster.eligible);
    let as_served = explanation.served.as_ref().is_none_or(|served| served.as_planned);
    let ok = answered && as_served && explanation.fallback.is_none() && present.findings.is_empty();
    Ok(if ok { output::OK } else { output::FINDINGS })
}

/// Returns the source cluster: the one of `--from`, or the only one.
fn cluster<'a>(clusters: &'a [Pipeline], from: Option<&ClusterId>) -> Result<&'a Pipeline> {
    let id = |pipeline: &'a Pipeline| &pipeline.perspective().local;
    let there_are = list(clusters.iter().map(id));
    match (from, clusters) {
        (Some(from), clusters) => {
            let found = clusters.iter().find(|pipeline| id(pipeline) == from);
            found.with_context(|| {
                format!("--from {from}: the view of that cluster is not known here; there is {there_are}")
            })
        }
        (None, [only]) => Ok(only),
        (None, _) => bail!("name the cluster whose clients to explain with --from; there are {there_are}"),
    }
}

fn unknown_service(args: &ExplainArgs, pipeline: &Pipeline) -> String {
    let known: Vec<String> = pipeline.plan().iter().flat_map(|plan| plan.keys()).map(|key| key.to_string()).collect();
    let more = known.len().saturating_sub(MAX_LISTED);
    let known = match (known.as_slice(), more) {
        ([], _) => "there is no ServiceImport".to_owned(),
        (known, 0) => format!("there is {}", list(known.iter())),
        (known, more) => format!("there is {}, and {more} more", list(known[..MAX_LISTED].iter())),
    };
    format!("{} is not imported in {}; {known}", args.service, pipeline.perspective().local)
}

fn text(explanation: &Explanation) -> String {
    let mut sections = vec![head(explanation)];
    let mut clusters: Vec<&ClusterShare> = explanation.clusters.iter().collect();
    clusters.sort_by_key(|cluster| (!cluster.eligible, Reverse(cluster.weight), cluster.priority));
    match &explanation.optimized {
        Some(optimized) => {
            sections.push(costs(&clusters));
            sections.push(inputs(&clusters));
            sections.push(more_inputs(&clusters));
            sections.push(sentences(optimized));
            sections.extend(optimized.costs.as_ref().map(|costs| {
                bills(&[
                    ("as planned", costs.in_force),
                    ("round-robin", costs.round_robin),
                    ("local first", costs.local_first),
                ])
            }));
        }
        None => sections.push(weights(&clusters)),
    }
    sections.extend(explanation.achieved.as_deref().map(achieved));
    sections.retain(|section| !section.is_empty());
    sections.join("\n")
}

fn head(explanation: &Explanation) -> String {
    let Explanation { mode, mode_asked, .. } = explanation;
    let by = explanation
        .policy
        .as_deref()
        .map_or_else(|| "the cluster's default".to_owned(), |name| format!("policy {name}"));
    let mut lines = shares(explanation);
    lines.push(match mode == mode_asked {
        true => format!("{mode}, by {by}"),
        false => format!("{mode}; {by} asks for {mode_asked}"),
    });
    let ips = explanation.clusterset_ips.join(" ");
    let network =
        format!("DNS answers with the clusterset IP {ips}: the network chooses the cluster, not these shares");
    lines.extend((!ips.is_empty()).then_some(network));
    lines.extend(explanation.prefers_local.then(|| "clients stay in their own cluster while it can answer".to_owned()));
    lines.extend(explanation.fallback.map(|fallback| format!("{}: {}", fallback.word, fallback.meaning)));
    if let Some(optimized) = &explanation.optimized {
        let demand = optimized.demand_rps.value.map(|rps| format!("{} requests/s; ", number(rps))).unwrap_or_default();
        lines.push(format!("demand: {demand}{}", optimized.demand_rps));
        lines.push(format!("{}: {}", optimized.method.word, optimized.method.meaning));
        lines.extend(optimized.round.map(|round| format!("round {round}")));
        let rate = optimized.usd_per_ms_per_million;
        lines.push(format!("a millisecond saved for a million requests is worth {rate} USD"));
    }
    lines.join("\n") + "\n"
}

/// Returns the planned shares, and the served ones if they differ.
fn shares(Explanation { service, source, summary, served, .. }: &Explanation) -> Vec<String> {
    match served {
        Some(Served { as_planned: false, summary: now, why, .. }) => vec![
            format!("{service} for the clients of {source}"),
            format!("served now: {now}"),
            format!("planned from what is visible here: {summary}"),
            format!("they may differ because {}; everything below is about the plan", why.join(", or because ")),
        ],
        _ => vec![format!("{service} for the clients of {source}: {summary}")],
    }
}

fn costs(clusters: &[&ClusterShare]) -> String {
    const HEADER: [&str; 12] = [
        "CLUSTER",
        "SHARE",
        "REASON",
        "PRIORITY",
        "LATENCY",
        "PRICE",
        "SERVICE",
        "CONGESTION",
        "= MS",
        "WAIT MS",
        "USD/MILLION",
        "UTILIZATION",
    ];
    let row = |cluster: &&ClusterShare| {
        let terms = cluster.terms.as_ref();
        let ms = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
        let money =
            terms.and_then(|terms| terms.usd_per_million).map_or_else(|| "-".to_owned(), |usd| format!("{usd:.3}"));
        let utilization = terms.map_or_else(
            || "-".to_owned(),
            |terms| format!("{:.0}% of {}/s", 100.0 * terms.utilization, number(terms.capacity_rps)),
        );
        [
            cluster.cluster.clone(),
            percent(cluster.weight),
            cluster.reason.to_owned(),
            cluster.priority.to_string(),
            ms(terms.and_then(|terms| terms.latency_ms)),
            ms(terms.and_then(|terms| terms.price_ms)),
            ms(terms.map(|terms| terms.service_ms)),
            ms(terms.map(|terms| terms.congestion_ms)),
            ms(terms.and_then(|terms| terms.cost_ms)),
            ms(terms.map(|terms| terms.wait_ms)),
            money,
            utilization,
        ]
    };
    let mut rows: Vec<[String; 12]> = clusters.iter().map(row).collect();
    rows.insert(0, HEADER.map(str::to_owned));
    table::align_right(&mut rows, 3..12);
    table::align(rows)
}

fn inputs(clusters: &[&ClusterShare]) -> String {
    let row = |cluster: &&ClusterShare| {
        let inputs = cluster.inputs.as_ref()?;
        let value = |input: &Input| match input.value {
            Some(value) => format!("{} ({input})", number(value)),
            None => format!("- ({input})"),
        };
        let [there, back] = [&inputs.requests_usd_per_gb, &inputs.responses_usd_per_gb];
        let [usd_there, usd_back] = [there, back].map(|usd| number(usd.value.unwrap_or(0.0)));
        let prices = match there.to_string() == back.to_string() {
            true => format!("{usd_there} there, {usd_back} back ({back})"),
            false => format!("{usd_there} there ({there}), {usd_back} back ({back})"),
        };
        Some([
            cluster.cluster.clone(),
            value(&inputs.rtt_ms),
            prices,
            value(&inputs.capacity_rps),
            value(&inputs.service_ms),
        ])
    };
    let mut rows: Vec<[String; 5]> = clusters.iter().filter_map(row).collect();
    rows.insert(0, ["INPUTS", "RTT MS", "USD/GB", "REQUESTS/S", "SERVICE MS"].map(str::to_owned));
    table::align(rows)
}

/// Formats the inputs that most clusters do not have, one row each.
fn more_inputs(clusters: &[&ClusterShare]) -> String {
    let rows = |cluster: &&ClusterShare| {
        let name = cluster.cluster.clone();
        let input = |what: &'static str, input: Option<&Input>, times: f64| {
            let Input { value: Some(value), .. } = input? else { return None };
            Some([name.clone(), what.to_owned(), format!("{} ({})", number(times * value), input?)])
        };
        let of = cluster.inputs.as_ref();
        [
            input("jitter, ms", of.and_then(|of| of.jitter_ms.as_ref()), 1.0),
            input("loss, %", of.and_then(|of| of.loss.as_ref()), 100.0),
            input("residual load, requests/s", of.and_then(|of| of.residual_rps.as_ref()), 1.0),
            input("deviation from the plan, %", of.and_then(|of| of.deviation.as_ref()), 100.0),
        ]
    };
    let mut rows: Vec<[String; 3]> = clusters.iter().flat_map(rows).flatten().collect();
    if rows.is_empty() {
        return String::new();
    }
    rows.insert(0, ["INPUTS", "WHAT", "VALUE"].map(str::to_owned));
    table::align(rows)
}

fn sentences(optimized: &Plan) -> String {
    let held = optimized
        .held
        .then(|| "new weights would differ by less than the hysteresis, so the previous weights stay".to_owned());
    let clamped = optimized.clamped.iter().map(|what| format!("clamped: {what}"));
    let changes = optimized.next_changes.iter().map(|change| change.sentence.clone());
    let lines: Vec<String> =
        held.into_iter().chain(clamped).chain(optimized.binding.iter().cloned()).chain(changes).collect();
    lines.into_iter().map(|line| line + "\n").collect()
}

fn weights(clusters: &[&ClusterShare]) -> String {
    let row = |cluster: &&ClusterShare| {
        [
            cluster.cluster.clone(),
            percent(cluster.weight),
            cluster.reason.to_owned(),
            cluster.priority.to_string(),
            cluster.weight_asked.clone().unwrap_or_else(|| "-".to_owned()),
            percent(cluster.min_weight),
            cluster.ready_endpoints.to_string(),
        ]
    };
    let mut rows: Vec<[String; 7]> = clusters.iter().map(row).collect();
    rows.insert(0, ["CLUSTER", "SHARE", "REASON", "PRIORITY", "WEIGHT", "MIN SHARE", "READY"].map(str::to_owned));
    table::align_right(&mut rows, 3..7);
    table::align(rows)
}

fn achieved(shares: &[AchievedShare]) -> String {
    let row = |one: &AchievedShare| {
        let part = |part: f64| format!("{:.1}%", 100.0 * part);
        let interval = format!("{} to {}", part(one.interval.0), part(one.interval.1));
        [
            one.cluster.clone(),
            one.answers.to_string(),
            part(one.share),
            interval,
            part(one.intended),
            one.verdict.to_owned(),
        ]
    };
    let mut rows: Vec<[String; 6]> = shares.iter().map(row).collect();
    rows.insert(0, ["ANSWERED BY", "ANSWERS", "SHARE", "95% WITHIN", "INTENDED", "VERDICT"].map(str::to_owned));
    table::align(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explanation(served: Option<Served>) -> Explanation {
        Explanation {
            service: "shop/web".to_owned(),
            source: "east".to_owned(),
            policy: None,
            mode_asked: "optimized",
            mode: "optimized",
            prefers_local: false,
            fallback: None,
            summary: "east 100%".to_owned(),
            served,
            clusterset_ips: Vec::new(),
            clusters: Vec::new(),
            optimized: None,
            achieved: None,
        }
    }

    fn served(as_planned: bool) -> Served {
        Served {
            as_planned,
            summary: "east 70% west 30%".to_owned(),
            mode: "optimized",
            policy: None,
            clusters: Vec::new(),
            why: vec!["one".to_owned(), "another".to_owned()],
        }
    }

    #[test]
    fn served_shares_are_printed_if_they_differ_from_the_plan() {
        let alike = head(&explanation(None));
        assert!(alike.starts_with("shop/web for the clients of east: east 100%\n"), "{alike}");
        assert_eq!(head(&explanation(Some(served(true)))), alike);
        let text = head(&explanation(Some(served(false))));
        let expected = "shop/web for the clients of east\nserved now: east 70% west 30%\nplanned from what is visible here: \
                        east 100%\nthey may differ because one, or because another; everything below is about the plan\n";
        assert!(text.starts_with(expected), "{text}");
    }
}
