//! Definitions of our resources, as the API server gets them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

use landfall_api::{ClusterFacts, OptimizedSettings, SelectedCluster, SelectionPolicy, crds};
use serde_json::{Value, json};

/// Renamed fields of `spec.optimized`, each with its present name.
const FORMER_NAMES: [(&str, &str); 2] =
    [("targetUtilisation", "targetUtilization"), ("utilisationQuery", "utilizationQuery")];

/// Returns the definition of a kind.
fn definition(kind: &str) -> Value {
    let crds = crds().into_iter().map(|crd| serde_json::to_value(crd).unwrap());
    crds.into_iter().find(|crd| crd["spec"]["names"]["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

/// Returns the schema of a field, by its path below `spec`.
fn schema(kind: &str, path: &[&str]) -> Value {
    let mut schema = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].take();
    for name in path {
        let items = schema["items"].is_object();
        schema = if items { schema["items"]["properties"][name].take() } else { schema["properties"][name].take() };
        assert!(schema.is_object(), "{kind} has no {path:?}");
    }
    schema
}

#[test]
fn every_kind_has_its_names_and_its_scope() {
    for (kind, plural, short, scope) in [
        ("SelectionPolicy", "selectionpolicies", "selpol", "Namespaced"),
        ("ServiceSelection", "serviceselections", "svcsel", "Namespaced"),
        ("NetworkPricing", "networkpricings", "netprice", "Cluster"),
        ("ClusterFacts", "clusterfacts", "cfacts", "Namespaced"),
    ] {
        let spec = definition(kind)["spec"].take();
        assert_eq!((&spec["scope"], &spec["group"]), (&json!(scope), &json!("landfall.dev")), "{kind}");
        assert_eq!(spec["names"]["plural"], plural);
        assert_eq!(spec["names"]["shortNames"], json!([short]));
        assert!(!spec["versions"][0]["additionalPrinterColumns"].as_array().unwrap().is_empty(), "{kind}");
    }
}

#[test]
fn optimizer_settings_have_limits_and_their_descriptions_name_the_defaults() {
    let rate = "usdPerMsPerMillionRequests";
    let limits = [
        (rate, 0.0, 1000.0, "10 (performance), 0.01 (mixed) or 0.0001 (cost)"),
        ("targetUtilization", 0.1, 0.99, "Default: 0.9."),
        ("requestBytes", 0.0, 1e12, "Default: 1000."),
        ("responseBytes", 0.0, 1e12, "Default: 10000."),
        ("capacityRpsPerPod", 0.0, 1e6, "Default: 100."),
        ("roundTripsPerRequest", 1.0, 3.0, "Default: 1."),
        ("requestsPerAnswer", 0.0, 1e6, "Default: 1."),
        ("epsilonMs", 0.01, 1000.0, "Default: 0.5."),
        ("roundSeconds", 30.0, 1200.0, "Default: 300."),
        ("burstiness", 0.01, 100.0, "Default: 1."),
    ];
    let all = schema("SelectionPolicy", &["optimized"])["properties"].take();
    let other = |name: &str| name.ends_with("Query") || FORMER_NAMES.iter().any(|(former, _)| *former == name);
    let numbers = all.as_object().unwrap().iter().filter(|(name, _)| !other(name));
    assert_eq!(numbers.count(), limits.len(), "one of them is not tested");
    for (name, min, max, default) in limits {
        let field = &all[name];
        assert_eq!((field["minimum"].as_f64(), field["maximum"].as_f64()), (Some(min), Some(max)), "{name}");
        let positive = [rate, "capacityRpsPerPod", "requestsPerAnswer"].contains(&name);
        assert_eq!(field["exclusiveMinimum"] == json!(true), positive, "{name}");
        assert!(field["default"].is_null(), "{name}: an absent field must stay absent");
        assert!(field["description"].as_str().unwrap().contains(default), "{name}: {field}");
    }
}

#[test]
fn validation_rules_name_the_field_and_the_remedy() {
    let rules = schema("SelectionPolicy", &[])["x-kubernetes-validations"].take();
    let rules: Vec<(&str, &str)> = rules
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| (rule["rule"].as_str().unwrap(), rule["message"].as_str().unwrap()))
        .collect();
    for (field, message) in [
        ("weights", "spec.weights need loadBalancing: weighted-round-robin; set it, or remove spec.weights"),
        (
            "optimizedLoadBalancingParams",
            "spec.optimizedLoadBalancingParams need loadBalancing: optimized; set it, or remove \
             spec.optimizedLoadBalancingParams",
        ),
        ("optimized", "the settings in spec.optimized need loadBalancing: optimized; set it, or remove spec.optimized"),
    ] {
        let (rule, _) = rules.iter().find(|(_, text)| *text == message).unwrap_or_else(|| panic!("no rule: {message}"));
        assert!(rule.starts_with(&format!("!has(self.{field}) || ")), "{rule}");
        let inherited = rule.contains("|| !has(self.loadBalancing) ||");
        assert_eq!(inherited, field != "weights", "{rule}");
    }
    assert!(rules.iter().any(|(rule, message)| {
        message.ends_with("set one of them") && rule.contains("!has(self.optimized.usdPerMsPerMillionRequests)")
    }));
}

#[test]
fn former_names_of_settings_are_refused_on_write_with_the_new_name() {
    let settings = schema("SelectionPolicy", &["optimized"]);
    let rules = settings["x-kubernetes-validations"].as_array().unwrap();
    for (former, name) in FORMER_NAMES {
        assert!(settings["properties"][former].is_object(), "an API server would drop {former} without an error");
        let message = format!("spec.optimized.{former} was renamed; use spec.optimized.{name}");
        assert!(rules.contains(&json!({"rule": format!("!has(self.{former})"), "message": message})), "{rules:?}");
    }
}

#[test]
fn settings_that_were_stored_under_a_former_name_are_read_and_named() {
    let settings: OptimizedSettings =
        serde_json::from_value(json!({"targetUtilisation": 0.8, "utilisationQuery": "busy"})).unwrap();
    assert_eq!(settings.former_target_utilization, Some(0.8));
    assert_eq!(settings.former_utilization_query.as_deref(), Some("busy"));
    let expected = FORMER_NAMES.map(|(former, name)| [former, name].map(|field| format!("spec.optimized.{field}")));
    let named: Vec<[String; 2]> =
        settings.former_names().map(|(former, name)| [former, name].map(str::to_owned)).collect();
    assert_eq!(named, expected);
    assert_eq!(OptimizedSettings::default().former_names().count(), 0);
}

/// Covers all fields that users write and read. `kubectl explain` sorts them by name, so a description cannot refer to
/// the field before it.
#[test]
fn every_field_has_a_description_that_stands_alone() {
    const PRIVATE_WORDS: [&str; 8] = ["who", "whom", "whoever", "somebody", "nobody", "everybody", "anybody", "bear"];
    for kind in ["SelectionPolicy", "ServiceSelection", "NetworkPricing", "ClusterFacts", "Submariner"] {
        let mut fields = Vec::new();
        let root = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take();
        collect_fields(kind, &root, &mut fields);
        assert!(fields.len() > 10, "{kind}");
        for (path, description) in fields {
            let first = description.split(' ').next().unwrap();
            assert!(first.starts_with(char::is_uppercase) || path.contains(".conditions."), "{path}: {description:?}");
            assert!(!["Of", "What", "How", "The", "It", "And"].contains(&first), "{path}: {description}");
            let words: Vec<&str> = description.split(|c: char| !c.is_alphanumeric()).collect();
            let private = PRIVATE_WORDS.iter().find(|word| words.contains(word));
            assert_eq!(private, None, "{path}: {description}");
            assert!(!description.replace("\n\n", "").contains('\n'), "{path}: kubectl explain keeps the line break");
            assert!(!["tilisation", "ptimis"].iter().any(|part| description.contains(part)), "{path}: {description}");
        }
    }
}

/// All fields below `schema`, by path, with their descriptions.
fn collect_fields(path: &str, schema: &Value, fields: &mut Vec<(String, String)>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        fields.push((path.clone(), field["description"].as_str().unwrap_or_default().to_owned()));
        collect_fields(&path, field, fields);
        collect_fields(&path, &field["items"], fields);
    }
}

#[test]
fn lists_that_clusters_write_are_bounded_and_have_keys() {
    for (list, max, keys) in [
        ("links", 256, json!(["cluster"])),
        ("egress", 256, json!(["cluster"])),
        ("services", 2000, json!(["namespace", "name"])),
    ] {
        let list = schema("ClusterFacts", &[list]);
        assert_eq!((&list["maxItems"], &list["x-kubernetes-list-map-keys"]), (&json!(max), &keys));
    }
    assert_eq!(schema("NetworkPricing", &["rules"])["maxItems"], 1024);
}

#[test]
fn a_price_has_limits_and_its_relations_and_continents_are_listed() {
    let price = schema("NetworkPricing", &["rules", "usdPerGb"]);
    assert_eq!((price["minimum"].as_f64(), price["maximum"].as_f64()), (Some(0.0), Some(100.0)));
    let words = |path: &[&str]| {
        let mut words = schema("NetworkPricing", path)["enum"].take();
        words.as_array_mut().unwrap().retain(Value::is_string);
        words
    };
    let relations = json!(["SameZone", "SameRegion", "SameContinent", "InterContinent", "Internet"]);
    assert_eq!(words(&["rules", "relation"]), relations);
    let continents = json!(["africa", "asia", "europe", "north-america", "oceania", "south-america"]);
    assert_eq!(words(&["rules", "from", "continent"]), continents);
}

#[test]
fn cost_terms_of_a_weight_are_written_only_if_they_are_known() {
    let selected = SelectedCluster { cluster: "c1".to_owned(), reason: "Equal".to_owned(), ..Default::default() };
    let written = serde_json::to_value(&selected).unwrap();
    let fields: Vec<&str> = written.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["cluster", "eligible", "nominalWeight", "priority", "reason", "weight"]);
    let explained = SelectedCluster { usd_per_million: Some(0.9), utilization: Some(0.7), ..selected };
    let written = serde_json::to_value(&explained).unwrap();
    assert_eq!((&written["usdPerMillion"], &written["utilization"]), (&json!(0.9), &json!(0.7)));
    assert_eq!(serde_json::from_value::<SelectedCluster>(written).unwrap(), explained);
}

#[test]
fn a_selection_of_an_operator_from_before_the_renaming_can_still_be_written_and_read() {
    let versions = definition("ServiceSelection")["spec"]["versions"].take();
    let status = &versions[0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
    let fields = &status["clusters"]["items"]["properties"];
    assert_eq!(fields["utilisation"]["type"], "number", "a server-side apply with an unknown field fails");
    let older = json!({"cluster": "c1", "eligible": true, "reason": "Optimized", "weight": 1000, "utilisation": 0.7});
    let read: SelectedCluster = serde_json::from_value(older).unwrap();
    assert_eq!((read.utilization, read.former_utilization), (None, Some(0.7)));
}

#[test]
fn facts_need_only_a_cluster_and_a_bad_number_is_read_as_nan() {
    let read = |spec: Value| {
        let object = json!({
            "apiVersion": "landfall.dev/v1alpha1", "kind": "ClusterFacts", "metadata": {"name": "east"}, "spec": spec,
        });
        serde_json::from_value::<ClusterFacts>(object).map(|facts| facts.spec)
    };
    assert_eq!(read(json!({"cluster": "east"})).unwrap().links, []);
    let spec = read(json!({
        "cluster": "east",
        "links": [{"cluster": "west", "rttMs": "12.5", "loss": {}}],
        "services": null,
        "tomorrow": {"new": "field"},
    }))
    .unwrap();
    assert_eq!(spec.links[0].rtt_ms, Some(12.5));
    assert!(spec.links[0].loss.unwrap().is_nan());
    assert_eq!(spec.links[0].jitter_ms, None);
    assert!(read(json!({})).is_err());
}

#[test]
fn an_absent_field_of_a_policy_stays_absent() {
    let object = json!({
        "apiVersion": "landfall.dev/v1alpha1",
        "kind": "SelectionPolicy",
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"optimized": {"targetUtilization": 0.8}},
    });
    let policy: SelectionPolicy = serde_json::from_value(object).unwrap();
    let written = serde_json::to_value(&policy.spec).unwrap();
    assert_eq!(written, json!({"optimized": {"targetUtilization": 0.8}}));
}
