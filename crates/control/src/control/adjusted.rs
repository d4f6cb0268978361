//! Owns what follows from weights that follow what backends do: lines, events, and another policy where one is tried.

use std::sync::Arc;

use evenkeel_config::edits::Place;

use super::Control;
use crate::adjust::{News, PolicyName, Turn, told, untried};
use crate::command::Change;
use crate::events::What;

/// Who asks for a policy that is tried, as revisions have it.
const BY: &str = "adjust";

impl Control {
    /// Logs and writes down what became of weights, and does what is to be done of policies.
    pub(super) fn tell_adjusted(&mut self, news: Vec<News>) {
        for one in news {
            if let News::Trial(service, turn) = &one
                && let Err(why) = self.turn_policy(service, turn)
            {
                untried(service, &why);
                continue;
            }
            told(&one);
            self.note(What::Weight(Box::new(one)));
        }
    }

    /// Whoever serves next begins with what an operator chose.
    pub(super) fn end_trials(&mut self) {
        let news = self.adjuster.end_trials();
        self.tell_adjusted(news);
    }

    /// A revision like any other. What an operator wrote beside the texts before comes back with the policy.
    fn turn_policy(&mut self, service: &Arc<str>, turn: &Turn) -> Result<(), String> {
        let written = |policy: &PolicyName| format!("\"{policy}\"");
        let text = match turn {
            Turn::Keep(..) => {
                self.tried.remove(service);
                return Ok(());
            }
            Turn::Try(policy, _) => {
                let place = Place::policy(service);
                let mut edits = self.overlay.wanted().0.edits.iter();
                let before = edits.find(|(at, _)| **at == place);
                let before = before.and_then(|(_, edit)| edit.text.clone());
                self.tried.insert(service.clone(), before);
                Some(written(policy))
            }
            Turn::Back(policy, _) => match self.tried.remove(service) {
                Some(before) => before.map(|text| text.to_string()),
                None => Some(written(policy)),
            },
        };
        let service = service.to_string();
        let change = Change::Policy { service, text };
        let done = self.edit(&change, &BY.into());
        done.map(drop).map_err(|why| why.to_string())
    }
}
