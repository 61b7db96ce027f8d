//! The broker is away for five minutes, and programs restart meanwhile: shares stay, health counts, and no share
//! changes when the broker is back. docs/failures.md has the figures.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_e2e::exported::Split;
use landfall_e2e::fleet::BROKER;
use landfall_e2e::member::MAX_DELAY;
use landfall_e2e::objects::Health;
use landfall_e2e::{await_condition, now, run};

use crate::scene::{CLUSTERS, EAST, FaultScene, MAX_ROUND, NORTH, PUBLISH_TIMEOUT, WEST};

/// Long enough for every wait for the broker to time out several times.
const OUTAGE: Duration = Duration::from_secs(300);

#[test]
fn shares_stay_and_health_counts_while_the_broker_is_away_even_after_a_restart() -> Result<()> {
    run(async {
        let mut scene = FaultScene::start("broker-faults").await?;
        let outcome = play(&mut scene).await;
        scene.finish(outcome).await
    })
}

async fn play(scene: &mut FaultScene) -> Result<()> {
    let before = scene.settled().await?;
    let published_at = scene.published_at().await?;
    let since = now();
    scene.fleet.control_plane(BROKER)?.stop_api_server()?;
    scene.continues_for("the broker is away", OUTAGE / 2, &CLUSTERS, &before).await?;
    scene.served_as_published("in the first half of the outage", since, &CLUSTERS, &before)?;
    health_counts(scene, &before).await.context("health while the broker is away")?;
    restart_without_broker(scene, &before).await.context("restart while the broker is away")?;
    let left = OUTAGE.saturating_sub(since.elapsed());
    scene.continues_for("the broker is still away", left, &CLUSTERS, &before).await?;

    scene.fleet.control_plane(BROKER)?.start_api_server().await?;
    let back = now();
    scene.report(&format!("the broker was away for {:?}", since.elapsed()));
    let publication = scene.publishes_again(&CLUSTERS, &published_at, back, MAX_ROUND + PUBLISH_TIMEOUT);
    let after = scene.continues_while("the broker is back", &CLUSTERS, &before, publication).await?;
    scene.report(&format!("all facts are fresh {after:?} after the broker is ready"));
    expired_token(scene, &before).await.context("an invalid token")?;
    scene.served_as_published("after the outage", back, &CLUSTERS, &before)
}

/// Makes the token of north invalid at the broker, and then valid again.
async fn expired_token(scene: &FaultScene, before: &Split) -> Result<()> {
    let file = scene.fleet.broker.folder().join(format!("broker-{NORTH}.kubeconfig"));
    let good = fs::read_to_string(&file)?;
    fs::write(&file, good.replace("token: \"", "token: \"expired-"))?;
    await_condition("north cannot read from the broker", 3 * PUBLISH_TIMEOUT, async || {
        let (_, page) = scene.fleet.of(NORTH)?.member.operator.admin_page("/metrics").await?;
        let readable = page.lines().find(|line| line.starts_with("landfall_broker_heard "));
        ensure!(
            readable.is_some_and(|readable| readable.ends_with(" 0") || readable.ends_with(" 0.0")),
            "{readable:?}"
        );
        Ok(())
    })
    .await?;
    let published_at = scene.published_at().await?;
    scene.continues_for("north's token is invalid", MAX_ROUND + PUBLISH_TIMEOUT, &CLUSTERS, before).await?;
    ensure!(
        scene.published_at().await?[NORTH] == published_at[NORTH],
        "north published without a valid token: {published_at:?}"
    );

    let since = now();
    fs::write(&file, good)?;
    let publication = scene.publishes_again(&[NORTH], &published_at, since, MAX_ROUND + PUBLISH_TIMEOUT);
    let took = scene.continues_while("north's token is valid again", &CLUSTERS, before, publication).await?;
    scene.report(&format!("facts are fresh {took:?} after the token is valid again"));
    Ok(())
}

/// Makes north unready for a while.
async fn health_counts(scene: &FaultScene, before: &Split) -> Result<()> {
    let since = now();
    scene.set_health(NORTH, Health::NotReady).await?;
    let took = scene.leaves(&[NORTH], &CLUSTERS, since, 2 * MAX_DELAY).await?;
    scene.report(&format!("a backend that is not ready is out of all answers {took:?} after its slice was written"));
    scene.continues_without(NORTH, 2 * MAX_DELAY, &[EAST]).await?;
    let since = now();
    scene.set_health(NORTH, Health::Ready).await?;
    let took = scene.returns(NORTH, &CLUSTERS, since, 2 * MAX_DELAY).await?;
    scene.report(&format!("a ready backend is in all answers again after {took:?}"));
    scene.shares_return(before, MAX_ROUND + PUBLISH_TIMEOUT).await
}

/// Crashes and restarts both programs of two clusters while the third one runs on.
async fn restart_without_broker(scene: &mut FaultScene, before: &Split) -> Result<()> {
    for cluster in [EAST, NORTH] {
        scene.fleet.kill_programs(cluster)?;
        let since = now();
        scene.fleet.restart_programs(cluster).await?;
        scene.answer_in(cluster).await?;
        scene.report(&format!("{cluster} is ready without a broker {:?} after its start", since.elapsed()));
    }
    // A cluster whose DNS was killed is in no answer of the others until their next probe.
    scene.returns(EAST, &[WEST, NORTH], now(), PUBLISH_TIMEOUT).await?;
    scene.shares_return(before, MAX_ROUND + PUBLISH_TIMEOUT).await?;
    let since = now();
    scene.continues_for("a round without a broker", MAX_ROUND + PUBLISH_TIMEOUT, &CLUSTERS, before).await?;
    scene.served_as_published("after a restart without a broker", since, &CLUSTERS, before)
}
