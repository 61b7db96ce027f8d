//! A name exists while its import does, even if no cluster has a ready endpoint.

use anyhow::{Result, ensure};
use landfall_e2e::dig::{Dug, dig};
use landfall_e2e::member::{DEFAULT_TIMEOUT, MAX_DELAY, Namespace};
use landfall_e2e::objects::{self, Health};
use landfall_e2e::{await_condition, run, two_clusters, with_temp_ns};
use serde_json::json;

const SLICE: (&str, &str) = ("discovery.k8s.io/v1", "EndpointSlice");
const IMPORT: (&str, &str) = ("multicluster.x-k8s.io/v1beta1", "ServiceImport");

#[test]
fn answers_change_to_no_data_and_to_nxdomain_as_exports_and_import_go() -> Result<()> {
    run(async {
        with_temp_ns(&two_clusters().await?.east, "presence", async |ns| {
            ns.export("web", &[("east", "10.1.0.1"), ("west", "10.2.0.1")]).await?;
            answered(&ns, "both export: the local one answers", "NOERROR", &["10.1.0.1"]).await?;

            ns.delete(SLICE.0, SLICE.1, &objects::slice_name("web", "east")).await?;
            ns.apply(objects::import("web", &["west"])).await?;
            answered(&ns, "west alone is left", "NOERROR", &["10.2.0.1"]).await?;

            ns.delete(SLICE.0, SLICE.1, &objects::slice_name("web", "west")).await?;
            ns.apply(objects::import("web", &[])).await?;
            let nodata = answered(&ns, "no cluster exports it: no data", "NOERROR", &[]).await?;
            ensure!(has_soa(&nodata), "the empty answer has no SOA: {:?}", nodata.authority);

            ns.delete(IMPORT.0, IMPORT.1, "web").await?;
            let nothing = answered(&ns, "the import is gone: no such name", "NXDOMAIN", &[]).await?;
            ensure!(has_soa(&nothing), "NXDOMAIN has no SOA: {:?}", nothing.authority);

            ns.export("web", &[("west", "10.2.0.9")]).await?;
            answered(&ns, "it is exported again", "NOERROR", &["10.2.0.9"]).await?;
            Ok(())
        })
        .await
    })
}

#[test]
fn service_with_nothing_ready_keeps_its_name() -> Result<()> {
    run(async {
        with_temp_ns(&two_clusters().await?.east, "unready", async |ns| {
            ns.apply(objects::import("web", &["west"])).await?;
            answered(&ns, "the import alone: no data yet", "NOERROR", &[]).await?;
            ns.apply(objects::slice("web", "west", "10.2.0.1", Health::Ready)).await?;
            answered(&ns, "ready", "NOERROR", &["10.2.0.1"]).await?;
            ns.apply(objects::slice("web", "west", "10.2.0.1", Health::NotReady)).await?;
            answered(&ns, "not ready", "NOERROR", &[]).await?;
            await_condition("the selection has the reason", DEFAULT_TIMEOUT, async || {
                let west = ns.selection("web").await?["status"]["clusters"][0].clone();
                let expected = json!({"cluster": "west", "weight": 0, "eligible": false, "reason": "NoReadyEndpoints"});
                let differs = expected.as_object().into_iter().flatten().find(|(key, value)| west[*key] != **value);
                ensure!(differs.is_none(), "{west}");
                Ok(())
            })
            .await
        })
        .await
    })
}

/// Waits until `dig` gets this status and these addresses over UDP. Checks that TCP gives the same.
async fn answered(ns: &Namespace<'_>, what: &str, status: &str, addresses: &[&str]) -> Result<Dug> {
    let host = ns.host("web");
    let dug = await_condition(what, MAX_DELAY, async || {
        let dug = dig(ns.member.dns_address(), &[&host, "A"]).await?;
        ensure!(dug.status == status && dug.sorted() == addresses, "{dug}");
        Ok(dug)
    })
    .await?;
    let over_tcp = dig(ns.member.dns_address(), &[&host, "A", "+tcp"]).await?;
    ensure!(over_tcp.status == status && over_tcp.sorted() == addresses, "{what}: the answer over TCP is {over_tcp}");
    ensure!(dug.flags.iter().any(|flag| flag == "aa"), "{what}: not authoritative: {:?}", dug.flags);
    Ok(dug)
}

fn has_soa(dug: &Dug) -> bool {
    dug.authority.iter().any(|record| record.kind == "SOA" && record.name == "clusterset.local.")
}
