//! Columns of `kubectl get`, the first output that a user looks at.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use landfall_e2e::member::{DEFAULT_TIMEOUT, Namespace};
use landfall_e2e::{await_condition, objects, run, two_clusters, with_temp_ns};
use serde_json::json;

#[test]
fn kubectl_get_serviceselections_shows_shares_and_reasons() -> Result<()> {
    run(async {
        with_temp_ns(&two_clusters().await?.east, "tables", async |ns| {
            ns.export("pay", &[("north", "10.3.0.1"), ("south", "10.4.0.1"), ("west", "10.2.0.1")]).await?;
            ns.apply(objects::policy("pay", objects::weighted(json!({"north": 2, "south": 3, "west": 6})))).await?;
            let policy = format!("{}/pay", ns.name);
            shows(&ns, "serviceselections", |cell| {
                ensure!(cell("NAME") == "pay");
                ensure!(cell("SOURCE") == "east");
                ensure!(cell("MODE") == "weighted-round-robin");
                ensure!(cell("SHARES") == "north 50% south 33.3% west 16.7%");
                ensure!(cell("POLICY") == policy);
                ensure!(cell("REASON") == "");
                ensure!(cell("OBSERVED").ends_with('s'), "it was observed seconds ago");
                Ok(())
            })
            .await
        })
        .await
    })
}

#[test]
fn kubectl_get_selectionpolicies_shows_whether_they_are_in_force() -> Result<()> {
    run(async {
        with_temp_ns(&two_clusters().await?.east, "tables", async |ns| {
            ns.export("pay", &[("north", "10.3.0.1"), ("south", "10.4.0.1")]).await?;
            ns.apply(objects::policy("pay", objects::weighted(json!({"north": 2, "south": 3})))).await?;
            shows(&ns, "selpol", |cell| {
                ensure!(cell("NAME") == "pay");
                ensure!(cell("LOADBALANCING") == "weighted-round-robin");
                ensure!(cell("LOCAL") == "Balance");
                ensure!(cell("ACCEPTED") == "True");
                ensure!(cell("REASON") == "Accepted");
                ensure!(cell("SERVICES") == "1");
                Ok(())
            })
            .await
        })
        .await
    })
}

/// Waits until `kubectl get` prints one row whose cells pass `check`, which gets a cell by the title of its column.
async fn shows(ns: &Namespace<'_>, kind: &str, check: impl Fn(&dyn Fn(&str) -> String) -> Result<()>) -> Result<()> {
    await_condition(&format!("kubectl get {kind} prints the expected row"), DEFAULT_TIMEOUT, async || {
        let table = ns.kubectl(&["get", kind]).await?.stdout;
        let row = only_row(&table)?;
        check(&|title| row.get(title).copied().unwrap_or("(no such column)").to_owned()).with_context(|| table.clone())
    })
    .await
}

/// Parses the only row below the titles, by column. A column begins where its title does, and a cell may be empty.
fn only_row(table: &str) -> Result<BTreeMap<&str, &str>> {
    let lines: Vec<&str> = table.lines().collect();
    let &[titles, row] = lines.as_slice() else { bail!("not one row: {table:?}") };
    let begins =
        |&at: &usize| titles[at..].starts_with(char::is_alphabetic) && (at == 0 || titles[..at].ends_with(' '));
    let starts: Vec<usize> = (0..titles.len()).filter(begins).collect();
    let ends = starts.iter().skip(1).copied().chain([usize::MAX]);
    let columns = starts.iter().zip(ends).map(|(&start, end)| (cut(titles, start, end), cut(row, start, end)));
    Ok(columns.collect())
}

fn cut(line: &str, start: usize, end: usize) -> &str {
    line[start.min(line.len())..end.min(line.len())].trim()
}
