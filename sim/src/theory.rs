//! Owns the closed formulas that the world must reproduce before anybody believes it.

/// Mean sojourn time in units of the mean service time, with M/M/1 servers, `choices` looked at, and so many servers
/// that they are independent: `sum over i >= 1 of load^((d^i - d) / (d - 1))` (Mitzenmacher 2001).
#[must_use]
pub fn mean_field(load: f64, choices: u32) -> f64 {
    if choices == 1 {
        return 1.0 / (1.0 - load);
    }
    let d = f64::from(choices);
    (1..64)
        .map(|i| load.powf((d.powi(i) - d) / (d - 1.0)))
        .take_while(|term| *term > 1e-15)
        .sum()
}

/// Probability of waiting in M/M/c at `load` per server (Erlang 1917), by the recursion of Erlang B.
#[must_use]
pub fn erlang_c(servers: u32, load: f64) -> f64 {
    let offered = f64::from(servers) * load;
    let blocked = (1..=servers).fold(1.0, |blocked, n| {
        offered * blocked / (f64::from(n) + offered * blocked)
    });
    blocked / (1.0 - load * (1.0 - blocked))
}

/// Mean sojourn time of M/M/c in units of the mean service time.
#[must_use]
pub fn erlang_sojourn(servers: u32, load: f64) -> f64 {
    1.0 + erlang_c(servers, load) / (f64::from(servers) * (1.0 - load))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formulas_give_the_published_table() {
        let rows = [
            (0.5, 2, 1.266),
            (0.7, 2, 1.614),
            (0.9, 2, 2.614),
            (0.95, 2, 3.383),
            (0.99, 2, 5.432),
            (0.9, 3, 2.028),
            (0.95, 5, 1.989),
            (0.9, 1, 10.0),
        ];
        for (load, choices, expected) in rows {
            assert!(
                (mean_field(load, choices) - expected).abs() < 0.001,
                "{load} {choices}"
            );
        }
    }

    #[test]
    fn erlang_c_of_one_server_is_its_load() {
        assert!((erlang_c(1, 0.7) - 0.7).abs() < 1e-12);
        // Erlang's own table: 10 servers offered 8 erlang.
        assert!((erlang_c(10, 0.8) - 0.409).abs() < 0.001);
    }
}
