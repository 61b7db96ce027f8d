//! What can be typed.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use landfall_core::name::{ClusterId, ServiceKey};
use landfall_core::pricing::Location;
use landfall_operator::whatif::Amount;

use crate::commands::whatif;

#[derive(Debug, Parser)]
#[command(name = "landfall", version, about = "Decides which cluster of a fleet answers, and makes DNS follow.")]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole fleet from a folder of manifests, with a DNS server per cluster
    Up(Up),
    /// In a cluster: compute and publish the weights
    Operator(Operator),
    /// In a cluster: answer DNS
    Dns(Dns),
    /// Print who would answer whom, from a folder of manifests, and exit
    Plan(Plan),
    /// Say why the clients of a cluster are sent where they are sent
    Explain(Explain),
    /// Run the optimiser and simpler policies in a made-up world, and compare what they cost
    Simulate(Box<Simulate>),
    /// Empty a cluster: its clients and its load go elsewhere, evenly over some time
    Drain(Drain),
    /// Print the custom resource definitions, to be applied with kubectl
    Crds,
}

#[derive(Debug, clap::Args)]
pub struct Plan {
    #[command(flatten)]
    pub fleet: Fleet,
    /// How to print: a table for people, a List of ServiceSelections for programs
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

#[derive(Debug, clap::Args)]
pub struct Explain {
    /// The service, as kubectl would name its ServiceImport
    #[arg(value_name = "NAMESPACE/SERVICE", value_parser = service)]
    pub service: ServiceKey,
    /// Whose clients; of a folder with one cluster, and of an API server, that one where absent
    #[arg(long, value_name = "CLUSTER", value_parser = cluster_id)]
    pub from: Option<ClusterId>,
    #[command(flatten)]
    pub world: World,
    /// How to print: a table for people, all that the weights were computed from for programs
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Where the present is read: from a folder, or from the API server of a cluster.
#[derive(Debug, clap::Args)]
pub struct World {
    /// A folder with one sub-folder per cluster, as for `landfall plan`; without it an API server is asked
    #[arg(conflicts_with_all = ["kubeconfig", "cluster_id", "broker_kubeconfig"])]
    pub dir: Option<PathBuf>,
    #[command(flatten)]
    pub server: ApiServer,
}

/// An API server that is asked once.
#[derive(Debug, Clone, clap::Args)]
pub struct ApiServer {
    /// A kubeconfig; where absent, those that kubectl would use, or the pod's own credentials
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The id of that cluster in the clusterset; where absent, spec.clusterID of the Submariner resource
    #[arg(long, value_name = "ID", value_parser = cluster_id)]
    pub cluster_id: Option<ClusterId>,
    /// The operator's namespace: a SelectionPolicy there without targetRefs is for every service
    #[arg(long, default_value = "landfall-system")]
    pub namespace: String,
    /// Where Submariner's operator keeps its resource
    #[arg(long, default_value = "submariner-operator", value_name = "NAMESPACE")]
    pub submariner_namespace: String,
    /// A kubeconfig of the broker; where absent, the broker of the Submariner resource
    #[arg(long, value_name = "FILE")]
    pub broker_kubeconfig: Option<PathBuf>,
    /// The namespace of the clusterset on the broker of --broker-kubeconfig
    #[arg(long, default_value = "submariner-k8s-broker", value_name = "NAMESPACE")]
    pub broker_namespace: String,
}

/// How to empty a cluster.
#[derive(Debug, clap::Args)]
pub struct Drain {
    /// The cluster to empty: the one of the kubeconfig
    #[arg(value_parser = cluster_id)]
    pub cluster: ClusterId,
    /// How long that takes, evenly: 90s, 10m, 2h
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = seconds)]
    pub over: u32,
    /// Let it serve again, at once
    #[arg(long, conflicts_with_all = ["over", "force"])]
    pub undo: bool,
    /// Although the others cannot bear what it serves
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub server: ApiServer,
}

#[derive(Debug, clap::Args)]
pub struct Simulate {
    /// The scenario: a fleet, its clients, and what happens to them, as YAML. With --live: a folder with one sub-folder per
    /// cluster, as for `landfall plan`; an API server is asked where absent
    #[arg(required_unless_present_any = ["generate", "live"], conflicts_with = "generate")]
    pub file: Option<PathBuf>,
    /// What happened in each round, as JSON; without it, the seed of the scenario decides
    #[arg(long, value_name = "FILE", conflicts_with = "generate")]
    pub trace: Option<PathBuf>,
    /// Make up a scenario instead; the same seed is the same scenario
    #[arg(long, value_name = "SEED")]
    pub generate: Option<u64>,
    /// How many clusters the made-up scenario has
    #[arg(long, value_name = "N", default_value_t = 8, conflicts_with = "file", value_parser = clusters)]
    pub clusters: usize,
    /// A policy to run; may be repeated, or several with commas between them. All of them where absent. With --live: a file with a
    /// SelectionPolicy, as if all clusters had it and enforced it. It takes the place of the one of its name, and goes before others
    /// for the same service, namespace or everything; one that is more specific goes before it
    #[arg(long, value_name = "NAME|FILE")]
    pub policy: Vec<String>,
    /// Of the optimiser: how full an exporter may get before clients go elsewhere at any cost
    #[arg(long, value_name = "PART", value_parser = |text: &str| number(text, (0.1, 0.99)))]
    pub target_utilisation: Option<f64>,
    /// Of the optimiser: clusters whose costs differ by less share as equals
    #[arg(long, value_name = "MS", value_parser = |text: &str| number(text, (0.01, 1000.0)))]
    pub epsilon_ms: Option<f64>,
    /// How to print: a table for people, a list of objects for programs
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Write a page with pictures: one HTML file that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write the pictures of the report into a folder, as SVG files
    #[arg(long, value_name = "DIR")]
    pub pictures: Option<PathBuf>,
    /// Write the scenario that was run, as YAML
    #[arg(long, value_name = "FILE")]
    pub write_scenario: Option<PathBuf>,
    /// Write what happened in each round and the least possible costs, as JSON, for --trace
    #[arg(long, value_name = "FILE")]
    pub write_trace: Option<PathBuf>,
    #[command(flatten)]
    pub live: Live,
}

/// What would happen to the fleet that there is.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "With --live")]
pub struct Live {
    /// Take the present as the world: say what else would be, and what that would change
    #[arg(long, conflicts_with_all = ["trace", "generate", "clusters", "target_utilisation", "epsilon_ms", "report", "pictures",
        "write_scenario", "write_trace"])]
    pub live: bool,
    #[command(flatten)]
    pub server: ApiServer,
    /// Only this service; all that are optimised where absent
    #[arg(long, value_name = "NAMESPACE/SERVICE", value_parser = service, requires = "live")]
    pub service: Option<ServiceKey>,
    /// Nothing of that cluster answers; may be repeated, as all that follow
    #[arg(long, value_name = "CLUSTER", value_parser = cluster_id, requires = "live")]
    pub outage: Vec<ClusterId>,
    /// Its clients ask for so much per second of each service, or so many times what they ask for now
    #[arg(long, value_name = "CLUSTER=RPS|xTIMES", value_parser = whatif::amount, requires = "live")]
    pub demand: Vec<(ClusterId, Amount)>,
    /// It can bear so much per second of each service, or so many times what it can bear now
    #[arg(long, value_name = "CLUSTER=RPS|xTIMES", value_parser = whatif::amount, requires = "live")]
    pub capacity: Vec<(ClusterId, Amount)>,
    /// A gigabyte from the first to the second costs so much
    #[arg(long, value_name = "FROM:TO=USD", value_parser = whatif::pair, requires = "live")]
    pub price: Vec<(ClusterId, ClusterId, f64)>,
    /// The round trip between the two takes so long
    #[arg(long, value_name = "A:B=MS", value_parser = whatif::pair, requires = "live")]
    pub rtt: Vec<(ClusterId, ClusterId, f64)>,
    /// A file with the ClusterFacts of a cluster that is not there yet
    #[arg(long, value_name = "FILE", requires = "live")]
    pub add_cluster: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct Up {
    #[command(flatten)]
    pub fleet: Fleet,
    /// Where the DNS server of the first cluster (by name) listens; that of the next one is a port further, and so on
    #[arg(long, default_value = "127.0.0.1:5301", value_name = "ADDR:PORT")]
    pub dns: SocketAddr,
    #[command(flatten)]
    pub answers: Answers,
}

#[derive(Debug, clap::Args)]
pub struct Operator {
    #[command(flatten)]
    pub cluster: Cluster,
    /// Where /live, /ready and /metrics listen
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDR:PORT")]
    pub admin: SocketAddr,
    /// The name of this replica in the leader election, different for each; in a pod, its name
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,
    /// A kubeconfig of the broker; where absent, the broker of the Submariner resource, and without that the clusters tell
    /// each other nothing
    #[arg(long, value_name = "FILE")]
    pub broker_kubeconfig: Option<PathBuf>,
    /// The namespace of the clusterset on the broker of --broker-kubeconfig
    #[arg(long, default_value = "submariner-k8s-broker", value_name = "NAMESPACE")]
    pub broker_namespace: String,
    /// The admin port of a DNS replica; may be repeated. Where absent, those behind --dns-service, port 8081
    #[arg(long, value_name = "ADDR:PORT")]
    pub dns_replica: Vec<SocketAddr>,
    /// The Service of the DNS replicas, in the namespace of Landfall
    #[arg(long, default_value = "landfall-dns", value_name = "NAME")]
    pub dns_service: String,
    /// The address that probes of other clusters leave from; where absent, as routes say
    #[arg(long, value_name = "IP")]
    pub probe_source: Option<IpAddr>,
    /// A Prometheus, or what speaks its HTTP API, for the queries of SelectionPolicies
    #[arg(long, value_name = "URL")]
    pub prometheus: Option<String>,
    /// Where this cluster is, as a NetworkPricing names it; where absent, as the ClusterProperty location.landfall.dev says,
    /// else as the nodes do
    #[arg(long, value_name = "PROVIDER[/REGION[/ZONE]]", value_parser = Location::parse_override)]
    pub location: Option<Location>,
}

#[derive(Debug, clap::Args)]
pub struct Dns {
    #[command(flatten)]
    pub cluster: Cluster,
    /// Where DNS listens, UDP and TCP
    #[arg(long, default_value = "0.0.0.0:53", value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
    /// Where probes of other clusters are answered, a byte for a byte over TCP
    #[arg(long, default_value = "0.0.0.0:8053", value_name = "ADDR:PORT")]
    pub probe: SocketAddr,
    /// How other clusters reach --probe; where absent, by the address of this replica. May be repeated
    #[arg(long, value_name = "ADDR:PORT")]
    pub probe_advertise: Vec<SocketAddr>,
    /// The address that probes of other clusters leave from; where absent, as routes say
    #[arg(long, value_name = "IP")]
    pub probe_source: Option<IpAddr>,
    /// Where /live, /ready, /metrics and /answers listen
    #[arg(long, default_value = "0.0.0.0:8081", value_name = "ADDR:PORT")]
    pub admin: SocketAddr,
    #[command(flatten)]
    pub answers: Answers,
    /// An address of this server, for the name ns.dns of each zone; the Service's. May be repeated
    #[arg(long, value_name = "IP")]
    pub advertise: Vec<IpAddr>,
    /// Threads that answer UDP; one per core where absent
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// How many seconds to go on answering after being asked to stop
    #[arg(long, default_value_t = 3, value_name = "SECONDS")]
    pub drain: u64,
}

/// Which cluster this is, and how to reach its API server.
#[derive(Debug, clap::Args)]
pub struct Cluster {
    /// A kubeconfig, for use outside of a pod; where absent, those that kubectl would use, or the pod's own credentials
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The id of this cluster in the clusterset; where absent, spec.clusterID of the Submariner resource, or else the
    /// ClusterProperty cluster.clusterset.k8s.io
    #[arg(long, env = "LANDFALL_CLUSTER_ID", value_name = "ID")]
    pub cluster_id: Option<String>,
    /// Our own namespace: a SelectionPolicy there without targetRefs is for every service
    #[arg(long, env = "POD_NAMESPACE", default_value = "landfall-system")]
    pub namespace: String,
    /// Where Submariner's operator keeps its resource
    #[arg(long, default_value = "submariner-operator", value_name = "NAMESPACE")]
    pub submariner_namespace: String,
}

#[derive(Debug, clap::Args)]
pub struct Answers {
    /// A zone to answer for; may be repeated
    #[arg(long, default_value = "clusterset.local", value_name = "ZONE")]
    pub zone: Vec<String>,
    /// Time to live of answers, in seconds; of those that were drawn by weight at most 5
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub ttl: u32,
}

#[derive(Debug, clap::Args)]
pub struct Fleet {
    /// A folder with one sub-folder per cluster, named by the cluster's id, of manifests as `kubectl get -o yaml` prints
    /// them
    pub dir: PathBuf,
    /// The operator's namespace: a SelectionPolicy there without targetRefs is for every service
    #[arg(long, default_value = "landfall-system")]
    pub namespace: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
    Yaml,
}

fn service(text: &str) -> Result<ServiceKey, String> {
    let (namespace, name) = text.split_once('/').ok_or("expected NAMESPACE/SERVICE")?;
    ServiceKey::new(namespace, name).map_err(|error| error.to_string())
}

fn cluster_id(text: &str) -> Result<ClusterId, String> {
    ClusterId::new(text).map_err(|error| error.to_string())
}

fn clusters(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(clusters @ 1..=200) => Ok(clusters),
        Ok(_) | Err(_) => Err("expected a whole number from 1 to 200".to_owned()),
    }
}

fn number(text: &str, (least, most): (f64, f64)) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(format!("expected a number from {least} to {most}")),
    }
}

/// Of a time as people write it, up to a day.
fn seconds(text: &str) -> Result<u32, String> {
    const DAY: u32 = 86_400;
    let wrong = || "expected a time up to 24h, such as 90s, 10m or 2h; 0s is at once".to_owned();
    let (number, scale) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<u32>().ok().and_then(|number| number.checked_mul(scale));
    seconds.filter(|seconds| *seconds <= DAY).ok_or_else(wrong)
}
