use serde::Deserialize;

use crate::Meta;

/// `submariner.io/v1`: a gateway node, and how it is connected to those of the other clusters. Rewritten every 5 seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Gateway {
    pub metadata: Meta,
    #[serde(deserialize_with = "crate::or_default")]
    pub status: GatewayStatus,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GatewayStatus {
    /// `active` or `passive`; a passive one has no connections.
    pub ha_status: String,
    #[serde(deserialize_with = "crate::or_default")]
    pub connections: Vec<Connection>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Connection {
    /// `connected`, `connecting`, `error` or `none`.
    pub status: String,
    pub endpoint: PeerEndpoint,
    #[serde(rename = "latencyRTT")]
    pub latency_rtt: Option<LatencyRtt>,
}

/// Go durations (`23.41ms`, `1m0.5s`); all `0s` before the first reply.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LatencyRtt {
    pub last: String,
}

/// Upstream writes these fields in snake case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PeerEndpoint {
    pub cluster_id: String,
}
