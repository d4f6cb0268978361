//! placeholder
pub mod budget;
#[derive(Clone, Debug, Default)]
pub struct RetrySettings {
    pub budget: budget::BudgetSettings,
}
pub struct Attempt;
pub enum Decision {
    No,
}
pub fn decide(_a: &Attempt, _s: &RetrySettings, _b: &budget::Budget, _c: u64) -> Decision {
    Decision::No
}
