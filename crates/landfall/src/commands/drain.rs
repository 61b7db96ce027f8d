//! `landfall drain`: shifts the traffic of a cluster to the others, if they have the capacity for it.

use anyhow::{Context, Result};
use landfall_core::drain::Short;

use crate::actions::drain::{self as action, Drained};
use crate::args::{ApiServer, DrainArgs};
use crate::drain_check::{DrainCheck, unaffected_services};
use crate::output::{self, print, print_findings};
use crate::present;
use crate::process::{init_log, runtime};
use crate::text::list;

pub fn run(args: &DrainArgs) -> Result<u8> {
    let cluster = &args.cluster;
    let server = ApiServer { cluster_id: Some(cluster.clone()), ..args.server.clone() };
    let options = present::cluster_options(&server);
    if args.undo {
        // Nothing has to be known about the fleet for this, so it works while the broker is away.
        init_log(present::CONNECTION_ERRORS);
        let drained = runtime()?.block_on(action::undo(&options, cluster))?;
        return report(args, &format!("{cluster} serves again"), drained);
    }
    let present = present::inspect(None, &server)?;
    let pipeline = present.clusters.first().context("nothing was read of the cluster")?;
    print_findings(&present.findings);
    let check = DrainCheck::new(pipeline, cluster);
    print_check(&check, args);
    if !check.passed() && !args.force {
        let remedy = if check.deficits.is_empty() { "mend that first" } else { "give the others more capacity first" };
        eprintln!("{cluster} is not drained; {remedy}, or use --force");
        return Ok(output::FINDINGS);
    }
    let time = match args.over {
        0 => "at once".to_owned(),
        seconds => format!("over {seconds} s"),
    };
    let done = format!("{cluster} is emptied {time}; landfall drain {cluster} --undo takes it back");
    let drained = runtime()?.block_on(action::drain(&options, cluster, args.over))?;
    let code = report(args, &done, drained)?;
    let unaffected = unaffected_services(pipeline, cluster);
    if !unaffected.is_empty() {
        let services = list(unaffected.iter());
        eprintln!("no capacity decides about these, so their clients stay where they are: {services}");
    }
    Ok(code)
}

fn print_check(check: &DrainCheck, args: &DrainArgs) {
    if let Some(why) = &check.unknown {
        eprintln!("whether the others can bear what {} serves is not known: {why}", args.cluster);
    }
    for (key, deficit) in &check.deficits {
        let Short { demand_rps, left_rps } = deficit;
        let missing = deficit.missing_rps();
        eprintln!("{key}: the others can bear {left_rps:.0} requests/s of {demand_rps:.0}; {missing:.0} are too many");
    }
}

/// Prints what was done, and whether the other clusters know it. Returns the exit code.
fn report(args: &DrainArgs, done: &str, drained: Drained) -> Result<u8> {
    let cluster = &args.cluster;
    match drained {
        Drained::Already(how) => print(&format!("{cluster} {how}; nothing is to be done\n"))?,
        Drained::Published => print(&format!("{done}\n"))?,
        Drained::Unknown(why) => {
            print(&format!("{done}\n"))?;
            eprintln!("whether the others are told is not known: {why}");
        }
        Drained::NotPublished => {
            print(&format!("{done}, when its operator has told the others\n"))?;
            eprintln!(
                "it has not within {} s: is it running, is {} its namespace (--namespace), and does it reach the broker?",
                action::PUBLISH_TIMEOUT.as_secs(),
                args.server.namespace
            );
            return Ok(output::FINDINGS);
        }
    }
    Ok(output::OK)
}
