//! Owns what is known over a restart: alerts, silences, what is watched of each service, and what its controller learned, as bytes in sections.
//!
//! A file begins with its kind and version; a section has a number, a length and its bytes, which have a version and a sum of their own. One
//! of a number that is not known is passed over, so that a binary before this one reads what a later one wrote; one that is not understood
//! is left out and counted, and nothing of it is taken.

use std::sync::Arc;

use evenkeel_watch::alert::Alerts;
use evenkeel_watch::service::ServiceWatch;

use crate::adjust::Adjuster;

use super::{Member, Monitor, State, Watched};

/// The most bytes of a file: 2,048 series of 16 KiB, and alerts and silences with the longest names beside them.
pub const KEPT_MOST: usize = 40 << 20;

const KIND: [u8; 8] = *b"ekwatch\x01";

/// Sections by number.
const ALERTS: u8 = 1;
const SERVICE: u8 = 2;
const CONTROLLER: u8 = 3;

/// What came of reading a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Services that are known.
    pub services: usize,
    /// Alerts that are, raised and cleared.
    pub alerts: usize,
    /// Controllers of weights that follow.
    pub controllers: usize,
    /// Sections that are not understood.
    pub refused: usize,
    /// Sections of numbers that are not known.
    pub strange: usize,
}

/// What is to be kept, as it was at one moment: what is wrong with a service, and the alerts that were made of it, belong together.
pub struct Memory {
    alerts: Alerts,
    services: Vec<(Arc<str>, ServiceWatch)>,
    controllers: Vec<(Arc<str>, Vec<u8>)>,
}

impl Memory {
    /// As a file has it. Cost: some microseconds for each service and backend; who writes it down does that on a thread of its own.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = KIND.to_vec();
        section(&mut bytes, ALERTS, &[&self.alerts.to_bytes()]);
        for (name, controller) in &self.controllers {
            named(&mut bytes, CONTROLLER, name, controller);
        }
        for (name, watch) in &self.services {
            named(&mut bytes, SERVICE, name, &watch.to_bytes());
        }
        bytes
    }
}

impl Monitor {
    /// What is known now, here and to those who adjust. Cost: a copy, for which looks wait.
    #[must_use]
    pub fn memory(&self, adjuster: &Adjuster) -> Memory {
        let controllers = adjuster.bytes();
        let state = self.state();
        let services = state.services.iter();
        Memory {
            alerts: state.alerts.clone(),
            services: services
                .map(|(name, one)| (name.clone(), one.watch.clone()))
                .collect(),
            controllers,
        }
    }

    /// Takes over what was known to a process before, in the place of what is known here: before the first look.
    ///
    /// # Errors
    /// It is no file of this kind and version, or ends within a section; then nothing is taken.
    pub fn remember(&self, adjuster: &Adjuster, bytes: &[u8]) -> Result<Remembered, &'static str> {
        let sections = sections(bytes)?;
        let mut came = Remembered::default();
        let mut state = State::default();
        for (number, bytes) in sections {
            let taken = match number {
                ALERTS => Alerts::from_bytes(bytes)
                    .map(|alerts| state.alerts = alerts)
                    .is_ok(),
                SERVICE => service(&mut state, bytes).is_some(),
                CONTROLLER => {
                    let learned = controller(adjuster, bytes).is_some();
                    came.controllers += usize::from(learned);
                    learned
                }
                _ => {
                    came.strange += 1;
                    continue;
                }
            };
            came.refused += usize::from(!taken);
        }
        came.services = state.services.len();
        came.alerts = state.alerts.all().len();
        // What is raised of a service that is not known can be cleared by nobody else.
        state.remembered = true;
        *self.state() = state;
        Ok(came)
    }
}

fn service(state: &mut State, bytes: &[u8]) -> Option<()> {
    let (name, bytes) = name_of(bytes)?;
    let watch = ServiceWatch::from_bytes(bytes).ok()?;
    let backends = watch.backends();
    // Counters of this process begin anew.
    let backends = backends.map(|(id, _)| (id.to_owned(), Member::default()));
    let watched = Watched {
        backends: backends.collect(),
        watch,
        ..Watched::default()
    };
    if state.watched() + 1 + watched.backends.len() > super::MOST_WATCHED {
        return None;
    }
    state.services.insert(name.into(), watched);
    Some(())
}

fn controller(adjuster: &Adjuster, bytes: &[u8]) -> Option<()> {
    let (name, bytes) = name_of(bytes)?;
    adjuster.take_over(name, bytes).ok()
}

/// Whose a section is, and what is behind that.
fn name_of(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (name, bytes) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((std::str::from_utf8(name).ok()?, bytes))
}

fn named(bytes: &mut Vec<u8>, number: u8, name: &str, of_it: &[u8]) {
    // No name is longer: a plan has none.
    if let Ok(length) = u16::try_from(name.len()) {
        let parts = [&length.to_le_bytes(), name.as_bytes(), of_it];
        section(bytes, number, &parts);
    }
}

fn section(bytes: &mut Vec<u8>, number: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let Ok(written) = u32::try_from(length) else {
        return;
    };
    if bytes.len() + 5 + length > KEPT_MOST {
        return;
    }
    bytes.push(number);
    bytes.extend(written.to_le_bytes());
    parts.iter().for_each(|part| bytes.extend(*part));
}

fn sections(bytes: &[u8]) -> Result<Vec<(u8, &[u8])>, &'static str> {
    let mut rest = bytes
        .strip_prefix(&KIND)
        .ok_or("it is not of this kind and version")?;
    let mut all = Vec::new();
    let short = "it ends within a section";
    while let Some((number, behind)) = rest.split_first() {
        let (length, behind) = behind.split_first_chunk().ok_or(short)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| short)?;
        let (section, behind) = behind.split_at_checked(length).ok_or(short)?;
        all.push((*number, section));
        rest = behind;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evenkeel_watch::alert::Silence;
    use evenkeel_watch::time::Moment;

    use super::*;
    use crate::command::Quiet;

    fn known() -> Vec<u8> {
        let monitor = Monitor::default();
        let quiet = Quiet {
            service: Some("api".into()),
            backend: None,
            kind: None,
            within: Duration::from_secs(600),
            why: "planned work".into(),
        };
        assert_eq!(monitor.silence(&quiet, "ops"), Ok(1));
        let mut state = monitor.state();
        for name in ["a", "b"] {
            state.services.insert(name.into(), Watched::default());
        }
        drop(state);
        monitor.memory(&Adjuster::default()).to_bytes()
    }

    fn silences(monitor: &Monitor) -> Vec<(u64, Silence)> {
        monitor.state().alerts.silences().to_vec()
    }

    #[test]
    fn what_is_known_comes_back_and_numbers_go_on() {
        let monitor = Monitor::default();
        let came = monitor.remember(&Adjuster::default(), &known()).unwrap();
        let expect = Remembered {
            services: 2,
            ..Remembered::default()
        };
        assert_eq!(came, expect);
        let all = silences(&monitor);
        assert_eq!(
            (all.len(), all[0].0, &*all[0].1.why),
            (1, 1, "planned work")
        );
        assert!(all[0].1.until > Moment::from_millis(0));
        let quiet = Quiet {
            service: None,
            backend: None,
            kind: None,
            within: Duration::from_secs(1),
            why: String::new(),
        };
        assert_eq!(monitor.silence(&quiet, "ops"), Ok(2));
        assert_eq!(monitor.memory(&Adjuster::default()).services.len(), 2);
    }

    /// Whatever stands there, nothing breaks, and what is not understood is not taken.
    #[test]
    fn what_others_wrote_is_refused_or_passed_over() {
        let whole = known();
        let monitor = Monitor::default();
        for bytes in [&b""[..], b"ekwatch\x02", &whole[1..]] {
            assert_eq!(
                monitor.remember(&Adjuster::default(), bytes),
                Err("it is not of this kind and version")
            );
        }
        for end in KIND.len() + 1..whole.len() {
            // At the end of a section it is a shorter file.
            if let Err(why) = monitor.remember(&Adjuster::default(), &whole[..end]) {
                assert_eq!(why, "it ends within a section");
            }
        }
        for at in KIND.len()..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            let came = monitor.remember(&Adjuster::default(), &changed);
            // A name has no sum: another service is known then.
            let taken = came.is_ok_and(|came| came.refused + came.strange == 0);
            assert!(!taken || changed[at].is_ascii(), "{at}");
        }
        // Of a number that a later binary gives.
        let mut later = whole;
        section(&mut later, 4, &[b"more"]);
        let came = monitor.remember(&Adjuster::default(), &later).unwrap();
        assert_eq!((came.services, came.refused, came.strange), (2, 0, 1));
        // A controller that is none.
        named(&mut later, CONTROLLER, "a", b"learned");
        let came = monitor.remember(&Adjuster::default(), &later).unwrap();
        assert_eq!((came.services, came.refused, came.controllers), (2, 1, 0));
        assert_eq!(silences(&monitor).len(), 1);
        // More than are watched.
        let mut many = KIND.to_vec();
        let bytes = ServiceWatch::default().to_bytes();
        for number in 0..=u16::try_from(super::super::MOST_WATCHED).unwrap() {
            let name = number.to_le_bytes().map(|byte| byte & 0x7f);
            let name = [name[0], name[1], u8::from(number & 0x80 != 0)];
            section(&mut many, SERVICE, &[&3_u16.to_le_bytes(), &name, &bytes]);
        }
        let came = monitor.remember(&Adjuster::default(), &many).unwrap();
        assert_eq!(
            (came.services, came.refused),
            (super::super::MOST_WATCHED, 1)
        );
    }
}
