//! Owns where a figure goes: Mann-Kendall says whether, Theil and Sen say how fast.
//!
//! Both look at signs and medians of pairs, so a spike or two decide nothing. At most 60 points are looked at: 1,770 pairs, some 20 us.
//! (Mann 1945, Kendall 1975, ties as in Gilbert 1987, 16.4; Sen 1968.) Points that hang together in time make it look surer than it is;
//! hence a change that nobody would mind is no trend, however sure.

use crate::metric::Metric;
use crate::number::{length, median};
use crate::series::{Point, Series};

/// The most points that are looked at, the newest.
pub const MOST_POINTS: usize = 60;
/// Below so many there is no trend: of seven in a row the chance is one in 2,520.
pub const FEWEST_POINTS: usize = 7;
/// By chance alone one in a hundred looks is so sure.
const SURE: f64 = 0.01;
/// Of the median, over all that is looked at.
const LEAST_CHANGE: f64 = 0.03;

/// Where a figure goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Up.
    Rising,
    /// Down.
    Falling,
    /// Neither that can be told.
    Steady,
}

/// Over which points is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Minutes of the last hour.
    Hour,
    /// Hours of the last day.
    Day,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Where it goes.
    pub direction: Direction,
    /// How fast: the figure's unit in an hour.
    pub slope: f64,
    /// How likely so much of a trend is where there is none, 0 to 1.
    pub significance: f64,
    /// The figure in the middle.
    pub median: f64,
    /// How many points were looked at.
    pub points: usize,
}

/// A figure's trend; none where there are fewer than [`FEWEST_POINTS`].
#[must_use]
pub fn trend(series: &Series, metric: Metric, over: Over) -> Option<Trend> {
    let of = |points: &mut dyn Iterator<Item = Point>, hours: f64| -> Vec<(f64, f64)> {
        points
            .filter_map(|point| {
                Some((
                    crate::number::float(point.number) * hours,
                    point.figure(metric)?,
                ))
            })
            .collect()
    };
    let points = match over {
        Over::Hour => of(&mut series.minutes(), 1.0 / 60.0),
        Over::Day => of(&mut series.hours(), 1.0),
    };
    of_points(&points)
}

/// The trend of points of hour and figure, in the order of time; of more than [`MOST_POINTS`] the last.
#[must_use]
pub fn of_points(points: &[(f64, f64)]) -> Option<Trend> {
    let points = &points[points.len().saturating_sub(MOST_POINTS)..];
    if points.len() < FEWEST_POINTS
        || points
            .iter()
            .any(|(at, figure)| !at.is_finite() || !figure.is_finite())
    {
        return None;
    }
    let mut figures: Vec<f64> = points.iter().map(|(_, figure)| *figure).collect();
    let significance = significance(&figures);
    let slope = slope(points)?;
    let median = median(&mut figures)?;
    let hours = points.last()?.0 - points.first()?.0;
    let matters = (slope * hours).abs() >= LEAST_CHANGE * median.abs();
    let direction = match slope {
        _ if significance > SURE || !matters => Direction::Steady,
        slope if slope > 0.0 => Direction::Rising,
        slope if slope < 0.0 => Direction::Falling,
        _ => Direction::Steady,
    };
    Some(Trend {
        direction,
        slope,
        significance,
        median,
        points: points.len(),
    })
}

/// Mann and Kendall's: how likely so many pairs go one way by chance, of both sides.
fn significance(figures: &[f64]) -> f64 {
    let mut score = 0.0;
    for (at, later) in figures.iter().enumerate() {
        for earlier in &figures[..at] {
            score += f64::from(i8::from(later > earlier) - i8::from(later < earlier));
        }
    }
    let of = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let ties: f64 = sorted
        .chunk_by(|left, right| left == right)
        .map(|tied| of(length(tied.len())))
        .sum();
    let variance = (of(length(figures.len())) - ties) / 18.0;
    if variance <= 0.0 {
        return 1.0;
    }
    // One less for continuity: the score goes in steps of two.
    let z = (score.abs() - 1.0).max(0.0) / variance.sqrt();
    2.0 * beyond(z)
}

/// Theil and Sen's: the median of the slopes of all pairs.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let mut slopes = Vec::with_capacity(points.len() * (points.len() - 1) / 2);
    for (at, later) in points.iter().enumerate() {
        let steps = points[..at].iter().filter(|earlier| later.0 > earlier.0);
        slopes.extend(steps.map(|earlier| (later.1 - earlier.1) / (later.0 - earlier.0)));
    }
    median(&mut slopes)
}

/// The share of a normal distribution beyond `z` of its deviations: Abramowitz and Stegun 26.2.17, 7.5e-8 off at most.
pub(crate) fn beyond(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let parts = [
        1.330_274_429,
        -1.821_255_978,
        1.781_477_937,
        -0.356_563_782,
        0.319_381_530,
    ];
    let sum = parts.iter().fold(0.0, |sum, part| (sum + part) * t);
    let tail = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum;
    if z < 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(figures: impl IntoIterator<Item = f64>) -> Vec<(f64, f64)> {
        figures
            .into_iter()
            .enumerate()
            .map(|(at, figure)| (length(at) / 60.0, figure))
            .collect()
    }

    #[test]
    fn known_scores() {
        // Ten in order: S = 45, variance 125, z = 44 / sqrt(125) = 3.935.
        let found = of_points(&points((0..10).map(f64::from))).unwrap();
        assert!((found.significance - 8.3e-5).abs() < 0.2e-5, "{found:?}");
        assert!((found.slope - 60.0).abs() < 1e-9, "{found:?}");
        // 1 2 2 3 3 3 4 5: S = 24, ties of two and three: variance (8*7*21 - 2*1*9 - 3*2*11) / 18 = 60.67, z = 23 / 7.789.
        let tied = significance(&[1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 4.0, 5.0]);
        assert!(
            (tied - 2.0 * beyond(23.0 / 60.666_67_f64.sqrt())).abs() < 1e-6,
            "{tied}"
        );
    }

    #[test]
    fn directions() {
        let check = |figures: Vec<f64>, expect: Direction| {
            let found = of_points(&points(figures.clone())).unwrap();
            assert_eq!(found.direction, expect, "{figures:?}: {found:?}");
        };
        let wave = |at: u32| f64::from(at % 3) * 0.01;
        check(
            (0..60)
                .map(|at| 1.0 + f64::from(at) * 0.01 + wave(at))
                .collect(),
            Direction::Rising,
        );
        check(
            (0..60)
                .map(|at| 2.0 - f64::from(at) * 0.01 + wave(at))
                .collect(),
            Direction::Falling,
        );
        check(vec![3.0; 60], Direction::Steady);
        check(
            (0..60).map(|at| 1.0 + wave(at)).collect(),
            Direction::Steady,
        );
        // Sure, but who would mind.
        check(
            (0..60).map(|at| 1.0 + f64::from(at) * 1e-5).collect(),
            Direction::Steady,
        );
        // One spike is no trend.
        check(
            (0..60)
                .map(|at| if at == 58 { 900.0 } else { 1.0 + wave(at) })
                .collect(),
            Direction::Steady,
        );
    }

    #[test]
    fn too_few_points_have_no_trend_and_of_many_the_last_count() {
        assert_eq!(of_points(&points((0..6).map(f64::from))), None);
        assert_eq!(of_points(&points([f64::NAN; 9])), None);
        let figures = (0..600).map(|at| if at < 540 { f64::from(600 - at) } else { 1.0 });
        let found = of_points(&points(figures)).unwrap();
        assert_eq!(
            (found.direction, found.points),
            (Direction::Steady, MOST_POINTS)
        );
    }

    /// Of noise, one look in a hundred says that it goes somewhere; half of them that it goes up.
    #[test]
    fn noise_is_seldom_a_trend() {
        for seed in 1..=3 {
            println!("seed {seed}");
            let mut chance = fastrand::Rng::with_seed(seed);
            let mut wrong = 0;
            for _ in 0..2000 {
                let found = of_points(&points((0..60).map(|_| 1.0 + chance.f64()))).unwrap();
                wrong += u32::from(found.direction != Direction::Steady);
            }
            assert!((2..=40).contains(&wrong), "{wrong} of 2000");
        }
    }

    /// Five per cent an hour, which nobody sees in a graph of a minute.
    #[test]
    fn a_drift_of_five_per_cent_an_hour_is_found() {
        for seed in 1..=5 {
            println!("seed {seed}");
            let mut chance = fastrand::Rng::with_seed(seed);
            let drift = (0..60)
                .map(|at| (1.0 + 0.05 * f64::from(at) / 60.0) * (0.99 + 0.02 * chance.f64()));
            let found = of_points(&points(drift)).unwrap();
            assert_eq!(found.direction, Direction::Rising, "{found:?}");
            assert!((0.03..0.07).contains(&found.slope), "{found:?}");
            assert!(found.significance < 1e-6, "{found:?}");
        }
    }
}
