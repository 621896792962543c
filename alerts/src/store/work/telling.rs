//! Who is told what along the life of an alarm: at once, pressed while nobody acknowledges, in a list, in a digest.

use super::{
    CLOCK_LATEST, DIGEST_HELD_MAX, DIGEST_RELEASED, DIGEST_TAKE, KEEP_DELIVERED, NewEvent, PRESS_TAKE,
    REMEMBER, REMOVE, Work,
};
use crate::flood::Floods;
use crate::life::{self, Clock, Row};
use crate::store::{ShelfKey, Tables};
use crate::{EventKind, OnShelf, OutboxRow, StoreError, tell};
use model::Micros;
use serde_json::json;

impl<T: Tables> Work<'_, T> {
    /// Nobody is told of what is on the shelf; who was told before hears its end.
    pub(super) async fn tell(&mut self, row: &mut Row, at: Micros, now: Micros) -> Result<(), StoreError> {
        if row.alarm.is_shelved() {
            return Ok(());
        }
        let rises = row.is_waiting() && tell::is_news(&row.told, row);
        self.know_floods().await?;
        let floods = self.floods.get_or_insert_default();
        let messages = tell::event(self.routes, row, at, now, floods, &mut self.untold);
        if rises {
            self.start_clock(row, now);
        }
        self.send(messages).await
    }

    async fn know_floods(&mut self) -> Result<(), StoreError> {
        if self.floods.is_none() {
            let any = self.routes.receivers().iter().any(|r| r.flood > 0);
            self.floods = Some(Floods::new(if any { self.tables.floods().await? } else { Vec::new() }));
        }
        Ok(())
    }

    /// What is told as lists.
    async fn lists(&mut self, now: Micros) -> Result<(), StoreError> {
        self.know_floods().await?;
        for name in self.floods.get_or_insert_default().due(now) {
            self.write().await?;
            let rows = self.tables.listed_take(&name, DIGEST_TAKE).await?;
            let rest = (rows.len() == DIGEST_TAKE).then_some(now);
            self.floods.get_or_insert_default().told(&name, rest);
            if let Some(number) = self.routes.position(&name) {
                let messages = tell::list(&self.routes.receivers()[number], &rows, now);
                self.send(messages).await?;
            }
        }
        Ok(())
    }

    /// From now on somebody has to acknowledge it.
    fn start_clock(&self, row: &mut Row, now: Micros) {
        let clock = Clock { since: now + CLOCK_LATEST, pressed: 0, next: None };
        row.clock = Some(self.routes.wound(&row.alarm, row.decided, clock));
    }

    /// Presses for what nobody has acknowledged.
    async fn press(&mut self, now: Micros) -> Result<(), StoreError> {
        for mut row in self.tables.due(now, PRESS_TAKE).await? {
            let Some(clock) = row.clock.filter(|_| row.is_waiting()) else {
                self.keep(&row, Vec::new()).await?;
                continue;
            };
            let (mut pressed, mut escalated) = (clock.pressed, Vec::new());
            for press in self.routes.pressed(&row.alarm, row.decided, clock, now - clock.since) {
                pressed = pressed.max(press.after);
                self.know_floods().await?;
                let floods = self.floods.get_or_insert_default();
                let messages = tell::press(self.routes, &mut row, clock.since, &press, now, floods);
                if !press.again {
                    let name = |number: &usize| self.routes.receivers()[*number].name.as_str();
                    let to: Vec<&str> = press.receivers.iter().map(name).collect();
                    let note = format!("not acknowledged for {}", model::time::show_duration(press.after));
                    escalated.push((note, json!({ "to": to }).to_string()));
                }
                self.untold.holes.extend(press.holes.iter().map(|r| self.routes.roster_name(*r).to_owned()));
                self.send(messages).await?;
            }
            row.clock = Some(self.routes.wound(&row.alarm, row.decided, Clock { pressed, ..clock }));
            let events = escalated.iter().map(|(note, detail)| NewEvent {
                detail: detail.clone(),
                ..NewEvent::of(EventKind::Escalated, now, "firedamp", note)
            });
            self.keep(&row, events.collect()).await?;
        }
        Ok(())
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

    /// Digests, shelves and clocks whose time has come; old rows go. With `other_routes` they press for others, or after another time.
    pub async fn flush(&mut self, now: Micros, other_routes: bool) -> Result<(), StoreError> {
        if other_routes {
            self.tables.look_at_clocks(now).await?;
        }
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
            self.start_clock(row, event.at);
        }
        self.keep(row, vec![event]).await.map(|_| ())
    }
}
