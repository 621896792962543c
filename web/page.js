// The page: active alarms first, sites with people below, last values with their age, the last hour of one point. Live.
// Values age here: when the link is lost everything looks stale at once, so a dead link cannot look calm.
import { WORDS } from "./words.js";

const SYMBOLS = { red: "◆1", orange: "▲2", yellow: "■3", blue: "●4" };
const LEVELS = ["red", "orange", "yellow", "blue"];
const BITS = ["alarm", "cut", "calibration", "over_range", "station_fault", "not_inspected", "paused", "sensor_fault", "stale", "future", "historical", "simulated", "missing", "no_device_time"];
const BAD = 0x10f0; // station fault, not inspected, paused, sensor fault, missing
const ROWS_MAX = 200; // rows of the point table; finding narrows it
const LINK_LOST_MS = 6000;

const $ = (id) => document.getElementById(id);
const state = { alarms: new Map(), seq: 0, sites: [], points: [], watched: [], people: [], levels: {}, sid: "", heard: 0, lostSince: 0, skew: 0, trend: null, find: "" };
let language = localStorage.getItem("language") || (navigator.language.startsWith("zh") ? "zh" : "en");
const t = (key) => WORDS[language][key] ?? key;
const now = () => Date.now() + state.skew;
const clock = (ms) => new Date(ms).toLocaleTimeString("sv", { timeZone: "Asia/Shanghai" }) + " +08";
const lost = () => state.lostSince > 0;

function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== false && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.map((c) => (c instanceof Node ? c : String(c ?? ""))));
  return node;
}

// Puts rows into a table body and touches only cells that differ: a button stays the same node while it is being clicked,
// and focus and selection survive each update.
function put(body, rows) {
  rows.forEach((row, i) => {
    const old = body.rows[i];
    if (!old) return body.append(row);
    if (old.dataset.key !== row.dataset.key) return old.replaceWith(row);
    old.className = row.className;
    [...row.cells].forEach((cell, n) => { if (!old.cells[n].isEqualNode(cell)) old.cells[n].replaceWith(cell); });
  });
  while (body.rows.length > rows.length) body.deleteRow(-1);
}

function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${String(s % 60).padStart(2, "0")}s`;
  return `${Math.floor(s / 3600)}h${String(Math.floor((s % 3600) / 60)).padStart(2, "0")}m`;
}

const number = (v) => (v === null || v === undefined ? "—" : Number(v.toPrecision(6)).toString());

async function api(path, options = {}) {
  const answer = await fetch(path, options);
  if (answer.status === 401) $("sign-on").hidden = false;
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error || answer.statusText);
  return body;
}

const post = (path, body) => api(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

async function load() {
  const [alarms, sites, points] = await Promise.all([api("/api/v1/alarms"), api("/api/v1/sites"), api("/api/v1/points")]);
  state.alarms = new Map(alarms.map((a) => [a.id, a]));
  state.sites = sites;
  state.points = points.map((p) => ({ ...p, key: `${p.site}\n${p.point}`, received: p.age_s === null ? null : now() - p.age_s * 1000 }));
  state.people = sites.map((s) => s.people).filter(Boolean).map((p) => ({ ...p, as_of: Date.parse(p.as_of) }));
  draw();
  await watch();
}

const shownPoints = () => {
  const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (p) => words.every((w) => `${p.site} ${p.point} ${p.name} ${p.quantity} ${p.place}`.toLowerCase().includes(w));
  return state.points.filter(fits);
};

async function watch() {
  if (!state.sid) return;
  const points = shownPoints().slice(0, ROWS_MAX).map((p) => [p.site, p.point]);
  const answer = await post(`/api/v1/stream/${state.sid}/watch`, { points });
  state.watched = answer.watched.map(([site, point]) => `${site}\n${point}`);
}

function listen() {
  const stream = new EventSource("/api/v1/stream");
  const on = (name, take) => stream.addEventListener(name, (event) => { state.heard = Date.now(); take(JSON.parse(event.data)); });
  on("hello", (hello) => { state.sid = hello.sid; state.seq = hello.seq; state.skew = Date.parse(hello.now) - Date.now(); load().catch(tell); });
  on("reset", () => load().catch(tell));
  on("beat", (beat) => { state.skew = Date.parse(beat.now) - Date.now(); });
  on("alarm", ({ seq, alarm }) => { state.seq = seq; if (alarm.state === "closed") state.alarms.delete(alarm.id); else state.alarms.set(alarm.id, alarm); drawAlarms(); });
  on("count", ({ levels }) => { state.levels = levels; drawHeader(); });
  on("site", ({ alarms }) => { for (const s of state.sites) s.alarms = alarms[s.site] ?? 0; drawSites(); });
  on("people", (people) => { state.people = people.map((p) => ({ ...p, as_of: p.as_of / 1000 })); drawSites(); drawHeader(); });
  on("value", (frame) => {
    const byKey = new Map(state.points.map((p) => [p.key, p]));
    frame.i.forEach((at, n) => {
      const point = byKey.get(state.watched[at]);
      if (!point) return;
      Object.assign(point, { value: frame.v[n], status: frame.q[n], received: now() - frame.age[n] });
      const site = state.sites.find((s) => s.site === point.site);
      if (site) site.last = frame.t;
    });
    drawPoints();
  });
}

// While the link is lost that is what is told: each request that fails then says nothing more.
const tell = (error) => { if (lost()) return; $("lost").hidden = false; $("lost").textContent = String(error.message || error); };

async function acknowledge(id) {
  const { results } = await post("/api/v1/alarms/ack", { ids: [id], seen_seq: state.seq });
  const bad = results.filter((r) => !["acked", "already"].includes(r.outcome));
  if (bad.length) tell(new Error(t("refused") + bad.map((r) => r.outcome).join(", ")));
}

// Somebody has to look at it: nobody has seen it, and nobody has put it aside.
const unseen = (alarm) => !alarm.acked && !alarm.shelved;

function alarmRow(alarm) {
  const mark = el("span", { class: "mark" }, SYMBOLS[alarm.severity]);
  const word = `${t(alarm.severity)} ${unseen(alarm) ? "!" : "✓"}`;
  const shelf = alarm.shelved ? [`${t("shelved")} ${clock(Date.parse(alarm.shelved.until))}, ${alarm.shelved.by}: ${alarm.shelved.note}`] : [];
  const marks = Object.keys(alarm.marks || {}).filter((m) => alarm.marks[m] === true && ["calibrating", "late", "unconfirmed"].includes(m)).map(t);
  const action = alarm.acked ? el("span", {}, t("acked")) : el("button", { onclick: () => acknowledge(alarm.id).catch(tell) }, t("acknowledge"));
  return el("tr", { class: unseen(alarm) ? "unacked" : "", "data-key": alarm.id },
    el("td", { class: `symbol ${alarm.severity}` }, mark, ` ${word}`),
    el("td", {}, span(now() - Date.parse(alarm.opened))),
    el("td", {}, alarm.site), el("td", {}, alarm.point), el("td", {}, `${alarm.rule} · ${alarm.level}`),
    el("td", {}, number(alarm.peak)), el("td", {}, [alarm.reason, ...marks, ...shelf].join(" · ")), el("td", {}, action));
}

function drawAlarms() {
  const order = (a, b) => unseen(b) - unseen(a) || LEVELS.indexOf(a.severity) - LEVELS.indexOf(b.severity) || b.opened.localeCompare(a.opened);
  const rows = [...state.alarms.values()].filter((a) => a.state === "active").sort(order);
  put($("alarms").tBodies[0], rows.map(alarmRow));
  $("alarms").hidden = rows.length === 0;
  $("no-alarms").textContent = rows.length ? "" : t("none") + clock(now());
}

function drawHeader() {
  const parts = LEVELS.map((level) => {
    const [active, unacked] = state.levels[level] || [0, 0];
    return el("span", { class: `symbol ${active ? level : ""}` }, `${SYMBOLS[level]} ${t(level)} ${active} (${unacked} ${t("unacked")})  `);
  });
  $("levels").replaceChildren(...parts);
  const below = state.people.reduce((sum, p) => sum + p.below, 0);
  $("people-total").textContent = state.people.length ? t("below") + below : "";
  $("link").textContent = lost() ? "" : t("link");
}

function drawSites() {
  const people = new Map(state.people.map((p) => [p.site, p]));
  const rows = state.sites.map((s) => {
    const p = people.get(s.site);
    const uncertain = p?.uncertain ? ` (${p.uncertain} ${t("uncertain")})` : "";
    const old = lost() || (p && now() - p.as_of > 15 * 60e3);
    return el("tr", { "data-key": s.site }, el("td", {}, `${s.name || ""} ${s.site}`), el("td", { class: s.alarms ? "symbol" : "" }, s.alarms),
      el("td", { class: old && p ? "stale" : "" }, p ? `${p.below}${uncertain}` : ""), el("td", {}, p ? clock(p.as_of) : ""),
      el("td", { class: lost() ? "stale" : "" }, s.last ? clock(Date.parse(s.last)) : t("never")));
  });
  put($("sites").tBodies[0], rows);
}

function quality(status) {
  const set = BITS.filter((_, bit) => status & (1 << bit)).map((b) => t(`q_${b}`));
  return set.length ? set.join(" · ") : t("normal");
}

function pointRow(p) {
  const age = p.received === null ? null : now() - p.received;
  const period = (p.period_s || 30) * 1000;
  const bad = p.status === null || p.status === undefined || (p.status & BAD) !== 0;
  const dead = age === null || age > 10 * period;
  const cls = lost() || dead || age > 3 * period ? "stale" : p.status & 4 ? "calibrating" : "";
  const value = p.received === null ? t("never") : bad || dead ? `— (${number(p.value)} ${p.unit})` : `${number(p.value)} ${p.unit}`;
  return el("tr", { "data-key": p.key }, el("td", {}, p.site), el("td", {}, el("button", { class: "link", "data-key": p.key, onclick: () => showTrend(p).catch(tell) }, p.point)), el("td", {}, [p.name, p.place].filter(Boolean).join(" ")),
    el("td", {}, p.quantity), el("td", { class: cls }, value), el("td", { class: cls }, age === null ? "" : span(age)), el("td", {}, p.received === null ? "" : quality(p.status)));
}

function drawPoints() {
  const all = shownPoints();
  const rows = all.slice(0, ROWS_MAX);
  put($("points").tBodies[0], rows.map(pointRow));
  $("shown").textContent = `${t("shown")}${rows.length}${t("of")}${all.length}`;
}

async function showTrend(point) {
  const opened = state.trend !== point;
  state.trend = point;
  $("trend-of").hidden = false;
  $("h-trend").textContent = `${point.site} ${point.point} ${point.name || ""} · ${point.quantity} ${point.unit} · ${t("trend")}`;
  const rows = await api(`/api/v1/trend?site=${encodeURIComponent(point.site)}&point=${encodeURIComponent(point.point)}&px=450`);
  if (state.trend === point) drawTrend(rows.filter((r) => r.n > 0));
  if (!opened) return;
  // The header stays on top and would cover what is scrolled under it.
  $("trend-of").style.scrollMarginTop = `${document.querySelector("header").offsetHeight}px`;
  $("trend-of").scrollIntoView({ block: "nearest" });
}

function drawTrend(rows) {
  const svg = $("trend");
  const make = (name, attributes, text) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  svg.replaceChildren();
  if (!rows.length) return svg.append(make("text", { x: 60, y: 100 }, t("never")));
  const time = (r) => Date.parse(r.t);
  const [from, to] = [time(rows[0]), Math.max(time(rows.at(-1)), time(rows[0]) + 1000)];
  const [min, max] = [Math.min(...rows.map((r) => r.min)), Math.max(...rows.map((r) => r.max))];
  const pad = (max - min || Math.abs(max) || 1) * 0.08;
  const x = (r) => 60 + ((time(r) - from) / (to - from)) * 820;
  const y = (v) => 190 - ((v - min + pad) / (max - min + 2 * pad)) * 175;
  const gap = Math.max(3 * ((to - from) / rows.length), 5000);
  const runs = [];
  rows.forEach((r, i) => { if (i && time(r) - time(rows[i - 1]) <= gap) runs.at(-1).push(r); else runs.push([r]); });
  for (const run of runs) {
    // A reading alone makes no line.
    if (run.length === 1) svg.append(make("circle", { cx: x(run[0]), cy: y(run[0].avg), r: 2 }));
    const up = run.map((r) => `${x(r)},${y(r.max)}`), down = run.map((r) => `${x(r)},${y(r.min)}`).reverse();
    svg.append(make("path", { class: "band", d: `M${[...up, ...down].join("L")}Z` }), make("path", { d: `M${run.map((r) => `${x(r)},${y(r.avg)}`).join("L")}` }));
  }
  for (const v of [min, max]) svg.append(make("line", { class: "axis", x1: 60, x2: 880, y1: y(v), y2: y(v) }), make("text", { x: 4, y: y(v) + 4 }, number(v)));
  svg.append(make("text", { x: 60, y: 212 }, clock(from)), make("text", { x: 880, y: 212, "text-anchor": "end" }, clock(to)));
}

function words() {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  $("language").textContent = t("language");
}

function draw() { words(); drawHeader(); drawAlarms(); drawSites(); drawPoints(); }

function beat() {
  const silent = state.heard && Date.now() - state.heard > LINK_LOST_MS;
  if (silent && !lost()) state.lostSince = state.heard;
  if (!silent) { if (lost()) $("lost").hidden = true; state.lostSince = 0; }
  if (lost()) { $("lost").hidden = false; $("lost").textContent = t("lost") + clock(state.lostSince) + t("lost_rest"); }
  $("clock").textContent = clock(now());
  drawHeader(); drawAlarms(); drawSites(); drawPoints();
}

$("language").addEventListener("click", () => { language = language === "zh" ? "en" : "zh"; localStorage.setItem("language", language); draw(); });
$("find").addEventListener("input", (event) => { state.find = event.target.value; drawPoints(); watch().catch(tell); });
$("sign-on").addEventListener("submit", (event) => {
  event.preventDefault();
  post("/api/v1/session", { token: $("token").value }).then(() => location.reload()).catch(tell);
});
words();
api("/api/v1/whoami").then(listen).catch(tell);
setInterval(beat, 1000);
setInterval(() => state.trend && showTrend(state.trend).catch(tell), 10000);
