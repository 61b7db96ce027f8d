//! Which policy applies, and its effect on the shares.

use crate::support::{Feed, applied, deleted, import, list, pipeline, policy, slice, synced};
use landfall_controller::object::{Kind, ObjectRef};
use landfall_controller::observe::perspective::RulesFrom;
use landfall_controller::observe::precedence::{Precedence, Verdict};
use landfall_controller::pipeline::Pipeline;

const OLD: &str = "2026-01-01T00:00:00Z";
const NEW: &str = "2026-02-01T00:00:00Z";

/// `pay.bank`, exported by c2 and c3.
fn pay() -> String {
    import("bank", "pay", "ClusterSetIP", &["c2", "c3"])
        + &slice("bank", "pay", "c2", &["10.2.0.1"])
        + &slice("bank", "pay", "c3", &["10.3.0.1"])
}

fn weights(c2: &str, c3: &str) -> String {
    format!("{{loadBalancing: weighted-round-robin, weights: [{{source: \"*\", clusters: {{c2: {c2}, c3: {c3}}}}}]}}")
}

fn submariner(spec: &str) -> String {
    format!(
        "---\napiVersion: submariner.io/v1alpha1\nkind: Submariner\nmetadata: {{name: submariner, namespace: submariner-operator}}\nspec: {spec}\n"
    )
}

fn verdict(pipeline: &Pipeline, namespace: &str, name: &str) -> Verdict {
    let stores = pipeline.stores();
    let object = ObjectRef::new(namespace, name);
    Precedence::new(stores, &pipeline.perspective().namespace).verdict(&object, &stores.settings.policies[&object])
}

#[test]
fn default_prefers_the_local_export_and_shares_equally_among_others() {
    assert_eq!(synced("c1", &pay()).shares("pay.bank"), ["c2 500 Equal", "c3 500 Equal"]);
    assert_eq!(synced("c2", &pay()).shares("pay.bank"), ["c2 1000 Local", "c3 0 Standby"]);
}

#[test]
fn lower_weight_gives_a_higher_share() {
    let pipeline = synced("c1", &(pay() + &policy("bank", "pay", OLD, &weights("10", "5"))));
    assert_eq!(pipeline.shares("pay.bank"), ["c2 333 Weighted", "c3 667 Weighted"]);
    assert_eq!(pipeline.service("pay.bank").rule.policy.as_deref(), Some("bank/pay"));
}

#[test]
fn weights_of_the_enhancement_proposal_give_its_shares() {
    let rows = "{loadBalancing: weighted-round-robin, weights: [{source: c1, clusters: {c2: 10, c3: 5}}, \
                {source: c2, clusters: {c2: 0, c3: 4}}, {source: c3, clusters: {c2: 4, c3: 0}}]}";
    let manifests = pay() + &policy("bank", "pay", OLD, rows);
    assert_eq!(synced("c1", &manifests).shares("pay.bank"), ["c2 333 Weighted", "c3 667 Weighted"]);
    assert_eq!(synced("c2", &manifests).shares("pay.bank"), ["c2 1000 Local", "c3 0 Standby"]);
    assert_eq!(synced("c3", &manifests).shares("pay.bank"), ["c2 0 Standby", "c3 1000 Local"]);
}

#[test]
fn standby_cluster_answers_when_the_preferred_one_fails() {
    let zero = "{loadBalancing: weighted-round-robin, weights: [{source: c1, clusters: {c2: 0, c3: 1}}]}";
    let mut pipeline = synced("c1", &(pay() + &policy("bank", "pay", OLD, zero)));
    assert_eq!(pipeline.shares("pay.bank"), ["c2 1000 ZeroWeight", "c3 0 Standby"]);
    pipeline.feed(applied(&slice("bank", "pay", "c2", &[])));
    assert_eq!(pipeline.shares("pay.bank"), ["c2 0 NoReadyEndpoints", "c3 1000 Weighted"]);
}

#[test]
fn candidate_without_a_valid_weight_gets_no_share_and_a_reason() {
    let shares = |c2, c3| synced("c1", &(pay() + &policy("bank", "pay", OLD, &weights(c2, c3)))).shares("pay.bank");
    for wrong in ["-1", ".inf", "-.inf", ".nan"] {
        assert_eq!(shares(wrong, "5"), ["c2 0 InvalidWeight", "c3 1000 Weighted"], "{wrong}");
    }
    let only_c3 = "{loadBalancing: weighted-round-robin, weights: [{source: c1, clusters: {c3: 5}}]}";
    let pipeline = synced("c1", &(pay() + &policy("bank", "pay", OLD, only_c3)));
    assert_eq!(pipeline.shares("pay.bank"), ["c2 0 NoWeight", "c3 1000 Weighted"]);
}

#[test]
fn candidates_share_equally_with_a_fallback_reason_if_none_has_a_weight() {
    let elsewhere = "{loadBalancing: weighted-round-robin, weights: [{source: c9, clusters: {c3: 5}}]}";
    let pipeline = synced("c1", &(pay() + &policy("bank", "pay", OLD, elsewhere)));
    assert_eq!(pipeline.shares("pay.bank"), ["c2 500 Equal", "c3 500 Equal"]);
    assert_eq!(pipeline.service("pay.bank").rule.fallback.unwrap().as_str(), "NoWeights");
}

#[test]
fn minimum_share_is_kept_at_the_expense_of_the_others() {
    let spec = "{loadBalancing: weighted-round-robin, minShares: {c2: 12.5%}, \
                weights: [{source: \"*\", clusters: {c2: 99, c3: 1}}]}";
    let pipeline = synced("c1", &(pay() + &policy("bank", "pay", OLD, spec)));
    assert_eq!(pipeline.shares("pay.bank"), ["c2 125 MinShare", "c3 875 Weighted"]);
}

#[test]
fn optimized_mode_without_facts_stays_local_and_has_a_fallback_reason() {
    let pipeline = synced("c2", &(pay() + &policy("bank", "pay", OLD, "{loadBalancing: optimized}")));
    assert_eq!(pipeline.shares("pay.bank"), ["c2 1000 Optimized", "c3 0 Standby"]);
    assert_eq!(pipeline.service("pay.bank").rule.fallback.unwrap().as_str(), "DemandUnknown");
    let elsewhere = synced("c1", &(pay() + &policy("bank", "pay", OLD, "{loadBalancing: optimized}")));
    assert_eq!(elsewhere.shares("pay.bank"), ["c2 500 Optimized", "c3 500 Optimized"], "without facts, they are equal");
}

#[test]
fn most_specific_policy_applies() {
    let everything = policy("landfall-system", "all", OLD, &weights("1", "1"));
    let namespace = policy("bank", "bank", NEW, &weights("1", "3"));
    let named = policy("bank", "pay", NEW, &weights("1", "9").replacen('{', "{targetRefs: [{name: pay}], ", 1));
    let mut manifests =
        pay() + &submariner("{serviceDiscoveryEnabled: true, serviceDiscoveryLoadBalancing: optimized}");
    let winner = |manifests: &str| synced("c1", manifests).service("pay.bank").rule.policy.clone();
    assert_eq!(winner(&manifests), None);
    for (policy, name) in [(everything, "landfall-system/all"), (namespace, "bank/bank"), (named, "bank/pay")] {
        manifests += &policy;
        assert_eq!(winner(&manifests).as_deref(), Some(name));
    }
}

#[test]
fn older_of_two_equally_specific_policies_applies_and_the_newer_is_conflicted() {
    let manifests =
        pay() + &policy("bank", "a-new", NEW, &weights("9", "1")) + &policy("bank", "b-old", OLD, &weights("1", "9"));
    let mut pipeline = synced("c1", &manifests);
    assert_eq!(pipeline.service("pay.bank").rule.policy.as_deref(), Some("bank/b-old"));
    let newer = verdict(&pipeline, "bank", "a-new");
    assert_eq!((newer.accepted, newer.reason), (false, "Conflicted"));
    assert!(newer.message.contains("bank/b-old"), "{}", newer.message);
    assert!(verdict(&pipeline, "bank", "b-old").accepted);

    pipeline.feed(deleted(Kind::SelectionPolicy, "bank", "b-old"));
    assert_eq!(pipeline.service("pay.bank").rule.policy.as_deref(), Some("bank/a-new"));
    assert!(verdict(&pipeline, "bank", "a-new").accepted);
}

#[test]
fn two_zero_weights_in_a_row_are_refused_and_the_older_policy_applies() {
    let manifests =
        pay() + &policy("bank", "pay", OLD, &weights("10", "5")) + &policy("bank", "pay2", NEW, &weights("0", "0"));
    let pipeline = synced("c1", &manifests);
    assert_eq!(pipeline.shares("pay.bank"), ["c2 333 Weighted", "c3 667 Weighted"]);
    let newer = verdict(&pipeline, "bank", "pay2");
    assert_eq!((newer.accepted, newer.reason), (false, "Invalid"));
    assert!(newer.message.contains("both c2 and c3"), "{}", newer.message);
}

#[test]
fn previous_version_of_a_policy_with_a_contradiction_stays_in_force() {
    let mut pipeline = synced("c1", &(pay() + &policy("bank", "pay", OLD, &weights("10", "5"))));
    let too_much = "{loadBalancing: weighted-round-robin, minShares: {c2: 70%, c3: 70%}}";
    for (contradiction, message) in [(weights("0", "0"), "both c2 and c3"), (too_much.to_owned(), "140.0 %")] {
        pipeline.feed(applied(&policy("bank", "pay", OLD, &contradiction)));
        assert_eq!(pipeline.shares("pay.bank"), ["c2 333 Weighted", "c3 667 Weighted"]);
        let edited = verdict(&pipeline, "bank", "pay");
        assert_eq!((edited.accepted, edited.reason), (false, "Invalid"));
        assert!(edited.message.contains(message) && edited.message.ends_with("stays in force"), "{}", edited.message);
    }
    pipeline.feed(applied(&policy("bank", "pay", OLD, &weights("1", "1"))));
    assert_eq!(pipeline.shares("pay.bank"), ["c2 500 Weighted", "c3 500 Weighted"]);
    assert!(verdict(&pipeline, "bank", "pay").accepted);
}

#[test]
fn submariner_resource_in_another_namespace_is_ignored() {
    let manifests = pay() + &submariner("{serviceDiscoveryEnabled: true, serviceDiscoveryLoadBalancing: optimized}");
    let here = |namespace: &str| {
        let mut pipeline = crate::support::pipeline_near("c1", Some(namespace));
        pipeline.feed(list(&manifests));
        pipeline.service("pay.bank").rule.fallback.is_some()
    };
    assert!(here("submariner-operator"));
    assert!(!here("elsewhere"));
}

#[test]
fn minimum_shares_above_100_percent_are_refused() {
    let spec = "{loadBalancing: round-robin, minShares: {c2: 60%, c3: 40.1%}}";
    let pipeline = synced("c1", &(pay() + &policy("bank", "pay", OLD, spec)));
    assert_eq!(pipeline.shares("pay.bank"), ["c2 500 Equal", "c3 500 Equal"]);
    assert!(verdict(&pipeline, "bank", "pay").message.contains("100.1 %"));
}

#[test]
fn weights_with_another_mode_are_refused() {
    let mut pipeline = synced("c1", &pay());
    let spec = weights("10", "5").replace("weighted-round-robin", "round-robin");
    let touched = pipeline.feed(applied(&policy("bank", "pay", OLD, &spec)));
    let expected = "spec.loadBalancing: \"round-robin\" is not weighted-round-robin, which spec.weights needs";
    assert_eq!(touched.problems[0].what, expected);
    let inherited = weights("10", "5").replace("loadBalancing: weighted-round-robin, ", "");
    pipeline.feed(applied(
        &(policy("bank", "pay", OLD, &inherited)
            + &submariner("{serviceDiscoveryEnabled: true, serviceDiscoveryLoadBalancing: weighted-round-robin}")),
    ));
    assert_eq!(pipeline.shares("pay.bank"), ["c2 333 Weighted", "c3 667 Weighted"]);
}

#[test]
fn policy_for_a_missing_import_is_not_accepted_until_the_import_exists() {
    let named = weights("10", "5").replacen('{', "{targetRefs: [{name: pya}], ", 1);
    let mut pipeline = synced("c1", &(pay() + &policy("bank", "pay", OLD, &named)));
    assert_eq!(verdict(&pipeline, "bank", "pay").reason, "TargetNotFound");
    pipeline.feed(applied(&import("bank", "pya", "ClusterSetIP", &["c2"])));
    assert!(verdict(&pipeline, "bank", "pay").accepted);
}

#[test]
fn previous_version_of_a_malformed_policy_stays_in_force() {
    let mut pipeline = synced("c1", &(pay() + &policy("bank", "pay", OLD, &weights("10", "5"))));
    let malformed = "{loadBalancing: weighted-round-robin, minShares: {c2: lots}}";
    let touched = pipeline.feed(applied(&policy("bank", "pay", OLD, malformed)));
    assert_eq!(pipeline.shares("pay.bank"), ["c2 333 Weighted", "c3 667 Weighted"]);
    let problem = touched.problems[0].to_string();
    assert!(problem.contains("SelectionPolicy bank/pay: spec.minShares[c2]: \"lots\""), "{problem}");
}

#[test]
fn cluster_wide_mode_applies_only_while_service_discovery_is_enabled() {
    let mode = |enabled| {
        let spec = format!("{{serviceDiscoveryEnabled: {enabled}, serviceDiscoveryLoadBalancing: optimized}}");
        synced("c1", &(pay() + &submariner(&spec))).service("pay.bank").rule.fallback
    };
    assert!(mode("true").is_some());
    assert!(mode("false").is_none());
}

#[test]
fn policy_without_a_mode_keeps_the_mode_of_the_cluster() {
    let manifests = pay()
        + &submariner("{serviceDiscoveryEnabled: true, serviceDiscoveryLoadBalancing: optimized}")
        + &policy("bank", "pay", OLD, "{localPreference: Prefer}");
    let pipeline = synced("c2", &manifests);
    assert_eq!(pipeline.shares("pay.bank"), ["c2 1000 Local", "c3 0 Standby"]);
    assert_eq!(pipeline.service("pay.bank").rule.mode.as_str(), "optimized");
}

fn annotated(annotations: &str) -> String {
    pay().replacen("metadata: {name: pay,", &format!("metadata: {{annotations: {{{annotations}}}, name: pay,"), 1)
}

#[test]
fn weight_annotation_applies_to_the_importing_cluster_that_it_names() {
    let manifests = annotated("lighthouse-lb-weight.submariner.io/c1: \"c2:10,c3:5\"");
    assert_eq!(synced("c1", &manifests).shares("pay.bank"), ["c2 333 Weighted", "c3 667 Weighted"]);
    assert_eq!(synced("c4", &manifests).shares("pay.bank"), ["c2 500 Equal", "c3 500 Equal"]);
}

#[test]
fn weight_annotations_of_the_exporters_imports_form_a_row() {
    let own = |cluster, weight| {
        format!(
            "---\napiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceImport\nmetadata:\n  name: pay-bank-{cluster}\n  \
             namespace: submariner-operator\n  labels: {{multicluster.kubernetes.io/service-name: pay, \
             lighthouse.submariner.io/sourceNamespace: bank, multicluster.kubernetes.io/source-cluster: {cluster}}}\n  \
             annotations: {{lighthouse-lb-weight.submariner.io/c1: \"{weight}\"}}\nspec: {{type: ClusterSetIP, ports: []}}\n"
        )
    };
    let mut pipeline = synced("c1", &(pay() + &own("c2", "10") + &own("c3", "5")));
    assert_eq!(pipeline.shares("pay.bank"), ["c2 333 Weighted", "c3 667 Weighted"]);
    pipeline.feed(applied(&(own("c2", "0") + &own("c3", "0"))));
    assert_eq!(pipeline.shares("pay.bank"), ["c2 1000 ZeroWeight", "c3 0 InvalidWeight"], "only one keeps its 0");
    pipeline.feed(list(&pay()));
    assert_eq!(pipeline.shares("pay.bank"), ["c2 500 Equal", "c3 500 Equal"]);
}

#[test]
fn policy_with_weights_overrides_annotations() {
    let manifests = annotated("lighthouse-lb-weight.submariner.io/c1: \"c2:1,c3:9\"")
        + &policy("bank", "pay", OLD, &weights("10", "5"));
    assert_eq!(synced("c1", &manifests).shares("pay.bank"), ["c2 333 Weighted", "c3 667 Weighted"]);
}

#[test]
fn prefer_local_annotation_applies() {
    let manifests = annotated("lighthouse.submariner.io/prefer-local-cluster: \"false\"");
    assert_eq!(synced("c2", &manifests).shares("pay.bank"), ["c2 500 Equal", "c3 500 Equal"]);
}

#[test]
fn malformed_annotation_is_reported_and_the_service_is_still_answered() {
    for (annotation, message) in [
        ("lighthouse-lb-weight.submariner.io/c1: \"5\"", "a list of exporting clusters"),
        ("lighthouse-lb-weight.submariner.io/C1: \"c2:5\"", "is not one or two DNS labels"),
        ("lighthouse.submariner.io/prefer-local-cluster: \"maybe\"", "\"true\" or \"false\""),
    ] {
        let mut pipeline = pipeline("c1", RulesFrom::Policies);
        let touched = pipeline.feed(list(&annotated(annotation)));
        assert!(touched.problems[0].what.contains(message), "{}", touched.problems[0]);
        assert_eq!(pipeline.shares("pay.bank"), ["c2 500 Equal", "c3 500 Equal"]);
        assert!(pipeline.feed(applied(&annotated(annotation))).problems.is_empty(), "reported once");
        pipeline.feed(applied(&pay()));
        assert_eq!(pipeline.stores().problems().count(), 0);
    }
}
