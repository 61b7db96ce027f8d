//! Options of the processes.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use landfall_core::name::ClusterId;
use landfall_core::pricing::Location;

/// Options of every process: the local cluster, and how to reach its API server.
#[derive(Debug, Clone)]
pub struct ProcessOptions {
    /// Path to a kubeconfig. `None`: the credentials of the pod, otherwise the default kubeconfig.
    pub kubeconfig: Option<PathBuf>,
    /// Id of the cluster. `None`: read from the cluster itself.
    pub id: Option<ClusterId>,
    /// Namespace of this process.
    pub namespace: String,
    /// Namespace of the Submariner resource.
    pub submariner_namespace: String,
    /// Location of the cluster, which overrides that of its nodes.
    pub location: Option<Location>,
    /// Address of the admin port.
    pub admin: SocketAddr,
}

/// Further options of an operator.
#[derive(Debug, Clone)]
pub struct OperatorOptions {
    /// Unique name of the replica in the leader election.
    pub identity: String,
    /// Kubeconfig of the broker, and the namespace of the clusterset there. `None`: the broker of the Submariner
    /// resource.
    pub broker: Option<(PathBuf, String)>,
    /// Admin ports of the DNS replicas. Empty: those of the ready replicas behind their Service.
    pub dns_replicas: Vec<SocketAddr>,
    /// Name of the Service of the DNS replicas.
    pub dns_service: String,
    /// Local address that probes of other clusters leave from. `None`: chosen by the routing table.
    pub probe_source: Option<IpAddr>,
    /// URL of a Prometheus for the queries of policies.
    pub prometheus: Option<String>,
}

/// Options of a DNS replica about probes.
#[derive(Debug, Clone)]
pub struct ProbeOptions {
    /// Address on which probes of other clusters are answered.
    pub listen: SocketAddr,
    /// Addresses at which other clusters reach `listen`. Empty: `listen` itself.
    pub advertise: Vec<SocketAddr>,
    /// Local address that probes of other clusters leave from. `None`: chosen by the routing table.
    pub source: Option<IpAddr>,
}
