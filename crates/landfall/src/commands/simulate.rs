//! `landfall simulate`: runs policies in a simulated world, and compares what they cost.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use landfall_core::optimize::facts::Tuning;
use landfall_sim::contender::Contender;
use landfall_sim::foresight::optimum_ms;
use landfall_sim::generate::generate;
use landfall_sim::report::{self, EXCHANGE_RATES, RateResult, RunReport};
use landfall_sim::run::{RoundOutcome, Run};
use landfall_sim::scenario::Scenario;
use landfall_sim::summary::{Summary, summarize, warm_up};
use landfall_sim::trace::{RecordedOptimum, Trace};
use landfall_sim::world::World;

use crate::args::{OutputFormat, SimulateArgs};
use crate::output::{self, print, render};
use crate::progress::Progress;
use crate::table;
use crate::text::list;

/// Utilization that the optimum J* does not exceed while that is possible.
const MAX_UTILIZATION: f64 = 0.9;

pub fn run(args: &SimulateArgs) -> Result<u8> {
    let contenders = contenders(&args.policy)?;
    let mut progress = Progress::new();
    let scenario = scenario(args)?;
    let (world, mut optimum) = world(args, &scenario)?;
    if let Some(path) = &args.write_scenario {
        write(path, &serde_saphyr::to_string(&scenario)?)?;
    }
    let optimum_ms = match optimum.headroom09.take() {
        Some(optimum_ms) => optimum_ms,
        None => lowest_costs(&world, &mut progress)?,
    };
    if let Some(path) = &args.write_trace {
        let optimum = RecordedOptimum { headroom09: Some(optimum_ms.clone()), ..optimum };
        write(path, &serde_json::to_string(&Trace::recorded(&scenario, &world, optimum))?)?;
    }
    let experiment = Experiment { world: &world, optimum_ms: &optimum_ms, tuning: tuning(args) };
    let results = experiment.all(&contenders, &mut progress);
    if args.report.is_some() || args.pictures.is_some() {
        let report = RunReport {
            scenario: &scenario,
            world: &world,
            summaries: &results.summaries,
            shown: results.shown,
            outcomes: &results.outcomes,
            target_utilization: experiment.tuning.target_utilization,
            sweep: &experiment.sweep(&mut progress),
        };
        write_report(args, &report)?;
    }
    drop(progress);
    print(&text(args.output, &scenario, &results.summaries)?)?;
    Ok(output::OK)
}

fn scenario(args: &SimulateArgs) -> Result<Scenario> {
    match (&args.file, args.generate) {
        (Some(path), _) => Scenario::read(&read(path)?).with_context(|| path.display().to_string()),
        (None, seed) => Ok(generate(seed.unwrap_or_default(), args.clusters)),
    }
}

/// Returns the world, and its optimum as far as the trace has it.
fn world(args: &SimulateArgs, scenario: &Scenario) -> Result<(World, RecordedOptimum)> {
    let Some(path) = &args.trace else { return Ok((World::expand(scenario), RecordedOptimum::default())) };
    let trace = Trace::read(&read(path)?).with_context(|| path.display().to_string())?;
    let world = World::replayed(scenario, &trace).with_context(|| path.display().to_string())?;
    Ok((world, trace.optimum_ms))
}

fn lowest_costs(world: &World, progress: &mut Progress) -> Result<Vec<f64>> {
    progress.task("computing the lowest possible cost".to_owned());
    let rounds = world.rounds.len();
    Ok(optimum_ms(world, Some(MAX_UTILIZATION), &mut |done| progress.round(done, rounds))?)
}

fn tuning(args: &SimulateArgs) -> Tuning {
    let default = Tuning::default();
    Tuning {
        target_utilization: args.target_utilization.unwrap_or(default.target_utilization),
        epsilon_ms: args.epsilon_ms.unwrap_or(default.epsilon_ms),
        ..default
    }
}

/// Returns the named policies, each once and in that order. Returns all policies if none is named.
fn contenders(named: &[String]) -> Result<Vec<Contender>> {
    let mut contenders: Vec<Contender> = Vec::new();
    for name in named.iter().flat_map(|names| names.split(',')) {
        let known = || {
            format!(
                "--policy {name}: there is no such policy; there is {}",
                list(Contender::all().map(Contender::as_str))
            )
        };
        let contender = Contender::parse(name).with_context(known)?;
        if !contenders.contains(&contender) {
            contenders.push(contender);
        }
    }
    Ok(if contenders.is_empty() { Contender::all().collect() } else { contenders })
}

/// The world, its optimum and the settings that all policies are run with.
struct Experiment<'a> {
    world: &'a World,
    optimum_ms: &'a [f64],
    tuning: Tuning,
}

struct Results {
    summaries: Vec<Summary>,
    /// Index of the policy that the report shows: `optimized`, or the first one.
    shown: usize,
    /// Outcomes of the policy that the report shows.
    outcomes: Vec<RoundOutcome>,
}

impl Experiment<'_> {
    fn all(&self, contenders: &[Contender], progress: &mut Progress) -> Results {
        let shown = contenders.iter().position(|contender| *contender == Contender::PRODUCT).unwrap_or(0);
        let mut results = Results { summaries: Vec::new(), shown, outcomes: Vec::new() };
        for (k, contender) in contenders.iter().enumerate() {
            progress.task(format!("policy {} of {}, {contender}", k + 1, contenders.len()));
            let outcomes = outcomes(*contender, self.world, self.tuning, progress);
            results.summaries.push(summarize(contender.as_str(), self.world, &outcomes, self.optimum_ms));
            if k == shown {
                results.outcomes = outcomes;
            }
        }
        results
    }

    /// Runs the `optimized` policy at other exchange rates.
    fn sweep(&self, progress: &mut Progress) -> Vec<RateResult> {
        let mut world = self.world.clone();
        let mut trades = Vec::new();
        for rate in EXCHANGE_RATES {
            progress.task(format!("exchange rate {rate}"));
            world.usd_per_ms_per_million = rate;
            let outcomes = outcomes(Contender::PRODUCT, &world, self.tuning, progress);
            let summary = summarize(Contender::PRODUCT.as_str(), &world, &outcomes, &[]);
            let Summary { mean_ms, usd_per_million, .. } = summary;
            trades.push(RateResult { usd_per_ms_per_million: rate, mean_ms, usd_per_million });
        }
        trades
    }
}

fn outcomes(contender: Contender, world: &World, tuning: Tuning, progress: &mut Progress) -> Vec<RoundOutcome> {
    let mut policy = contender.policy(world, tuning);
    let rounds = world.rounds.len();
    let run = Run::new(world, policy.as_mut()).enumerate();
    run.map(|(t, outcome)| (progress.round(t + 1, rounds), outcome).1).collect()
}

fn write_report(args: &SimulateArgs, report: &RunReport<'_>) -> Result<()> {
    if let Some(path) = &args.report {
        write(path, &report.html())?;
    }
    if let Some(folder) = &args.pictures {
        fs::create_dir_all(folder).with_context(|| format!("{}: cannot be created", folder.display()))?;
        for picture in report.pictures() {
            write(&folder.join(picture.name).with_extension("svg"), &picture.file())?;
        }
    }
    Ok(())
}

fn text(format: OutputFormat, scenario: &Scenario, summaries: &[Summary]) -> Result<String> {
    let table = || {
        let head = format!("{}\n{}", report::headline(scenario), report::OPTIMUM_LEGEND);
        format!("{head}\n{}\n\n{}", legend(scenario.rounds), rows(summaries))
    };
    render(format, table, || summaries)
}

/// Explains what the numbers of the table cover.
fn legend(rounds: usize) -> String {
    let start = warm_up(rounds);
    format!(
        "The first {start} of {rounds} rounds are warm-up and do not count. Times and prices are those of served requests. A P99 \
         of 10000 ms means that 1 % of the requests or more are rejected."
    )
}

/// Formats the table: names on the left, numbers on the right.
fn rows(summaries: &[Summary]) -> String {
    let header = report::COLUMNS.map(str::to_owned);
    let mut rows: Vec<[String; 9]> = std::iter::once(header).chain(summaries.iter().map(report::cells)).collect();
    table::align_right(&mut rows, 1..report::COLUMNS.len());
    table::align(rows)
}

fn read(path: &Path) -> Result<String> {
    let hint = if path.is_dir() { "; for a folder of manifests add --live" } else { "" };
    fs::read_to_string(path).with_context(|| format!("{}: cannot be read{hint}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("{}: cannot be written", path.display()))
}
