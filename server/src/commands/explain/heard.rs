//! The readings that a rule across points had heard when it decided, as SQL. It decides a time when the clock leaves it, so before the
//! record that moved the clock, and of a source marked replay before the row that did.
//!
//! Promises: what a replay decided is explained by the readings of its source alone, since it is judged by no other clock; and no query
//! reads more of the table than [`AROUND`] the decision, however much there is.

use super::{AROUND, Ask, Stop, is_marked, quoted, text};
use anyhow::anyhow;
use model::status;
use model::time::{parse, rfc3339};
use serde_json::Value;

/// See the module.
pub struct Heard {
    /// What such a rule listens to.
    counts: String,
    /// What of it came before the decision.
    came: String,
}

impl Heard {
    /// Of an event of a rule with these members, its own point first.
    pub async fn of(ask: &Ask, event: &Value, members: &[String]) -> Result<Self, Stop> {
        let time = parse(text(event, "time")).map_err(|e| anyhow!(e))?;
        let (now, until) = (rfc3339(time), rfc3339(time + AROUND));
        // None that are late, and of a drill those only of which it is one.
        let drill = if is_marked(event, "simulated") { "<>" } else { "=" };
        let counts = format!(
            "time >= '{}' AND time <= '{until}' AND status & {} = 0 AND status & {} {drill} 0",
            rfc3339(time - AROUND),
            status::HISTORICAL,
            status::SIMULATED
        );
        let offset = &event["decided_offset"];
        let came = format!("\"offset\" < {offset}");
        if !is_marked(event, "replay") {
            return Ok(Self { counts, came });
        }
        // Its clock is that of its own point's source, or of who spoke where that never did.
        let (site, own) = (quoted(text(event, "site")), quoted(text(event, "point")));
        let judging = format!(
            "SELECT source, partition FROM readings WHERE site = {site} AND point IN ({}) AND {counts} AND time <= '{now}' \
             AND \"offset\" <= {offset} ORDER BY point = {own} DESC, \"offset\" DESC, row DESC LIMIT 1",
            listed(members)
        );
        let judging = ask.rows(judging).await?;
        let Some(judging) = judging.first() else { return Ok(Self { counts, came }) };
        let source = format!("source = {}", quoted(text(judging, "source")));
        // The first row that moved that clock on, whatever its point and site.
        let moved = format!(
            "SELECT min(row) AS row FROM readings WHERE partition = {} AND \"offset\" = {offset} AND {source} \
             AND time > '{now}' AND time <= '{until}'",
            judging["partition"]
        );
        let moved = ask.rows(moved).await?.first().and_then(|row| row["row"].as_i64());
        let here = moved.map_or(String::new(), |row| format!(" OR (\"offset\" = {offset} AND row < {row})"));
        Ok(Self { counts: format!("{counts} AND {source}"), came: format!("({came}{here})") })
    }

    /// What it had heard.
    pub fn up_to(&self) -> String {
        format!("{} AND {}", self.counts, self.came)
    }

    /// What it heard afterwards.
    pub fn beyond(&self) -> String {
        format!("{} AND NOT {}", self.counts, self.came)
    }
}

/// Codes as SQL lists them.
pub fn listed(codes: &[String]) -> String {
    codes.iter().map(|code| quoted(code)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::{By, readings};
    use super::*;
    use model::record::run_flags;
    use model::time::{DAY, Micros, SECOND};
    use model::{
        Catalog, Entry, ManualClock, Offset, Origin, PointId, Problems, ReadingsBuilder, Record, Run,
    };
    use object_store::memory::InMemory;
    use serde_json::json;
    use std::sync::{Arc, RwLock};
    use storage::Storage;

    /// Half a year before the clock.
    const THEN: Micros = NOW - 180 * DAY;
    const NOW: Micros = 1_795_478_400 * SECOND;

    /// A source's rows of a record: (site, point, time, value), each site a partition's.
    type Rows<'a> = (&'a str, u8, &'a [(&'a str, &'a str, Micros, f64)]);

    async fn table(records: &[&[Rows<'_>]]) -> Ask {
        let mut problems = Problems::default();
        let sites = "site,name,kind,region\nM1,a,mine,140100\nM2,b,mine,140200\n";
        let sites = model::catalog::sites_from_csv("s", sites, &mut problems);
        let points = "site,point,name,quantity,unit,low,high,place\nM1,A,,wind,m/s,0,,\nM1,B,,wind,m/s,0,,\nM2,C,,wind,m/s,0,,\n";
        let points = model::catalog::points_from_csv("p", points, &mut problems);
        let catalog = Catalog::build(sites, points, 1, &mut problems);
        assert!(problems.0.is_empty(), "{problems}");
        let catalog = Arc::new(RwLock::new(Arc::new(catalog)));
        let options = storage::Options { query_threads: 0, ..Default::default() };
        let (lake, clock) = (Arc::new(InMemory::new()), Arc::new(ManualClock::at(NOW)));
        let registry = prometheus::Registry::new();
        let table = Storage::open(options, Some(lake), catalog, clock, &registry).await.unwrap();
        for (number, runs) in (0..).zip(records) {
            let mut rows = ReadingsBuilder::default();
            let mut run = |(source, flags, of): &Rows<'_>| {
                of.iter()
                    .for_each(|(site, point, time, v)| rows.push(PointId::of(site, point), *time, *v, 0));
                Run { source: (*source).into(), received: NOW, rows: of.len() as u32, flags: *flags }
            };
            let runs = runs.iter().map(&mut run).collect();
            let offset = Offset { partition: 0, number };
            let origin = Origin { collector: 7, sequence: number + 1 };
            let entry = Entry { offset, appended: NOW, origin, bytes: Default::default() };
            table.push(&entry, Record::Readings { runs, readings: rows.finish() }).await.unwrap();
        }
        Ask::Table(table)
    }

    /// What the own point A and the member B said up to a decision of record 1, and afterwards.
    async fn said(ask: &Ask, time: Micros, marks: &Value) -> [Vec<f64>; 2] {
        let event =
            json!({ "site": "M1", "point": "A", "time": rfc3339(time), "decided_offset": 1, "marks": marks });
        let heard = Heard::of(ask, &event, &["A".to_owned(), "B".to_owned()]).await.unwrap();
        let mut said = Vec::new();
        for (before, after) in [(9, 0), (0, 9)] {
            let mut values = Vec::new();
            for point in ["A", "B"] {
                let rows = readings(ask, &event, point, By::Log(&heard), (before, after)).await.unwrap();
                values.extend(rows.iter().map(|row| row["value"].as_f64().unwrap()));
            }
            said.push(values);
        }
        said.try_into().unwrap()
    }

    #[tokio::test]
    async fn of_a_replay_it_is_what_its_own_source_said_before_its_clock_went_on() {
        const TAPE: u8 = run_flags::REPLAY;
        let at = |seconds: i64| THEN + seconds * SECOND;
        // Each record begins with a row that is live, and one that another tape moves its own clock by.
        let ask = table(&[
            &[
                ("east", 0, &[("M1", "B", NOW, 7.0)]),
                (
                    "tape",
                    TAPE,
                    &[
                        ("M1", "A", THEN - AROUND - SECOND, 0.0),
                        ("M1", "A", at(10), 0.1),
                        ("M1", "B", at(10), 0.2),
                    ],
                ),
            ],
            &[
                ("east", 0, &[("M1", "B", NOW + SECOND, 7.1)]),
                ("film", TAPE, &[("M1", "B", at(25), 8.0)]),
                (
                    "tape",
                    TAPE,
                    &[
                        ("M1", "B", at(20), 0.3),
                        ("M1", "A", at(20), 0.4),
                        ("M2", "C", at(30), 5.0),
                        ("M1", "A", at(30), 0.5),
                    ],
                ),
            ],
            &[("tape", TAPE, &[("M1", "B", at(30), 0.6)]), ("film", TAPE, &[("M1", "A", at(5), 8.1)])],
        ])
        .await;
        let [before, after] = said(&ask, at(20), &json!({ "replay": true })).await;
        assert_eq!((before, after), (vec![0.1, 0.4, 0.2, 0.3], vec![0.5, 0.6]));
    }

    #[tokio::test]
    async fn of_what_is_live_it_is_what_came_in_the_records_before() {
        let ask = table(&[
            &[("east", 0, &[("M1", "A", NOW - DAY, 0.1), ("M1", "B", NOW + DAY, 0.2)])],
            &[("west", 0, &[("M1", "A", NOW, 0.3)])],
            &[("east", 0, &[("M1", "A", NOW - 1, 0.4), ("M1", "B", NOW + AROUND + SECOND, 0.5)])],
        ])
        .await;
        let [before, after] = said(&ask, NOW, &json!({})).await;
        assert_eq!((before, after), (vec![0.1, 0.2], vec![0.3, 0.4]));
    }
}
