//! What one more request costs at an exporter, by how loaded it is.
//!
//! The pooled Kingman wait W = k·ρ/(1−ρ) makes y·W the cost of all, and its derivative the *marginal* cost: what a request
//! costs everybody, itself included. Charging it leads to what is best for the system; charging W alone would lead each
//! source to what is best for itself. Above the target utilisation u the curve goes on as a straight ramp, so that an
//! overload, or stale data, never meets a pole.

/// k in ms, whatever the capacity says: an exporter of a hundred pods is not free, one of a hundredth of a pod no wall.
const K_MS: (f64, f64) = (0.001, 50.0);

/// The ramp rises by at least this much, in ms, between the target utilisation and 1.
const LEAST_RAMP_MS: f64 = 1e4;

/// The shape of all curves of one problem.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Where the ramp begins: 0.9.
    pub target_utilisation: f64,
    /// κ = (c_a² + c_s²)/2, 1 for Poisson arrivals and exponential service times.
    pub burstiness: f64,
}

/// The marginal congestion cost of one exporter, strictly increasing and continuous:
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

/// The curves of exporters that compete. `range_ms` is the largest difference of cost between two exporters that one
/// source sees, `detours` over how many sources a request can push others aside until one finds room: 1 when every source
/// reaches every exporter.
///
/// P = max(10⁴, 4·detours·(R + max m(u))) is what keeps every utilisation below u + (1−u)/4 while the demand fits:
/// to overload one exporter while another has room must cost more than any detour.
pub fn curves(capacities_rps: &[f64], shape: Shape, range_ms: f64, detours: f64) -> Vec<Curve> {
    let mut curves: Vec<Curve> = capacities_rps.iter().map(|&capacity| Curve::new(capacity, shape)).collect();
    let knee = curves.iter().map(|curve| curve.knee_ms).fold(0.0, f64::max);
    let ramp = (4.0 * detours.max(1.0) * (range_ms + knee)).max(LEAST_RAMP_MS);
    curves.iter_mut().for_each(|curve| curve.ramp_ms = ramp);
    curves
}

impl Curve {
    fn new(capacity_rps: f64, shape: Shape) -> Self {
        let k_ms = (1000.0 * shape.burstiness / capacity_rps).clamp(K_MS.0, K_MS.1);
        let target = shape.target_utilisation;
        Self { capacity_rps, k_ms, target, knee_ms: k_ms * wait(target), ramp_ms: LEAST_RAMP_MS }
    }

    pub fn capacity_rps(&self) -> f64 {
        self.capacity_rps
    }

    /// P
    pub fn ramp_ms(&self) -> f64 {
        self.ramp_ms
    }

    /// W = k·ρ/(1−ρ): what a request waits on average. In an overload as long as at 99 %: then a queue has no average.
    pub fn wait_ms(&self, load_rps: f64) -> f64 {
        const FULL: f64 = 0.99;
        let utilisation = (load_rps / self.capacity_rps).clamp(0.0, FULL);
        self.k_ms * utilisation / (1.0 - utilisation)
    }

    /// How much the marginal cost can rise with the load at most.
    pub fn steepest_ms_per_rps(&self) -> f64 {
        let before_the_knee = 2.0 * self.k_ms / (1.0 - self.target).powi(3);
        before_the_knee.max(self.ramp_ms / (1.0 - self.target)) / self.capacity_rps
    }

    /// m(load/C), in ms.
    pub fn marginal_ms(&self, load_rps: f64) -> f64 {
        let utilisation = load_rps / self.capacity_rps;
        if utilisation < 0.0 {
            2.0 * self.k_ms * utilisation
        } else if utilisation <= self.target {
            self.k_ms * wait(utilisation)
        } else {
            self.knee_ms + self.ramp_ms * (utilisation - self.target) / (1.0 - self.target)
        }
    }

    /// The load at which the marginal cost is `price_ms`: the inverse of [`marginal_ms`](Self::marginal_ms).
    pub fn load_rps(&self, price_ms: f64) -> f64 {
        let x = price_ms / self.k_ms;
        let utilisation = if price_ms < 0.0 {
            x / 2.0
        } else if price_ms <= self.knee_ms {
            // 1 − 1/√(1+x), without the cancellation that it suffers for a small x.
            let root = (1.0 + x).sqrt();
            x / (root * (1.0 + root))
        } else {
            self.target + (1.0 - self.target) * (price_ms - self.knee_ms) / self.ramp_ms
        };
        self.capacity_rps * utilisation
    }

    /// By how much the load grows per ms of price: the derivative of [`load_rps`](Self::load_rps), positive.
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

/// 1/(1−ρ)² − 1
fn wait(utilisation: f64) -> f64 {
    let idle = 1.0 - utilisation;
    utilisation * (1.0 + idle) / (idle * idle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { target_utilisation: 0.9, burstiness: 1.0 };

    fn curve(capacity: f64) -> Curve {
        curves(&[capacity], SHAPE, 0.0, 1.0)[0]
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * (1.0 + b.abs())
    }

    #[test]
    fn a_hundred_requests_a_second_cost_what_the_paper_says() {
        let curve = curve(100.0);
        for (load, price) in [(-50.0, -10.0), (0.0, 0.0), (50.0, 30.0), (75.0, 150.0), (90.0, 990.0), (95.0, 5990.0)] {
            assert!(near(curve.marginal_ms(load), price), "{load}: {}", curve.marginal_ms(load));
            assert!(near(curve.load_rps(price), load), "{price}: {}", curve.load_rps(price));
        }
    }

    #[test]
    fn a_wait_is_kingmans_and_ends() {
        let curve = curve(100.0);
        for (load, wait) in [(-1.0, 0.0), (0.0, 0.0), (50.0, 10.0), (90.0, 90.0), (1e9, 990.0)] {
            assert!(near(curve.wait_ms(load), wait), "{load}: {}", curve.wait_ms(load));
        }
    }

    #[test]
    fn price_and_load_are_each_others_inverse_and_the_slope_is_the_derivative() {
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
