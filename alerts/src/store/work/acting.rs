//! What people do with alarms.

use super::{NewEvent, Work, shelf_key};
use crate::life::{self, Act, Row, What};
use crate::store::Tables;
use crate::{EventKind, OnShelf, Outcome, OwnAlarm, StoreError, own};
use model::{AlarmState, Micros, To, Transition};

impl<T: Tables> Work<'_, T> {
    /// Somebody does something with alarms.
    pub async fn act_all(
        &mut self,
        ids: &[String],
        act: &Act,
        now: Micros,
    ) -> Result<Vec<Outcome>, StoreError> {
        let mut out = Vec::with_capacity(ids.len());
        for id in ids {
            out.push(self.act(id, act, now).await?);
        }
        Ok(out)
    }

    async fn act(&mut self, id: &str, act: &Act, now: Micros) -> Result<Outcome, StoreError> {
        let outcome = |outcome| Ok(Outcome { id: id.to_owned(), outcome });
        let Some(mut row) = self.row(id).await? else { return outcome("gone") };
        if matches!(act.what, What::Clear | What::Withdraw) {
            return outcome(self.end(&row, act, now).await?);
        }
        let key = shelf_key(&row);
        let (alarm, kind) = match life::act(&row.alarm, act, now) {
            Ok(acted) => acted,
            // A shelf outlives the alarm it was put under.
            Err(_) if act.what == What::Unshelve && self.shelves().await?.contains_key(&key) => {
                (row.alarm.clone(), EventKind::Unshelved)
            }
            Err(why) => return outcome(why),
        };
        if let Some(seq) = act.seen_seq
            && self.rose_after(id, seq).await?
        {
            return outcome("changed");
        }
        let event = NewEvent { detail: act.detail(), ..NewEvent::of(kind, now, &act.by, &act.note) };
        if act.what == What::Unshelve {
            // Under another alarm of the same rule and point too.
            let active = self.active(&key).await?.filter(|a| a.alarm.is_shelved());
            self.set_shelf(key, None).await?;
            match active {
                Some(mut row) => self.unshelve(&mut row, event).await?,
                None => self.keep(&row, vec![event]).await.map(|_| ())?,
            }
            return outcome(act.done());
        }
        row.alarm = alarm;
        if let (What::Shelve { .. }, Some(shelved)) = (&act.what, row.alarm.shelved.clone()) {
            let (rule, site, point) =
                (row.alarm.rule.clone(), row.alarm.site.clone(), row.alarm.point.clone());
            self.set_shelf(key, Some(OnShelf { rule, site, point, shelved })).await?;
        }
        self.keep(&row, vec![event]).await?;
        outcome(act.done())
    }

    /// Ends an alarm by hand: one of firedamp's own, or an orphan.
    async fn end(&mut self, row: &Row, act: &Act, now: Micros) -> Result<&'static str, StoreError> {
        if row.alarm.state == AlarmState::Closed {
            return Ok("already");
        }
        let is_own = row.alarm.site == own::SITE;
        if !is_own && act.what != What::Withdraw {
            return Ok("active");
        }
        let (by, note) = (&act.by, &act.note);
        let reason = format!("closed by {by}{}{note}", if note.is_empty() { "" } else { ": " });
        let what = row.alarm.rule.strip_prefix("firedamp/").unwrap_or(&row.alarm.rule).to_owned();
        let off =
            OwnAlarm { what, key: row.alarm.point.clone(), severity: row.alarm.severity, reason, on: false };
        for (name, level) in &row.levels {
            let seq = self.head().await?.seq + 1;
            let t = Transition {
                rule: row.alarm.rule.clone(),
                site: row.alarm.site.clone(),
                point_id: model::PointId(row.point_id),
                level: name.clone(),
                rank: level.rank,
                to: if is_own { To::Off } else { To::Withdrawn },
                marks: row.alarm.marks,
                ..off.transition(seq, now)
            };
            self.take(&t, now, false, by, note).await?;
        }
        Ok(act.done())
    }
}
