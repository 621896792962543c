//! The report: one HTML file with figures and pictures, that needs nothing else to be looked at or printed.

use super::curves::Curve;
use super::draw::{self, escaped};
use super::summary::{CHATTER, Summary, lasting};
use super::task::{Seen, Source, Task};
use super::word;
use model::time::{DAY, rfc3339, show_duration};
use rules::Program;
use rules::episodes::{Change, Episode};
use std::fmt::Write;
use std::sync::Arc;

/// Rows of a table or bars of a picture.
const ROWS_MAX: usize = 30;
/// Differences that are drawn.
const DRAWN_MAX: usize = 12;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;color:#1c2733;max-width:900px;margin:2em auto;padding:0 1em}\
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}h3{font-size:1em;margin:1.5em 0 .3em}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25em .6em;border-bottom:1px solid #dde3ea}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}svg{width:100%;height:auto;display:block}\
svg text{font:13px system-ui,sans-serif;fill:#1c2733}svg text.small{font-size:11px;fill:#5a6b7d}.bar{fill:#3b76af}\
.on{fill:#f2c14e;opacity:.35}.grid{stroke:#e3e8ee}.limit{stroke:#c0392b;stroke-dasharray:5 4}.curve{fill:none;stroke:#1f5f8b;stroke-width:1.5}\
.bad{fill:none;stroke:#c0392b}.note{color:#5a6b7d}.red{color:#c0392b}.orange{color:#c96a12}.yellow{color:#9a7700}.blue{color:#2b63a8}\
@media print{body{max-width:none}h3,svg{break-inside:avoid}}";

/// What a report is made of.
pub struct Report<'a> {
    pub task: &'a Task,
    /// Its versions, for the whole catalog.
    pub programs: &'a [Arc<Program>],
    pub seen: &'a Seen,
    pub summary: &'a Summary,
    pub changes: &'a [Change],
    pub same: usize,
    pub drawn: &'a [Curve],
}

impl Report<'_> {
    /// The file.
    pub fn html(&self, compared: bool) -> String {
        let mut h = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>firedamp backtest</title><style>{STYLE}</style>\n<h1>What these rules would have decided</h1>\n"
        );
        self.head(&mut h);
        if compared {
            self.differences(&mut h);
        }
        if self.summary.episodes == 0 {
            return h + "<p>No level went on.</p>\n";
        }
        self.levels(&mut h);
        self.pictures(&mut h);
        self.longest(&mut h);
        self.chattering(&mut h);
        if !compared {
            h += "<h2>The worst episodes</h2>\n<p class=\"note\">By severity, then by how long they lasted. Shaded: on. Dashed: limits of \
                  the rule at this point. Hollow dots: bad or calibrating readings. Times are UTC+8.</p>\n";
            self.drawn
                .iter()
                .for_each(|c| self.episode(&mut h, c, &episode_title(&c.wanted.episode, self.summary.end)));
        }
        h
    }

    fn head(&self, h: &mut String) {
        let names = |i: usize| {
            let files = self.task.versions.get(i).into_iter().flatten();
            files.map(|f| escaped(&f.name)).collect::<Vec<_>>().join(", ")
        };
        let span = match (self.seen.first, self.seen.last) {
            (Some(first), Some(last)) => format!("{} to {}", rfc3339(first), rfc3339(last)),
            _ => "no time at all".to_owned(),
        };
        let how = match self.task.source {
            Source::Files(_) => "in the order of their times with a tick each second; not as a log held them",
            Source::Table(_) => "as the log held them",
        };
        let _ = write!(
            h,
            "<p>{} readings of {} points, {span}, judged {how}. ",
            self.seen.readings,
            self.task.catalog.points().len()
        );
        let _ = write!(h, "Rules: {}.", names(0));
        if self.task.versions.len() > 1 {
            let _ = write!(h, " Compared with: {}.", names(1));
        }
        self.seen.left_out().iter().for_each(|line| *h += &format!(" {line}."));
        *h += "</p>\n";
    }

    fn differences(&self, h: &mut String) {
        let count = |w: &str| self.changes.iter().filter(|c| word(c) == w).count();
        let _ = write!(
            h,
            "<h2>What the other rules decide differently</h2>\n<p>{} episodes are the same; <b>{}</b> gained, <b>{}</b> lost, <b>{}</b> \
             moved.</p>\n",
            self.same,
            count("gained"),
            count("lost"),
            count("moved")
        );
        for change in self.changes.iter().take(DRAWN_MAX) {
            let title = match change {
                Change::Moved(a, b) => {
                    let (a, b) = (episode_title(a, self.summary.end), times(b, self.summary.end));
                    format!("moved: {a}; then {b}")
                }
                one => format!("{}: {}", word(one), episode_title(one.episode(), self.summary.end)),
            };
            if let Some(curve) = self.drawn.iter().find(|c| c.wanted.episode.id == change.episode().id) {
                self.episode(h, curve, &title);
            }
        }
        if self.changes.len() > DRAWN_MAX {
            let _ =
                writeln!(h, "<p class=\"note\">{} more are not drawn.</p>", self.changes.len() - DRAWN_MAX);
        }
    }

    fn levels(&self, h: &mut String) {
        *h += "<h2>Episodes by rule</h2>\n<table><tr><th>rule<th>level<th>severity<th class=n>episodes<th class=n>points<th class=n>still \
               on<th class=n>on in all<th class=n>longest</tr>\n";
        for l in &self.summary.levels {
            let color = l.severity.as_str();
            let _ = writeln!(
                h,
                "<tr><td>{}<td>{}<td class={color}>{color}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}</tr>",
                escaped(&l.rule),
                escaped(&l.level),
                l.episodes,
                l.points,
                l.open,
                lasting(l.lasted),
                lasting(l.longest)
            );
        }
        *h += "</table>\n";
    }

    fn pictures(&self, h: &mut String) {
        let s = self.summary;
        let level = |l: &super::summary::OfLevel| (format!("{} {}", l.rule, l.level), l.episodes);
        let levels: Vec<_> = s.levels.iter().map(level).take(ROWS_MAX).collect();
        let sites: Vec<_> = s.sites.iter().take(ROWS_MAX).cloned().collect();
        let hours: Vec<_> = s.hours.iter().enumerate().map(|(hour, n)| (format!("{hour:02}"), *n)).collect();
        let _ = writeln!(h, "{}", draw::rows(&levels));
        let _ = writeln!(h, "<h2>By site</h2>\n{}", draw::rows(&sites));
        if s.sites.len() > ROWS_MAX {
            let _ = writeln!(h, "<p class=\"note\">{} more sites have fewer.</p>", s.sites.len() - ROWS_MAX);
        }
        let _ = writeln!(h, "<h2>By hour of the day (UTC+8)</h2>\n{}", draw::columns(&hours));
        if let (Some((first, _)), Some((last, _))) = (s.days.first_key_value(), s.days.last_key_value()) {
            // More days than can be told apart are drawn some together.
            let together = ((last - first + 1) as usize).div_ceil(120) as i64;
            let bar = |i: i64| {
                let begin = first + i * together;
                let count = s.days.range(begin..begin + together).map(|(_, n)| n).sum();
                (rfc3339(begin * DAY)[5..10].to_owned(), count)
            };
            let days: Vec<_> = (0..=(last - first) / together).map(bar).collect();
            let _ = writeln!(h, "<h2>By day (UTC+8)</h2>\n{}", draw::columns(&days));
        }
    }

    fn longest(&self, h: &mut String) {
        *h += "<h2>The longest</h2>\n<table><tr><th>site<th>point<th>rule<th>level<th>from<th class=n>lasted<th class=n>peak</tr>\n";
        for e in &self.summary.longest {
            let open = if e.to.is_none() { ", still on" } else { "" };
            let _ = writeln!(
                h,
                "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td class=n>{}{open}<td class=n>{}</tr>",
                escaped(&e.key.site),
                escaped(&e.key.point),
                escaped(&e.key.rule),
                escaped(&e.key.level),
                rfc3339(e.from),
                lasting(e.lasted(self.summary.end)),
                e.peak.map(|p| p.to_string()).unwrap_or_default()
            );
        }
        *h += "</table>\n";
    }

    fn chattering(&self, h: &mut String) {
        let _ = writeln!(
            h,
            "<h2>Chattering</h2>\n<p class=\"note\">On {} times within {} or more.</p>",
            CHATTER.0,
            show_duration(CHATTER.1)
        );
        if self.summary.chattering.is_empty() {
            *h += "<p>None.</p>\n";
            return;
        }
        *h += "<table><tr><th>site<th>point<th>rule<th>level<th class=n>most times<th class=n>of episodes</tr>\n";
        for c in &self.summary.chattering {
            let k = &c.key;
            let _ = writeln!(
                h,
                "<tr><td>{}<td>{}<td>{}<td>{}<td class=n>{}<td class=n>{}</tr>",
                escaped(&k.site),
                escaped(&k.point),
                escaped(&k.rule),
                escaped(&k.level),
                c.most,
                c.episodes
            );
        }
        *h += "</table>\n";
    }

    fn episode(&self, h: &mut String, curve: &Curve, title: &str) {
        let picture = draw::curve(curve, &self.limits(&curve.wanted.episode), self.summary.end);
        let _ = writeln!(h, "<h3>{}</h3>\n{picture}", escaped(title));
    }

    /// The numbers of the limits of an episode's rule at its point, where they are limits of the value itself.
    fn limits(&self, e: &Episode) -> Vec<f64> {
        let Some(ix) = self.task.catalog.ix(e.key.point_id) else { return Vec::new() };
        let mut limits = Vec::new();
        for program in self.programs {
            let rules = program.at_point(ix);
            let levels =
                rules.iter().filter(|r| r.kind == "limit" && r.name == e.key.rule).flat_map(|r| &r.levels);
            let numbers = levels.filter_map(|l| l.limit.split_whitespace().nth(2)?.parse::<f64>().ok());
            limits.extend(numbers);
        }
        limits.sort_by(f64::total_cmp);
        limits.dedup();
        limits
    }
}

fn times(e: &Episode, end: i64) -> String {
    let until = if e.to.is_none() { ", still on" } else { "" };
    format!("{} for {}{until}", rfc3339(e.from), lasting(e.lasted(end)))
}

fn episode_title(e: &Episode, end: i64) -> String {
    let k = &e.key;
    let peak = e.peak.map(|p| format!(", peak {p}")).unwrap_or_default();
    format!("{} {}: {} {}, {}{peak} ({})", k.site, k.point, k.rule, k.level, times(e, end), e.reason)
}
