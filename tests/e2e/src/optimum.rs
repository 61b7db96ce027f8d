//! Independent solver: computes the cheapest split from the formulas in the documentation, without code of the product.
//!
//! Each exporting cluster has a price: the marginal congestion cost of one more request there. Clients go to the
//! clusters where path cost plus price is least. The solver sets the price of one cluster after the other to its
//! congestion cost, until no price changes.

/// Smoothing (ε): clusters whose costs differ by less share by capacity.
const EPSILON_MS: f64 = 0.5;
const TARGET_UTILIZATION: f64 = 0.9;

/// Limit on the sweeps, far more than the problems of the tests need.
const MAX_SWEEPS: usize = 2000;
/// Number of bisections of a price.
const BISECTIONS: usize = 60;
const MAX_PRICE_MS: f64 = 1e7;
/// Change of a price below which it has converged.
const CONVERGED_MS: f64 = 1e-6;

/// Inputs of a split.
#[derive(Debug, Clone, Default)]
pub struct Problem {
    /// Demand of each source cluster.
    pub demand_rps: Vec<f64>,
    /// Capacity of each exporting cluster.
    pub capacity_rps: Vec<f64>,
    /// Path cost by source and exporting cluster: the round-trip time, and the price as time.
    pub cost_ms: Vec<Vec<f64>>,
    pub burstiness: f64,
}

/// Shares of each source, from 0 to 1, and utilization of each exporting cluster.
#[derive(Debug, Clone)]
pub struct Optimum {
    pub shares: Vec<Vec<f64>>,
    pub utilization: Vec<f64>,
}

impl Problem {
    #[must_use]
    pub fn solve(&self) -> Optimum {
        let mut prices = vec![0.0; self.capacity_rps.len()];
        for _ in 0..MAX_SWEEPS {
            let before = prices.clone();
            for cluster in 0..prices.len() {
                self.adjust(&mut prices, cluster);
            }
            // Shares are no criterion: they may return to their former values within a sweep.
            if before.iter().zip(&prices).all(|(before, price)| (before - price).abs() < CONVERGED_MS) {
                break;
            }
        }
        let load = |cluster| self.load_rps(&prices, cluster) / self.capacity_rps[cluster];
        Optimum { shares: self.shares(&prices), utilization: (0..prices.len()).map(load).collect() }
    }

    /// Sets the price of a cluster to the congestion cost of the load at that price. The load falls as the price rises.
    fn adjust(&self, prices: &mut [f64], cluster: usize) {
        let (mut low, mut high) = (0.0, MAX_PRICE_MS);
        for _ in 0..BISECTIONS {
            prices[cluster] = f64::midpoint(low, high);
            let load = self.load_rps(prices, cluster);
            if self.congestion_ms(cluster, load) > prices[cluster] {
                low = prices[cluster];
            } else {
                high = prices[cluster];
            }
        }
    }

    fn load_rps(&self, prices: &[f64], cluster: usize) -> f64 {
        self.demand_rps.iter().zip(self.shares(prices)).map(|(demand, shares)| demand * shares[cluster]).sum()
    }

    fn shares(&self, prices: &[f64]) -> Vec<Vec<f64>> {
        self.cost_ms.iter().map(|costs| self.shares_of(costs, prices)).collect()
    }

    /// Returns the shares of one source.
    fn shares_of(&self, costs: &[f64], prices: &[f64]) -> Vec<f64> {
        let total: Vec<f64> = costs.iter().zip(prices).map(|(cost, price)| cost + price).collect();
        let least = total.iter().copied().fold(f64::INFINITY, f64::min);
        let weight = |(total, capacity): (&f64, &f64)| capacity * ((least - total) / EPSILON_MS).exp();
        let weights: Vec<f64> = total.iter().zip(&self.capacity_rps).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / sum).collect()
    }

    /// Returns the marginal congestion cost of one more request at a cluster with this load.
    fn congestion_ms(&self, cluster: usize, load_rps: f64) -> f64 {
        let utilization = load_rps / self.capacity_rps[cluster];
        if utilization <= TARGET_UTILIZATION {
            return self.waiting_ms(cluster, utilization);
        }
        let beyond = (utilization - TARGET_UTILIZATION) / (1.0 - TARGET_UTILIZATION);
        self.waiting_ms(cluster, TARGET_UTILIZATION) + self.ramp_ms() * beyond
    }

    fn waiting_ms(&self, cluster: usize, utilization: f64) -> f64 {
        let scale = (1000.0 * self.burstiness / self.capacity_rps[cluster]).clamp(0.001, 50.0);
        scale * ((1.0 - utilization).powi(-2) - 1.0)
    }

    fn ramp_ms(&self) -> f64 {
        let range = |costs: &Vec<f64>| {
            costs.iter().copied().fold(0.0, f64::max) - costs.iter().copied().fold(f64::INFINITY, f64::min)
        };
        let range = self.cost_ms.iter().map(range).fold(0.0, f64::max);
        let waiting = (0..self.capacity_rps.len()).map(|cluster| self.waiting_ms(cluster, TARGET_UTILIZATION));
        (4.0 * (range + waiting.fold(0.0, f64::max))).max(10_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(demand_rps: [f64; 2], capacity_rps: [f64; 2], apart_ms: f64) -> Optimum {
        let cost_ms = vec![vec![0.0, apart_ms], vec![apart_ms, 0.0]];
        Problem { demand_rps: demand_rps.into(), capacity_rps: capacity_rps.into(), cost_ms, burstiness: 1.0 }.solve()
    }

    fn assert_near(is: f64, expected: f64) {
        assert!((is - expected).abs() < 1e-3, "{is} instead of {expected}");
    }

    #[test]
    fn clusters_without_distance_share_the_demand_equally() {
        let optimum = two([90.0, 30.0], [100.0, 100.0], 0.0);
        for shares in &optimum.shares {
            assert_near(shares[0], 0.5);
        }
        assert_near(optimum.utilization[0], 0.6);
    }

    #[test]
    fn equal_clusters_keep_their_own_clients() {
        let optimum = two([50.0, 50.0], [100.0, 100.0], 40.0);
        assert_near(optimum.shares[0][0], 1.0);
        assert_near(optimum.shares[1][1], 1.0);
    }

    #[test]
    fn excess_demand_goes_to_both_others_and_more_to_the_nearer_one() {
        let cost_ms = vec![vec![0.0, 80.0, 100.0], vec![80.0, 0.0, 80.0], vec![100.0, 80.0, 0.0]];
        let problem =
            Problem { demand_rps: vec![100.0, 50.0, 50.0], capacity_rps: vec![100.0; 3], cost_ms, burstiness: 0.5 };
        let optimum = problem.solve();
        let marginal =
            |cluster: usize| problem.cost_ms[0][cluster] + problem.waiting_ms(cluster, optimum.utilization[cluster]);
        // One more request from east costs the same at each of the three, apart from the smoothing.
        let costs = [0, 1, 2].map(marginal);
        assert!(costs.iter().all(|cost| (cost - costs[0]).abs() < 2.0), "{costs:?} {optimum:?}");
        assert!(optimum.shares[0][1] > optimum.shares[0][2] && optimum.shares[0][2] > 0.03, "{optimum:?}");
    }

    #[test]
    fn prices_differ_by_the_path_cost_if_clients_leave() {
        let optimum = two([110.0, 10.0], [100.0, 100.0], 40.0);
        let away = optimum.shares[0][1];
        assert!(away > 0.1 && optimum.shares[1][1] > 0.999, "{optimum:?}");
        // By hand: the price is 10 ms · (1/(1−ρ)² − 1), and here both are below the target utilization.
        let price = |utilization: f64| 10.0 * ((1.0 - utilization).powi(-2) - 1.0);
        let path_ms = price(optimum.utilization[0]) - price(optimum.utilization[1]);
        assert!((path_ms - 40.0).abs() < 2.0, "{path_ms} ms instead of 40 ms, with a tolerance for the smoothing");
        assert_near(optimum.utilization[0], 1.1 * (1.0 - away));
    }
}
