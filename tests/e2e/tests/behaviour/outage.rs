//! While the API server is away, DNS continues to answer from its last state. A DNS server without state does not deny
//! names.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use domain::base::iana::Rcode;
use landfall_e2e::dns_client::DnsClient;
use landfall_e2e::landfall::DnsServer;
use landfall_e2e::member::{DEFAULT_TIMEOUT, MAX_DELAY, Namespace};
use landfall_e2e::process::await_while_running;
use landfall_e2e::wait::{holds_for, report, while_it_holds};
use landfall_e2e::{Member, Question, await_condition, now, objects, run, with_temp_ns};
use serde_json::json;

const EAST: &str = "10.1.0.1";
const WEST: &str = "10.2.0.1";

/// Longer than the first pauses of a client's back-off, so that recovery comes from a late one.
const OUTAGE: Duration = Duration::from_secs(30);

/// Longest recovery. After 30 s of failures, kube's default back-off may pause for another 30 s; half of that still
/// counts as recovery without help.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(15);

#[test]
fn dns_continues_while_the_api_server_is_away_and_everything_recovers_by_itself() -> Result<()> {
    run(async {
        let member = Member::start("outage", "east").await?;
        with_temp_ns(&member, "away", async |ns| {
            sends_to(&ns, "west", WEST, DEFAULT_TIMEOUT).await?;
            member.cluster.control_plane.stop_api_server()?;
            let answers = async || ns.answers_now("pay", WEST).await;
            holds_for("DNS answers while the API server is away", OUTAGE, answers).await?;
            let back = async {
                member.cluster.control_plane.start_api_server().await?;
                Ok(now())
            };
            let back = while_it_holds("DNS answers while the API server comes back", answers, back).await?;
            sends_to(&ns, "east", EAST, RECOVERY_TIMEOUT).await?;
            report(&format!("a new policy is answered {:?} after the API server is ready again", back.elapsed()));
            member.operator.process.check_running()?;
            member.dns.landfall.process.check_running()
        })
        .await
    })
}

#[test]
fn dns_server_that_starts_without_an_api_server_answers_servfail_until_it_has_synced() -> Result<()> {
    run(async {
        let member = Member::start("outage-restart", "east").await?;
        with_temp_ns(&member, "restart", async |ns| {
            sends_to(&ns, "west", WEST, DEFAULT_TIMEOUT).await?;
            member.cluster.control_plane.stop_api_server()?;
            let server = DnsServer::start(member.cluster.site(&member.dns_kubeconfig), "dns-b", &[])?;
            let dns_client = DnsClient::connect(server.address).await?;
            let (known, unknown) = (Question::a(&ns.host("pay"))?, Question::a(&ns.host("no-such"))?);

            await_condition("the new server listens", DEFAULT_TIMEOUT, async || {
                answers_servfail(&dns_client, &known).await
            })
            .await?;
            holds_for("the new server answers SERVFAIL and is not ready", Duration::from_secs(2), async || {
                answers_servfail(&dns_client, &known).await?;
                answers_servfail(&dns_client, &unknown).await?;
                let (status, _) = server.landfall.admin_page("/ready").await?;
                ensure!(status == 503, "/ready reports {status}");
                Ok(())
            })
            .await?;

            let back = async {
                member.cluster.control_plane.start_api_server().await?;
                Ok(now())
            };
            let (ready, right) = tokio::try_join!(back, first_right_answer(&server, &dns_client, &known))?;
            let delay = right.saturating_duration_since(ready);
            report(&format!("a new DNS server answers {delay:?} after the API server is ready"));
            ensure!(delay <= MAX_DELAY, "the first right answer came {delay:?} after the API server was ready");
            server.landfall.ready().await?;
            let reply = dns_client.query(&unknown).await?;
            ensure!(reply.rcode == Rcode::NXDOMAIN, "a name that does not exist is answered with {reply}");
            Ok(())
        })
        .await
    })
}

/// Applies a policy that sends all clients to one cluster, and waits until DNS answers follow.
async fn sends_to(ns: &Namespace<'_>, cluster: &str, address: &str, timeout: Duration) -> Result<()> {
    ns.export("pay", &[("east", EAST), ("west", WEST)]).await?;
    ns.apply(objects::policy("pay", objects::weighted(json!({cluster: 0})))).await?;
    ns.answers("pay", address, timeout).await
}

async fn answers_servfail(dns_client: &DnsClient, question: &Question) -> Result<()> {
    let reply = dns_client.query(question).await?;
    ensure!(reply.rcode == Rcode::SERVFAIL, "answered with {reply}");
    Ok(())
}

/// Returns the time of the first right answer. Every earlier answer must be SERVFAIL.
async fn first_right_answer(server: &DnsServer, dns_client: &DnsClient, question: &Question) -> Result<Instant> {
    let process = &server.landfall.process;
    await_while_running(&[process], "the new server answers", Duration::from_secs(60), async || {
        let reply = dns_client.query(question).await?;
        ensure!(reply.rcode != Rcode::SERVFAIL, "SERVFAIL");
        Ok(if reply.is(WEST) { Ok(now()) } else { Err(anyhow!("the first answer is {reply}")) })
    })
    .await?
}
