//! The arguments of all commands.

mod help;
mod values;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use landfall_controller::whatif::Amount;
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::pricing::Location;
use landfall_dns::Config;

use crate::args::help::{DRAIN_HELP, EXPLAIN_HELP, PLAN_HELP, PROCESS_HELP, SIMULATE_HELP, UP_HELP};
use crate::args::values::{address, amount, cluster_id, clusters, number, one_cluster_id, pair, seconds, service};

#[derive(Debug, Parser)]
#[command(
    name = "landfall",
    version,
    about = "Decides which cluster serves each request to a multi-cluster service, and answers DNS accordingly"
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole fleet from a folder of manifests, with one DNS server per cluster
    #[command(after_long_help = UP_HELP)]
    Up(UpArgs),
    /// Run the operator (in a cluster): compute and publish weights
    #[command(after_long_help = PROCESS_HELP)]
    Operator(OperatorArgs),
    /// Run the DNS server (in a cluster)
    #[command(after_long_help = PROCESS_HELP)]
    Dns(DnsArgs),
    /// Print the shares that a folder of manifests leads to
    #[command(after_long_help = PLAN_HELP)]
    Plan(PlanArgs),
    /// Explain why the clients of a cluster are sent where they are sent
    #[command(after_long_help = EXPLAIN_HELP)]
    Explain(ExplainArgs),
    /// Answer what-if questions about a fleet (--live), or compare policies in a simulated one
    #[command(after_long_help = SIMULATE_HELP)]
    Simulate(Box<SimulateArgs>),
    /// Drain a cluster: shift its traffic to the other clusters over a period
    #[command(after_long_help = DRAIN_HELP)]
    Drain(DrainArgs),
    /// Print the custom resource definitions, for kubectl apply
    Crds,
}

#[derive(Debug, clap::Args)]
pub struct UpArgs {
    #[command(flatten)]
    pub folder: FleetFolder,
    /// Listen address of the first cluster's DNS server (by name); the others use the following ports
    #[arg(long, default_value = "127.0.0.1:5301", value_name = "ADDR:PORT", value_parser = address)]
    pub dns: SocketAddr,
    #[command(flatten)]
    pub answers: AnswerOptions,
}

#[derive(Debug, clap::Args)]
pub struct OperatorArgs {
    #[command(flatten)]
    pub cluster: Cluster,
    /// Listen address of /live, /ready and /metrics
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDR:PORT", value_parser = address)]
    pub admin: SocketAddr,
    /// Name of this replica in the leader election, unique among the replicas (default: a random name)
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,
    /// Path to a kubeconfig of the broker (default: the broker of the Submariner resource; without one, clusters do not
    /// exchange facts)
    #[arg(long, value_name = "FILE")]
    pub broker_kubeconfig: Option<PathBuf>,
    /// Namespace of the clusterset on the broker of --broker-kubeconfig
    #[arg(long, default_value = "submariner-k8s-broker", value_name = "NAMESPACE")]
    pub broker_namespace: String,
    /// Admin address of a DNS replica (repeatable; default: the replicas behind --dns-service, port 8081)
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub dns_replica: Vec<SocketAddr>,
    /// Service of the DNS replicas, in the namespace of Landfall
    #[arg(long, default_value = "landfall-dns", value_name = "NAME")]
    pub dns_service: String,
    /// Source IP for probes to other clusters (default: chosen by the routing table)
    #[arg(long, value_name = "IP")]
    pub probe_source: Option<IpAddr>,
    /// URL of a Prometheus, or of a compatible HTTP API, for the queries of SelectionPolicies (default: no queries)
    #[arg(long, value_name = "URL")]
    pub prometheus: Option<String>,
    /// Location for pricing (default: ClusterProperty location.landfall.dev, then the labels of the nodes)
    #[arg(long, value_name = "PROVIDER[/REGION[/ZONE]]", value_parser = Location::parse_override)]
    pub location: Option<Location>,
}

#[derive(Debug, clap::Args)]
pub struct DnsArgs {
    #[command(flatten)]
    pub cluster: Cluster,
    /// Listen address for DNS, over UDP and TCP
    #[arg(long, default_value = "0.0.0.0:53", value_name = "ADDR:PORT", value_parser = address)]
    pub listen: SocketAddr,
    /// Listen address for probes of other clusters, over TCP
    #[arg(long, default_value = "0.0.0.0:8053", value_name = "ADDR:PORT", value_parser = address)]
    pub probe: SocketAddr,
    /// Address at which other clusters reach --probe (repeatable; default: the address of this replica)
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub probe_advertise: Vec<SocketAddr>,
    /// Source IP for probes to other clusters (default: chosen by the routing table)
    #[arg(long, value_name = "IP")]
    pub probe_source: Option<IpAddr>,
    /// Listen address of /live, /ready, /metrics and /answers
    #[arg(long, default_value = "0.0.0.0:8081", value_name = "ADDR:PORT", value_parser = address)]
    pub admin: SocketAddr,
    #[command(flatten)]
    pub answers: AnswerOptions,
    /// Address to publish for the name server record ns.dns.ZONE, usually the Service's (repeatable; default: the
    /// address of --listen, if it is a specific one)
    #[arg(long, value_name = "IP")]
    pub advertise: Vec<IpAddr>,
    /// Threads that answer over UDP (default: one per core)
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Seconds to keep answering after SIGTERM
    #[arg(long, default_value_t = 3, value_name = "SECONDS")]
    pub drain: u64,
}

#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub folder: FleetFolder,
    /// Output format: a table for people, or a List of ServiceSelections
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
}

#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// Service to explain, named as its ServiceImport
    #[arg(value_name = "NAMESPACE/SERVICE", value_parser = service)]
    pub service: ServiceKey,
    /// Cluster whose clients to explain (default: the cluster of the kubeconfig, or the only one in the folder)
    #[arg(long, value_name = "CLUSTER", value_parser = cluster_id)]
    pub from: Option<ClusterId>,
    #[command(flatten)]
    pub place: Place,
    /// Output format: a table for people, or all inputs and results of the computation
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
}

/// Where the present is read from: a folder, or the API server of a cluster.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// Folder with one sub-folder per cluster, as for `landfall plan` (default: read the cluster of the kubeconfig)
    #[arg(conflicts_with_all = ["kubeconfig", "cluster_id", "broker_kubeconfig"])]
    pub dir: Option<PathBuf>,
    #[command(flatten)]
    pub server: ApiServer,
}

#[derive(Debug, clap::Args)]
pub struct SimulateArgs {
    /// Scenario to run: clusters, clients and events, as YAML. With --live: folder with one sub-folder per cluster, as for
    /// `landfall plan` (default: read the cluster of the kubeconfig)
    #[arg(required_unless_present_any = ["generate", "live"], conflicts_with = "generate")]
    pub file: Option<PathBuf>,
    /// Recorded events of each round, as JSON (default: drawn from the seed of the scenario)
    #[arg(long, value_name = "FILE", conflicts_with = "generate")]
    pub trace: Option<PathBuf>,
    /// Generate a scenario from this seed instead of reading one
    #[arg(long, value_name = "SEED")]
    pub generate: Option<u64>,
    /// Number of clusters of the generated scenario, 1 to 200
    #[arg(long, value_name = "N", default_value_t = 8, conflicts_with = "file", value_parser = clusters)]
    pub clusters: usize,
    /// Policy to run (repeatable or comma-separated; default: all). With --live: file with a SelectionPolicy to try in all
    /// clusters (repeatable)
    ///
    /// With --live the policy replaces the one with the same name and overrides others with the same scope. A more specific
    /// policy still wins, and is reported.
    #[arg(long, value_name = "NAME|FILE")]
    pub policy: Vec<String>,
    /// Utilization above which the optimizer sends clients elsewhere at any cost, 0.1 to 0.99 (default: 0.9)
    #[arg(long, alias = "target-utilisation", value_name = "PART", value_parser = |text: &str| number(text, (0.1, 0.99)))]
    pub target_utilization: Option<f64>,
    /// Cost difference in milliseconds below which the optimizer treats clusters as equal, 0.01 to 1000 (default: 0.5)
    #[arg(long, value_name = "MS", value_parser = |text: &str| number(text, (0.01, 1000.0)))]
    pub epsilon_ms: Option<f64>,
    /// Output format: a table for people, or a list of objects
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
    /// Write a report with charts, as one self-contained HTML file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write the charts of the report into a folder, as SVG files
    #[arg(long, value_name = "DIR")]
    pub pictures: Option<PathBuf>,
    /// Write the scenario that was run, as YAML
    #[arg(long, value_name = "FILE")]
    pub write_scenario: Option<PathBuf>,
    /// Write the events of each round and the lowest possible costs, as JSON for --trace
    #[arg(long, value_name = "FILE")]
    pub write_trace: Option<PathBuf>,
    #[command(flatten)]
    pub live: LiveArgs,
}

/// What-if questions about a fleet.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "With --live")]
pub struct LiveArgs {
    /// Use the current state of the fleet, and show what the changes below would do
    #[arg(long, conflicts_with_all = ["trace", "generate", "clusters", "target_utilization", "epsilon_ms", "report", "pictures",
        "write_scenario", "write_trace"])]
    pub live: bool,
    #[command(flatten)]
    pub server: ApiServer,
    /// Service to show (default: all optimized services)
    #[arg(long, value_name = "NAMESPACE/SERVICE", value_parser = service, requires = "live")]
    pub service: Option<ServiceKey>,
    /// Simulate an outage of this cluster (repeatable, like the flags below)
    #[arg(long, value_name = "CLUSTER", value_parser = one_cluster_id, requires = "live")]
    pub outage: Vec<ClusterId>,
    /// Set the demand of a cluster's clients, per service: requests per second, or x2 for twice the present demand
    #[arg(long, value_name = "CLUSTER=RPS|xFACTOR", value_parser = amount, requires = "live")]
    pub demand: Vec<(ClusterId, Amount)>,
    /// Set the capacity of a cluster, per service: requests per second, or x2 for twice the present capacity
    #[arg(long, value_name = "CLUSTER=RPS|xFACTOR", value_parser = amount, requires = "live")]
    pub capacity: Vec<(ClusterId, Amount)>,
    /// Set the price of traffic from one cluster to another, in USD per GB
    #[arg(long, value_name = "FROM:TO=USD", value_parser = pair, requires = "live")]
    pub price: Vec<(ClusterId, ClusterId, f64)>,
    /// Set the round-trip time between two clusters, in milliseconds
    #[arg(long, value_name = "A:B=MS", value_parser = pair, requires = "live")]
    pub rtt: Vec<(ClusterId, ClusterId, f64)>,
    /// Add a cluster: file with its ClusterFacts
    #[arg(long, value_name = "FILE", requires = "live")]
    pub add_cluster: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct DrainArgs {
    /// Id of the cluster to drain; must be the cluster of the kubeconfig
    #[arg(value_parser = cluster_id)]
    pub cluster: ClusterId,
    /// Time over which to drain, evenly: 90s, 10m, 2h, at most 24h; 0s drains at once
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = seconds)]
    pub over: u32,
    /// Undo a drain: let the cluster serve again at once
    #[arg(long, conflicts_with_all = ["over", "force"])]
    pub undo: bool,
    /// Drain even if the other clusters lack the capacity
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub server: ApiServer,
}

/// An API server that is read once.
#[derive(Debug, Clone, clap::Args)]
pub struct ApiServer {
    /// Path to a kubeconfig (default: $KUBECONFIG, ~/.kube/config, or in-cluster)
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Id of that cluster in the clusterset (default: spec.clusterID of the Submariner resource, then ClusterProperty
    /// cluster.clusterset.k8s.io)
    #[arg(long, value_name = "ID", value_parser = cluster_id)]
    pub cluster_id: Option<ClusterId>,
    /// Namespace of the operator; a SelectionPolicy there without targetRefs applies to every service
    #[arg(long, default_value = "landfall-system")]
    pub namespace: String,
    /// Namespace of the Submariner resource
    #[arg(long, default_value = "submariner-operator", value_name = "NAMESPACE")]
    pub submariner_namespace: String,
    /// Path to a kubeconfig of the broker (default: the broker of the Submariner resource)
    #[arg(long, value_name = "FILE")]
    pub broker_kubeconfig: Option<PathBuf>,
    /// Namespace of the clusterset on the broker of --broker-kubeconfig
    #[arg(long, default_value = "submariner-k8s-broker", value_name = "NAMESPACE")]
    pub broker_namespace: String,
}

/// The cluster that a process runs in, and how to reach its API server.
#[derive(Debug, clap::Args)]
pub struct Cluster {
    /// Path to a kubeconfig, for use outside of a pod (default: $KUBECONFIG, ~/.kube/config, or in-cluster)
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Id of this cluster in the clusterset (default: spec.clusterID of the Submariner resource, then ClusterProperty
    /// cluster.clusterset.k8s.io)
    #[arg(long, env = "LANDFALL_CLUSTER_ID", value_name = "ID")]
    pub cluster_id: Option<String>,
    /// Namespace of Landfall; a SelectionPolicy there without targetRefs applies to every service
    #[arg(long, env = "POD_NAMESPACE", default_value = "landfall-system")]
    pub namespace: String,
    /// Namespace of the Submariner resource
    #[arg(long, default_value = "submariner-operator", value_name = "NAMESPACE")]
    pub submariner_namespace: String,
}

/// How a DNS server answers.
#[derive(Debug, clap::Args)]
pub struct AnswerOptions {
    /// Zone to serve (repeatable)
    #[arg(long, default_value = "clusterset.local", value_name = "ZONE")]
    pub zone: Vec<String>,
    /// TTL of answers in seconds, 0 to 3600; weighted answers never get more than 5
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub ttl: u32,
}

impl AnswerOptions {
    /// Returns the configuration of a DNS server that listens on `listen`.
    pub fn config(&self, listen: SocketAddr) -> Result<Config> {
        let zone = |zone: &String| zone.parse().with_context(|| format!("--zone {zone}"));
        let zones = self.zone.iter().map(zone).collect::<Result<_>>()?;
        Ok(Config { zones, ttl: Duration::from_secs(self.ttl.into()), ..Config::new(listen) })
    }
}

/// A folder with the manifests of a fleet.
#[derive(Debug, clap::Args)]
pub struct FleetFolder {
    /// Folder with one sub-folder per cluster, named by the cluster's id, that holds manifests as `kubectl get -o yaml`
    /// prints them
    pub dir: PathBuf,
    /// Namespace of the operator; a SelectionPolicy there without targetRefs applies to every service
    #[arg(long, default_value = "landfall-system")]
    pub namespace: String,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    Table,
    Json,
    Yaml,
}
