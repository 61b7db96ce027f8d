//! What can be typed.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

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
}

#[derive(Debug, clap::Args)]
pub struct Dns {
    #[command(flatten)]
    pub cluster: Cluster,
    /// Where DNS listens, UDP and TCP
    #[arg(long, default_value = "0.0.0.0:53", value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
    /// Where /live, /ready and /metrics listen
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
    /// The id of this cluster in the clusterset; where absent, spec.clusterID of the Submariner resource
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
