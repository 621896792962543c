#!/usr/bin/env python3
"""Counts and draws what rules warned of on the longwall readings (docs/longwall.md). Python 3.11, nothing else.

    draw.py readings SHARED.csv > readings.csv     the readings as `firedamp backtest` takes them, 30 s a row
    draw.py grid > grid.toml                       many settings of rate and forecast, to see where the named ones stand
    draw.py count readings.csv decided.jsonl RULES.toml...              the table of the page
    draw.py draw readings.csv decided.jsonl grid.jsonl RULES.toml...    the pictures of the page, beside this file

An episode is a level that went on and off again, as firedamp decided it; nothing here judges a reading but by asking
whether MM116 was below 1.0 %.
"""

import csv
import json
import statistics
import sys
import tomllib
from datetime import datetime, timedelta, timezone
from pathlib import Path

START = datetime(2026, 1, 1, tzinfo=timezone.utc)  # the rows have no times: this one is made up
STEP = 0.5  # minutes between two rows
AHEAD = 30.0  # a warning is right if 1.0 % is reached within so many minutes
CALM = 10.0  # a rise is fresh after so many minutes below 1.0 %
POINTS = ["MM31", "MM116", "AS038", "BA13"]
CHOSEN = ["ch4-rise", "R5", "F1", "L1"]  # lanes of the day's picture
SHORT = {"ch4-rise": "rate of the pack", "R5": "eager rate", "F1": "forecast", "L1": "lower limit"}


def minutes(text):
    """Minutes since the first row."""
    return (datetime.fromisoformat(text.replace("Z", "+00:00")) - START).total_seconds() / 60


def readings(path):
    """The file of the shared folder, one reading a line."""
    print("site,point,time,value,status")
    with open(path, newline="") as file:
        for n, row in enumerate(csv.DictReader(file)):
            time = (START + timedelta(minutes=n * STEP)).strftime("%Y-%m-%dT%H:%M:%SZ")
            for point in POINTS:
                print(f"LW,{point},{time},{row[point]},0")


def grid():
    """Rate by window, method and limit; forecast by window, method, time and sigmas."""
    select = 'select = { quantity = "ch4", kind = "mine" }\nunit = "%"'
    for window in (2, 3, 5, 10, 15, 20, 30):
        for method in ("ends", "least_squares"):
            for limit in (5, 10, 15, 20, 30, 40, 50, 75, 100):
                print(f'[[rule]]\nname = "rate-{window}-{method}-{limit}"\nkind = "rate"\n{select}')
                print(f'window = "{window}min"\nmethod = "{method}"')
                on, off = limit / 1000, limit / 4000
                print(f'level = [{{ name = "warning", on = ">= {on} /min", off = "< {off} /min" }}]\n')
    for window in (5, 10, 20, 30):
        for method in ("linear", "holt"):
            for within in (5, 10, 20, 30):
                for sigmas in (0.5, 1, 2):
                    print(f'[[rule]]\nname = "forecast-{window}-{method}-{within}-{sigmas}"\nkind = "forecast"')
                    print(f'{select}\nwindow = "{window}min"\nmethod = "{method}"\nsigmas = {sigmas}')
                    print('limit = ">= 1.0"')
                    print(f'level = [{{ name = "warning", within = "{within}min", clear = "{2 * within}min" }}]\n')


class Longwall:
    """MM116, and what was decided of it and of MM31."""

    def __init__(self, path, *decided, ahead=AHEAD):
        self.ahead = ahead
        with open(path, newline="") as file:
            self.values = [float(r["value"]) for r in csv.DictReader(file) if r["point"] == "MM116"]
        self.days = len(self.values) * STEP / 1440
        self.end = len(self.values) * STEP
        self.on = {}  # (point, rule, level): [[from, to or None], ..]
        for line in (line for path in decided for line in open(path)):
            t = json.loads(line)
            known = self.on.setdefault((t["point"], t["rule"], t["level"]), [])
            if t["to"] == "on":
                if known and known[-1][1] is None:
                    sys.exit(f"{t['rule']} was decided twice: judge the grid without the pack and the named settings")
                known.append([minutes(t["time"]), None])
            else:
                known[-1][1] = minutes(t["time"])
        self.alarms = self.episodes("ch4-face", "alarm")
        self.cuts = self.episodes("ch4-face", "cut")
        ends = [0.0] + [to for _, to in self.alarms]
        # The first episode begins in the first row: nothing can have warned of it.
        self.later = [(at, end) for (at, _), end in zip(self.alarms, ends) if at > 0]
        self.fresh = [(at, end) for at, end in self.later if at - end >= CALM]

    def episodes(self, rule, level="warning", point="MM116"):
        return [(a, self.end if b is None else b) for a, b in self.on.get((point, rule, level), [])]

    def value(self, at):
        return self.values[int(at / STEP)]

    def next_rise(self, at):
        return next((s for s, _ in self.alarms if s > at), None)

    def kind(self, at):
        """Of a warning at that time: `passed` (1.0 % is reached already), `ahead` or `false`."""
        if self.value(at) >= 1.0:
            return "passed"
        rise = self.next_rise(at)
        return "ahead" if rise is not None and rise - at <= self.ahead else "false"

    def chance(self, calm=0.0):
        """The share of the rows below 1.0 % (for more than `calm` minutes) that 1.0 % followed within half an hour."""
        below, right, since = 0, 0, 0.0
        for n, value in enumerate(self.values):
            since = 0.0 if value >= 1.0 else since + STEP
            if value < 1.0 and since > calm:
                below += 1
                right += self.kind(n * STEP) == "ahead"
        return right / below

    def standing(self, at):
        """How long MM116 was at 0.9 or over just before it reached 1.0 %."""
        n = int(at / STEP)
        while n and self.values[n - 1] >= 0.9:
            n -= 1
        return at - n * STEP

    def leads(self, rule, rises):
        """Of each rise that a warning came on before, at most half an hour and since the episode before it: how long."""
        begins = [a for a, _ in self.episodes(rule)]
        found = []
        for at, end in rises:
            before = [b for b in begins if max(end, at - self.ahead) <= b < at]
            if before:
                found.append(at - before[0])
        return found

    def figures(self, rule):
        begins = [a for a, _ in self.episodes(rule)]
        kinds = [self.kind(a) for a in begins]
        leads = self.leads(rule, self.fresh)
        below = sum(v < 1.0 for v in self.values)
        on = sum(v < 1.0 for a, b in self.episodes(rule) for v in self.values[int(a / STEP) : int(b / STEP)])
        half = self.end / 2
        return {
            "warnings": len(begins),
            "fresh": len(leads),
            "all": len(self.leads(rule, self.later)),
            "median": statistics.median(leads) if leads else None,
            "least": min(leads) if leads else None,
            "false": kinds.count("false") / self.days,
            "ahead": kinds.count("ahead"),
            "passed": kinds.count("passed"),
            "wrong": kinds.count("false"),
            "other": len(self.episodes(rule, point="MM31")) / self.days,
            "on": on / below,
            "halves": [
                (len(self.leads(rule, [r for r in self.fresh if (r[0] < half) == first])),
                 sum(k == "false" and (a < half) == first for a, k in zip(begins, kinds)))
                for first in (True, False)
            ],
        }


def rules(paths):
    """The named settings: (name, words)."""
    out = [("ch4-rise", "rate, 10 min, least squares, ≥ 0.02 /min (pack `coal`)")]
    for path in paths:
        for rule in tomllib.loads(Path(path).read_text())["rule"]:
            level = rule["level"][0]
            words = [rule["kind"]]
            words += [rule["window"].replace("min", " min")] if "window" in rule else []
            words += [rule[k].replace("_", " ") for k in ("method", "stat") if k in rule]
            words += [f"{rule['sigmas']} sigma"] if "sigmas" in rule else []
            words += [f"within {level['within'].replace('min', ' min')}"] if "within" in level else []
            words += [level["on"].replace(">=", "≥")] if "on" in level else []
            words += [f"off {level['off']}"] if rule["kind"] in ("limit", "window") else []
            words += [f"held {level['on_delay'].replace('min', ' min')}"] if "on_delay" in level else []
            out.append((rule["name"], ", ".join(words)))
    return out


def short(value):
    return "-" if value is None else f"{value:.1f}".removesuffix(".0")


def count(path, decided, *paths):
    wall = Longwall(path, decided)
    print(f"{len(wall.values)} rows, {wall.days:.2f} days; alarm {len(wall.alarms)} episodes, cut {len(wall.cuts)};",
          f"{len(wall.later)} begin after the first row, {len(wall.fresh)} fresh")
    print(f"chance: 1.0 % follows within half an hour in {wall.chance():.0%} of the rows below it,",
          f"in {wall.chance(CALM):.0%} of those after ten minutes below it")
    near = [wall.standing(at) for at, _ in wall.fresh]
    print("a fresh rise stood at 0.9 before for", *(f"at most {m} min: {sum(n <= m for n in near)};" for m in (0, 1, 3, 10)), "\n")
    print("| | setting | fresh rises warned of | all episodes warned of | lead: median, least | false a day "
          "| right | too late | MM31 a day | on |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, words in rules(paths):
        f = wall.figures(name)
        print(f"| {name} | {words} | {f['fresh']} of {len(wall.fresh)} | {f['all']} of {len(wall.later)} "
              f"| {short(f['median'])}, {short(f['least'])} min | {f['false']:.1f} "
              f"| {f['ahead']} of {f['ahead'] + f['wrong']} | {f['passed']} | {f['other']:.1f} | {f['on']:.0%} |")
    halves = [sum((at < wall.end / 2) == first for at, _ in wall.fresh) for first in (True, False)]
    print(f"\nThe halves of the file ({halves[0]} and {halves[1]} fresh rises), and other times that make a warning right:\n")
    print("| | first half: warned of, false | second half: warned of, false | 15 min: warned of, false a day | 60 min |")
    print("|---|---|---|---|---|")
    others = [Longwall(path, decided, ahead=ahead) for ahead in (15.0, 60.0)]
    for name, _ in rules(paths):
        cells = [f"{a}, {b}" for a, b in wall.figures(name)["halves"]]
        cells += [f"{f['fresh']}, {f['false']:.1f}" for f in (other.figures(name) for other in others)]
        print(f"| {name} | {' | '.join(cells)} |")
    print("\nThe episodes over 1.5 %, and how long before their 1.0 % each rule came on (those that ever did):\n")
    starts, ends = [a for a, _ in wall.alarms], [0.0] + [b for _, b in wall.alarms]
    rises = [max(rise for rise in zip(starts, ends) if rise[0] <= cut) for cut, _ in wall.cuts]
    names = [name for name, _ in rules(paths) if name in CHOSEN or wall.leads(name, rises)]
    print(f"| 1.5 % at | after 1.0 % | {' | '.join(names)} |")
    print("|---" * (len(names) + 2) + "|")
    for (cut, _), rise in zip(wall.cuts, rises):
        leads = [wall.leads(name, [rise]) for name in names]
        cells = " | ".join(f"{short(found[0])} min" if found else "-" for found in leads)
        print(f"| {cut / 60:.1f} h | {short(cut - rise[0])} min | {cells} |")


# Pictures.

INK, PALE, RED, ORANGE, GREEN, BLUE = "#222", "#bbb", "#c62828", "#ef6c00", "#2e7d32", "#1565c0"
LINES = [("ch4-rise", BLUE), ("F1", GREEN), ("L1", "#8e24aa")]  # rules of the worst episodes
COLOURS = {"ahead": GREEN, "false": ORANGE, "passed": "#8e8e8e"}


class Svg:
    """Shapes as text; every picture has its own white ground, for pages that are dark."""

    def __init__(self, width, height, title):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="sans-serif" font-size="13" role="img"><title>{title}</title>'
            f'<rect width="{width}" height="{height}" fill="#fff"/>'
        ]

    def text(self, x, y, words, anchor="start", fill=INK, size=13, more=""):
        words = words.replace("&", "&amp;").replace("<", "&lt;")
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-size="{size}" {more}>{words}</text>')

    def line(self, x1, y1, x2, y2, stroke=PALE, width=1.0, more=""):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}" stroke-width="{width}" {more}/>')

    def box(self, x, y, width, height, fill, more=""):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.8):.1f}" height="{height:.1f}" fill="{fill}" {more}/>')

    def dot(self, x, y, r, fill, more=""):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" fill="{fill}" {more}/>')

    def steps(self, points, stroke=INK):
        """A curve; points that go on in the same direction are left out."""
        kept = [p for i, p in enumerate(points)
                if i in (0, len(points) - 1) or not points[i - 1][1] == p[1] == points[i + 1][1]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in kept)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="1.4"/>')

    def write(self, path):
        path.write_text("\n".join(self.parts + ["</svg>"]) + "\n")
        print(f"{path} {path.stat().st_size} bytes")


def clock(at):
    """Day and time of day counted from the first row: hours since it."""
    return f"{at / 60:.0f} h"


def day(wall, path, first=1440.0):
    """24 hours: the curve, the limits, the episodes, and a lane a rule with when it was on."""
    left, width, top, high, lane = 190, 860, 50, 300, 34
    svg = Svg(left + width + 20, top + high + 64 + lane * len(CHOSEN), "MM116 on one day, with the alarm and four warnings")
    x = lambda at: left + (at - first) / 1440 * width
    y = lambda value: top + high - value / 2.0 * high
    svg.text(left, 22, f"MM116 in % CH4, hours {clock(first)} to {clock(first + 1440)} after the first row", size=15, more='font-weight="bold"')
    svg.text(left, 40, "shaded: alarm, 1.0 % and over", fill=RED)
    for at, end in wall.alarms:
        if end > first and at < first + 1440:
            a, b = x(max(at, first)), x(min(end, first + 1440))
            svg.box(a, top, b - a, high, RED, 'opacity="0.16"')
    for value in (0.0, 0.5, 1.0, 1.5, 2.0):
        limit = value in (1.0, 1.5)
        svg.line(left, y(value), left + width, y(value), RED if limit else PALE, 1.2 if limit else 0.6)
        words = {1.0: "alarm 1.0", 1.5: "cut 1.5"}.get(value, f"{value:.1f}")
        svg.text(left - 8, y(value) + 4, words, "end", RED if limit else INK)
    rows = range(int(first / STEP), min(int((first + 1440) / STEP), len(wall.values)))
    svg.steps([(x(n * STEP), y(wall.values[n])) for n in rows])
    under = top + high
    for hour in range(0, 25, 2):
        at = first + hour * 60
        svg.line(x(at), under, x(at), under + 5, INK)
        svg.text(x(at), under + 19, clock(at), "middle", size=12)
    for i, name in enumerate(CHOSEN):
        base = under + 34 + i * lane
        svg.box(left, base, width, lane - 8, "#f3f3f3")
        svg.text(left - 8, base + 12, name, "end", more='font-weight="bold"')
        svg.text(left - 8, base + 25, SHORT[name], "end", size=11, fill="#555")
        for at, end in wall.episodes(name):
            if end <= first or at >= first + 1440:
                continue
            a, b = x(max(at, first)), x(min(end, first + 1440))
            svg.box(a, base + 6, b - a, lane - 20, COLOURS[wall.kind(at)], 'opacity="0.45"')
            if at >= first:
                svg.box(a, base, 2, lane - 8, COLOURS[wall.kind(at)])
    base = under + 34 + len(CHOSEN) * lane + 18
    for i, (words, kind) in enumerate((("came on ahead: 1.0 % within half an hour", "ahead"), ("false: no 1.0 % in half an hour", "false"),
                                       ("came on when 1.0 % was reached already", "passed"))):
        at = left + (0, 300, 555)[i]
        svg.box(at, base - 11, 14, 12, COLOURS[kind])
        svg.text(at + 20, base, words, size=12)
    svg.write(path)


def panel(svg, box, scale, words):
    """Axes of one scatter: x by the square root, so that the crowded left is wide."""
    (left, top, width, high), (most_x, most_y, steps_x, steps_y) = box, scale
    x = lambda value: left + (min(value, most_x) / most_x) ** 0.5 * width
    y = lambda value: top + high - value / most_y * high
    for value in steps_x:
        svg.line(x(value), top, x(value), top + high, "#e4e4e4")
        svg.text(x(value), top + high + 17, short(value), "middle", size=12)
    for value in steps_y:
        svg.line(left, y(value), left + width, y(value), "#e4e4e4")
        svg.text(left - 7, y(value) + 4, short(value), "end", size=12)
    svg.text(left + width / 2, top + high + 36, "false warnings a day", "middle")
    svg.text(left, top - 12, words, size=14, more='font-weight="bold"')
    return x, y


def label(svg, taken, name, at, high, fill):
    """A name beside its dot, at the first side where nothing lies yet."""
    wide = 7.5 * len(name)
    for left, base in ((at + 8, high + 4), (at - 8 - wide, high + 4), (at - wide / 2, high - 9), (at - wide / 2, high + 18)):
        box = (left, base - 10, left + wide, base + 1)
        if not any(box[0] < t[2] and t[0] < box[2] and box[1] < t[3] and t[1] < box[3] for t in taken):
            break
    taken.append(box)
    svg.text(box[0], box[3] - 1, name, "start", fill, 12, 'font-weight="bold"')


def scatter(wall, names, path):
    """Every setting: how many rises it warned of and how long before, against its false warnings."""
    svg = Svg(1060, 510, "Rises warned of and lead time against false warnings a day")
    steps = (0, 0.5, 1, 2, 4, 6, 8, 12, 16)
    many = len(wall.fresh)
    panels = [
        (panel(svg, (50, 50, 460, 350), (16, many, steps, range(0, many, 5)), f"fresh rises warned of, of {many}"), "fresh"),
        (panel(svg, (575, 50, 460, 350), (16, 26, steps, range(0, 26, 5)), "median lead of these, minutes"), "median"),
    ]
    crowd = sorted({rule for _, rule, _ in wall.on if rule.startswith(("rate-", "forecast-"))})
    for rule in crowd:
        f = wall.figures(rule)
        for (x, y), key in panels:
            if f["fresh"] and f["false"] <= 16:
                svg.dot(x(f["false"]), y(f[key]), 3.2, "#9bbcdf" if rule.startswith("rate-") else "#e8b98a", 'opacity="0.75"')
    for (x, y), key in panels:
        named = [(name, wall.figures(name)) for name in names]
        named = [(name, x(f["false"]), y(f[key])) for name, f in named if f[key] is not None]
        taken = [(at - 6, high - 6, at + 6, high + 6) for _, at, high in named]
        for name, at, high in named:
            fill = {"c": RED, "R": BLUE, "F": "#d35400"}.get(name[0], GREEN)
            svg.dot(at, high, 5, fill, 'stroke="#fff"')
            label(svg, taken, name, at, high, fill)
    x, base = 50, 470
    for words, fill, r in (("named rate", BLUE, 5), ("named forecast", "#d35400", 5), ("a lower limit, or a mean", GREEN, 5),
                           ("ch4-rise of the pack", RED, 5), ("other rate settings", "#9bbcdf", 3.2), ("other forecast settings", "#e8b98a", 3.2)):
        svg.dot(x, base - 4, r, fill)
        svg.text(x + 10, base, words, size=12)
        x += 30 + 6.7 * len(words)
    svg.text(50, 495, "A good setting stands high and far left. Beyond 16 false warnings a day nothing is drawn.", fill="#555", size=12)
    svg.write(path)


def worst(wall, path):
    """The episodes that reached 1.5 %: an hour before and half an hour after, with the warnings."""
    wide, high, columns, before, span = 190, 150, 5, 60, 90
    rows = -(-len(wall.cuts) // columns)
    svg = Svg(60 + columns * (wide + 14), 66 + rows * (high + 52), "The episodes that reached 1.5 %")
    svg.text(40, 22, "The episodes over 1.5 %: an hour before and half an hour after it was reached", size=15, more='font-weight="bold"')
    for i, (name, stroke) in enumerate(LINES):
        svg.line(40 + i * 210, 38, 40 + i * 210, 52, stroke, 3)
        svg.text(47 + i * 210, 50, f"{name} came on below 1.0 %", fill=stroke, size=12)
    svg.text(40 + len(LINES) * 210, 50, "shaded: 1.0 % and over; dashed: 1.5 % reached", fill=RED, size=12)
    for i, (cut, _) in enumerate(wall.cuts):
        left, top = 40 + i % columns * (wide + 14), 74 + i // columns * (high + 52)
        first = cut - before
        x = lambda at: left + (at - first) / span * wide
        y = lambda value: top + high - value / 2.4 * high
        svg.box(left, top, wide, high, "#f8f8f8")
        for at, end in wall.alarms:
            if end > first and at < first + span:
                a, b = x(max(at, first)), x(min(end, first + span))
                svg.box(a, top, b - a, high, RED, 'opacity="0.14"')
        for value in (1.0, 1.5):
            svg.line(left, y(value), left + wide, y(value), RED, 0.8)
            if i % columns == 0:
                svg.text(left - 6, y(value) + 4, f"{value}", "end", RED, 11)
        for name, stroke in LINES:
            for at, _ in wall.episodes(name):
                if max(first, 0) <= at <= first + span and wall.kind(at) != "passed":
                    svg.line(x(at), top, x(at), top + high, stroke, 2.2)
        here = range(max(int(first / STEP), 0), min(int((first + span) / STEP), len(wall.values)))
        svg.steps([(x(n * STEP), y(wall.values[n])) for n in here])
        svg.line(x(cut), top, x(cut), top + high, INK, 0.8, 'stroke-dasharray="3 3"')
        svg.text(left, top + high + 15, f"1.5 % at {cut / 60:.1f} h, peak {max(wall.values[n] for n in here):.1f} %", size=12)
    svg.write(path)


def draw(path, decided, crowd, *paths):
    wall, folder = Longwall(path, decided, crowd), Path(__file__).parent
    names = [name for name, _ in rules(paths)]
    day(wall, folder / "day.svg")
    scatter(wall, names, folder / "settings.svg")
    worst(wall, folder / "worst.svg")


if __name__ == "__main__":
    commands = {"readings": readings, "grid": grid, "count": count, "draw": draw}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
