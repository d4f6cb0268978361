//! Owns what those peers are configured with that only race: Envoy, Caddy, Sozu and Pingora.
//!
//! Deadlines, checks and tries are those of the others as far as each can; what one cannot is said beside it in `chaos/peers/`.

use super::{Places, Wants, each, filled, per_try};

const ENVOY: &str = include_str!("../../peers/envoy.yaml");
const CADDY: &str = include_str!("../../peers/Caddyfile");
const SOZU: &str = include_str!("../../peers/sozu.toml");
const PINGORA: &str = include_str!("../../peers/pingora.env");

pub(super) fn envoy(wants: Wants, places: &Places<'_>) -> String {
    let choice = wants.choice;
    let balance = choice.map_or("lb_policy: LEAST_REQUEST", |choice| choice.policy);
    // Its defaults look at failures every ten seconds, and let a tenth be ejected.
    let watch = match choice.is_some_and(|choice| choice.plain) {
        true => "",
        false => {
            "outlier_detection: { interval: 1s, base_ejection_time: 10s, max_ejection_percent: 50 }"
        }
    };
    let on = match wants.retry_500 {
        true => "connect-failure,reset,5xx",
        false => "connect-failure,reset,gateway-error",
    };
    // Three attempts, the second and third elsewhere.
    let again = format!(
        ", retry_policy: {{ retry_on: \"{on}\", num_retries: 2, per_try_timeout: {}, \
         host_selection_retry_max_attempts: 5, retry_host_predicate: [ {{ name: envoy.retry_host_predicates.previous_hosts, \
         typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate }} }} ] }}",
        per_try(wants)
    );
    let servers = each(places, |at| {
        let (ip, port) = (at.ip(), at.port());
        format!(
            "        - endpoint: {{ address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }} }}\n"
        )
    });
    filled(
        ENVOY,
        wants,
        places,
        &[
            ("{servers}", &servers),
            ("{again}", if wants.once { "" } else { &again }),
            ("{balance}", balance),
            ("{watch}", watch),
        ],
    )
}

pub(super) fn caddy(wants: Wants, places: &Places<'_>) -> String {
    let again = match wants.once {
        true => "lb_retries 0",
        false => "lb_retries 2\n\t\tlb_try_duration 5s\n\t\tlb_try_interval 0",
    };
    // By itself it forgets failures at once.
    let watch = match plain(wants) {
        true => "",
        false => "fail_duration 10s\n\t\tmax_fails 1\n\t\tunhealthy_status 5xx",
    };
    let servers = each(places, |at| format!("{at} "));
    let more = [
        ("{servers}", servers.trim_end()),
        ("{again}", again),
        ("{balance}", policy(wants, "random")),
        ("{watch}", watch),
    ];
    filled(CADDY, wants, places, &more)
}

pub(super) fn sozu(wants: Wants, places: &Places<'_>) -> String {
    let servers = each(places, |at| format!("  {{ address = \"{at}\" }},\n"));
    let more = [
        ("{servers}", servers.as_str()),
        ("{balance}", policy(wants, "ROUND_ROBIN")),
    ];
    filled(SOZU, wants, places, &more)
}

/// Lines of a shell, which sets them before it becomes the program.
pub(super) fn pingora(wants: Wants, places: &Places<'_>) -> String {
    let servers = each(places, |at| format!("{at} "));
    let again = match wants.retry_500 {
        true => "502 503 504 500",
        false => "502 503 504",
    };
    let more = [
        ("{servers}", servers.trim_end()),
        ("{again}", again),
        ("{balance}", policy(wants, "round_robin")),
    ];
    filled(PINGORA, wants, places, &more)
}

fn plain(wants: Wants) -> bool {
    wants.choice.is_some_and(|choice| choice.plain)
}

fn policy(wants: Wants, usual: &'static str) -> &'static str {
    wants.choice.map_or(usual, |choice| choice.policy)
}

#[cfg(test)]
mod tests {
    use super::super::{Choice, Who, text};
    use super::*;
    use std::path::Path;

    /// What stands between braces as a mark does: small letters alone.
    fn marks(text: &str) -> Vec<&str> {
        let inner = text.split('{').skip(1);
        let inner = inner.filter_map(|rest| Some(rest.split_once('}')?.0));
        let is_mark = |word: &&str| {
            word.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !word.is_empty()
        };
        inner.filter(is_mark).collect()
    }

    #[test]
    fn every_mark_is_filled_in_and_tries_are_alike() {
        let backends = [([127, 0, 0, 9], 80).into(), ([127, 0, 0, 8], 81).into()];
        let places = Places {
            folder: Path::new("/folder"),
            listen: ([127, 0, 0, 1], 8080).into(),
            admin: ([127, 0, 0, 1], 9900).into(),
            names: ([127, 0, 0, 1], 53).into(),
            backends: &backends,
            revision: 0,
        };
        let choice = |plain| Choice {
            policy: "the-policy",
            plain,
            workers: 2,
        };
        assert_eq!(marks("a {folder} { b } {c_d}\n{\n}"), ["folder", "c_d"]);
        for who in [
            Who::Haproxy,
            Who::Nginx,
            Who::Envoy,
            Who::Caddy,
            Who::Sozu,
            Who::Pingora,
        ] {
            for (once, per_try, plain) in [(false, true, true), (true, false, false)] {
                let wants = Wants {
                    once,
                    per_try,
                    choice: Some(choice(plain)),
                    ..Wants::NONE
                };
                let text = text(who, wants, &places);
                assert_eq!(marks(&text), [""; 0], "{}", who.word());
                assert!(text.contains("the-policy"), "{}", who.word());
                assert!(
                    text.contains("127.0.0.8") && text.contains("81"),
                    "{}",
                    who.word()
                );
            }
        }
        let check = |who, once, wanted: &str| {
            let wants = Wants {
                once,
                ..Wants::NONE
            };
            let text = text(who, wants, &places);
            assert!(text.contains(wanted), "{}: {text}", who.word());
        };
        check(Who::Caddy, true, "lb_retries 0\n");
        check(Who::Caddy, false, "lb_retries 2\n");
        check(Who::Sozu, true, "max_connection_attempts = 1\n");
        check(Who::Sozu, false, "max_connection_attempts = 3\n");
        check(Who::Pingora, true, "TRIES=1\n");
        check(Who::Pingora, false, "PER_TRY_MS=10000\n");
    }
}
