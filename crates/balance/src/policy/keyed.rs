//! Owns how a key may find its backend, and how much more than its part that one may have.

/// How a key finds its backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashMethod {
    /// A table of turns: one look-up, near-minimal movement on a change of membership.
    #[default]
    Maglev,
    /// 160 points on a ring for each unit of weight: minimal movement, shares off by 8 %.
    Ring,
    /// Highest random weight: cost grows with the members, movement is minimal.
    Rendezvous,
}

impl HashMethod {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Maglev, Self::Ring, Self::Rendezvous];

    pub(crate) const fn word(self, bounded: bool) -> &'static str {
        match (self, bounded) {
            (Self::Maglev, false) => "maglev",
            (Self::Ring, false) => "ring",
            (Self::Rendezvous, false) => "rendezvous",
            (Self::Maglev, true) => "maglev_bounded",
            (Self::Ring, true) => "ring_bounded",
            (Self::Rendezvous, true) => "rendezvous_bounded",
        }
    }
}

/// How many times its part of all attempts in flight a backend may have, where keys choose: 1.05 to 100, to a thousandth.
///
/// Mirrokni, Thorup, Zadimoghaddam 2016 (<https://arxiv.org/abs/1608.01350>): the nearer to 1, the more even the load and the more keys
/// are served away from home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadBound(u32);

impl LoadBound {
    /// A quarter more than its part: what Vimeo runs, and HAProxy's documentation proposes as the least.
    pub const DEFAULT: Self = Self(1_250);

    /// A bound of so many times its part; none below 1.05 and above 100.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "1,050 to 100,000"
    )]
    pub fn new(factor: f64) -> Option<Self> {
        let thousandths = (factor * 1_000.0).round();
        (1_050.0..=100_000.0)
            .contains(&thousandths)
            .then_some(Self(thousandths as u32))
    }

    /// How many times its part.
    #[must_use]
    pub fn factor(self) -> f64 {
        f64::from(self.0) / 1_000.0
    }
}
