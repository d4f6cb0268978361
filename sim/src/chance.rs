//! Owns randomness: one stream per purpose, each from the seed, so that all policies meet the same arrivals,
//! the same demands and the same antagonists.

use evenkeel_balance::hashing::mix;

/// A stream of random numbers (SplitMix64, Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The stream of `purpose` under `seed`.
    #[must_use]
    pub const fn new(seed: u64, purpose: u64) -> Self {
        Self(mix(seed, purpose))
    }

    /// 64 random bits.
    pub const fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0, 0)
    }

    /// Above 0 and below 1.
    #[expect(
        clippy::cast_precision_loss,
        reason = "53 bits are all that an f64 holds"
    )]
    pub fn unit(&mut self) -> f64 {
        ((self.word() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// True for this share of the calls. Draws nothing where that is none.
    pub fn meets(&mut self, share: f64) -> bool {
        share > 0.0 && self.unit() < share
    }

    /// Exponential with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }

    /// Standard normal (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (2.0 * std::f64::consts::PI * self.unit()).cos()
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(evenkeel_balance::hashing::scale(self.word(), bound as u64)).unwrap_or(0)
    }
}
