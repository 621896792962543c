//! `status`: bits of the status word. `any = [..]`: one of them is set; `all = [..]`: all are. It ends at a good reading only.

use super::shared::{ANY, may_clear};
use super::{Binding, Bound, Machine, Read, Spec};
use crate::level::{Name, read_level};
use crate::reading::{Reading, Verdict};
use model::problem::nearest;
use model::status;
use model::toml_file::Section;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq)]
struct StatusSpec {
    any: i32,
    all: i32,
}

/// Reads `any`, `all` and one optional level.
pub fn read(s: &Section<'_>) -> Option<Read> {
    let (any, all) = (bits(s, "any"), bits(s, "all"));
    if any == 0 && all == 0 {
        s.error(
            "a rule of kind `status` needs `any` or `all`",
            "write for example `any = [\"sensor_fault\"]`",
        );
        return None;
    }
    let level = match s.tables("level").as_slice() {
        [] => read_level(s, Name::Is("status"), 0),
        [level] => {
            let def = read_level(level, Name::Default("status"), 0);
            level.finish_ref();
            def
        }
        _ => {
            s.error("a rule of kind `status` has one level", "write a rule for each");
            None
        }
    };
    Some((vec![level?], Arc::new(StatusSpec { any, all })))
}

fn bits(s: &Section<'_>, key: &'static str) -> i32 {
    let mut mask = 0;
    for word in s.strs(key).unwrap_or_default() {
        let names = status::names(i32::MAX);
        match names.iter().position(|n| *n == word.value) {
            Some(bit) => mask |= 1 << bit,
            None => {
                let help = nearest(word.value, names.iter().copied()).map(|n| format!("did you mean `{n}`?"));
                let help = help.unwrap_or_else(|| format!("bits are {}", names.join(", ")));
                s.file().error_at(word.at, format!("there is no status bit `{}`", word.value), help);
            }
        }
    }
    mask
}

impl Spec for StatusSpec {
    fn bind(&self, _: &mut Binding<'_>, _: &[u32]) -> Box<dyn Bound> {
        Box::new(StatusBound(self.clone()))
    }
}

#[derive(Debug)]
struct StatusBound(StatusSpec);

impl Bound for StatusBound {
    fn machine(self: Arc<Self>, slots: usize) -> Box<dyn Machine> {
        Box::new(StatusMachine { spec: self.0.clone(), last: vec![0; slots] })
    }

    fn calm(&self, _: usize) -> Option<(f64, f64)> {
        Some(ANY)
    }

    fn minds_calibration(&self) -> bool {
        (self.0.any | self.0.all) & status::CALIBRATION == 0
    }

    fn describe(&self, _: usize) -> Vec<(String, String, &'static str)> {
        let words = status::names(self.0.any | self.0.all).join(", ");
        vec![("status".to_owned(), words, "rule")]
    }
}

struct StatusMachine {
    spec: StatusSpec,
    /// For the reason only.
    last: Vec<i32>,
}

impl Machine for StatusMachine {
    fn reading(&mut self, slot: usize, r: &Reading, verdicts: &mut [Verdict]) -> f64 {
        self.last[slot] = r.status;
        let StatusSpec { any, all } = self.spec;
        let holds = (any != 0 && r.status & any != 0) || (all != 0 && r.status & all == all);
        verdicts[0] = match holds {
            true => Verdict::Over,
            // One fault that gives way to another, to calibration or to no value at all is not normal yet.
            false if may_clear(r) => Verdict::Below,
            false => Verdict::Hold,
        };
        f64::NAN
    }

    fn reason(&self, slot: usize, _: usize, _: f64, on: bool) -> String {
        let names = status::names(self.last[slot]).join(", ");
        if on {
            format!("status is {names}")
        } else {
            format!("status is {}", if names.is_empty() { "normal" } else { &names })
        }
    }

    fn save(&self, slot: usize, out: &mut Vec<u8>) {
        // Normal is what a point is that nothing is said of.
        if self.last[slot] != 0 {
            out.extend_from_slice(&self.last[slot].to_le_bytes());
        }
    }

    fn load(&mut self, slot: usize, bytes: &[u8]) -> bool {
        self.last[slot] = match bytes.try_into() {
            Ok(bytes) => i32::from_le_bytes(bytes),
            Err(_) if bytes.is_empty() => 0,
            Err(_) => return false,
        };
        true
    }
}
