//! Names of receivers and rosters in a file of routes and in rosters: what each stands for, or the nearest that there is.

use super::Target;
use crate::receiver::Receiver;
use model::problem::nearest;
use model::toml_file::{Located, Section};

/// What names stand for.
pub(super) struct Names<'a> {
    pub receivers: &'a [Receiver],
    pub rosters: Vec<String>,
    pub zone_offset_s: i32,
}

impl Names<'_> {
    /// The number of a receiver, or what to do.
    pub fn receiver(&self, name: &str) -> (Option<usize>, String) {
        let number = self.receivers.iter().position(|r| r.name == name);
        (number, near(name, self.receivers.iter().map(|r| r.name.as_str())))
    }

    /// A receiver or a roster; told where there is neither.
    fn target(&self, s: &Section<'_>, name: &Located<&str>) -> Option<Target> {
        let receiver = self.receivers.iter().position(|r| r.name == name.value).map(Target::Receiver);
        let roster = || self.rosters.iter().position(|r| r == name.value).map(Target::Roster);
        let target = receiver.or_else(roster);
        if target.is_none() {
            let receivers = self.receivers.iter().map(|r| r.name.as_str());
            let help = near(name.value, receivers.chain(self.rosters.iter().map(String::as_str)));
            s.file().error_at(name.at, format!("there is no receiver or roster `{}`", name.value), help);
        }
        target
    }

    /// Whom `to` names. `None` where it is not there or nothing can be done with it.
    pub fn targets(&self, s: &Section<'_>) -> Option<Vec<Target>> {
        let to = s.strs("to")?;
        if to.is_empty() {
            let at = s.at_value("to").unwrap_or_else(|| s.at());
            s.file().error_at(at, "`to` names nobody", "name a receiver or a roster");
        }
        Some(to.iter().filter_map(|name| self.target(s, name)).collect())
    }
}

fn near<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are: {}", known.collect::<Vec<_>>().join(", ")),
    }
}
