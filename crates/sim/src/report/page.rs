//! The report as one page without scripts, fonts or other files.

use crate::contender::Contender;
use crate::summary::Summary;

use super::input::{OPTIMUM_LEGEND, RunReport, mean, objective};
use super::markup::Element;
use super::numbers::{COLUMNS, cells, ratio, usd};
use super::picture::Picture;
use super::{style, time};

/// Maximum number of clusters in the table.
const MAX_ROWS: usize = 60;

pub(super) fn html(report: &RunReport<'_>, pictures: &[Picture]) -> String {
    let style = format!("\n{}{}", style::page(), style::picture());
    let head = Element::new("head")
        .add(Element::void("meta").set("charset", "utf-8"))
        .add(Element::void("meta").set("name", "viewport").set("content", "width=device-width, initial-scale=1"))
        .add(Element::of("title", &format!("Landfall: {}", report.scenario.name)))
        .add(Element::new("style").markup(&style));
    let body = Element::new("body").add(header(report)).add(results(report)).add_all(pictures.iter().map(figure));
    let body = body.add(fleet(report)).add(meaning(report));
    format!("<!DOCTYPE html>\n{}", Element::new("html").set("lang", "en").add(head).add(body))
}

fn header(report: &RunReport<'_>) -> Element {
    let scenario = report.scenario;
    let facts = [
        (
            "Fleet",
            format!("{} clusters, {} rounds of {} s", scenario.clusters.len(), scenario.rounds, scenario.round_seconds),
        ),
        ("Objective", objective(report.scenario)),
        ("Request", format!("{} bytes there, {} bytes back", scenario.request_bytes, scenario.response_bytes)),
        ("Events", or_none(&time::in_words(scenario))),
        ("Trouble", or_none(&trouble(report))),
    ];
    let list = facts.iter().fold(Element::new("dl").class("facts"), |list, (term, text)| {
        list.add(Element::of("dt", term)).add(Element::of("dd", text))
    });
    let header = Element::new("header").add(Element::of("h1", &scenario.name));
    header.add(Element::of("p", &scenario.description).class("lead")).add_all(findings(report)).add(list)
}

fn or_none(list: &[String]) -> String {
    if list.is_empty() { "none".to_owned() } else { list.join("; ") }
}

/// Lists the differences between true and known values.
fn trouble(report: &RunReport<'_>) -> Vec<String> {
    let (scenario, world) = (report.scenario, report.world);
    let noise = &scenario.noise;
    let mut list = Vec::new();
    if noise
        .demand_log_sigma
        .max(noise.demand_walk_sigma)
        .max(noise.demand_pareto_prob)
        .max(noise.demand_exponential_part)
        > 0.0
    {
        list.push("noise in the demand".to_owned());
    }
    if noise.rtt_log_sigma.max(noise.rtt_spike_prob) > 0.0 {
        list.push("noise in the round-trip times".to_owned());
    }
    if scenario.staleness.rounds > 0 {
        let up_to = if scenario.staleness.per_pair { "up to " } else { "" };
        list.push(format!("facts that are {up_to}{} rounds old", scenario.staleness.rounds));
    }
    for (name, part) in &scenario.model_error.true_capacity_factor {
        list.push(format!("{name} has {:.0} % of the capacity that it reports", 100.0 * part));
    }
    if world.background_rps.iter().any(|rps| *rps > 0.0) {
        list.push("load that no source reports".to_owned());
    }
    if scenario.model_error.demand_report_sigma > 0.0 {
        list.push("wrong reports of the demand".to_owned());
    }
    if !scenario.model_error.legacy_nearest.is_empty() {
        list.push(format!("no agent in {}", scenario.model_error.legacy_nearest.join(", ")));
    }
    list
}

/// Returns the result in two sentences.
fn findings(report: &RunReport<'_>) -> Vec<Element> {
    let Some(shown) = report.summary() else { return Vec::new() };
    let cost = |summary: &Summary| ratio(summary.j_over_optimum.mean);
    let mut text = format!("Under {} a request costs {} times the lowest possible cost", shown.policy, cost(shown));
    let by_cost = |a: &&Summary, b: &&Summary| a.j_over_optimum.mean.total_cmp(&b.j_over_optimum.mean);
    let baselines = || report.summaries.iter().filter(|summary| summary.policy != shown.policy && is_baseline(summary));
    if let (Some(best), Some(worst)) = (baselines().min_by(by_cost), baselines().max_by(by_cost)) {
        text += &format!("; under the best baseline, {}, {} times", best.policy, cost(best));
        text += &format!(", under the worst, {}, {} times", worst.policy, cost(worst));
    }
    let load = format!(
        "It rejects {:.2} % of the requests, its fullest exporter reaches {:.0} % of its capacity, and in {} of {} rounds an \
         exporter has more than its capacity.",
        100.0 * shown.rejected,
        100.0 * shown.max_utilization,
        shown.rounds_over_capacity,
        shown.rounds
    );
    vec![Element::of("p", &format!("{text}. {load}"))]
}

fn is_baseline(summary: &Summary) -> bool {
    matches!(Contender::parse(&summary.policy), Some(Contender::Baseline(_)))
}

fn results(report: &RunReport<'_>) -> Element {
    let row = |(k, summary): (usize, &Summary)| {
        let cells = cells(summary);
        let row = if k == report.shown { Element::new("tr").class("shown") } else { Element::new("tr") };
        row.add_all(cells.iter().map(|cell| Element::of("td", cell)))
    };
    let rows = report.summaries.iter().enumerate().map(row);
    let section = Element::new("section").add(Element::of("h2", "Results"));
    section.add(table(&COLUMNS, Element::new("tbody").add_all(rows)))
}

fn table(columns: &[&str], body: Element) -> Element {
    let head = Element::new("tr").add_all(columns.iter().map(|column| Element::of("th", column).set("scope", "col")));
    let table = Element::new("table").add(Element::new("thead").add(head)).add(body);
    Element::new("div").class("scroll").add(table)
}

fn figure(picture: &Picture) -> Element {
    Element::new("figure").set("id", picture.name).add(picture.inline())
}

fn fleet(report: &RunReport<'_>) -> Element {
    let world = report.world;
    let row = |(j, name): (usize, &String)| {
        let demand = |pick: fn(f64, f64) -> f64| world.rounds.iter().map(|round| round.demand_rps[j]).fold(0.0, pick);
        let capacity = world.rounds.iter().map(|round| round.capacity_rps[j]).fold(0.0, f64::max);
        let average = mean(world.rounds.iter().map(|round| round.demand_rps[j]));
        let cells = [
            name.clone(),
            whole(average),
            whole(demand(f64::max)),
            whole(capacity),
            format!("{}", world.service_ms[j]),
        ];
        Element::new("tr").add_all(cells.iter().map(|cell| Element::of("td", cell)))
    };
    let rows = world.clusters.iter().enumerate().take(MAX_ROWS).map(row);
    let columns = ["CLUSTER", "DEMAND, MEAN 1/S", "DEMAND, MOST 1/S", "CAPACITY 1/S", "SERVICE MS"];
    let section = Element::new("section").add(Element::of("h2", "The fleet"));
    let section = section.add(table(&columns, Element::new("tbody").add_all(rows)));
    match world.size().checked_sub(MAX_ROWS) {
        Some(more @ 1..) => section.add(Element::of("p", &format!("And {more} more."))),
        _ => section,
    }
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

fn meaning(report: &RunReport<'_>) -> Element {
    let rate = usd(report.world.usd_per_ms_per_million);
    let texts = [
        format!(
            "J is what a request costs on average, in ms: its time, its price over the exchange rate ({rate} USD per ms per million \
             requests; nothing where that is 0), and 11 s for each that is rejected. {}",
            OPTIMUM_LEGEND
        ),
        "Means leave out the warm-up, in which facts are missing. Times and prices are of served requests. ROUNDS OVER CAPACITY \
         counts rounds in which an exporter gets more than it can serve; MOVED PER ROUND is the sum of absolute changes of the \
         shares, over sources by demand: 2 moves everything."
            .to_owned(),
        "The judge is independent of the optimizer: an exporter is an M/M/c queue, a request waits for at most a second, and load above \
         the capacity is rejected."
            .to_owned(),
    ];
    let section = Element::new("section").add(Element::of("h2", "What the numbers mean"));
    section.add_all(texts.iter().map(|text| Element::of("p", text)))
}
