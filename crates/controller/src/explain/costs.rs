//! What requests cost, and would cost if they were sent as simpler policies do.

use landfall_core::name::ClusterId;
use landfall_core::optimize::Solution;
use landfall_core::optimize::objective::Objective;
use landfall_core::optimize::report::PlanningInput;
use landfall_core::resolve::Share;
use landfall_core::savings::{Bill, savings_with_solution};
use serde::Serialize;

/// What the requests of this cluster cost, and would cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Costs {
    pub in_force: BillLine,
    pub round_robin: BillLine,
    pub local_first: BillLine,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BillLine {
    /// Absent: somebody would be asked for more than it can bear, and there is no mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
    pub usd_per_million: f64,
    /// Of 30 days.
    pub usd_per_month: f64,
    /// Absent: infinite.
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
) -> Option<Costs> {
    let savings = savings_with_solution(solution, known, objective, of)?;
    Some(Costs {
        in_force: savings.in_force.into(),
        round_robin: savings.round_robin.into(),
        local_first: savings.local_first.into(),
    })
}
