//! Conditions on the objects that users write: pure.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use landfall_api::SelectionPolicyStatus;
use landfall_api::labels::{BROKER_CONDITION, LOAD_BALANCING_CONDITION};
use landfall_core::policy::Mode;

use crate::accept::{Preset, SelectionPolicy, Submariner};
use crate::change::BrokerState;
use crate::observe::precedence::Verdict;

const ACCEPTED: &str = "Accepted";

/// Returns the status of a policy that applies to this number of services. Returns `None` if the status is up to date.
pub fn policy_status(
    policy: &SelectionPolicy,
    verdict: &Verdict,
    services: usize,
    now: &Time,
) -> Option<SelectionPolicyStatus> {
    let services = i32::try_from(services).unwrap_or(i32::MAX);
    let condition = condition(ACCEPTED, verdict, policy.generation, now);
    let conditions = merged(&policy.status.conditions, condition);
    if conditions.is_none() && policy.status.services == services {
        return None;
    }
    let conditions = conditions.unwrap_or_else(|| policy.status.conditions.clone());
    Some(SelectionPolicyStatus { services, conditions })
}

/// Returns the conditions of a Submariner resource. Returns `None` if they are up to date. Only the resource that is in
/// force has a condition for the broker, and only if there is one.
pub fn submariner_conditions(
    submariner: &Submariner,
    (in_force, broker): (bool, Option<&BrokerState>),
    now: &Time,
) -> Option<Vec<Condition>> {
    let before = &submariner.status.conditions;
    let condition = |r#type, verdict| condition(r#type, &verdict, submariner.generation, now);
    let with = |conditions: Vec<Condition>, ours| merged(&conditions, ours).unwrap_or(conditions);
    let next = with(before.clone(), condition(LOAD_BALANCING_CONDITION, submariner_verdict(submariner, in_force)));
    let next = match broker.filter(|_| in_force) {
        Some(broker) => with(next, condition(BROKER_CONDITION, broker_verdict(broker))),
        None => next.into_iter().filter(|condition| condition.type_ != BROKER_CONDITION).collect(),
    };
    (next != *before).then_some(next)
}

/// Returns true if the API server stored our conditions as they were sent, and no others of ours. Times are not
/// compared, because the API server may store fewer digits.
pub fn stored_as_sent(sent: &[Condition], stored: &[Condition]) -> bool {
    let ours = |conditions: &'_ [Condition]| -> BTreeSet<[String; 4]> {
        let ours = conditions
            .iter()
            .filter(|condition| [LOAD_BALANCING_CONDITION, BROKER_CONDITION].contains(&condition.type_.as_str()));
        ours.cloned().map(|ours| [ours.type_, ours.status, ours.reason, ours.message]).collect()
    };
    ours(sent) == ours(stored)
}

/// Returns the verdict on the exchange of facts. Of several problems, the worst is reported.
fn broker_verdict(broker: &BrokerState) -> Verdict {
    let verdict = |accepted, reason, message: String| Verdict { accepted, reason, message };
    if let Some(instance) = &broker.duplicate_id {
        let message = format!(
            "another cluster with this id (instance {instance}) wrote its ClusterFacts first, so this cluster writes none; \
             change the id of one of the two clusters, or delete the other cluster's ClusterFacts from the broker"
        );
        return verdict(false, "DuplicateClusterId", message);
    }
    if let Some(why) = &broker.lost {
        return verdict(false, "Unreachable", format!("{why}; weights stay as they are, and health still applies"));
    }
    if let Some(why) = &broker.write_error {
        let message =
            format!("facts of other clusters are read, but this cluster's own ClusterFacts cannot be written: {why}");
        return verdict(false, "NotWritten", message);
    }
    /// Problems in the message. More would not be read.
    const MAX_SHOWN: usize = 5;
    let rejected = broker.rejected.iter().map(|(object, (_, why))| format!("ClusterFacts {object}: {why}"));
    let incomplete =
        broker.incomplete.iter().map(|cluster| format!("ClusterFacts of cluster {cluster}: a part is missing"));
    let faults: Vec<String> = rejected.chain(incomplete).collect();
    if faults.is_empty() {
        return verdict(true, "Connected", "the facts of all clusters are read".to_owned());
    }
    let more = faults.len().saturating_sub(MAX_SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let shown: Vec<&str> = faults.iter().take(MAX_SHOWN).map(String::as_str).collect();
    verdict(
        true,
        "FactsLeftOut",
        format!(
            "{}{more}; where a whole object is left out, its previous version is used until it is too old",
            shown.join("; ")
        ),
    )
}

fn submariner_verdict(submariner: &Submariner, in_force: bool) -> Verdict {
    let verdict = |accepted, reason, message: &str| Verdict { accepted, reason, message: message.to_owned() };
    let has_settings = submariner.mode.is_some() || submariner.params.is_some();
    if !in_force {
        return verdict(
            false,
            "Ignored",
            "another Submariner resource in this namespace is in force; delete one of them",
        );
    }
    if has_settings && !submariner.service_discovery {
        let message = "spec.serviceDiscoveryLoadBalancing and spec.optimizedLoadBalancingParams are ignored while \
                       spec.serviceDiscoveryEnabled is false, so round-robin is in force; set it to true";
        return verdict(false, "ServiceDiscoveryDisabled", message);
    }
    match submariner.mode {
        Some(Mode::Optimized) => {
            let preset = submariner.params.unwrap_or(Preset::Mixed);
            verdict(true, "Accepted", &format!("optimized for {preset} is in force"))
        }
        Some(Mode::RoundRobin | Mode::WeightedRoundRobin) | None if submariner.params.is_some() => {
            let message = "spec.optimizedLoadBalancingParams is ignored because spec.serviceDiscoveryLoadBalancing is not \
                           optimized; change one of them";
            verdict(true, "ParamsIgnored", message)
        }
        mode => verdict(true, "Accepted", &format!("{} is in force", mode.unwrap_or_default())),
    }
}

fn condition(r#type: &str, verdict: &Verdict, generation: i64, now: &Time) -> Condition {
    Condition {
        type_: r#type.to_owned(),
        status: if verdict.accepted { "True" } else { "False" }.to_owned(),
        reason: verdict.reason.to_owned(),
        message: verdict.message.clone(),
        observed_generation: Some(generation),
        last_transition_time: now.clone(),
    }
}

/// Merges our condition into the existing ones and keeps those of other writers. Returns `None` if only the time would
/// change.
fn merged(existing: &[Condition], mut ours: Condition) -> Option<Vec<Condition>> {
    let mut conditions = existing.to_vec();
    let Some(before) = conditions.iter_mut().find(|condition| condition.type_ == ours.type_) else {
        conditions.push(ours);
        return Some(conditions);
    };
    if before.status == ours.status {
        ours.last_transition_time = before.last_transition_time.clone();
    }
    if *before == ours {
        return None;
    }
    *before = ours;
    Some(conditions)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn time(seconds: i64) -> Time {
        Time(Timestamp::from_second(seconds).unwrap())
    }

    fn accepted(accepted: bool) -> Condition {
        let verdict = Verdict { accepted, reason: "Because", message: String::new() };
        condition(LOAD_BALANCING_CONDITION, &verdict, 3, &time(100))
    }

    fn conditions(before: &[Condition], in_force: bool, broker: Option<&BrokerState>) -> Vec<(String, String)> {
        let submariner = Submariner {
            cluster_id: None,
            service_discovery: true,
            mode: None,
            params: None,
            generation: 3,
            status: landfall_api::SubmarinerStatus { conditions: before.to_vec() },
            resource_version: "1".into(),
        };
        let next = submariner_conditions(&submariner, (in_force, broker), &time(100));
        let next = next.unwrap_or_else(|| before.to_vec());
        next.into_iter().map(|condition| (condition.type_, condition.reason)).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(r#type, reason)| ((*r#type).to_owned(), (*reason).to_owned())).collect()
    }

    #[test]
    fn broker_condition_is_removed_with_the_broker_and_when_the_resource_is_not_in_force() {
        let broker = BrokerState::default();
        let theirs = Condition { type_: "Ready".to_owned(), ..accepted(true) };
        let ours = Condition { type_: BROKER_CONDITION.to_owned(), ..accepted(false) };
        let before = [theirs, ours];
        let all = [("Ready", "Because"), (BROKER_CONDITION, "Connected"), (LOAD_BALANCING_CONDITION, "Accepted")];
        assert_eq!(conditions(&before, true, Some(&broker)), pairs(&all));
        assert_eq!(
            conditions(&before, true, None),
            pairs(&[("Ready", "Because"), (LOAD_BALANCING_CONDITION, "Accepted")])
        );
        let ignored = pairs(&[("Ready", "Because"), (LOAD_BALANCING_CONDITION, "Ignored")]);
        assert_eq!(conditions(&before, false, None), ignored);
        assert_eq!(conditions(&before, false, Some(&broker)), ignored);
    }

    #[test]
    fn conditions_are_stored_as_sent_if_ours_are_equal_but_for_times() {
        let broker = Condition { type_: BROKER_CONDITION.to_owned(), ..accepted(true) };
        let theirs = Condition { type_: "Ready".to_owned(), ..accepted(true) };
        let stamped = Condition { last_transition_time: time(1), ..accepted(true) };
        let sent = [accepted(true), broker.clone()];
        assert!(stored_as_sent(&sent, &[theirs.clone(), broker.clone(), stamped]));
        assert!(!stored_as_sent(&sent, &[theirs.clone(), accepted(true)]), "same number, other types");
        assert!(!stored_as_sent(&sent, &[broker.clone(), accepted(false)]));
        assert!(!stored_as_sent(&[accepted(true)], &[accepted(true), broker]), "it should be removed");
        assert!(!stored_as_sent(&sent, &[]));
        assert!(stored_as_sent(&[accepted(true)], &[theirs, accepted(true)]));
    }

    #[test]
    fn conditions_of_other_writers_are_kept() {
        let theirs = Condition { type_: "Ready".to_owned(), ..accepted(true) };
        let conditions = merged(std::slice::from_ref(&theirs), accepted(true)).unwrap();
        assert_eq!(conditions, [theirs, accepted(true)]);
    }

    #[test]
    fn condition_that_differs_only_in_its_time_is_not_written_again() {
        let before = Condition { last_transition_time: time(1), ..accepted(true) };
        assert_eq!(merged(&[before], accepted(true)), None);
    }

    #[test]
    fn transition_time_changes_only_with_the_status() {
        let before = Condition { last_transition_time: time(1), ..accepted(true) };
        let reworded = Condition { message: "in other words".to_owned(), ..accepted(true) };
        let conditions = merged(std::slice::from_ref(&before), reworded).unwrap();
        assert_eq!(conditions[0].last_transition_time, time(1));
        let conditions = merged(&[before], accepted(false)).unwrap();
        assert_eq!(conditions[0].last_transition_time, time(100));
    }
}
