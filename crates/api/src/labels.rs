//! Labels, annotations and other well-known names on the objects that we read and write.

/// Labels of EndpointSlices that belong to a clusterset service.
pub const SERVICE_NAME: &str = "multicluster.kubernetes.io/service-name";
pub const SOURCE_CLUSTER: &str = "multicluster.kubernetes.io/source-cluster";
/// Label of EndpointSlices that Kubernetes keeps for a service of its own cluster.
pub const LOCAL_SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Labels and annotations of Submariner's Lighthouse.
pub const SOURCE_NAMESPACE: &str = "lighthouse.submariner.io/sourceNamespace";
pub const PUBLISH_NOT_READY: &str = "lighthouse.submariner.io/publish-not-ready-addresses";
pub const PREFER_LOCAL: &str = "lighthouse.submariner.io/prefer-local-cluster";
/// Prefix of annotations with a weight. The id of the importing cluster follows.
pub const WEIGHT_PREFIX: &str = "lighthouse-lb-weight.submariner.io/";

/// Labels of nodes.
pub const REGION: &str = "topology.kubernetes.io/region";
pub const ZONE: &str = "topology.kubernetes.io/zone";

/// Label of the objects that we may delete. Its value is [`FIELD_MANAGER`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Our name in server-side apply.
pub const FIELD_MANAGER: &str = "landfall";

/// Conditions that we add to the Submariner resource. Another operator owns the object, so the type says whose they are.
pub const LOAD_BALANCING_CONDITION: &str = "landfall.dev/LoadBalancing";
pub const BROKER_CONDITION: &str = "landfall.dev/Broker";
