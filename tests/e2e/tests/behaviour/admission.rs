//! The API server refuses invalid policies, with a message that names the field and the remedy.

use anyhow::{Result, ensure};
use landfall_e2e::member::Namespace;
use landfall_e2e::{objects, run, two_clusters, with_temp_ns};
use serde_json::{Value, json};

#[test]
fn unknown_mode_is_refused_and_the_modes_are_listed() -> Result<()> {
    let refused = json!({"loadBalancing": "weighted"});
    assert_verdicts(
        &[],
        &refused,
        &["spec.loadBalancing", "\"round-robin\"", "\"weighted-round-robin\"", "\"optimized\""],
    )
}

#[test]
fn unknown_local_preference_is_refused_and_both_are_listed() -> Result<()> {
    assert_verdicts(&[], &json!({"localPreference": "prefer"}), &["spec.localPreference", "\"Prefer\"", "\"Balance\""])
}

#[test]
fn two_zero_weights_in_a_row_are_refused_and_one_is_accepted() -> Result<()> {
    let one = objects::weighted(json!({"north": 0, "south": 1}));
    let two = objects::weighted(json!({"north": 0, "south": 0}));
    let mut one_in_each_row = objects::weighted(json!({"north": 0}));
    one_in_each_row["weights"] = json!([{"source": "lab", "clusters": {"south": 0}}, one_in_each_row["weights"][0]]);
    assert_verdicts(&[one, one_in_each_row], &two, &["weight 0", "at most one"])
}

#[test]
fn negative_weight_is_refused() -> Result<()> {
    let fraction = objects::weighted(json!({"north": 0.5}));
    assert_verdicts(
        &[fraction],
        &objects::weighted(json!({"north": -1})),
        &["spec.weights[0].clusters.north", "greater than or equal to 0"],
    )
}

#[test]
fn min_shares_above_100_percent_are_refused_and_exactly_100_percent_is_accepted() -> Result<()> {
    let whole = json!({"minShares": {"north": "50.5%", "south": "49.5%"}});
    let more = json!({"minShares": {"north": "50.5%", "south": "49.6%"}});
    assert_verdicts(&[whole], &more, &["minShares", "100%"])
}

#[test]
fn min_share_that_is_no_percentage_is_refused() -> Result<()> {
    assert_verdicts(
        &[json!({"minShares": {"north": "12.5%"}})],
        &json!({"minShares": {"north": "a tenth"}}),
        &["spec.minShares.north"],
    )
}

#[test]
fn weights_without_the_mode_that_uses_them_are_refused() -> Result<()> {
    let mut refused = objects::weighted(json!({"north": 1}));
    refused["loadBalancing"] = json!("round-robin");
    let hint = ["weights need loadBalancing: weighted-round-robin"];
    assert_verdicts(&[], &refused, &hint)?;
    let mut without_mode = refused;
    without_mode.as_object_mut().map(|spec| spec.remove("loadBalancing"));
    assert_verdicts(&[], &without_mode, &hint)
}

#[test]
fn optimized_params_are_refused_in_other_modes() -> Result<()> {
    let accepted = json!({"loadBalancing": "optimized", "optimizedLoadBalancingParams": "cost"});
    let inherited = json!({"optimizedLoadBalancingParams": "cost"});
    let refused = json!({"loadBalancing": "round-robin", "optimizedLoadBalancingParams": "cost"});
    assert_verdicts(&[accepted, inherited], &refused, &["optimizedLoadBalancingParams need loadBalancing: optimized"])
}

#[test]
fn optimizer_settings_are_refused_in_other_modes() -> Result<()> {
    let accepted = json!({"loadBalancing": "optimized", "optimized": {"targetUtilization": 0.8}});
    let inherited = json!({"optimized": {"capacityRpsPerPod": 0.5}, "optimizedLoadBalancingParams": "mixed"});
    let refused = json!({"loadBalancing": "weighted-round-robin", "optimized": {"targetUtilization": 0.8}});
    assert_verdicts(&[accepted, inherited], &refused, &["optimized need loadBalancing: optimized"])
}

#[test]
fn exchange_rate_beside_optimized_params_is_refused() -> Result<()> {
    let accepted = json!({"optimized": {"usdPerMsPerMillionRequests": 0.05}});
    let refused = json!({
        "optimizedLoadBalancingParams": "cost",
        "optimized": {"usdPerMsPerMillionRequests": 0.05},
    });
    assert_verdicts(&[accepted], &refused, &["set one of"])
}

#[test]
fn optimizer_setting_out_of_range_is_refused() -> Result<()> {
    assert_verdicts(
        &[],
        &json!({"optimized": {"targetUtilization": 1.5}}),
        &["spec.optimized.targetUtilization", "0.99"],
    )?;
    let nothing = json!({"optimized": {"usdPerMsPerMillionRequests": 0}});
    assert_verdicts(&[], &nothing, &["spec.optimized.usdPerMsPerMillionRequests", "greater than 0"])
}

#[test]
fn target_of_another_kind_is_refused() -> Result<()> {
    let refused = json!({"targetRefs": [{"group": "", "kind": "Service", "name": "web"}]});
    assert_verdicts(&[], &refused, &["spec.targetRefs[0].kind", "\"ServiceImport\""])
}

/// Applies policies with kubectl, as a user would. Fails unless all `accepted` policies are accepted, and the `refused`
/// policy is refused with all of `words` in kubectl's output.
fn assert_verdicts(accepted: &[Value], refused: &Value, words: &[&str]) -> Result<()> {
    run(async {
        with_temp_ns(&two_clusters().await?.east, "admission", async |ns| {
            for spec in accepted {
                let (success, printed) = apply(&ns, spec).await?;
                ensure!(success, "{spec} was refused: {printed}");
            }
            let (success, printed) = apply(&ns, refused).await?;
            ensure!(!success, "{refused} was accepted");
            for word in words {
                ensure!(printed.contains(word), "the message does not contain {word:?}: {printed}");
            }
            Ok(())
        })
        .await
    })
}

async fn apply(ns: &Namespace<'_>, spec: &Value) -> Result<(bool, String)> {
    let output = ns.kubectl_apply(&objects::namespace_policy("judged", spec.clone())).await?;
    Ok((output.success, output.stderr))
}
