//! DNS answers follow readiness without an operator: the DNS servers watch the slices themselves.

use std::time::Duration;

use anyhow::{Result, ensure};
use landfall_e2e::member::{DEFAULT_TIMEOUT, MAX_DELAY, Namespace};
use landfall_e2e::objects::{self, Health};
use landfall_e2e::wait::{percentile, report};
use landfall_e2e::{Member, Question, await_condition, now, run, with_temp_ns};

const EAST: &str = "10.1.0.1";
const WEST: &str = "10.2.0.1";

#[test]
fn answers_follow_readiness_within_a_second_and_without_an_operator() -> Result<()> {
    run(async {
        let member = Member::start("readiness", "east").await?;
        let mut delays = Vec::new();
        with_temp_ns(&member, "before", async |ns| exported(&ns).await).await?;
        member.operator.process.kill()?;
        // A service that is created now has no published weights, so the default rule applies to it.
        with_temp_ns(&member, "ready", async |ns| {
            exported(&ns).await?;
            for repeat in 0..20 {
                let (health, expected) = if repeat % 2 == 0 { (Health::NotReady, WEST) } else { (Health::Ready, EAST) };
                delays.push(until_answered(&ns, health, expected).await?);
            }
            Ok(())
        })
        .await?;
        let slowest = percentile(&mut delays, 1.0);
        report(&format!(
            "readiness → answers, 20 changes: p50 {:?}, slowest {slowest:?}",
            percentile(&mut delays, 0.5)
        ));
        ensure!(slowest <= MAX_DELAY, "the slowest took {slowest:?}: {delays:?}");
        Ok(())
    })
}

/// Exports a service from two clusters, of which the local one is answered.
async fn exported(ns: &Namespace<'_>) -> Result<()> {
    ns.export("web", &[("east", EAST), ("west", WEST)]).await?;
    ns.answers("web", EAST, DEFAULT_TIMEOUT).await
}

/// Returns the time from applying east's new readiness to the first answer that follows. Every earlier answer is the
/// other address, and none is empty.
async fn until_answered(ns: &Namespace<'_>, health: Health, expected: &str) -> Result<Duration> {
    let question = Question::a(&ns.host("web"))?;
    let sent = now();
    ns.apply(objects::slice("web", "east", EAST, health)).await?;
    let mut empty = 0;
    await_condition("the answers follow the health", DEFAULT_TIMEOUT, async || {
        let reply = ns.member.query(&question).await?;
        empty += usize::from(reply.addresses.is_empty());
        ensure!(reply.is(expected), "{reply} instead of {expected}");
        Ok(())
    })
    .await?;
    ensure!(empty == 0, "{empty} empty answers although one of the clusters was ready throughout");
    Ok(sent.elapsed())
}
