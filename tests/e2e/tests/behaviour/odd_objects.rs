//! Objects that are valid but unusual.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use landfall_e2e::dig::dig;
use landfall_e2e::member::{DEFAULT_TIMEOUT, Namespace};
use landfall_e2e::{await_condition, objects, run, two_clusters, with_temp_ns};
use serde_json::{Value, json};

/// Limit of the API server for one slice.
const ENDPOINTS_PER_SLICE: usize = 1000;

#[test]
fn port_without_a_number_stops_no_program() -> Result<()> {
    run(async {
        let member = &two_clusters().await?.east;
        with_temp_ns(member, "port", async |ns| {
            ns.export("web", &[("west", "10.2.0.1")]).await?;
            ns.apply(objects::headless_import("db", &["west"])).await?;
            let endpoints = json!([{"addresses": ["10.2.0.7"], "hostname": "db-0", "conditions": {"ready": true}}]);
            let mut slice = objects::headless_slice("db", "west", endpoints);
            slice["ports"] = json!([{"name": "any"}, {"name": "sql", "port": 5432}]);
            ns.apply(slice).await?;

            ns.answers("db", "10.2.0.7", DEFAULT_TIMEOUT).await?;
            ns.answers("web", "10.2.0.1", DEFAULT_TIMEOUT).await?;
            member.operator.process.check_running()?;
            member.dns.landfall.process.check_running()
        })
        .await
    })
}

#[test]
fn service_with_ten_thousand_endpoints_is_answered() -> Result<()> {
    run(async {
        with_temp_ns(&two_clusters().await?.east, "many", async |ns| {
            let all = ten_thousand_endpoints(&ns).await?;
            let host = ns.host("many");
            await_condition("TCP answers with more than a thousand of them", DEFAULT_TIMEOUT, async || {
                let dug = dig(ns.member.dns_address(), &[&host, "A", "+tcp"]).await?;
                let answered: BTreeSet<&str> = dug.sorted().into_iter().collect();
                ensure!(dug.status == "NOERROR" && answered.len() == dug.answer.len(), "{}, duplicates", dug.status);
                ensure!(answered.len() > 1000, "{} addresses", answered.len());
                ensure!(answered.iter().all(|&address| all.contains(address)), "unknown addresses");
                Ok(())
            })
            .await?;
            // The reply has several addresses or is marked as truncated. Either leads a client to an address.
            let udp = dig(ns.member.dns_address(), &[&host, "A", "+bufsize=1232", "+ignore"]).await?;
            let truncated = udp.flags.iter().any(|flag| flag == "tc");
            ensure!(udp.status == "NOERROR" && (truncated || udp.answer.len() > 1), "UDP: {udp}");
            Ok(())
        })
        .await
    })
}

/// Applies a headless service of two clusters with five full slices each. Returns all addresses.
async fn ten_thousand_endpoints(ns: &Namespace<'_>) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    ns.apply(objects::headless_import("many", &["east", "west"])).await?;
    for (net, cluster) in [(1, "east"), (2, "west")] {
        for part in 0..5 {
            let address = |i: usize| format!("10.{net}.{}.{}", part * 10 + i / 200, i % 200 + 1);
            let addresses: Vec<String> = (0..ENDPOINTS_PER_SLICE).map(address).collect();
            let endpoints: Value =
                addresses.iter().map(|it| json!({"addresses": [it], "conditions": {"ready": true}})).collect();
            let mut slice = objects::headless_slice("many", cluster, endpoints);
            slice["metadata"]["name"] = json!(format!("many-{cluster}-part{part}"));
            ns.apply(slice).await?;
            all.extend(addresses);
        }
    }
    ensure!(all.len() == 10 * ENDPOINTS_PER_SLICE, "the test made {} addresses", all.len());
    Ok(all)
}
