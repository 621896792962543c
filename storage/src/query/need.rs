//! What of the tail a query asks for, read from its filters: times, sites, points. Whatever is not understood is left to the
//! filter above, which sees every row again.

use crate::schema::time_type;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use model::Micros;
use std::collections::BTreeSet;

/// Rows outside of it are of no use to the query.
#[derive(Clone, Debug)]
pub struct Need {
    /// Earliest time.
    pub from: Micros,
    /// Latest time.
    pub to: Micros,
    /// Only these sites.
    pub sites: Option<BTreeSet<String>>,
    /// Only these points.
    pub points: Option<BTreeSet<String>>,
}

impl Need {
    /// From the filters of a scan, all of which hold.
    pub fn of(filters: &[Expr]) -> Self {
        let mut need = Self { from: Micros::MIN, to: Micros::MAX, sites: None, points: None };
        for filter in filters {
            need.narrow(filter);
        }
        need
    }

    fn narrow(&mut self, filter: &Expr) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.narrow(left);
                self.narrow(right);
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
                (Expr::Column(c), Expr::Literal(v, _)) => self.compare(c, *op, v),
                (Expr::Literal(v, _), Expr::Column(c)) => {
                    if let Some(op) = op.swap() {
                        self.compare(c, op, v);
                    }
                }
                _ => {}
            },
            Expr::Between(between) if !between.negated => {
                if let (Expr::Column(c), Expr::Literal(low, _), Expr::Literal(high, _)) =
                    (between.expr.as_ref(), between.low.as_ref(), between.high.as_ref())
                {
                    self.compare(c, Operator::GtEq, low);
                    self.compare(c, Operator::LtEq, high);
                }
            }
            Expr::InList(list) if !list.negated => {
                let Expr::Column(column) = list.expr.as_ref() else { return };
                let word = |e: &Expr| match e {
                    Expr::Literal(v, _) => text(v),
                    _ => None,
                };
                if let Some(words) = list.list.iter().map(word).collect::<Option<BTreeSet<_>>>() {
                    self.only(column, words);
                }
            }
            _ => {}
        }
    }

    fn compare(&mut self, column: &Column, op: Operator, value: &ScalarValue) {
        if column.name == "time" {
            let Some(t) = time(value) else { return };
            match op {
                Operator::Eq => (self.from, self.to) = (self.from.max(t), self.to.min(t)),
                Operator::Gt | Operator::GtEq => self.from = self.from.max(t),
                Operator::Lt | Operator::LtEq => self.to = self.to.min(t),
                _ => {}
            }
        } else if op == Operator::Eq
            && let Some(word) = text(value)
        {
            self.only(column, BTreeSet::from([word]));
        }
    }

    fn only(&mut self, column: &Column, words: BTreeSet<String>) {
        let slot = match column.name.as_str() {
            "site" => &mut self.sites,
            "point" => &mut self.points,
            _ => return,
        };
        *slot = Some(match slot.take() {
            Some(old) => old.intersection(&words).cloned().collect(),
            None => words,
        });
    }
}

fn text(value: &ScalarValue) -> Option<String> {
    value.try_as_str().flatten().map(str::to_owned)
}

fn time(value: &ScalarValue) -> Option<Micros> {
    match value.cast_to(&time_type()).ok()? {
        ScalarValue::TimestampMicrosecond(t, _) => t,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{col, lit};

    #[test]
    fn filters_narrow_and_what_is_not_understood_does_not() {
        let at = |t| lit(ScalarValue::TimestampMicrosecond(Some(t), Some("UTC".into())));
        let need = Need::of(&[
            col("time").gt(at(5)).and(at(9).gt_eq(col("time"))),
            col("site").in_list(vec![lit("a"), lit("b")], false),
            col("site").eq(lit("b")).and(col("point").eq(lit("p"))),
            col("value").gt(lit(1.0)).or(col("time").gt(at(100))),
        ]);
        assert_eq!((need.from, need.to), (5, 9));
        assert_eq!(need.sites, Some(BTreeSet::from(["b".to_owned()])));
        assert_eq!(need.points, Some(BTreeSet::from(["p".to_owned()])));
        let none =
            Need::of(&[col("site").eq(lit("a")).or(col("site").eq(lit("b"))), col("site").not_eq(lit("a"))]);
        assert_eq!((none.sites, none.from), (None, Micros::MIN));
    }
}
