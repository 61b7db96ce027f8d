//! `landfall drain`: shifts the traffic of a cluster to the others, if they have the capacity for it.

use anyhow::{Context, Result};
use landfall_core::drain::Deficit;

use crate::args::{ApiServer, DrainArgs};
use crate::output::{self, print, print_findings};
use crate::present;
use crate::process::{init_log, runtime};
use crate::text::list;
use landfall_controller::drain::{DrainCheck, unaffected_services};
use landfall_operator::actions::drain::{self as action, Drained};

pub fn run(args: &DrainArgs) -> Result<u8> {
    let cluster = &args.cluster;
    let server = ApiServer { cluster_id: Some(cluster.clone()), ..args.server.clone() };
    let options = present::cluster_options(&server);
    if args.undo {
        // Nothing has to be known about the fleet for this, so it works while the broker is away.
        init_log(&present::connection_errors());
        let drained = runtime()?.block_on(action::undo(&options, cluster))?;
        return report(args, &format!("{cluster} serves again"), drained);
    }
    let present = present::inspect(None, &server)?;
    let pipeline = present.clusters.first().context("nothing was read of the cluster")?;
    print_findings(&present.findings);
    let check = DrainCheck::new(pipeline, cluster);
    print_check(&check, args);
    if !check.passed() && !args.force {
        let remedy =
            if check.deficits.is_empty() { "fix that first" } else { "add capacity to the other clusters first" };
        eprintln!("{cluster} is not drained; {remedy}, or use --force");
        return Ok(output::FINDINGS);
    }
    let done = format!("draining {cluster} {}; undo with: landfall drain {cluster} --undo", period(args.over));
    let drained = runtime()?.block_on(action::drain(&options, cluster, args.over))?;
    let code = report(args, &done, drained)?;
    let unaffected = unaffected_services(pipeline, cluster);
    if !unaffected.is_empty() {
        let services = list(unaffected.iter());
        eprintln!("these services are not optimized, so draining does not move their clients: {services}");
    }
    Ok(code)
}

/// Returns the period of a drain in words, in the largest unit that fits.
fn period(over_seconds: u32) -> String {
    match over_seconds {
        0 => "at once".to_owned(),
        seconds if seconds % 3600 == 0 => format!("over {}h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("over {}m", seconds / 60),
        seconds => format!("over {seconds}s"),
    }
}

fn print_check(check: &DrainCheck, args: &DrainArgs) {
    if let Some(why) = &check.unknown {
        eprintln!("cannot tell whether the other clusters can take over the load of {}: {why}", args.cluster);
    }
    for (key, deficit) in &check.deficits {
        let Deficit { demand_rps, left_rps } = deficit;
        let missing = deficit.missing_rps();
        eprintln!(
            "{key}: the other clusters can serve {left_rps:.0} requests/s of {demand_rps:.0}; {missing:.0} are missing"
        );
    }
}

/// Prints what was done, and whether the other clusters know it. Returns the exit code.
fn report(args: &DrainArgs, done: &str, drained: Drained) -> Result<u8> {
    let cluster = &args.cluster;
    match drained {
        Drained::Already(how) => print(&format!("{cluster} {how}; nothing to do\n"))?,
        Drained::Published => print(&format!("{done}\n"))?,
        Drained::Unknown(why) => {
            print(&format!("{done}\n"))?;
            eprintln!("cannot tell whether the other clusters know: {why}");
        }
        Drained::NotPublished => {
            print(&format!("{done}\n"))?;
            eprintln!(
                "this takes effect once the operator of {cluster} publishes it, which it did not within {} s; check that it runs \
                 in namespace {} (--namespace) and reaches the broker",
                action::PUBLISH_TIMEOUT.as_secs(),
                args.server.namespace
            );
            return Ok(output::FINDINGS);
        }
    }
    Ok(output::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn period_is_in_the_largest_unit_that_fits() {
        let periods = [(0, "at once"), (15, "over 15s"), (90, "over 90s"), (600, "over 10m"), (86_400, "over 24h")];
        for (seconds, words) in periods {
            assert_eq!(period(seconds), words);
        }
    }
}
