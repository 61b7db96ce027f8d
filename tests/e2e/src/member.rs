//! Clusters in which Landfall runs, and the namespaces that tests work in.

use std::ffi::OsString;
use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::cluster::{Cluster, DNS_ACCOUNT, McsCrds, OPERATOR_ACCOUNT, Output};
use crate::dns_client::{DnsClient, Question, Reply};
use crate::dump::dump;
use crate::landfall::{DnsServer, Landfall};
use crate::objects::{self, Health};
use crate::wait::await_condition;

/// Promised limit on the delay from the API server's reply until DNS answers follow a change.
pub const MAX_DELAY: Duration = Duration::from_secs(1);

/// Default limit on waiting, for changes without a promised delay.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Cluster with one operator and one DNS server.
pub struct Member {
    pub operator: Landfall,
    pub dns: DnsServer,
    /// Kubeconfig of the DNS server, for a second server that starts while no new token can be created.
    pub dns_kubeconfig: PathBuf,
    pub cluster: Cluster,
    dns_client: DnsClient,
}

/// Two clusters that are shared by all tests that stop nothing.
pub struct Clusters {
    pub east: Member,
    pub west: Member,
}

/// Namespace of a member, with the operations that tests need.
#[derive(Clone, Copy)]
pub struct Namespace<'a> {
    pub member: &'a Member,
    pub name: &'a str,
}

/// Runs a scenario on the runtime that all tests of the process share. Shared clusters hold connections, and a
/// connection ends with its runtime.
pub fn run(scenario: impl Future<Output = Result<()>>) -> Result<()> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("threads can be started")).block_on(scenario)
}

/// Returns the shared clusters `east` and `west`; the first caller waits for their start. A failed start fails for all
/// callers, because a second try would cost each test a minute.
pub async fn two_clusters() -> Result<&'static Clusters> {
    static CLUSTERS: OnceCell<Result<Clusters, String>> = OnceCell::const_new();
    let start = || async {
        let both = tokio::try_join!(Member::start("east", "east"), Member::start("west", "west"));
        both.map(|(east, west)| Clusters { east, west }).map_err(|error| format!("{error:#}"))
    };
    CLUSTERS.get_or_init(start).await.as_ref().map_err(|error| anyhow!("the shared clusters: {error}"))
}

/// Runs a scenario in a namespace of its own. If it fails, prints the namespace's objects and the logs.
pub async fn with_temp_ns(
    member: &Member,
    prefix: &str,
    scenario: impl AsyncFnOnce(Namespace<'_>) -> Result<()>,
) -> Result<()> {
    static COUNTER: AtomicU32 = AtomicU32::new(1);
    let name = format!("{prefix}-{}", COUNTER.fetch_add(1, Ordering::Relaxed));
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    objects::apply(member.cluster.client(), &object).await?;
    let outcome = scenario(Namespace { member, name: &name }).await;
    if outcome.is_err() {
        dump(&member.cluster, Some(&name)).await;
        return outcome;
    }
    objects::delete(member.cluster.client(), &object).await
}

impl Member {
    /// Starts a cluster with the current CRDs and Landfall. Returns once both programs are ready.
    pub async fn start(name: &str, id: &str) -> Result<Self> {
        Self::start_in(Cluster::start(name, id, McsCrds::Current).await?).await
    }

    /// Starts Landfall in a cluster.
    pub async fn start_in(cluster: Cluster) -> Result<Self> {
        Self::start_with(cluster, &[], |_| Vec::new()).await
    }

    /// Starts Landfall in a cluster, with further arguments for DNS, and for the operator with arguments that depend on
    /// DNS.
    pub async fn start_with(
        cluster: Cluster,
        dns: &[OsString],
        operator: impl FnOnce(&DnsServer) -> Vec<OsString>,
    ) -> Result<Self> {
        let programs = start_programs(&cluster, dns, operator).await;
        if programs.is_err() {
            dump(&cluster, None).await;
        }
        let (operator, dns, dns_kubeconfig) =
            programs.with_context(|| format!("start landfall in cluster {}", cluster.name()))?;
        let dns_client = DnsClient::connect(dns.address).await?;
        Ok(Self { operator, dns, dns_kubeconfig, cluster, dns_client })
    }

    /// Starts one more operator, with an identity and a token of its own.
    pub async fn start_operator(&self, identity: &str) -> Result<Landfall> {
        start_operator(&self.cluster, identity, &[]).await
    }

    /// Queries the DNS server.
    pub async fn query(&self, question: &Question) -> Result<Reply> {
        self.dns_client.query(question).await
    }

    #[must_use]
    pub fn dns_address(&self) -> SocketAddr {
        self.dns.address
    }
}

async fn start_programs(
    cluster: &Cluster,
    for_dns: &[OsString],
    for_operator: impl FnOnce(&DnsServer) -> Vec<OsString>,
) -> Result<(Landfall, DnsServer, PathBuf)> {
    let kubeconfig = cluster.kubeconfig_for(DNS_ACCOUNT, "dns-a").await?;
    let dns = DnsServer::start(cluster.site(&kubeconfig), "dns-a", for_dns)?;
    let operator = start_operator(cluster, "operator-a", &for_operator(&dns)).await?;
    operator.ready().await.context("operator")?;
    dns.landfall.ready().await.context("dns")?;
    Ok((operator, dns, kubeconfig))
}

async fn start_operator(cluster: &Cluster, identity: &str, more: &[OsString]) -> Result<Landfall> {
    let kubeconfig = cluster.kubeconfig_for(OPERATOR_ACCOUNT, identity).await?;
    Landfall::operator(cluster.site(&kubeconfig), identity, more)
}

impl Namespace<'_> {
    /// Returns the name of a service in the clusterset.
    #[must_use]
    pub fn host(&self, service: &str) -> String {
        format!("{service}.{}.svc.clusterset.local", self.name)
    }

    /// Queries the A records of a service.
    pub async fn query(&self, service: &str) -> Result<Reply> {
        self.member.query(&Question::a(&self.host(service))?).await
    }

    /// Succeeds if a service is answered with exactly this address.
    pub async fn answers_now(&self, service: &str, address: &str) -> Result<()> {
        let reply = self.query(service).await?;
        ensure!(reply.is(address), "{service} is answered with {reply} instead of {address}");
        Ok(())
    }

    /// Waits until a service is answered with exactly this address.
    pub async fn answers(&self, service: &str, address: &str, timeout: Duration) -> Result<()> {
        await_condition(&format!("{service} is answered"), timeout, async || self.answers_now(service, address).await)
            .await
    }

    /// Applies an object in this namespace.
    pub async fn apply(&self, mut object: Value) -> Result<()> {
        object["metadata"]["namespace"] = json!(self.name);
        objects::apply(self.member.cluster.client(), &object).await?;
        Ok(())
    }

    /// Applies an import and, for each of its clusters, a ready slice with the given address.
    pub async fn export(&self, service: &str, addresses: &[(&str, &str)]) -> Result<()> {
        let clusters: Vec<&str> = addresses.iter().map(|(cluster, _)| *cluster).collect();
        self.apply(objects::import(service, &clusters)).await?;
        for (cluster, address) in addresses {
            self.apply(objects::slice(service, cluster, address, Health::Ready)).await?;
        }
        Ok(())
    }

    pub async fn delete(&self, api_version: &str, kind: &str, name: &str) -> Result<()> {
        let object =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": self.name}});
        objects::delete(self.member.cluster.client(), &object).await
    }

    /// Returns an object of this namespace.
    pub async fn read(&self, api_version: &str, kind: &str, name: &str) -> Result<Value> {
        let api = objects::api(self.member.cluster.client(), api_version, kind, Some(self.name));
        Ok(serde_json::to_value(api.get(name).await?)?)
    }

    /// Returns the ServiceSelection of a service.
    pub async fn selection(&self, service: &str) -> Result<Value> {
        self.read("landfall.dev/v1alpha1", "ServiceSelection", service).await
    }

    /// Runs kubectl in this namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        self.member.cluster.kubectl(&[&["--namespace", self.name], arguments].concat()).await
    }

    /// Applies an object with kubectl, for tests of the message that users see.
    pub async fn kubectl_apply(&self, object: &Value) -> Result<Output> {
        static COUNTER: AtomicU32 = AtomicU32::new(1);
        let file = format!("applied-{}.json", COUNTER.fetch_add(1, Ordering::Relaxed));
        let path = self.member.cluster.folder().join(file);
        fs::write(&path, object.to_string())?;
        self.kubectl(&["apply", "--filename", path.to_str().context("a path that is not UTF-8")?]).await
    }
}
