"""A curve as an SVG picture: the abscissa logarithmic, the ordinate too where growth itself is the point."""

import math
from html import escape

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 40, 45
COLOURS = ("#1f6feb", "#c2410c", "#15803d", "#7c3aed")


def ticks_of_log(least, most):
    return [10.0**power for power in range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)]


def ticks_from_zero(most):
    step = 10 ** math.floor(math.log10(most / 2))
    step *= next(factor for factor in (1, 2, 5, 10) if most / (step * factor) <= 6)
    return [step * count for count in range(math.ceil(most / step) + 1)]


class Axis:
    """Where a value lies between two edges of the picture."""

    def __init__(self, ticks, begin, end, logarithmic):
        self.ticks = ticks
        self.begin, self.end = begin, end
        self.scale = math.log10 if logarithmic else float

    def __call__(self, value):
        low, high = self.scale(self.ticks[0]), self.scale(self.ticks[-1])
        return self.begin + (self.end - self.begin) * (self.scale(value) - low) / (high - low)


def text(x, y, words, anchor="middle", **more):
    given = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{given}>{escape(words)}</text>'


def grid(across, up):
    for tick in up.ticks:
        y = up(tick)
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        yield text(LEFT - 8, y + 4, f"{tick:,g}", "end")
    for tick in across.ticks:
        yield text(across(tick), HEIGHT - BOTTOM + 18, f"{tick:,.0f}")


def line(points, across, up, colour, name):
    places = [(across(x), up(y)) for x, y in points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places)
    yield text(places[-1][0] + 10, places[-1][1] + 4, name, "start", fill=colour)


def svg(title, below, series, logarithmic=False):
    """`series` is a list of names with their points; the result is a whole file."""
    xs = [x for _, points in series for x, _ in points]
    ys = [y for _, points in series for _, y in points]
    across = Axis(ticks_of_log(min(xs), max(xs)), LEFT, WIDTH - RIGHT, True)
    ticks = ticks_of_log(min(ys), max(ys)) if logarithmic else ticks_from_zero(max(ys))
    up = Axis(ticks, HEIGHT - BOTTOM, TOP, logarithmic)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        text(LEFT, 22, title, "start", font_size=14, font_weight="bold"),
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, below),
        *grid(across, up),
    ]
    for (name, points), colour in zip(series, COLOURS, strict=False):
        parts += line(points, across, up, colour, name)
    return "\n".join([*parts, "</svg>"]) + "\n"
