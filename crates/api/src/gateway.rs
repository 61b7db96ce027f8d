use serde::Deserialize;

use crate::meta::Meta;

/// Gateway of `submariner.io/v1`: a gateway node, and its connections to the gateways of other clusters. Submariner
/// rewrites it every 5 seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Gateway {
    pub metadata: Meta,
    #[serde(deserialize_with = "crate::meta::or_default")]
    pub status: GatewayStatus,
}

/// Status of a gateway node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GatewayStatus {
    /// `active` or `passive`. A passive gateway has no connections.
    pub ha_status: String,
    #[serde(deserialize_with = "crate::meta::or_default")]
    pub connections: Vec<Connection>,
}

/// Connection to the gateway of another cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Connection {
    /// State of the connection: `connected`, `connecting`, `error` or `none`.
    pub status: String,
    pub endpoint: PeerEndpoint,
    #[serde(rename = "latencyRTT")]
    pub latency_rtt: Option<LatencyRtt>,
}

/// Round-trip times as Go durations (`23.41ms`, `1m0.5s`), `0s` before the first reply.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LatencyRtt {
    pub last: String,
}

/// Endpoint of the peer. Submariner writes its fields in snake case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PeerEndpoint {
    pub cluster_id: String,
}
