//! Costs of requests with the present shares, and with simpler policies.

use landfall_core::name::ClusterId;
use landfall_core::optimize::Solution;
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::PlanningInput;
use landfall_core::resolve::Share;
use landfall_core::savings::{Bill, savings_with_solution};
use serde::Serialize;

/// Costs of the requests of the local cluster, now and with simpler policies.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CostComparison {
    pub in_force: BillLine,
    pub round_robin: BillLine,
    pub local_first: BillLine,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BillLine {
    /// Mean response time. Absent if a cluster would be overloaded: its queue would grow without limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
    pub usd_per_million: f64,
    /// Cost of 30 days.
    pub usd_per_month: f64,
    /// Highest utilization of a cluster. Absent if it is infinite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fullest: Option<f64>,
}

impl From<Bill> for BillLine {
    fn from(bill: Bill) -> Self {
        Self {
            ms: bill.ms,
            usd_per_million: bill.usd_per_million,
            usd_per_month: bill.usd_per_month(),
            fullest: Some(bill.utilization).filter(|part| part.is_finite()),
        }
    }
}

pub(super) fn costs(
    solution: &Solution,
    known: &PlanningInput,
    objective: &Objective,
    of: (&ClusterId, &[Share]),
) -> Option<CostComparison> {
    let savings = savings_with_solution(solution, known, objective, of)?;
    Some(CostComparison {
        in_force: savings.in_force.into(),
        round_robin: savings.round_robin.into(),
        local_first: savings.local_first.into(),
    })
}
