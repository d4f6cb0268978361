//! placeholder
#[derive(Clone, Debug, Default)]
pub struct BudgetSettings;
#[derive(Default)]
pub struct Budget;
impl Budget {
    pub fn refill(&self, _n: u64, _e: std::time::Duration, _s: &BudgetSettings) {}
    pub fn refused(&self) -> u64 {
        0
    }
    pub fn balance(&self) -> u64 {
        0
    }
}
