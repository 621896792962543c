//! Who is told what along the life of an alarm: at once, pressed while nobody acknowledges, in a list, in a digest.

use super::{
    CLOCK_LATEST, DIGEST_HELD_MAX, DIGEST_RELEASED, DIGEST_TAKE, KEEP_DELIVERED, NewEvent, PRESS_TAKE,
    REMEMBER, REMOVE, Work,
};
use crate::flood::Floods;
use crate::life::{self, Clock, Row};
use crate::route::Pressed;
use crate::store::{ShelfKey, Tables};
use crate::{EventKind, OnShelf, OutboxRow, StoreError, tell};
use model::Micros;
use model::time::show_duration;
use serde_json::json;

impl<T: Tables> Work<'_, T> {
    /// Nobody is told of what is on the shelf; who was told before hears its end.
    pub(super) async fn tell(&mut self, row: &mut Row, at: Micros, now: Micros) -> Result<(), StoreError> {
        if row.alarm.is_shelved() {
            return Ok(());
        }
        // One that somebody has to acknowledge has a clock, whatever came before.
        let rises = row.is_waiting() && (row.clock.is_none() || tell::is_news(&row.told, row));
        let (routes, mut untold) = (self.routes, std::mem::take(&mut self.untold));
        let messages = tell::event(routes, row, at, now, self.floods_to_tell().await?, &mut untold);
        self.untold = untold;
        row.clock = match row.clock {
            _ if rises => Some(self.new_clock(row, now)),
            // It changed, and other routes may take it now.
            clock => clock.map(|clock| routes.wound(&row.alarm, clock)),
        };
        self.send(messages).await
    }

    /// Nothing is read where nobody can be in a flood.
    async fn floods_to_tell(&mut self) -> Result<&mut Floods, StoreError> {
        if self.floods.is_none() && self.routes.receivers().iter().any(|r| r.flood > 0) {
            self.floods = Some(Floods::new(self.tables.floods().await?));
        }
        Ok(self.floods.get_or_insert_default())
    }

    /// What is told as lists, also to who is in no flood any more.
    async fn lists(&mut self, now: Micros) -> Result<(), StoreError> {
        for name in self.floods.get_or_insert_default().due(now) {
            self.write().await?;
            let rows = self.tables.listed_take(&name, DIGEST_TAKE).await?;
            let rest = (rows.len() == DIGEST_TAKE).then_some(now);
            self.floods.get_or_insert_default().told(&name, rest);
            match self.routes.position(&name) {
                Some(number) => {
                    let messages = tell::list(&self.routes.receivers()[number], &rows, now);
                    self.send(messages).await?;
                }
                None => {
                    tracing::warn!(alarms = rows.len(), "receiver `{name}` is gone, and its list with it")
                }
            }
        }
        Ok(())
    }

    /// From now on somebody has to acknowledge it.
    fn new_clock(&self, row: &Row, now: Micros) -> Clock {
        let (since, begun) = (now + CLOCK_LATEST, row.decided);
        self.routes.wound(&row.alarm, Clock { since, begun, escalated: 0, reminded: 0, next: None })
    }

    /// Presses for what nobody has acknowledged.
    async fn press(&mut self, now: Micros) -> Result<(), StoreError> {
        for mut row in self.tables.due(now, PRESS_TAKE).await? {
            let Some(mut clock) = row.clock.filter(|_| row.is_waiting()) else {
                self.keep(&row, Vec::new()).await?;
                continue;
            };
            if clock.since > now + CLOCK_LATEST {
                // The wall clock went back.
                clock.since = now;
            }
            let pressed = self.routes.pressed(&row.alarm, &clock, &row.told.receivers, now);
            clock.escalated = clock.marked().0;
            let mut escalated = Vec::new();
            for press in pressed {
                let done = if press.again { &mut clock.reminded } else { &mut clock.escalated };
                *done = press.after.max(*done);
                if press.receivers.is_empty() {
                    continue;
                }
                self.press_one(&mut row, &clock, &press, now).await?;
                if !press.again {
                    let name = |number: &usize| self.routes.receivers()[*number].name.as_str();
                    let to: Vec<&str> = press.receivers.iter().map(name).collect();
                    let note = format!("not acknowledged for {}", show_duration(press.after));
                    escalated.push((note, json!({ "to": to }).to_string()));
                }
            }
            row.clock = Some(self.routes.wound(&row.alarm, clock));
            let events = escalated.iter().map(|(note, detail)| NewEvent {
                detail: detail.clone(),
                ..NewEvent::of(EventKind::Escalated, now, "firedamp", note)
            });
            self.keep(&row, events.collect()).await?;
        }
        Ok(())
    }

    async fn press_one(
        &mut self,
        row: &mut Row,
        clock: &Clock,
        press: &Pressed,
        now: Micros,
    ) -> Result<(), StoreError> {
        let routes = self.routes;
        self.untold.holes.extend(press.holes.iter().map(|r| routes.roster_name(*r).to_owned()));
        let floods = self.floods_to_tell().await?;
        let messages = tell::press(routes, row, clock.since, press, now, floods);
        self.untold.listed += (press.receivers.len() - messages.len()) as u64;
        self.send(messages).await
    }

    pub(super) async fn send(&mut self, messages: Vec<OutboxRow>) -> Result<(), StoreError> {
        for message in messages {
            self.unwritten.messages[usize::from(message.drill)].push(message);
        }
        self.write_some().await
    }

    /// What was held goes out: open alarms as they stand, what rose and fell with the next digest.
    pub(super) async fn release(&mut self, partition: u32, now: Micros) -> Result<(), StoreError> {
        for mut row in self.tables.held(partition).await? {
            row.held = false;
            let decided = row.decided;
            self.tell(&mut row, decided, now).await?;
            if tell::rose_and_fell(&row) {
                self.tables.digest_add(&row.alarm.id, now, now + DIGEST_RELEASED).await?;
            }
            self.keep(&row, Vec::new()).await?;
        }
        Ok(())
    }

    /// Digests, shelves and clocks whose time has come; old rows go. `anew` all clocks are looked at: routes may press for others, or after
    /// another time, or the wall clock went back.
    pub async fn flush(&mut self, now: Micros, anew: bool) -> Result<(), StoreError> {
        if anew {
            self.tables.look_at_clocks(now).await?;
        }
        self.floods = Some(Floods::new(self.tables.floods().await?));
        self.press(now).await?;
        self.lists(now).await?;
        let over = |(_, shelf): &(&ShelfKey, &OnShelf)| shelf.shelved.until <= now;
        let over: Vec<ShelfKey> =
            self.shelves().await?.iter().filter(over).map(|(key, _)| key.clone()).collect();
        for key in over {
            let active = self.active(&key).await?;
            self.set_shelf(key, None).await?;
            if let Some(mut row) = active {
                let by = NewEvent::of(EventKind::Unshelved, now, "firedamp", "its time is over");
                self.unshelve(&mut row, by).await?;
            }
        }
        self.write().await?;
        let rows = self.tables.digest_take(now, now - DIGEST_HELD_MAX, DIGEST_TAKE).await?;
        let messages = tell::digest(self.routes, &rows, now, &mut self.untold);
        self.send(messages).await?;
        self.tables.forget(now - REMEMBER, now - KEEP_DELIVERED, REMOVE).await
    }

    /// Back from the shelf, and told as it stands now.
    pub(super) async fn unshelve(&mut self, row: &mut Row, event: NewEvent<'_>) -> Result<(), StoreError> {
        let Some(alarm) = life::unshelved(&row.alarm) else { return Ok(()) };
        row.alarm = alarm;
        if !row.held {
            self.tell(row, event.at, event.at).await?;
        }
        self.keep(row, vec![event]).await.map(|_| ())
    }
}
