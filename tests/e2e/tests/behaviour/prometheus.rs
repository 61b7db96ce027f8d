//! Replies of a real Prometheus to queries as the product sends them. The product's own tests use these replies.

use anyhow::{Result, ensure};
use landfall_e2e::files::run_folder;
use landfall_e2e::member::DEFAULT_TIMEOUT;
use landfall_e2e::prometheus::Prometheus;
use landfall_e2e::{await_condition, run};
use serde_json::{Value, json};

const METRICS: &str = "\
# TYPE busy gauge
busy{pod=\"a\"} 0.25
busy{pod=\"b\"} 0.75
# TYPE idle gauge
idle 0
";

#[test]
fn prometheus_answers_a_number_as_one_sample_and_an_error_as_a_message() -> Result<()> {
    run(async {
        let prometheus = Prometheus::start(&run_folder()?.join("prometheus")).await?;
        prometheus.export(METRICS);
        let scraped = await_condition("Prometheus has scraped the page", DEFAULT_TIMEOUT, async || {
            let (status, reply) = prometheus.query("sum(busy)").await?;
            ensure!(status == 200 && values(&reply) == ["1"], "{status}: {reply}");
            Ok(reply)
        })
        .await?;
        ensure!(scraped["status"] == "success" && scraped["data"]["resultType"] == "vector", "{scraped}");

        let (_, several) = prometheus.query("busy").await?;
        ensure!(values(&several) == ["0.25", "0.75"], "{several}");
        let (_, nothing) = prometheus.query("absent_metric").await?;
        ensure!(nothing["data"]["result"] == json!([]), "{nothing}");
        let (_, scalar) = prometheus.query("scalar(sum(busy))").await?;
        ensure!(scalar["data"]["resultType"] == "scalar" && scalar["data"]["result"][1] == "1", "{scalar}");
        for (query, value) in [("idle/idle", "NaN"), ("1+%2B+busy%7Bpod%3D%22a%22%7D+/+on()+idle", "+Inf")] {
            let (_, reply) = prometheus.query(query).await?;
            ensure!(values(&reply) == [value], "{query}: {reply}");
        }
        let (status, error) = prometheus.query("sum(").await?;
        ensure!(status == 400 && error["status"] == "error", "{status}: {error}");
        let message = error["error"].as_str().unwrap_or_default();
        ensure!(message.contains("parse error"), "{message}");
        Ok(())
    })
}

/// Returns the values of all samples, sorted.
fn values(reply: &Value) -> Vec<&str> {
    let mut values: Vec<&str> = reply["data"]["result"]
        .as_array()
        .map(|samples| samples.iter().filter_map(|sample| sample["value"][1].as_str()).collect())
        .unwrap_or_default();
    values.sort_unstable();
    values
}
