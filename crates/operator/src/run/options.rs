//! Options of the processes.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use landfall_core::name::ClusterId;
use landfall_core::pricing::Location;

/// Which cluster this is, and how to reach its API server.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// `None`: in-cluster, or the default one.
    pub kubeconfig: Option<PathBuf>,
    /// `None`: as the Submariner resource says.
    pub id: Option<ClusterId>,
    /// Our own namespace.
    pub namespace: String,
    pub submariner_namespace: String,
    /// Where it is, which overrides what its nodes say.
    pub location: Option<Location>,
    pub admin: SocketAddr,
}

/// What an operator is told beside its cluster.
#[derive(Debug, Clone)]
pub struct Operating {
    /// In the leader election, different for each replica.
    pub identity: String,
    /// A kubeconfig of the broker and the namespace there. `None`: as the Submariner resource says.
    pub broker: Option<(PathBuf, String)>,
    /// The admin ports of the DNS replicas. Empty: those behind their Service.
    pub dns_replicas: Vec<SocketAddr>,
    /// Its name.
    pub dns_service: String,
    pub probe_source: Option<IpAddr>,
    /// The URL of a Prometheus.
    pub prometheus: Option<String>,
}

/// How other clusters probe a DNS replica.
#[derive(Debug, Clone)]
pub struct Probing {
    pub listen: SocketAddr,
    /// The addresses by which others reach that. Empty: as it listens.
    pub advertise: Vec<SocketAddr>,
    /// Where own probes of other clusters leave from.
    pub source: Option<IpAddr>,
}
