//! The broker is away for five minutes, and programs restart meanwhile: shares stay, health counts, and no share
//! changes when the broker is back. docs/failures.md has the figures.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use landfall_e2e::exported::Split;
use landfall_e2e::fleet::BROKER;
use landfall_e2e::member::PROMPT;
use landfall_e2e::objects::Health;
use landfall_e2e::{await_condition, now, run};

use crate::scene::{CLUSTERS, EAST, FaultScene, NORTH, ROUND, TO_PUBLISH, WEST};

/// Long enough for every wait for the broker to time out several times.
const AWAY: Duration = Duration::from_secs(300);

#[test]
fn shares_stay_and_health_counts_while_the_broker_is_away_even_after_a_restart() -> Result<()> {
    run(async {
        let mut scene = FaultScene::start("broker-faults").await?;
        let outcome = play(&mut scene).await;
        scene.judge(outcome).await
    })
}

async fn play(scene: &mut FaultScene) -> Result<()> {
    let before = scene.settled().await?;
    let told = scene.told().await?;
    let since = now();
    scene.fleet.control_plane(BROKER)?.stop_api_server()?;
    scene.goes_on_for("the broker is away", AWAY / 2, &CLUSTERS, &before).await?;
    scene.was_served("in the first half of the outage", since, &CLUSTERS, &before)?;
    health_counts(scene, &before).await.context("health while the broker is away")?;
    begin_anew(scene, &before).await.context("restart while the broker is away")?;
    let left = AWAY.saturating_sub(since.elapsed());
    scene.goes_on_for("the broker is still away", left, &CLUSTERS, &before).await?;

    scene.fleet.control_plane(BROKER)?.start_api_server().await?;
    let back = now();
    scene.report(&format!("the broker was away for {:?}", since.elapsed()));
    let tell = scene.tell_again(&CLUSTERS, &told, back, ROUND + TO_PUBLISH);
    let after = scene.goes_on("the broker is back", &CLUSTERS, &before, tell).await?;
    scene.report(&format!("all facts are fresh {after:?} after the broker is ready"));
    expired_token(scene, &before).await.context("an invalid token")?;
    scene.was_served("after the outage", back, &CLUSTERS, &before)
}

/// Makes the token of north invalid at the broker, and then valid again.
async fn expired_token(scene: &FaultScene, before: &Split) -> Result<()> {
    let file = scene.fleet.broker.folder().join(format!("broker-{NORTH}.kubeconfig"));
    let good = fs::read_to_string(&file)?;
    fs::write(&file, good.replace("token: \"", "token: \"expired-"))?;
    await_condition("north cannot read from the broker", 3 * TO_PUBLISH, async || {
        let (_, page) = scene.fleet.of(NORTH)?.member.operator.admin_page("/metrics").await?;
        let heard = page.lines().find(|line| line.starts_with("landfall_broker_heard "));
        ensure!(heard.is_some_and(|heard| heard.ends_with(" 0") || heard.ends_with(" 0.0")), "{heard:?}");
        Ok(())
    })
    .await?;
    let told = scene.told().await?;
    scene.goes_on_for("north's token is invalid", ROUND + TO_PUBLISH, &CLUSTERS, before).await?;
    ensure!(scene.told().await?[NORTH] == told[NORTH], "north published without a valid token: {told:?}");

    let since = now();
    fs::write(&file, good)?;
    let tell = scene.tell_again(&[NORTH], &told, since, ROUND + TO_PUBLISH);
    let took = scene.goes_on("north's token is valid again", &CLUSTERS, before, tell).await?;
    scene.report(&format!("facts are fresh {took:?} after the token is valid again"));
    Ok(())
}

/// Makes north unready for a while.
async fn health_counts(scene: &FaultScene, before: &Split) -> Result<()> {
    let since = now();
    scene.set_health(NORTH, Health::NotReady).await?;
    let took = scene.leaves(&[NORTH], &CLUSTERS, since, 2 * PROMPT).await?;
    scene.report(&format!("a backend that is not ready is out of all answers {took:?} after its slice was written"));
    scene.goes_on_without(NORTH, 2 * PROMPT, &[EAST]).await?;
    let since = now();
    scene.set_health(NORTH, Health::Ready).await?;
    let took = scene.returns(NORTH, &CLUSTERS, since, 2 * PROMPT).await?;
    scene.report(&format!("a ready backend is in all answers again after {took:?}"));
    scene.comes_back_to(before, ROUND + TO_PUBLISH).await
}

/// Crashes and restarts both programs of two clusters while the third one runs on.
async fn begin_anew(scene: &mut FaultScene, before: &Split) -> Result<()> {
    for cluster in [EAST, NORTH] {
        scene.fleet.kill_programs(cluster)?;
        let since = now();
        scene.fleet.restart_programs(cluster).await?;
        scene.answer_in(cluster).await?;
        scene.report(&format!("{cluster} is ready without a broker {:?} after its start", since.elapsed()));
    }
    // A cluster whose DNS was killed is in no answer of the others until their next probe.
    scene.returns(EAST, &[WEST, NORTH], now(), TO_PUBLISH).await?;
    scene.comes_back_to(before, ROUND + TO_PUBLISH).await?;
    let since = now();
    scene.goes_on_for("a round without a broker", ROUND + TO_PUBLISH, &CLUSTERS, before).await?;
    scene.was_served("after a restart without a broker", since, &CLUSTERS, before)
}
