//! Fleet: clusters that share only a broker, and the network between them.
//!
//! ```text
//! 127.0.1.<i>   source address of the clients in cluster i: its probes, and the load of a test
//! 127.0.2.<i>   address of cluster i for the others: its probe listener and its backends, through the Network
//! 127.0.0.1     everything else; each cluster reaches the broker through its own listener of the Network
//! ```

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::broker;
use crate::cluster::{Cluster, McsCrds};
use crate::control_plane::{ControlPlane, free_port};
use crate::dump::dump;
use crate::landfall::DnsServer;
use crate::member::Member;
use crate::network::{Clients, Cut, Network};
use crate::objects;

/// Name of the broker in the [`Network`].
pub const BROKER: &str = "broker";

/// Members in their order: id, provider id and region of the node. Each is at another provider.
const SITES: [(&str, &str, &str); 5] = [
    ("east", "aws:///us-east-1a/i-0c1d5a41a3b7e2f60", "us-east-1"),
    ("west", "gce://project/europe-west1-b/node-1", "europe-west1"),
    ("north", "azure:///subscriptions/s/resourceGroups/g/providers/p/virtualMachines/node-1", "northeurope"),
    ("south", "openstack:///node-1", "south-1"),
    ("centre", "hcloud://12345", "fsn1"),
];

/// Broker, and clusters that each run Landfall.
pub struct Fleet {
    pub network: Network,
    pub broker: Cluster,
    members: Vec<FleetMember>,
}

/// Cluster of the fleet.
pub struct FleetMember {
    pub member: Member,
    /// Number of the cluster, from 1.
    number: u8,
}

impl Fleet {
    /// Starts `count` clusters and a broker. `name` must be unique in the run. No link has a delay at first.
    pub async fn start(name: &str, count: usize) -> Result<Self> {
        Self::start_with_rtts(name, count, &[]).await
    }

    /// Starts a fleet as [`Fleet::start`] does, with round-trip times in ms that hold before the first measurement.
    pub async fn start_with_rtts(name: &str, count: usize, rtts: &[(&str, &str, u64)]) -> Result<Self> {
        ensure!((1..=SITES.len()).contains(&count), "a fleet of {count}: there are sites for 1 to {}", SITES.len());
        let broker = Cluster::start(&format!("{name}-broker"), BROKER, McsCrds::Current).await?;
        broker::prepare(&broker, &SITES[..count].iter().map(|(id, ..)| *id).collect::<Vec<_>>()).await?;
        let mut fleet = Self { network: Network::new(), broker, members: Vec::new() };
        fleet.set_rtts(rtts);
        for (index, pair) in SITES[..count].chunks(2).enumerate() {
            // Start two control planes at a time: a start is all computing, and more at once would miss their timeouts.
            let start = async |site: &(&str, &str, &str)| start_cluster(name, site).await;
            let clusters = match pair {
                [one, other] => <[Cluster; 2]>::from(tokio::try_join!(start(one), start(other))?).into(),
                one => vec![start(&one[0]).await?],
            };
            for (place, cluster) in clusters.into_iter().enumerate() {
                fleet.join(cluster, u8::try_from(2 * index + place + 1)?).await?;
            }
        }
        Ok(fleet)
    }

    /// Starts Landfall in a cluster and connects the cluster to the others.
    async fn join(&mut self, cluster: Cluster, number: u8) -> Result<()> {
        let id = cluster.id().to_owned();
        let source = source_address(number);
        self.network.name_source(source, &id);
        let broker = self.broker.control_plane.api_address();
        let broker_address =
            self.network.listen(Clients::Of(id.clone()), Ipv4Addr::LOCALHOST.into(), BROKER, broker).await?;
        let broker_kubeconfig = broker::kubeconfig(&self.broker, &id, broker_address.port()).await?;

        let probe = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let advertised = self.open_listener(number, &id, probe).await?;
        let for_dns = flags(&[
            ("--probe", &probe.to_string()),
            ("--probe-advertise", &advertised.to_string()),
            ("--probe-source", &source.to_string()),
        ]);
        let for_operator = |dns: &DnsServer| {
            let mut all =
                flags(&[("--dns-replica", &dns.landfall.admin.to_string()), ("--probe-source", &source.to_string())]);
            all.extend(["--broker-kubeconfig".into(), broker_kubeconfig.into()]);
            all
        };
        let member = Member::start_with(cluster, &for_dns, for_operator).await?;
        self.members.push(FleetMember { member, number });
        Ok(())
    }

    /// Opens a listener through which the other clusters reach `target` in a cluster. Returns its address.
    async fn open_listener(&mut self, number: u8, id: &str, target: SocketAddr) -> Result<SocketAddr> {
        let address = Ipv4Addr::new(127, 0, 2, number).into();
        self.network.listen(Clients::ByAddress, address, id, target).await
    }

    /// Opens a listener through which all clusters reach a server of `id`. Returns its address.
    pub async fn expose(&mut self, id: &str, target: SocketAddr) -> Result<SocketAddr> {
        let number = self.of(id)?.number;
        self.open_listener(number, id, target).await
    }

    /// Members in their order.
    pub fn members(&self) -> impl Iterator<Item = &FleetMember> {
        self.members.iter()
    }

    /// Returns the member with this cluster id.
    pub fn of(&self, id: &str) -> Result<&FleetMember> {
        self.members.iter().find(|it| it.id() == id).with_context(|| format!("no cluster {id} in the fleet"))
    }

    /// Returns the member with this cluster id, so that its programs can be restarted.
    pub fn of_mut(&mut self, id: &str) -> Result<&mut FleetMember> {
        self.members.iter_mut().find(|it| it.id() == id).with_context(|| format!("no cluster {id} in the fleet"))
    }

    /// Applies an object in every member.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        for it in &self.members {
            objects::apply(it.member.cluster.client(), object).await.with_context(|| format!("in {}", it.id()))?;
        }
        Ok(())
    }

    /// Sets the round-trip times of links, in ms.
    pub fn set_rtts(&self, rtts: &[(&str, &str, u64)]) {
        for (one, other, ms) in rtts {
            self.network.set_rtt(one, other, Duration::from_millis(*ms));
        }
    }

    /// Cuts the links of a cluster to all others and to the broker.
    pub fn partition(&self, id: &str, how: Cut) {
        for other in self.others(id) {
            self.network.cut(id, other, how);
        }
    }

    pub fn heal(&self, id: &str) {
        for other in self.others(id) {
            self.network.restore(id, other);
        }
    }

    fn others<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a str> {
        self.members.iter().map(FleetMember::id).chain([BROKER]).filter(move |other| *other != id)
    }

    /// Control plane of a member or of the [`BROKER`].
    pub fn control_plane(&self, id: &str) -> Result<&ControlPlane> {
        match id {
            BROKER => Ok(&self.broker.control_plane),
            _ => Ok(&self.of(id)?.member.cluster.control_plane),
        }
    }

    /// Kills Landfall's programs in a cluster, as a crash of both would.
    pub fn kill_programs(&self, id: &str) -> Result<()> {
        let member = &self.of(id)?.member;
        member.operator.process.kill()?;
        member.dns.landfall.process.kill()
    }

    /// Starts both programs again. Returns once they are ready.
    pub async fn restart_programs(&mut self, id: &str) -> Result<()> {
        let it = self.of_mut(id)?;
        it.member.operator.restart()?;
        it.member.dns.landfall.restart()?;
        it.ready().await
    }

    /// Stops Landfall, the API server and the network of a cluster at once, without notice. The facts of this cluster
    /// stay in the other API servers.
    pub fn kill(&self, id: &str) -> Result<()> {
        self.partition(id, Cut::Silent);
        self.kill_programs(id)?;
        self.control_plane(id)?.stop_api_server()
    }

    /// Restarts a killed cluster. Returns once its programs are ready.
    pub async fn revive(&mut self, id: &str) -> Result<()> {
        self.control_plane(id)?.start_api_server().await?;
        self.heal(id);
        self.restart_programs(id).await
    }

    /// Returns all ClusterFacts on the broker.
    pub async fn facts(&self) -> Result<Vec<Value>> {
        let api =
            objects::api(self.broker.client(), "landfall.dev/v1alpha1", "ClusterFacts", Some(broker::BROKER_NAMESPACE));
        let facts = api.list(&ListParams::default()).await.context("the facts on the broker")?;
        facts.items.iter().map(|it| Ok(serde_json::to_value(it)?)).collect()
    }

    /// Prints the state of all clusters to standard error.
    pub async fn dump(&self) {
        for cluster in self.members.iter().map(|it| &it.member.cluster).chain([&self.broker]) {
            dump(cluster, None).await;
        }
    }
}

impl FleetMember {
    #[must_use]
    pub fn id(&self) -> &str {
        self.member.cluster.id()
    }

    /// Source address of its clients.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        source_address(self.number)
    }

    /// Address in EndpointSlices that stands for the export of this cluster. No network here has it.
    #[must_use]
    pub fn exported_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number, 0, 1)
    }

    /// Returns the addresses of the cluster's first `count` pods.
    #[must_use]
    pub fn pod_addresses(&self, count: u8) -> Vec<String> {
        (1..=count).map(|pod| format!("10.{}.1.{pod}", self.number)).collect()
    }

    /// Returns once both programs are ready.
    pub async fn ready(&self) -> Result<()> {
        self.member.operator.ready().await.context("operator")?;
        self.member.dns.landfall.ready().await.context("dns")
    }

    /// Returns the status of the ServiceSelection of a service in this cluster. Fails if there is none.
    pub async fn selection(&self, namespace: &str, service: &str) -> Result<Value> {
        let client = self.member.cluster.client();
        let api = objects::api(client, "landfall.dev/v1alpha1", "ServiceSelection", Some(namespace));
        let selection = api.get(service).await.with_context(|| format!("in {}", self.id()))?;
        match selection.data.get("status") {
            Some(status) => Ok(status.clone()),
            None => bail!("the selection in {} has no status", self.id()),
        }
    }
}

async fn start_cluster(name: &str, (id, provider_id, region): &(&str, &str, &str)) -> Result<Cluster> {
    let cluster = Cluster::start(&format!("{name}-{id}"), id, McsCrds::Current).await?;
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node-1", "labels": {
            "topology.kubernetes.io/region": region,
            "topology.kubernetes.io/zone": format!("{region}-a"),
        }},
        "spec": {"providerID": provider_id},
    });
    objects::apply(cluster.client(), &node).await?;
    Ok(cluster)
}

fn source_address(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 1, number).into()
}

fn flags(flags: &[(&str, &str)]) -> Vec<OsString> {
    flags.iter().flat_map(|(name, value)| [OsString::from(name), OsString::from(value)]).collect()
}
