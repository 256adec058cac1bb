"""How a page is written: the Jinja2 environment of each language, and how somebody reads times and durations.

A template's sentences are English and looked up in the catalogues of ``liveguard/locale``; what depends on the reader
(language, time zone, 12 or 24 hours) is one :class:`Reader`, which comes with every rendering.
"""

import gettext
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, tzinfo
from functools import cache, lru_cache, partial
from pathlib import Path
from types import CodeType
from typing import Any, Literal, NamedTuple
from urllib.parse import quote
from zoneinfo import ZoneInfo, available_timezones

import jinja2
from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton
from babel.lists import format_list
from babel.numbers import format_decimal, format_percent
from jinja2.runtime import Context
from markupsafe import Markup

LOCALES = Path(__file__).resolve().parent.parent / "locale"
LANGUAGES = {"en": "English", "de": "Deutsch"}
HUES = 12
MOST_NAMED = 11


class Reader(NamedTuple):
    """How somebody reads: language and country, time zone, and 12 or 24 hours (empty: as is usual there)."""

    locale: str = "en"
    zone: str = "UTC"
    hours: str = ""  # 12 or 24, or empty

    @property
    def language(self) -> str:
        """The language alone, one of those that there are catalogues for."""
        return self.locale[:2]

    @property
    def tzinfo(self) -> tzinfo:
        """The time zone; an unknown one is UTC."""
        return zone(self.zone) or UTC


def zone(name: str) -> ZoneInfo | None:
    """A time zone by its name, such as ``Europe/Vienna``."""
    return ZoneInfo(name) if name in zones() else None


@lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """The names of all time zones; not of what this machine is set to, or of none, which no browser knows."""
    return frozenset(available_timezones() - {"localtime", "Factory"})


def negotiate(chosen: str, accepted: str) -> str:
    """The locale for somebody who chose a language (or none: ``""``) and whose browser says ``Accept-Language``."""
    for tag in _ranked(accepted):
        language = tag.partition("-")[0].lower()
        if language in LANGUAGES and chosen in ("", language):
            return _known(tag) or language
    return chosen if chosen in LANGUAGES else "en"


def _ranked(accepted: str) -> list[str]:
    ranks = []
    for place, part in enumerate(accepted[:500].split(",")):
        tag, _, quality = part.strip().partition(";q=")
        try:
            ranks.append((-float(quality or 1), place, tag.strip()))
        except ValueError:
            continue
    return [tag for _, _, tag in sorted(ranks)]


def _known(tag: str) -> str | None:
    try:
        locale = Locale.parse(tag, sep="-")
    except (UnknownLocaleError, ValueError, TypeError):
        return None
    return f"{locale.language}_{locale.territory}" if locale.territory else None


class Renderer:
    """All templates, in all languages."""

    def __init__(self, templates: Path, helpers: Mapping[str, Any]) -> None:
        # Each made when the first page is written in it: of a start, they would be a twentieth.
        self._environment = cache(partial(_environment, templates, helpers))

    def render(self, template: str, reader: Reader, **context: Any) -> str:
        """The text of a template for a reader."""
        return self._environment(reader.language).get_template(template).render(reader=reader, **context)

    def pieces(self, template: str, reader: Reader, **context: Any) -> Iterator[str]:
        """The same piece by piece, as it is rendered."""
        return self._environment(reader.language).get_template(template).generate(reader=reader, **context)


class _Compiled(jinja2.BytecodeCache):
    """What templates were compiled to, some 8 ms each: the same in all languages."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType] = {}  # by the place of a template, and by what it says

    def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        if bucket.code is not None:
            self._codes[bucket.key, bucket.checksum] = bucket.code


_compiled = _Compiled()


def _environment(templates: Path, helpers: Mapping[str, Any], language: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        bytecode_cache=_compiled,
        extensions=["jinja2.ext.i18n"],
    )
    catalogue = gettext.translation("messages", LOCALES, [language], fallback=language == "en")
    environment.install_gettext_translations(catalogue, newstyle=True)  # type: ignore[attr-defined]
    translate = _translate(catalogue)
    environment.globals.update(helpers, languages=LANGUAGES, _=translate, gettext=translate)
    environment.filters.update(
        clock=clock, initials=initials, hue=hue, time=_time, day=_day, moment=_moment, listed=_listed,
        few=_few, number=_number, percent=_percent, iso=_iso, segment=partial(quote, safe=""),
    )  # fmt: skip
    # On every page and card, and the same for everybody: imported once, not each time.
    environment.globals["icons"] = environment.get_template("icons.html").module
    return environment


def _translate(catalogue: gettext.NullTranslations) -> Callable[..., Markup]:
    """``_`` in a template: what Jinja2's own does, which looks all up anew each time, most of what a card costs."""

    @lru_cache(maxsize=1024)  # more sentences than there are
    def sentence(text: str) -> Markup:
        return Markup(catalogue.gettext(text))  # noqa: S704 - a translator's

    @lru_cache(maxsize=1024)
    def whole(text: str) -> Markup:
        return sentence(text) % {}

    def translate(text: str, /, **values: Any) -> Markup:
        return sentence(text) % values if values else whole(text)

    return translate


# -- filters -------------------------------------------------------------------------------------------------------


def clock(seconds: float) -> str:
    """A duration that ticks: ``4:05`` or ``1:04:05``."""
    whole = int(seconds) if seconds > 0 else 0
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def initials(name: str) -> str:
    """One or two letters for a name."""
    letters = [letter for word in name.split() if (letter := next(filter(str.isalnum, word), ""))]
    return "".join(letters[:1] + letters[1:][-1:]).upper() or "?"


def hue(person_id: str) -> str:
    """The class of a person's own colour, always the same one."""
    return f"hue-{sum(person_id.encode()) % HUES}"


def _reader(context: Context) -> Reader:
    reader: Reader = context["reader"]
    return reader


def _local(context: Context, moment: int) -> datetime:
    return datetime.fromtimestamp(moment / 1000, _reader(context).tzinfo)


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@jinja2.pass_context
def _time(context: Context, moment: int, beside: int | None = None) -> str:
    """The time of day, and the day as well where it is not the one of what it stands ``beside``."""
    reader, time = _reader(context), _minute(_reader(context), moment // 60_000)
    local = _local(context, moment)
    if beside is None or local.date() == _local(context, beside).date():
        return time
    return f"{format_skeleton('MMMd', local, locale=reader.locale)}, {time}"


@lru_cache(maxsize=4096)  # all that is shown of today; 60 µs each where the day has 12 hours
def _minute(reader: Reader, minute: int) -> str:
    local = datetime.fromtimestamp(minute * 60, reader.tzinfo)
    if (reader.hours or _usual_hours(reader.locale)) == "24":
        return format(local, "%H:%M")
    # Where a line ends, it stays in one piece.
    return format_skeleton("hm", local, reader.tzinfo, locale=reader.locale).replace(" ", "\N{NO-BREAK SPACE}")


@lru_cache
def _usual_hours(locale: str) -> str:
    return "12" if "h" in Locale.parse(locale).time_formats["short"].pattern else "24"


@jinja2.pass_context
def _day(context: Context, moment: int | date, style: Literal["short", "medium", "long", "full"] = "medium") -> str:
    day = _local(context, moment).date() if isinstance(moment, int) else moment
    return format_date(day, style, _reader(context).locale)


@jinja2.pass_context
def _moment(context: Context, moment: int) -> str:
    return f"{_day(context, moment)}, {_time(context, moment)}"


@jinja2.pass_context
def _listed(context: Context, names: list[str]) -> str:
    return format_list(names, locale=_reader(context).locale)


@jinja2.pass_context
def _few(context: Context, names: list[str]) -> list[str]:
    # Of very many, they would push away what is to be pressed.
    if len(names) <= MOST_NAMED + 1:
        return names
    ngettext = partial(context.call, context["ngettext"])
    return [*names[:MOST_NAMED], str(ngettext("%(num)d other", "%(num)d others", len(names) - MOST_NAMED))]


@jinja2.pass_context
def _number(context: Context, value: float, pattern: str | None = None) -> str:
    return format_decimal(value, pattern, _reader(context).locale)


@jinja2.pass_context
def _percent(context: Context, value: float) -> str:
    return _percentage(round(value), _reader(context).locale)


@lru_cache(maxsize=1024)
def _percentage(value: int, locale: str) -> str:
    return format_percent(value / 100, locale=locale)
