//! `landfall explain` with an API server shows the shares that DNS serves, and not only the shares that it plans
//! itself.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Result, ensure};
use landfall_e2e::landfall::run_to_end;
use landfall_e2e::member::{DEFAULT_TIMEOUT, Member, Namespace};
use landfall_e2e::{await_condition, objects, run, with_temp_ns};
use serde_json::json;

/// Longest run of the command. It lists everything once.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn explain_shows_the_served_shares_while_no_operator_applies_a_changed_policy() -> Result<()> {
    run(async {
        let member = Member::start("explain", "east").await?;
        with_temp_ns(&member, "shop", async |ns| {
            ns.export("pay", &[("east", "10.1.0.1"), ("west", "10.2.0.1")]).await?;
            ns.apply(objects::policy("pay", objects::weighted(json!({"east": 3, "west": 1})))).await?;
            await_condition("the weights are published", DEFAULT_TIMEOUT, async || {
                let selection = ns.selection("pay").await?;
                ensure!(selection["status"]["summary"] == "east 25% west 75%", "{selection}");
                Ok(())
            })
            .await?;
            let text = explained(&ns, "published").await?;
            ensure!(text.contains("east: east 25% west 75%\n") && !text.contains("served now"), "{text}");

            member.operator.process.kill()?;
            ns.apply(objects::policy("pay", objects::weighted(json!({"east": 1, "west": 1})))).await?;
            let text = explained(&ns, "changed").await?;
            let both = "served now: east 25% west 75%\nplanned from what is visible here: east 50% west 50%\n";
            ensure!(text.contains(both) && text.contains("or does not run"), "{text}");
            Ok(())
        })
        .await
    })
}

#[test]
fn explain_names_missing_permissions_and_shows_no_plan_without_them() -> Result<()> {
    run(async {
        let member = Member::start("rights", "east").await?;
        with_temp_ns(&member, "shop", async |ns| {
            ns.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}})).await?;
            // Grant all kinds that the command needs except two, and the kinds that tell the location: namespaces and
            // nodes.
            let rbac = "rbac.authorization.k8s.io";
            let role = json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole", "metadata": {"name": "reader"}, "rules": [
                {"apiGroups": [""], "resources": ["namespaces", "nodes"], "verbs": ["get", "list", "watch"]},
                {"apiGroups": ["landfall.dev", "submariner.io"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]});
            let binding = json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": "reader"},
                "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "reader"},
                "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": ns.name}]});
            let cluster = &ns.member.cluster;
            for object in [role, binding] {
                objects::apply(cluster.client(), &object).await?;
            }
            let deleted = cluster.kubectl(&["delete", "crd", "networkpricings.landfall.dev"]).await?;
            ensure!(deleted.success, "{deleted:?}");
            let token = cluster.token_of(ns.name, "reader").await?;
            let kubeconfig = cluster.control_plane.write_kubeconfig("reader", &token)?;
            let (status, text) = explain(&ns, "rights", &kubeconfig).await?;
            ensure!(status.code() == Some(2), "{status}: {text}");
            for resource in ["serviceimports", "endpointslices"] {
                ensure!(text.contains(&format!("cannot list resource \"{resource}\"")), "{text}");
            }
            ensure!(!text.contains("networkpricings") && !text.contains("check that it is running"), "a kind that is not installed is not an error: {text}");
            Ok(())
        })
        .await
    })
}

/// Runs the command and expects exit code 1: without a broker there always is a finding. Returns its output.
async fn explained(ns: &Namespace<'_>, name: &str) -> Result<String> {
    let (status, printed) = explain(ns, name, &ns.member.cluster.control_plane.admin_kubeconfig()?).await?;
    ensure!(status.code() == Some(1), "{status}: {printed}");
    Ok(printed)
}

/// Runs the command. Returns its exit status and its output, both streams.
async fn explain(ns: &Namespace<'_>, name: &str, kubeconfig: &Path) -> Result<(ExitStatus, String)> {
    let cluster = &ns.member.cluster;
    let service = format!("{}/pay", ns.name);
    let mut arguments: Vec<OsString> = ["explain", &service, "--cluster-id", cluster.id()].map(OsString::from).into();
    arguments.extend(["--kubeconfig".into(), kubeconfig.into()]);
    run_to_end(&arguments, &cluster.folder().join("log").join(format!("explain-{name}.log")), COMMAND_TIMEOUT).await
}
