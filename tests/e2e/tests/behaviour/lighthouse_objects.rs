//! Objects of Lighthouse agents are read unchanged: those of the oldest supported version and of the newest, each with
//! its CRDs.

use anyhow::{Result, ensure};
use landfall_e2e::cluster::McsCrds;
use landfall_e2e::dig::{Dug, dig};
use landfall_e2e::dump::dump;
use landfall_e2e::files::fixture;
use landfall_e2e::member::DEFAULT_TIMEOUT;
use landfall_e2e::wait::unix_seconds;
use landfall_e2e::{Cluster, Member, await_condition, objects, run};
use serde_json::{Value, json};

const ZONE: &str = "svc.clusterset.local";

#[test]
fn objects_of_lighthouse_0_19_are_answered_on_its_v1alpha1_crds() -> Result<()> {
    generation("lighthouse-v0.19", McsCrds::V1alpha1, async |bed| {
        bed.answers("nginx.service-ns", "AAAA", &[]).await?;
        bed.answers("web.service-ns", "AAAA", &[]).await
    })
}

#[test]
fn objects_of_lighthouse_0_24_are_answered_in_both_families() -> Result<()> {
    generation("lighthouse-v0.24", McsCrds::Current, async |bed| {
        bed.answers("nginx.service-ns", "AAAA", &["fd00:253:9::1"]).await?;
        bed.answers("web.service-ns", "AAAA", &["fd00:5::1", "fd00:5::3", "fd00:6::1"]).await?;
        bed.answers("web-0.west.web.service-ns", "AAAA", &["fd00:6::1"]).await
    })
}

/// Member with the objects of one Lighthouse version.
struct Bed {
    member: Member,
    fixtures: &'static str,
}

/// Applies the objects of a version, and checks what all versions have in common, and then `own`.
fn generation(fixtures: &'static str, crds: McsCrds, own: impl AsyncFnOnce(&Bed) -> Result<()>) -> Result<()> {
    run(async {
        let member = Member::start_in(Cluster::start(fixtures, "east", crds).await?).await?;
        let bed = Bed { member, fixtures };
        for file in ["namespaces.yaml", "cluster-ip.yaml", "headless.yaml"] {
            objects::apply_file(bed.member.cluster.client(), &fixture(fixtures).join(file)).await?;
        }
        let outcome = async {
            cluster_ip(&bed).await?;
            headless(&bed).await?;
            copies_are_ignored(&bed).await?;
            own(&bed).await?;
            connectivity(&bed).await
        }
        .await;
        if outcome.is_err() {
            dump(&bed.member.cluster, None).await;
        }
        outcome
    })
}

/// Checks a service with one address per cluster. The local one is answered while it is ready.
async fn cluster_ip(bed: &Bed) -> Result<()> {
    bed.answers("nginx.service-ns", "A", &["10.253.9.1"]).await?;
    bed.apply_policy("nginx", json!({"loadBalancing": "round-robin", "localPreference": "Balance"})).await?;
    let mut seen = std::collections::BTreeSet::new();
    await_condition("both clusters' addresses are answered, and nothing else", DEFAULT_TIMEOUT, async || {
        let dug = bed.dig("nginx.service-ns", "A").await?;
        seen.extend(dug.sorted().into_iter().map(str::to_owned));
        ensure!(seen.iter().eq(["10.253.10.1", "10.253.9.1"]), "answered so far: {seen:?}");
        Ok(())
    })
    .await?;
    bed.delete_policy("nginx").await?;
    bed.answers("nginx.service-ns", "A", &["10.253.9.1"]).await
}

/// Checks a headless service: all ready pods of both clusters, and each pod by its name.
async fn headless(bed: &Bed) -> Result<()> {
    bed.answers("web.service-ns", "A", &["192.168.5.1", "192.168.5.3", "192.168.6.1"]).await?;
    bed.answers("web-0.east.web.service-ns", "A", &["192.168.5.1"]).await?;
    bed.answers("web-0.west.web.service-ns", "A", &["192.168.6.1"]).await?;
    bed.no_such_name("web-1.east.web.service-ns").await?; // not ready
    bed.no_such_name("web-0.north.web.service-ns").await?;
    bed.no_such_name("node-1.east.web.service-ns").await
}

/// Checks that the agent's private import, and the copies of a broker in the same cluster, are not services.
async fn copies_are_ignored(bed: &Bed) -> Result<()> {
    for name in [
        "nginx-service-ns-east.submariner-operator",
        "nginx-service-ns.submariner-k8s-broker",
        "nginx.submariner-k8s-broker",
    ] {
        bed.no_such_name(name).await?;
    }
    let selections = objects::api(bed.member.cluster.client(), "landfall.dev/v1alpha1", "ServiceSelection", None);
    let all = selections.list(&kube::api::ListParams::default()).await?.items;
    let names: Vec<String> =
        all.into_iter().filter_map(|it| Some(format!("{}/{}", it.metadata.namespace?, it.metadata.name?))).collect();
    ensure!(names == ["service-ns/nginx", "service-ns/web"], "selections: {names:?}");
    Ok(())
}

/// Checks that a peer that the gateway cannot reach is not answered while another cluster can be.
async fn connectivity(bed: &Bed) -> Result<()> {
    bed.apply_policy("nginx", objects::weighted(json!({"west": 0, "east": 1}))).await?;
    bed.answers("nginx.service-ns", "A", &["10.253.10.1"]).await?;
    bed.gateway("error").await?;
    bed.answers("nginx.service-ns", "A", &["10.253.9.1"]).await?;
    bed.gateway("connected").await?;
    bed.answers("nginx.service-ns", "A", &["10.253.10.1"]).await
}

impl Bed {
    async fn dig(&self, name: &str, kind: &str) -> Result<Dug> {
        dig(self.member.dns_address(), &[&format!("{name}.{ZONE}"), kind]).await
    }

    /// Waits until exactly these addresses are answered.
    async fn answers(&self, name: &str, kind: &str, expected: &[&str]) -> Result<()> {
        await_condition(&format!("{name} {kind} is answered"), DEFAULT_TIMEOUT, async || {
            let dug = self.dig(name, kind).await?;
            ensure!(dug.status == "NOERROR" && dug.sorted() == expected, "{dug} instead of {expected:?}");
            Ok(())
        })
        .await
    }

    async fn no_such_name(&self, name: &str) -> Result<()> {
        await_condition(&format!("{name} does not exist"), DEFAULT_TIMEOUT, async || {
            let dug = self.dig(name, "A").await?;
            ensure!(dug.status == "NXDOMAIN", "{dug}");
            Ok(())
        })
        .await
    }

    async fn apply_policy(&self, service: &str, spec: Value) -> Result<()> {
        let mut policy = objects::policy(service, spec);
        policy["metadata"]["namespace"] = json!("service-ns");
        objects::apply(self.member.cluster.client(), &policy).await?;
        Ok(())
    }

    async fn delete_policy(&self, service: &str) -> Result<()> {
        let mut policy = objects::policy(service, json!({}));
        policy["metadata"]["namespace"] = json!("service-ns");
        objects::delete(self.member.cluster.client(), &policy).await
    }

    /// Applies the gateway with a present heartbeat and this state of its connection to west.
    async fn gateway(&self, state: &str) -> Result<()> {
        for mut gateway in objects::read_documents(&fixture(self.fixtures).join("gateway.yaml"))? {
            gateway["metadata"]["annotations"]["update-timestamp"] = json!(unix_seconds()?.to_string());
            gateway["status"]["connections"][0]["status"] = json!(state);
            objects::apply(self.member.cluster.client(), &gateway).await?;
        }
        Ok(())
    }
}
