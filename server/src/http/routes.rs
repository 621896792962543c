//! The table of all routes.

use super::Route;
use super::{alarms, auth, events, health, openapi, page, points, push, sites, sql, trend, unknown};
use crate::config::Role::{Analyst, Engineer, Operator, Viewer};
use axum::routing::{delete, get, post};

const JSON: &[&str] = &["application/json"];
const TEXT: &[&str] = &["text/plain"];
const TABLES: &[&str] = &[
    "application/json",
    "text/csv",
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.parquet",
];

/// Every route, each with its role.
pub fn all() -> Vec<Route> {
    let mut all = reading();
    all.extend(acting());
    all.extend(open());
    all
}

#[allow(clippy::too_many_lines)] // a table
fn reading() -> Vec<Route> {
    let get_json = |path, summary, query, handler| Route {
        method: "GET",
        path,
        role: Some(Viewer),
        summary,
        query,
        body: &[],
        answer: JSON,
        handler,
    };
    vec![
        get_json(
            "/api/v1/sites",
            "Sites with active alarms, people below and the age of their data",
            &[],
            || get(sites::list),
        ),
        get_json(
            "/api/v1/points",
            "Points with their last value and its age",
            &[
                ("site", "only this site"),
                ("quantity", "only this quantity"),
                ("limit", "most points, default 10000"),
            ],
            || get(points::list),
        ),
        get_json(
            "/api/v1/history",
            "Readings of one point, oldest first",
            &[
                ("site", "site code"),
                ("point", "point code"),
                ("from", "RFC 3339 or Unix ms, default one hour ago"),
                ("to", "default now"),
                ("limit", "most readings, default 10000"),
            ],
            || get(points::history),
        ),
        get_json(
            "/api/v1/trend",
            "Minimum, maximum and mean of one point in buckets",
            &[
                ("site", "site code"),
                ("point", "point code"),
                ("from", "default one hour ago"),
                ("to", "default now"),
                ("px", "number of buckets, default 600"),
            ],
            || get(trend::trend),
        ),
        get_json(
            "/api/v1/alarms",
            "Alarms, active first; no time filter hides an active one",
            &[
                ("all", "closed ones too"),
                ("site", "only this site"),
                ("region", "a prefix"),
                ("after", "id of the last alarm of the page before"),
                ("limit", "most alarms, default 1000"),
            ],
            || get(alarms::list),
        ),
        get_json("/api/v1/shelved", "What people put aside, until when and why", &[], || {
            get(alarms::shelved)
        }),
        get_json("/api/v1/alarms/{id}", "One alarm, by its id or the first digits of it", &[], || {
            get(alarms::one)
        }),
        get_json(
            "/api/v1/alarms/{id}/history",
            "What happened to it, who did what, who was told",
            &[],
            || get(alarms::history),
        ),
        get_json(
            "/api/v1/people",
            "People below ground by mine and area, with age and uncertain ones",
            &[],
            || get(sites::people),
        ),
        get_json("/api/v1/people/{site}", "The cards below in one mine", &[], || get(sites::cards)),
        get_json("/api/v1/sources", "Sources with their health", &[], || get(sites::sources)),
        get_json("/api/v1/balance", "What came in against what is stored", &[], || get(health::balance)),
        get_json("/api/v1/unknown", "Unknown points with their last value", &[], || get(unknown::list)),
        Route {
            answer: &["text/event-stream"],
            ..get_json(
                "/api/v1/stream",
                "Server-sent events: alarm, count, site, value, people, beat; resumes with Last-Event-ID",
                &[("topics", "comma list, default all")],
                || get(events::stream),
            )
        },
        Route {
            method: "POST",
            body: JSON,
            ..get_json("/api/v1/stream/{sid}/watch", "Points whose values a stream sends", &[], || {
                post(events::watch)
            })
        },
        get_json("/api/v1/whoami", "Name, role and scope of the caller", &[], || get(auth::whoami)),
    ]
}

fn acting() -> Vec<Route> {
    let post_json = |path, role, summary, handler| Route {
        method: "POST",
        path,
        role: Some(role),
        summary,
        query: &[],
        body: JSON,
        answer: JSON,
        handler,
    };
    let act = |path, summary| post_json(path, Operator, summary, || post(alarms::act));
    vec![
        act("/api/v1/alarms/ack", "Acknowledge alarms: seen"),
        act("/api/v1/alarms/comment", "Write a remark: `note`"),
        act(
            "/api/v1/alarms/shelve",
            "Put aside: nobody is told until it rises or the time is over; `note` why, `for`, `one_shot`",
        ),
        act("/api/v1/alarms/unshelve", "Take back from the shelf"),
        act("/api/v1/alarms/urge", "Press for it: `way`, `called`, `note` why"),
        act("/api/v1/alarms/dispose", "Report `cause` and `measure`"),
        act("/api/v1/alarms/close", "Verify what another person reported, and strike off"),
        act("/api/v1/alarms/return", "Send back what was reported: `note` why"),
        act("/api/v1/alarms/clear", "End firedamp's own alarms that only a person can end"),
        post_json(
            "/api/v1/unknown/register",
            Engineer,
            "Register an unknown point and release its readings",
            || post(unknown::register),
        ),
        post_json("/api/v1/reload", Engineer, "Read rules, catalog and routes again", || {
            post(health::reload)
        }),
        post_json("/api/v1/readings", Operator, "Push readings as JSON; 200 once durable", || {
            post(push::json)
        }),
        Route {
            body: TEXT,
            query: &[("precision", "ns, us, ms or s; default ns")],
            ..post_json("/api/v1/write", Operator, "Push InfluxDB line protocol; 204 once durable", || {
                post(push::lines)
            })
        },
        Route {
            body: TEXT,
            answer: TABLES,
            ..post_json("/api/v1/sql", Analyst, "Ask SQL; the answer's form follows Accept", || {
                post(sql::ask)
            })
        },
    ]
}

fn open() -> Vec<Route> {
    let anybody = |method, path, summary, answer, handler| Route {
        method,
        path,
        role: None,
        summary,
        query: &[],
        body: &[],
        answer,
        handler,
    };
    vec![
        anybody("GET", "/health/live", "The process lives", TEXT, || get(health::live)),
        anybody("GET", "/health/ready", "All parts work, or which does not", JSON, || get(health::ready)),
        Route {
            role: Some(Viewer),
            ..anybody("GET", "/metrics", "Prometheus metrics", TEXT, || get(health::metrics))
        },
        anybody("GET", "/api/v1/openapi.json", "This description", JSON, || get(openapi::describe)),
        Route {
            body: JSON,
            ..anybody("POST", "/api/v1/session", "Sign on with a token", JSON, || post(auth::sign_on))
        },
        anybody("DELETE", "/api/v1/session", "Sign off", JSON, || delete(auth::sign_off)),
        anybody("GET", "/", "The page", &["text/html"], || get(page::index)),
        anybody("GET", "/page/{file}", "Parts of the page", &["text/plain"], || get(page::part)),
    ]
}
