//! Parts of clusters fail one after the other, on one fleet. The tests check what is served meanwhile, and when
//! everything is as before. docs/failures.md has the figures.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_e2e::exported::Split;
use landfall_e2e::member::MAX_DELAY;
use landfall_e2e::network::Cut;
use landfall_e2e::objects::Health;
use landfall_e2e::wait::{holds_for, unix_seconds};
use landfall_e2e::{await_condition, now, run};

use crate::scene::{
    CLUSTERS, EAST, FAILOVER_TIMEOUT, FaultScene, MAX_ROUND, NORTH, PUBLISH_TIMEOUT, TOLERANCE_POINTS, WEST,
};

/// Long enough for a client's back-off to reach its last step.
const API_OUTAGE: Duration = Duration::from_secs(30);
/// Half of the longest pause of a watch with kube's own back-off.
const API_RECOVERY_TIMEOUT: Duration = Duration::from_secs(15);

const HOUR: i64 = 3600;

#[test]
fn failure_in_one_cluster_stays_there_and_heals_by_itself() -> Result<()> {
    run(async {
        let mut scene = FaultScene::start("fleet-faults").await?;
        let outcome = play(&mut scene).await;
        scene.finish(outcome).await
    })
}

async fn play(scene: &mut FaultScene) -> Result<()> {
    let before = scene.settled().await?;
    partition(scene, &before).await.context("a partitioned cluster")?;
    no_dns(scene, &before).await.context("a cluster without DNS")?;
    no_api_server(scene, &before).await.context("a cluster without its API server")?;
    wrong_clocks_and_stale_facts(scene, &before).await.context("wrong clocks and stale facts")?;
    no_operators(scene, &before).await.context("no operators")
}

/// Isolates north: the others leave it out, and its own clients are answered with itself alone, the only cluster they
/// can reach.
async fn partition(scene: &FaultScene, before: &Split) -> Result<()> {
    let others = [EAST, WEST];
    let published_at = scene.published_at().await?;
    let since = now();
    scene.fleet.partition(NORTH, Cut::Silent);
    let (without_north, alone) = tokio::try_join!(
        scene.leaves(&[NORTH], &others, since, FAILOVER_TIMEOUT),
        scene.leaves(&others, &[NORTH], since, FAILOVER_TIMEOUT)
    )?;
    scene.report(&format!("a partitioned cluster is out of the answers of others after {without_north:?}"));
    scene.report(&format!("a partitioned cluster sends its own clients to itself alone after {alone:?}"));
    let settled = now();
    scene.continues_without(NORTH, MAX_ROUND, &others).await?;
    let itself = CLUSTERS.map(|to| (to.to_owned(), f64::from(u8::from(to == NORTH))));
    let alone = Split::from([(NORTH.to_owned(), itself.into())]);
    scene.continues_for("north is alone", MAX_DELAY, &[NORTH], &alone).await?;
    scene.served_as_published("while north is alone", settled, &[NORTH], &alone)?;

    let since = now();
    scene.fleet.heal(NORTH);
    let took = scene.returns(NORTH, &others, since, MAX_ROUND).await?;
    scene.report(&format!("healed: the cluster is in the answers of others again after {took:?}"));
    scene.shares_return(before, MAX_ROUND + PUBLISH_TIMEOUT).await?;
    scene
        .report(&format!("healed: all shares are as before (± {TOLERANCE_POINTS} points) after {:?}", since.elapsed()));
    let took = scene.publishes_again(&[NORTH], &published_at, since, MAX_ROUND + FAILOVER_TIMEOUT).await?;
    scene.report(&format!("healed: its facts are fresh after {took:?}"));
    scene.continues_for("a round after", MAX_ROUND, &CLUSTERS, before).await
}

/// Kills the only DNS replica of north, which the others probe.
async fn no_dns(scene: &mut FaultScene, before: &Split) -> Result<()> {
    let others = [EAST, WEST];
    let since = now();
    scene.fleet.of(NORTH)?.member.dns.landfall.process.kill()?;
    let took = scene.leaves(&[NORTH], &others, since, FAILOVER_TIMEOUT).await?;
    scene.report(&format!("a cluster without DNS is out of the answers of others {took:?} after it died"));
    scene.continues_without(NORTH, 2 * MAX_DELAY, &[EAST]).await?;

    let since = now();
    scene.fleet.of_mut(NORTH)?.member.dns.landfall.restart()?;
    await_condition("north's clients are answered", FAILOVER_TIMEOUT, async || scene.answer_in(NORTH).await.map(drop))
        .await?;
    scene.report(&format!("north's own clients are answered {:?} after its DNS starts", since.elapsed()));
    let took = scene.returns(NORTH, &others, since, FAILOVER_TIMEOUT).await?;
    scene.report(&format!("others send clients to north again {took:?} after its DNS starts"));
    scene.shares_return(before, MAX_ROUND + PUBLISH_TIMEOUT).await
}

/// Stops the API server of west. Its published shares cannot be read meanwhile, but its DNS answers can.
async fn no_api_server(scene: &FaultScene, before: &Split) -> Result<()> {
    let others = [EAST, NORTH];
    let since = now();
    scene.fleet.control_plane(WEST)?.stop_api_server()?;
    let answers_on = holds_for("west continues to answer", API_OUTAGE, async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        scene.answer_in(WEST).await.map(drop)
    });
    scene.continues_while("west's API server is away", &others, before, answers_on).await?;
    let published_at = scene.published_at().await?;
    let start = async { scene.fleet.control_plane(WEST)?.start_api_server().await };
    scene.continues_while("west's API server starts", &others, before, start).await?;
    scene.served_as_published("without west's API server", since, &CLUSTERS, before)?;

    let since = now();
    scene.set_health(NORTH, Health::NotReady).await?;
    let took = scene.leaves(&[NORTH], &CLUSTERS, since, API_RECOVERY_TIMEOUT).await?;
    scene.report(&format!("west follows its API server again {took:?} after that is ready"));
    scene.set_health(NORTH, Health::Ready).await?;
    scene.returns(NORTH, &CLUSTERS, now(), 2 * MAX_DELAY).await?;
    scene.shares_return(before, MAX_ROUND + PUBLISH_TIMEOUT).await?;
    let took = scene.publishes_again(&[WEST], &published_at, since, MAX_ROUND + FAILOVER_TIMEOUT).await?;
    scene.report(&format!("west publishes facts again {took:?} after its API server is ready"));
    Ok(())
}

/// Runs three rounds with north's operator an hour ahead, east's an hour behind, and west's paused.
async fn wrong_clocks_and_stale_facts(scene: &mut FaultScene, before: &Split) -> Result<()> {
    scene.fleet.of_mut(NORTH)?.member.operator.restart_at("+1h")?;
    scene.fleet.of_mut(EAST)?.member.operator.restart_at("-1h")?;
    for (cluster, offset) in [(NORTH, HOUR), (EAST, -HOUR)] {
        await_condition("the clock is wrong", 2 * FAILOVER_TIMEOUT, async || {
            let ahead = scene.clock_of(cluster).await? - i64::try_from(unix_seconds()?)?;
            ensure!((ahead - offset).abs() < 60, "{cluster} is {ahead} s ahead: is libfaketime installed?");
            Ok(())
        })
        .await?;
        scene.fleet.of(cluster)?.ready().await?;
    }
    scene.fleet.of(WEST)?.member.operator.process.pause()?;
    let since = now();
    let published_at = scene.published_at().await?;
    scene.continues_for("the clocks are wrong", 3 * MAX_ROUND, &CLUSTERS, before).await?;
    scene.served_as_published("with wrong clocks and stale facts", since, &CLUSTERS, before)?;
    let published_now = scene.published_at().await?;
    ensure!(
        published_now[WEST] == published_at[WEST],
        "the paused operator of west published: {published_at:?} {published_now:?}"
    );
    for cluster in [EAST, NORTH] {
        let age = Duration::from_secs(unix_seconds()?.saturating_sub(published_now[cluster].unsigned_abs()));
        scene.report(&format!("{cluster}, whose clock is wrong, published {age:?} ago"));
        ensure!(age <= 2 * MAX_ROUND, "{cluster} no longer publishes: {published_now:?}");
    }

    let since = now();
    scene.fleet.of(WEST)?.member.operator.process.resume()?;
    let publication = scene.publishes_again(&[WEST], &published_now, since, MAX_ROUND + FAILOVER_TIMEOUT);
    let took = scene.continues_while("west's operator continues", &CLUSTERS, before, publication).await?;
    scene.report(&format!("facts of a paused operator are fresh {took:?} after it continues"));
    Ok(())
}

/// Kills the operators of all clusters. They restart with the right time.
async fn no_operators(scene: &mut FaultScene, before: &Split) -> Result<()> {
    for cluster in CLUSTERS {
        scene.fleet.of(cluster)?.member.operator.process.kill()?;
    }
    let since = now();
    let published_at = scene.published_at().await?;
    scene.continues_for("there is no operator", MAX_ROUND, &CLUSTERS, before).await?;
    scene.served_as_published("without operators", since, &CLUSTERS, before)?;
    let since = now();
    scene.set_health(NORTH, Health::NotReady).await?;
    let took = scene.leaves(&[NORTH], &CLUSTERS, since, 2 * MAX_DELAY).await?;
    scene.report(&format!("without operators, a backend that is not ready is out of all answers after {took:?}"));
    scene.set_health(NORTH, Health::Ready).await?;
    scene.returns(NORTH, &CLUSTERS, now(), 2 * MAX_DELAY).await?;
    scene.shares_return(before, MAX_DELAY).await?;

    let since = now();
    for cluster in CLUSTERS {
        scene.fleet.of_mut(cluster)?.member.operator.restart()?;
    }
    let publication = scene.publishes_again(&CLUSTERS, &published_at, since, MAX_ROUND + FAILOVER_TIMEOUT);
    let took = scene.continues_while("the operators are back", &CLUSTERS, before, publication).await?;
    scene.report(&format!("all operators have published {took:?} after their start"));
    scene.continues_for("two rounds after", 2 * MAX_ROUND, &CLUSTERS, before).await?;
    scene.served_as_published("after the operators are back", since, &CLUSTERS, before)
}
