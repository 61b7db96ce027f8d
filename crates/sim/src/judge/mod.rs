//! The true cost of a decision. The optimizer minimizes an approximation of waiting times, so it must not judge itself.
//!
//! Here an exporter is an exact M/M/c queue (Erlang C): capacity and service time give the number of servers. A request
//! waits for at most a second. Load above the capacity is rejected.

pub mod erlang;
mod tail;

use crate::matrix::Matrix;
use crate::world::{Round, World};
use erlang::{MAX_WAIT_MS, Queue, WaitTables};

pub use tail::{Flow, p99_ms};

/// Cost of a rejected request beyond the longest wait.
pub const REJECTION_MS: f64 = 1e4;

/// Round-trip time of clients outside the fleet, which are close to their exporter and pay nothing.
const BACKGROUND_RTT_MS: f64 = 0.5;

/// Result of the requests of a segment of a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgment {
    /// Requests per second, including background load.
    pub asked_rps: f64,
    pub served_rps: f64,
    /// Mean time of a served request, from the client and back. 0 if none was served.
    pub mean_ms: f64,
    /// Mean price of served requests.
    pub usd_per_million: f64,
    /// Fraction of requests that were not served. Requests that no exporter gets count as rejected.
    pub rejected: f64,
    /// J, in ms per request: time, exchanged price, and the cost of rejections. 0 without requests.
    pub cost_ms: f64,
    /// Queue of each exporter.
    pub queues: Vec<Queue>,
}

/// Judges shares in a round.
pub fn judge(tables: &mut WaitTables, world: &World, round: &Round, shares: &Matrix<f64>) -> Judgment {
    let queues = queues(tables, world, round, shares);
    let prices = round.usd_per_million(world);
    let rate = world.usd_per_ms_per_million;
    let (mut latency, mut usd, mut served_rps) = (0.0, 0.0, 0.0);
    for (i, &demand) in round.demand_rps.iter().enumerate() {
        for (j, &share) in shares.row(i).iter().enumerate() {
            let served = demand * share * (1.0 - queues[j].rejected);
            latency += served * (round.rtt_ms[(i, j)] + world.service_ms[j] + queues[j].wait_ms);
            usd += served * prices[(i, j)];
            served_rps += served;
        }
    }
    for (j, (&background, queue)) in world.background_rps.iter().zip(&queues).enumerate() {
        let served = background * (1.0 - queue.rejected);
        latency += served * (BACKGROUND_RTT_MS + world.service_ms[j] + queue.wait_ms);
        served_rps += served;
    }
    let asked_rps = sum(&round.demand_rps) + sum(&world.background_rps);
    let lost_rps = (asked_rps - served_rps).max(0.0);
    let price = if rate > 0.0 { usd / rate } else { 0.0 };
    Judgment {
        asked_rps,
        served_rps,
        mean_ms: per(latency, served_rps),
        usd_per_million: per(usd, served_rps),
        rejected: per(lost_rps, asked_rps).min(1.0),
        cost_ms: per(latency + price + lost_rps * (MAX_WAIT_MS + REJECTION_MS), asked_rps),
        queues,
    }
}

fn queues(tables: &mut WaitTables, world: &World, round: &Round, shares: &Matrix<f64>) -> Vec<Queue> {
    let loads = loads(world, round, shares);
    let exporters = loads.iter().zip(&round.capacity_rps).zip(&world.service_ms);
    exporters.map(|((&load, &capacity), &service)| tables.queue(load, capacity, service)).collect()
}

/// Returns the load of each exporter, including background load.
pub fn loads(world: &World, round: &Round, shares: &Matrix<f64>) -> Vec<f64> {
    let mut loads = world.background_rps.clone();
    for (demand, row) in round.demand_rps.iter().zip(shares.rows()) {
        loads.iter_mut().zip(row).for_each(|(load, share)| *load += demand * share);
    }
    loads
}

/// Returns all requests as flows, including background load and requests that no exporter gets.
pub fn flows<'a>(
    world: &'a World,
    round: &'a Round,
    shares: &'a Matrix<f64>,
    queues: &'a [Queue],
) -> impl Iterator<Item = Flow> + Clone + 'a {
    let from_source = move |(i, demand): (usize, &'a f64)| {
        let flow = move |(j, share): (usize, &f64)| Flow {
            rps: demand * share,
            rtt_ms: round.rtt_ms[(i, j)],
            service_ms: world.service_ms[j],
            queue: queues[j],
        };
        let nowhere = demand * (1.0 - sum(shares.row(i))).max(0.0);
        let nowhere = Flow { rps: nowhere, rtt_ms: 0.0, service_ms: 0.0, queue: Queue::NONE };
        shares.row(i).iter().enumerate().map(flow).chain([nowhere])
    };
    let background = move |(j, &rps): (usize, &f64)| Flow {
        rps,
        rtt_ms: BACKGROUND_RTT_MS,
        service_ms: world.service_ms[j],
        queue: queues[j],
    };
    let background = world.background_rps.iter().enumerate().map(background);
    round.demand_rps.iter().enumerate().flat_map(from_source).chain(background)
}

fn sum(values: &[f64]) -> f64 {
    values.iter().sum()
}

/// Returns a mean per request. Returns 0 without requests.
fn per(whole: f64, requests: f64) -> f64 {
    if requests > 0.0 { whole / requests } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::tests::two_clusters;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * (1.0 + b.abs())
    }

    /// The first cluster keeps its requests, the second sends half of them to the first.
    fn shares() -> Matrix<f64> {
        Matrix::from_fn(2, |i, j| [[1.0, 0.0], [0.5, 0.5]][i][j])
    }

    #[test]
    fn request_costs_its_round_trip_its_wait_and_its_price() {
        let world = two_clusters(1);
        let mut tables = WaitTables::default();
        let judgment = judge(&mut tables, &world, &world.rounds[0], &shares());
        let wait = |load: f64| tables.clone().queue(load, 200.0, 20.0).wait_ms;
        let latency = 20.0 + (100.0 * 1.0 + 50.0 * 20.0 + 50.0 * 1.0 + 150.0 * wait(150.0) + 50.0 * wait(50.0)) / 200.0;
        let usd = 0.25 * (0.1 * 1e3 + 0.1 * 1e4) / 1e3;
        assert!(near(judgment.mean_ms, latency) && near(judgment.usd_per_million, usd), "{judgment:?}");
        assert!(near(judgment.cost_ms, latency + usd / 0.01) && near(judgment.rejected, 0.0));
        let free = World { usd_per_ms_per_million: 0.0, ..world };
        assert!(near(judge(&mut tables, &free, &free.rounds[0], &shares()).cost_ms, latency));
    }

    #[test]
    fn request_above_the_capacity_costs_eleven_seconds() {
        let mut world = two_clusters(1);
        world.rounds[0].capacity_rps[0] = 75.0;
        let judgment = judge(&mut WaitTables::default(), &world, &world.rounds[0], &shares());
        assert!(near(judgment.rejected, 75.0 / 200.0) && near(judgment.served_rps, 125.0));
        let served = 125.0 * judgment.mean_ms + 125.0 * judgment.usd_per_million / 0.01;
        assert!(near(judgment.cost_ms, (served + 75.0 * 11_000.0) / 200.0));
    }

    #[test]
    fn background_load_takes_capacity_and_waits() {
        let world = World { background_rps: vec![0.0, 100.0], ..two_clusters(1) };
        let judgment = judge(&mut WaitTables::default(), &world, &world.rounds[0], &shares());
        assert!(near(judgment.asked_rps, 300.0) && near(judgment.queues[1].utilization, 0.75));
        let alone = judge(&mut WaitTables::default(), &two_clusters(1), &world.rounds[0], &shares());
        assert!(judgment.queues[1].wait_ms > alone.queues[1].wait_ms);
    }

    #[test]
    fn flows_cover_all_requests() {
        let mut world = World { background_rps: vec![10.0, 0.0], ..two_clusters(1) };
        world.rounds[0].capacity_rps[1] = 0.0;
        let lost = Matrix::from_fn(2, |i, j| [[0.5, 0.0], [0.0, 1.0]][i][j]);
        let judgment = judge(&mut WaitTables::default(), &world, &world.rounds[0], &lost);
        let flows: Vec<Flow> = flows(&world, &world.rounds[0], &lost, &judgment.queues).collect();
        let served: f64 = flows.iter().map(|flow| flow.rps * (1.0 - flow.queue.rejected)).sum();
        assert!(near(flows.iter().map(|flow| flow.rps).sum(), 210.0) && near(served, judgment.served_rps));
        assert!(near(served, 60.0), "half of the first cluster's requests and all of the second's are lost");
    }
}
