//! Start-up, propagation, memory and concurrency of `landfall dns` behind one real API server.
//!
//! The setup is that of the Lighthouse measurements: 1,000 ServiceImports without IPs, exported by five clusters with
//! one EndpointSlice each, one of them local. The operator has published all selections before DNS starts. Prints a
//! table; takes about two minutes. Queries, server, API server and etcd share the machine's cores, so a busy machine
//! affects every figure.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::Client;
use kube::api::{ListParams, Patch, PatchParams};
use landfall_e2e::cluster::{DNS_ACCOUNT, McsCrds, OPERATOR_ACCOUNT};
use landfall_e2e::dns_client::DnsClient;
use landfall_e2e::landfall::{DnsServer, Landfall};
use landfall_e2e::objects::{self, Health};
use landfall_e2e::wait::percentile;
use landfall_e2e::{Cluster, Question, await_condition, now, run};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const SERVICES: usize = 1000;
/// The first cluster is the local one.
const CLUSTERS: [&str; 5] = ["c1", "c2", "c3", "c4", "c5"];
const NAMESPACE: &str = "bench";
/// Concurrent requests to the API server.
const WRITERS: usize = 16;

const CHANGES: usize = 50;
/// Pause between two queries for a change.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

const CLIENTS: usize = 32;
const QUERIES: usize = 1_000_000;

/// Limit on every wait. Lighthouse needs five minutes for the first figure.
const TIMEOUT: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    run(async {
        let bench = Bench::prepare().await?;
        let (server, startup) = bench.start().await?;
        print_row("exec → first reply", &millis(startup.first_reply));
        print_row("exec → all 1,000 names right", &millis(startup.all_right));
        print_row("anonymous memory at start", &bench.anonymous_memory(&server)?);

        let dns_client = DnsClient::connect(server.address).await?;
        for (what, health) in [("ready → not ready", Health::NotReady), ("not ready → ready", Health::Ready)] {
            let mut delays = bench.single_changes(&dns_client, health).await?;
            let (p50, p99) = (percentile(&mut delays, 0.5), percentile(&mut delays, 0.99));
            print_row(
                &format!("{what}, patch sent → answer, {CHANGES} changes"),
                &format!("p50 {}, p99 {}", millis(p50), millis(p99)),
            );
        }
        let burst = bench.burst(server.address).await?;
        print_row("burst: 1,000 slices changed within", &millis(burst.last_patch));
        print_row("burst: first patch sent → last answer", &millis(burst.last_answer));
        print_row("burst: last patch done → last answer", &millis(burst.last_answer.saturating_sub(burst.last_patch)));
        let empty = bench.empty_answers(&server).await?;
        print_row("empty answers in 1,000,000 from 32 clients, 1 of 5 ready", &empty.to_string());
        print_row("anonymous memory at the end", &bench.anonymous_memory(&server)?);
        Ok(())
    })
}

struct Bench {
    cluster: Cluster,
    /// Operator that keeps the selections up to date.
    _operator: Landfall,
    questions: Vec<Question>,
}

struct Startup {
    first_reply: Duration,
    all_right: Duration,
}

struct Burst {
    last_patch: Duration,
    last_answer: Duration,
}

impl Bench {
    /// Starts a cluster with all objects, and an operator. Returns once all selections are published.
    async fn prepare() -> Result<Self> {
        let cluster = Cluster::start("bench", CLUSTERS[0], McsCrds::Current).await?;
        let client = cluster.client();
        objects::apply(client, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}))
            .await?;
        let imports = (0..SERVICES).map(|i| objects::import(&service(i), &CLUSTERS));
        let slices = (0..SERVICES).flat_map(|i| (0..CLUSTERS.len()).map(move |c| slice(i, c, Health::Ready)));
        let all = imports.chain(slices).map(in_namespace).collect();
        in_parallel(client, all, async |client, object| objects::apply(&client, &object).await.map(drop)).await?;

        let kubeconfig = cluster.kubeconfig_for(OPERATOR_ACCOUNT, "operator").await?;
        let operator = Landfall::operator(cluster.site(&kubeconfig), "operator", &[])?;
        let selections = objects::api(client, "landfall.dev/v1alpha1", "ServiceSelection", Some(NAMESPACE));
        await_condition("all selections are published", TIMEOUT, async || {
            let published = selections.list_metadata(&ListParams::default()).await?.items.len();
            ensure!(published == SERVICES, "{published} of {SERVICES}");
            Ok(())
        })
        .await?;
        let host = |i| format!("{}.{NAMESPACE}.svc.clusterset.local", service(i));
        let questions = (0..SERVICES).map(|i| Question::a(&host(i))).collect::<Result<_>>()?;
        Ok(Self { cluster, _operator: operator, questions })
    }

    /// Starts the DNS server and measures until every name was answered with the local cluster's address.
    async fn start(&self) -> Result<(DnsServer, Startup)> {
        let kubeconfig = self.cluster.kubeconfig_for(DNS_ACCOUNT, "dns").await?;
        let executed = now();
        let server = DnsServer::start(self.cluster.site(&kubeconfig), "dns", &[])?;
        let dns_client = DnsClient::connect(server.address).await?;
        let first = async || dns_client.query(&self.questions[0]).await;
        await_condition("a first reply", TIMEOUT, first).await?;
        let first_reply = executed.elapsed();
        self.all_answered_by(&dns_client, 0, executed + TIMEOUT).await?;
        Ok((server, Startup { first_reply, all_right: executed.elapsed() }))
    }

    /// Returns once every name was answered with the address of the given cluster.
    async fn all_answered_by(&self, dns_client: &DnsClient, cluster: usize, deadline: Instant) -> Result<()> {
        let mut left: Vec<usize> = (0..SERVICES).collect();
        while !left.is_empty() {
            ensure!(now() < deadline, "{} names are not yet answered with {}", left.len(), CLUSTERS[cluster]);
            let mut still = Vec::new();
            for i in left {
                let answered =
                    dns_client.query(&self.questions[i]).await.is_ok_and(|reply| reply.is(&address(i, cluster)));
                if !answered {
                    still.push(i);
                }
            }
            left = still;
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Changes the local slices of some services one after the other. Returns the delay of each until the answer
    /// changed.
    async fn single_changes(&self, dns_client: &DnsClient, health: Health) -> Result<Vec<Duration>> {
        let mut delays = Vec::new();
        for i in 0..CHANGES {
            let sent = now();
            set_health(self.cluster.client(), i, 0, health).await?;
            loop {
                let local = dns_client.query(&self.questions[i]).await?.is(&address(i, 0));
                if local == (health == Health::Ready) {
                    break;
                }
                ensure!(sent.elapsed() < TIMEOUT, "{} still has its old answer", service(i));
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            delays.push(sent.elapsed());
        }
        Ok(delays)
    }

    /// Makes all local slices unready as fast as the API server accepts the patches.
    async fn burst(&self, server: std::net::SocketAddr) -> Result<Burst> {
        // Any of the other four clusters may be drawn, so the slices of three of them become unready first and leave
        // one.
        let others = (0..SERVICES).flat_map(|i| (2..CLUSTERS.len()).map(move |c| (i, c))).collect();
        let client = self.cluster.client();
        let not_ready =
            async |client: Client, (i, c): (usize, usize)| set_health(&client, i, c, Health::NotReady).await;
        in_parallel(client, others, not_ready).await?;
        let dns_client = DnsClient::connect(server).await?;
        let started = now();
        let patches = async {
            let local = (0..SERVICES).map(|i| (i, 0)).collect();
            in_parallel(client, local, not_ready).await?;
            anyhow::Ok(started.elapsed())
        };
        let answers = async {
            self.all_answered_by(&dns_client, 1, started + TIMEOUT).await?;
            anyhow::Ok(started.elapsed())
        };
        let (last_patch, last_answer) = tokio::try_join!(patches, answers)?;
        Ok(Burst { last_patch, last_answer })
    }

    /// Queries a service of which one cluster in five is ready, as the burst left it, from many clients at once.
    /// Returns the number of empty answers.
    async fn empty_answers(&self, server: &DnsServer) -> Result<usize> {
        let question = Arc::new(self.questions[0].clone());
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (question, dns_client) = (Arc::clone(&question), DnsClient::connect(server.address).await?);
            clients.spawn(async move {
                let mut empty = 0;
                for _ in 0..QUERIES / CLIENTS {
                    empty += usize::from(dns_client.query(&question).await?.addresses.is_empty());
                }
                anyhow::Ok(empty)
            });
        }
        let mut empty = 0;
        while let Some(counted) = clients.join_next().await {
            empty += counted??;
        }
        Ok(empty)
    }

    /// Returns the allocated memory of the server without its program text. This part grows with the number of objects.
    fn anonymous_memory(&self, server: &DnsServer) -> Result<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", server.landfall.process.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(format!("{:.1} MB", kilobytes * 1024.0 / 1e6))
    }
}

fn service(i: usize) -> String {
    format!("svc-{i:04}")
}

fn address(i: usize, cluster: usize) -> String {
    format!("10.{}.{}.{}", cluster + 1, i / 200, i % 200 + 1)
}

fn slice(i: usize, cluster: usize, health: Health) -> Value {
    objects::slice(&service(i), CLUSTERS[cluster], &address(i, cluster), health)
}

fn in_namespace(mut object: Value) -> Value {
    object["metadata"]["namespace"] = json!(NAMESPACE);
    object
}

async fn set_health(client: &Client, i: usize, cluster: usize, health: Health) -> Result<()> {
    let slices = objects::api(client, "discovery.k8s.io/v1", "EndpointSlice", Some(NAMESPACE));
    let patch = Patch::Merge(json!({"endpoints": slice(i, cluster, health)["endpoints"]}));
    slices.patch(&objects::slice_name(&service(i), CLUSTERS[cluster]), &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Runs `act` on each item, a few at a time. Fails if one of them fails.
async fn in_parallel<T, F>(
    client: &Client,
    items: Vec<T>,
    act: impl Fn(Client, T) -> F + Clone + Send + 'static,
) -> Result<()>
where
    T: Send + 'static,
    F: Future<Output = Result<()>> + Send,
{
    let queue = Arc::new(std::sync::Mutex::new(items.into_iter()));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (client, queue, act) = (client.clone(), Arc::clone(&queue), act.clone());
        writers.spawn(async move {
            while let Some(item) = queue.lock().ok().and_then(|mut left| left.next()) {
                act(client.clone(), item).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = writers.join_next().await {
        done??;
    }
    Ok(())
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn print_row(what: &str, figure: &str) {
    println!("{what:<60} {figure}");
}
