//! Shares a whole number of parts among claims, by largest remainder and with minimum shares.

/// Sum of the weights of a service while at least one cluster is eligible.
pub const TOTAL_WEIGHT: u32 = 1000;

/// Claim of one candidate, given which candidates are eligible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) nominal: u32,
    pub(crate) floor: u32,
}

/// Share of one claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) weight: u32,
    /// True if the weight is the floor, because the claim alone would give less.
    pub(crate) raised: bool,
}

/// Shares `total` in proportion to the nominal weights, in whole parts, with no claim below its floor. Parts that are
/// left go to the largest remainders, and of equal ones to the first. The floors must not add up to more than `total`.
///
/// Raising one claim to its floor leaves less for the others, which can bring another one below its floor. So this
/// repeats until no claim is raised any more, at most once per claim.
pub(crate) fn apportion(claims: &[Claim], total: u32) -> Vec<Part> {
    let mut raised = vec![false; claims.len()];
    let (left, sum) = loop {
        let floors: u32 = claims.iter().zip(&raised).filter(|(_, raised)| **raised).map(|(claim, _)| claim.floor).sum();
        let left = u64::from(total.saturating_sub(floors));
        let free = claims.iter().zip(&raised).filter(|(_, raised)| !**raised);
        let sum: u64 = free.map(|(claim, _)| u64::from(claim.nominal)).sum();
        let below = |claim: &Claim| u64::from(claim.nominal) * left < u64::from(claim.floor) * sum.max(1);
        let more: Vec<usize> = (0..claims.len()).filter(|&i| !raised[i] && below(&claims[i])).collect();
        if more.is_empty() {
            break (left, sum);
        }
        more.into_iter().for_each(|i| raised[i] = true);
    };

    let mut parts: Vec<Part> = Vec::with_capacity(claims.len());
    let mut remainders: Vec<(u64, usize)> = Vec::new();
    for (i, (claim, &raised)) in claims.iter().zip(&raised).enumerate() {
        let quota = u64::from(claim.nominal) * left;
        let weight = if raised || sum == 0 { u64::from(claim.floor) } else { quota / sum };
        if !raised && sum > 0 {
            remainders.push((quota % sum, i));
        }
        parts.push(Part { weight: u32::try_from(weight).unwrap_or(total), raised });
    }
    let given: u32 = parts.iter().map(|part| part.weight).sum();
    remainders.sort_by_key(|&(remainder, i)| (std::cmp::Reverse(remainder), i));
    let missing = if sum > 0 { total.saturating_sub(given) } else { 0 };
    for (_, i) in remainders.into_iter().take(missing as usize) {
        parts[i].weight += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(claims: &[(u32, u32)]) -> Vec<u32> {
        let claims: Vec<Claim> = claims.iter().map(|&(nominal, floor)| Claim { nominal, floor }).collect();
        apportion(&claims, TOTAL_WEIGHT).into_iter().map(|part| part.weight).collect()
    }

    #[test]
    fn the_largest_remainder_gets_the_part_that_is_left_and_ties_go_to_the_first() {
        assert_eq!(weights(&[(500_000, 0), (333_333, 0), (166_667, 0)]), [500, 333, 167]);
        assert_eq!(weights(&[(1, 0), (1, 0), (1, 0)]), [334, 333, 333]);
        assert_eq!(weights(&[(1, 0), (0, 0)]), [1000, 0]);
        assert!(weights(&[]).is_empty());
        assert_eq!(weights(&[(0, 0), (0, 0)]), [0, 0]);
    }

    #[test]
    fn claim_below_its_floor_is_raised_to_it_at_the_expense_of_the_others() {
        assert_eq!(weights(&[(900, 0), (50, 100), (50, 0)]), [853, 100, 47], "in proportion");
        assert_eq!(weights(&[(900, 0), (100, 100)]), [900, 100], "just enough");
        assert_eq!(weights(&[(1, 0), (0, 1000)]), [0, 1000]);
        assert_eq!(weights(&[(98, 600), (1, 200), (1, 200)]), [600, 200, 200], "the floors are everything");
        assert_eq!(weights(&[(900, 850), (60, 0), (40, 150)]), [850, 0, 150], "raising one brings another below");
    }
}
