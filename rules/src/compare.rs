//! Limits as users write them: `>= 1.0`, `< 0.5 /min`.

use model::time::parse_duration;

/// How a value stands to a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// At or above.
    Ge,
    /// Above.
    Gt,
    /// At or below.
    Le,
    /// Below.
    Lt,
}

/// A comparison with a limit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Compare {
    /// How.
    pub op: Op,
    /// With what.
    pub limit: f64,
}

impl Compare {
    /// Whether it holds; never for NaN.
    pub fn holds(self, value: f64) -> bool {
        match self.op {
            Op::Ge => value >= self.limit,
            Op::Gt => value > self.limit,
            Op::Le => value <= self.limit,
            Op::Lt => value < self.limit,
        }
    }

    /// Whether it looks upwards.
    pub fn is_up(self) -> bool {
        matches!(self.op, Op::Ge | Op::Gt)
    }

    /// The values, between these two, for which it does not hold.
    pub fn calm(self) -> (f64, f64) {
        match self.op {
            Op::Ge => (f64::NEG_INFINITY, self.limit),
            Op::Gt => (f64::NEG_INFINITY, self.limit.next_up()),
            Op::Le => (self.limit, f64::INFINITY),
            Op::Lt => (self.limit.next_down(), f64::INFINITY),
        }
    }

    /// Whether it holds wherever the other one does; both look the same way.
    pub fn covers(self, other: Self) -> bool {
        let (mine, theirs) = if self.is_up() { (self.limit, other.limit) } else { (other.limit, self.limit) };
        mine < theirs || (mine == theirs && (self.op == other.op || matches!(self.op, Op::Ge | Op::Le)))
    }

    /// The opposite: what ends it where nothing is said.
    pub fn opposite(self) -> Self {
        let op = match self.op {
            Op::Ge => Op::Lt,
            Op::Gt => Op::Le,
            Op::Le => Op::Gt,
            Op::Lt => Op::Ge,
        };
        Self { op, ..self }
    }

    /// The same comparison with the limit in another unit.
    pub fn converted(self, (scale, offset): (f64, f64)) -> Self {
        if (scale, offset) == (1.0, 0.0) {
            return self; // most points are in the rule's own unit, and there may be a million
        }
        // 100 ppm * 1e-4 must be 0.01 % again: round away what the conversion added in the last digits.
        let limit = self.limit * scale + offset;
        let limit = format!("{limit:.12e}").parse().unwrap_or(limit);
        Self { limit, ..self }
    }

    /// `>= 1.0`.
    pub fn show(self) -> String {
        let op = match self.op {
            Op::Ge => ">=",
            Op::Gt => ">",
            Op::Le => "<=",
            Op::Lt => "<",
        };
        format!("{op} {}", self.limit)
    }
}

/// Reads `>= 1.0`, with an optional `/min`, `/h` or `/s` behind it, given as microseconds.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse(text: &str) -> Result<(Compare, Option<i64>), String> {
    let text = text.trim();
    let (op, rest) = [(">=", Op::Ge), ("<=", Op::Le), (">", Op::Gt), ("<", Op::Lt)]
        .into_iter()
        .find_map(|(word, op)| text.strip_prefix(word).map(|rest| (op, rest)))
        .ok_or_else(|| format!("`{text}` does not begin with >=, >, <= or <"))?;
    let (number, per) = match rest.split_once('/') {
        Some((number, unit)) => (number, Some(parse_duration(&format!("1{}", unit.trim()))?)),
        None => (rest, None),
    };
    let limit: f64 =
        number.trim().parse().map_err(|_| format!("`{}` in `{text}` is not a number", number.trim()))?;
    if limit.is_finite() {
        Ok((Compare { op, limit }, per))
    } else {
        Err(format!("the limit in `{text}` is not finite"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_as_users_write_them() {
        let (ge, per) = parse(">= 1.0").unwrap();
        assert!(ge.holds(1.0) && !ge.holds(0.999) && !ge.holds(f64::NAN) && per.is_none());
        let (lt, per) = parse("<0.01 /min").unwrap();
        assert!(lt.holds(0.0099) && !lt.holds(0.01));
        assert_eq!(per, Some(60_000_000));
        assert!(ge.opposite().holds(0.999) && !ge.opposite().holds(1.0));
        let at_limit = [(">= 2", "<"), ("> 2", "<="), ("<= 2", ">"), ("< 2", ">=")];
        for (text, opposite) in at_limit {
            let (compare, _) = parse(text).unwrap();
            assert_eq!(compare.holds(2.0), text.contains('='), "{text}");
            assert_eq!(compare.holds(2.1), text.starts_with('>'), "{text}");
            assert_eq!(compare.holds(1.9), text.starts_with('<'), "{text}");
            assert_eq!(compare.opposite().show(), format!("{opposite} 2"), "{text}");
            let (above, below) = compare.calm();
            for value in [1.9, 2f64.next_down(), 2.0, 2f64.next_up(), 2.1] {
                assert_eq!(value > above && value < below, !compare.holds(value), "{text} at {value}");
            }
        }
        let covers = |a, b| parse(a).unwrap().0.covers(parse(b).unwrap().0);
        for (wide, narrow) in
            [(">= 1", "> 1"), (">= 1", ">= 1.1"), ("> 1", ">= 1.1"), ("<= 1", "< 1"), ("< 1", "<= 0.9")]
        {
            assert!(
                covers(wide, narrow) && !covers(narrow, wide) && covers(narrow, narrow),
                "{wide}, {narrow}"
            );
        }
        for wrong in ["1.0", ">= x", ">= NaN", ">= inf", ">= 1 /fortnight", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Compare { op: Op::Ge, limit: 24.0 }.converted((1e-4, 0.0)).limit, 0.0024);
    }
}
