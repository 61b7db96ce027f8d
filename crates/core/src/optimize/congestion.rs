//! Marginal congestion cost of an exporter by its utilization.
//!
//! With the pooled Kingman wait W = k·ρ/(1−ρ), the cost of all requests is y·W. Its derivative is the *marginal* cost:
//! what one more request costs all requests, itself included. Charging it leads to the optimum of the system; charging
//! W alone would lead each source to its own optimum. Above the target utilization u the curve continues as a straight
//! ramp, so an overload, or stale data, never meets a pole.

/// Range of k in ms: an exporter with a hundred pods is not free, and one with a hundredth of a pod is no wall.
const K_MS: (f64, f64) = (0.001, 50.0);

/// Minimum rise of the ramp between the target utilization and 1, in ms.
const MIN_RAMP_MS: f64 = 1e4;

/// Shape of all curves of one problem.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Utilization at which the ramp begins; 0.9 by default.
    pub target_utilization: f64,
    /// κ = (c_a² + c_s²)/2, 1 for Poisson arrivals and exponential service times.
    pub burstiness: f64,
}

/// Marginal congestion cost of one exporter, strictly increasing and continuous:
///
/// ```text
/// m(ρ) = 2kρ                          ρ < 0   a residual below 0 is a subsidy
/// m(ρ) = k·(1/(1−ρ)² − 1)         0 ≤ ρ ≤ u
/// m(ρ) = m(u) + P·(ρ−u)/(1−u)         ρ > u
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curve {
    capacity_rps: f64,
    k_ms: f64,
    target: f64,
    /// m(u)
    knee_ms: f64,
    /// P
    ramp_ms: f64,
}

/// Returns the curves of exporters that compete. `range_ms` is the largest difference of cost between two exporters of
/// one source. `detours` is the number of sources over which a request can displace others until one finds free
/// capacity: 1 if every source reaches every exporter.
///
/// P = max(10⁴, 4·detours·(R + max m(u))) keeps every utilization below u + (1−u)/4 while the demand fits: overloading
/// one exporter while another has free capacity must cost more than any detour.
pub fn curves(capacities_rps: &[f64], shape: Shape, range_ms: f64, detours: f64) -> Vec<Curve> {
    let mut curves: Vec<Curve> = capacities_rps.iter().map(|&capacity| Curve::new(capacity, shape)).collect();
    let knee = curves.iter().map(|curve| curve.knee_ms).fold(0.0, f64::max);
    let ramp = (4.0 * detours.max(1.0) * (range_ms + knee)).max(MIN_RAMP_MS);
    curves.iter_mut().for_each(|curve| curve.ramp_ms = ramp);
    curves
}

impl Curve {
    fn new(capacity_rps: f64, shape: Shape) -> Self {
        let k_ms = (1000.0 * shape.burstiness / capacity_rps).clamp(K_MS.0, K_MS.1);
        let target = shape.target_utilization;
        Self { capacity_rps, k_ms, target, knee_ms: k_ms * wait(target), ramp_ms: MIN_RAMP_MS }
    }

    /// Returns the capacity.
    pub fn capacity_rps(&self) -> f64 {
        self.capacity_rps
    }

    /// Returns P, the rise of the ramp.
    pub fn ramp_ms(&self) -> f64 {
        self.ramp_ms
    }

    /// Returns the average wait of a request, W = k·ρ/(1−ρ). A queue in overload has no average: the wait at 99 %
    /// counts.
    pub fn wait_ms(&self, load_rps: f64) -> f64 {
        const FULL: f64 = 0.99;
        let utilization = (load_rps / self.capacity_rps).clamp(0.0, FULL);
        self.k_ms * utilization / (1.0 - utilization)
    }

    /// Returns the steepest rise of the marginal cost with the load.
    pub fn steepest_ms_per_rps(&self) -> f64 {
        let before_the_knee = 2.0 * self.k_ms / (1.0 - self.target).powi(3);
        before_the_knee.max(self.ramp_ms / (1.0 - self.target)) / self.capacity_rps
    }

    /// Returns m(load/C), in ms.
    pub fn marginal_ms(&self, load_rps: f64) -> f64 {
        let utilization = load_rps / self.capacity_rps;
        if utilization < 0.0 {
            2.0 * self.k_ms * utilization
        } else if utilization <= self.target {
            self.k_ms * wait(utilization)
        } else {
            self.knee_ms + self.ramp_ms * (utilization - self.target) / (1.0 - self.target)
        }
    }

    /// Returns the load at which the marginal cost is `price_ms`: the inverse of [`marginal_ms`](Self::marginal_ms).
    pub fn load_rps(&self, price_ms: f64) -> f64 {
        let x = price_ms / self.k_ms;
        let utilization = if price_ms < 0.0 {
            x / 2.0
        } else if price_ms <= self.knee_ms {
            // 1 − 1/√(1+x), without cancellation for a small x.
            let root = (1.0 + x).sqrt();
            x / (root * (1.0 + root))
        } else {
            self.target + (1.0 - self.target) * (price_ms - self.knee_ms) / self.ramp_ms
        };
        self.capacity_rps * utilization
    }

    /// Returns the growth of the load per ms of price: the derivative of [`load_rps`](Self::load_rps), positive.
    pub fn load_slope(&self, price_ms: f64) -> f64 {
        let slope = if price_ms <= self.knee_ms {
            let growth = 1.0 + price_ms.max(0.0) / self.k_ms;
            0.5 / (self.k_ms * growth * growth.sqrt())
        } else {
            (1.0 - self.target) / self.ramp_ms
        };
        self.capacity_rps * slope
    }
}

/// Returns 1/(1−ρ)² − 1.
fn wait(utilization: f64) -> f64 {
    let idle = 1.0 - utilization;
    utilization * (1.0 + idle) / (idle * idle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { target_utilization: 0.9, burstiness: 1.0 };

    fn curve(capacity: f64) -> Curve {
        curves(&[capacity], SHAPE, 0.0, 1.0)[0]
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * (1.0 + b.abs())
    }

    #[test]
    fn marginal_costs_at_a_hundred_requests_per_second_are_those_of_the_paper() {
        let curve = curve(100.0);
        for (load, price) in [(-50.0, -10.0), (0.0, 0.0), (50.0, 30.0), (75.0, 150.0), (90.0, 990.0), (95.0, 5990.0)] {
            assert!(near(curve.marginal_ms(load), price), "{load}: {}", curve.marginal_ms(load));
            assert!(near(curve.load_rps(price), load), "{price}: {}", curve.load_rps(price));
        }
    }

    #[test]
    fn wait_is_that_of_kingman_and_bounded() {
        let curve = curve(100.0);
        for (load, wait) in [(-1.0, 0.0), (0.0, 0.0), (50.0, 10.0), (90.0, 90.0), (1e9, 990.0)] {
            assert!(near(curve.wait_ms(load), wait), "{load}: {}", curve.wait_ms(load));
        }
    }

    #[test]
    fn price_and_load_are_inverse_and_the_slope_is_the_derivative() {
        for curve in [0.01, 1.0, 100.0, 1e6].map(curve) {
            for step in -300..1500 {
                let load = curve.capacity_rps() * f64::from(step) / 1000.0;
                let price = curve.marginal_ms(load);
                assert!(
                    near(curve.load_rps(price) / curve.capacity_rps(), f64::from(step) / 1000.0),
                    "{curve:?} {step}"
                );
                let h = 1e-5 * (1.0 + price.abs());
                let difference = (curve.load_rps(price + h) - curve.load_rps(price - h)) / (2.0 * h);
                let slope = curve.load_slope(price);
                let at_a_kink = (price - curve.knee_ms).abs() <= 2.0 * h;
                assert!(at_a_kink || (slope / difference - 1.0).abs() < 1e-2, "{curve:?} {step}: {slope} {difference}");
            }
        }
    }

    #[test]
    fn the_marginal_cost_never_falls_and_is_finite_far_above_the_capacity() {
        let curve = curve(7.0);
        let prices: Vec<f64> = (-2000..20_000).map(|step| curve.marginal_ms(f64::from(step) / 100.0)).collect();
        assert!(prices.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(curve.marginal_ms(1e12).is_finite());
    }

    #[test]
    fn the_ramp_outweighs_every_detour() {
        assert!(near(curves(&[100.0, 100.0], SHAPE, 1e5, 1.0)[0].ramp_ms, 4.0 * (1e5 + 990.0)));
        assert!(near(curves(&[100.0, 100.0], SHAPE, 1e5, 3.0)[1].ramp_ms, 12.0 * (1e5 + 990.0)));
        assert!(near(curves(&[100.0, 100.0], SHAPE, 0.0, 0.0)[0].ramp_ms, 1e4));
    }
}
