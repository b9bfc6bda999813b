"""The redactor: masks secrets in texts and in fields, by the name before them or by their look.

Logs, spans, errors and `config show` all use it. A text is searched for what may be worth it only
if some cheap sign of it is there, and every search takes time in proportion to the text.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

MASK = "[redacted]"
WORDS = (  # too short to be looked for within other words, such as `shipping` or `design`
    *("pass", "pw", "pwd", "pin", "otp", "totp", "cvv", "cvc"),
    *("auth", "sig", "sid", "csrf"),
)
NAMES = (
    *("password", "passwd", "passphrase", "passcode", "pin_code", "secret", "credential"),
    *("token", "authorization", "assertion", "signature", "cookie"),
    *("session_id", "sess_id", "session_key", "api_key", "private_key", "access_key"),
    *("auth_key", "account_key", "encryption_key", "master_key", "shared_key", "signing_key"),
    *WORDS,
)
MOST_NESTED = 8
PAIR = 2  # items
SHORTEST_STEM = 3
MOST_KEPT, LONGEST_KEPT = 1024, 64  # names that are remembered, and characters of one

# Whoever chooses a part of a text could forge a line by a line's end, repaint the terminal by
# control characters, and turn around what is read by marks, embeddings and isolates of directions.
CONTROLS = (*range(32), *range(127, 160))
MARKS = (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
ESCAPES = {code: f"\\x{code:02x}" for code in CONTROLS} | {code: f"\\u{code:04x}" for code in MARKS}

Span = tuple[int, int]
Search = Callable[[str], Iterator[Span]]


class Redactor:
    """Masks what stands behind one of `names`, what matches `patterns`, and what gives itself away.

    Case and `-` or `_` in a name do not matter. One of WORDS has to be the last word of a name,
    any other may be anywhere in it.
    """

    def __init__(self, names: Iterable[str] = NAMES, patterns: Iterable[str] = ()) -> None:
        lowered = [name.lower() for name in names if name.strip("-_ ")]
        words = [name for name in lowered if name in WORDS]
        self._part = re.compile(_any_of(_spelled(n) for n in lowered if n not in WORDS))
        self._word = re.compile(
            rf"(?:(?<![A-Za-z])(?i:{_any_of(words)})|{_any_of(w.capitalize() for w in words)})"
            r"(?:s|\d)*+(?![\w-])"
        )
        self._likely = re.compile(_any_of(_by_first_letter(_stems(lowered))))
        self._patterns = [_spans_of(re.compile(pattern)) for pattern in patterns]
        self._kept_name = lru_cache(MOST_KEPT)(self._shown_name)

    def text(self, text: str) -> str:
        """Return the text without what is, or looks like, a secret."""
        for search in self._searches(text):
            text = _cut(text, search(text))
        return text

    def secrets(self, text: str) -> set[str]:
        """Return the parts of the text that `text` masks."""
        secrets: set[str] = set()
        for search in self._searches(text):
            spans = list(search(text))
            secrets.update(text[start:end] for start, end in spans)
            text = _cut(text, spans)
        return secrets - {MASK}

    def fields(self, fields: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
        """Return the fields, whole or in parts, without secrets."""
        hidden, shown = self.hidden(fields), {}
        for key, value in fields.items():
            name, is_secret = self._name(key if isinstance(key, str) else written(key))
            shown[name] = MASK if is_secret or name == hidden else self.value(value, depth)
        return shown

    def value(self, value: Any, depth: int = 0) -> Any:
        """Return a value of any kind without secrets."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool | float) or self._is_small(value):
            return value
        return self._structure(value, depth)

    def _is_small(self, value: Any) -> bool:
        """Tell whether it is a number with too few digits for a card, and nothing else matters."""
        return type(value) is int and 0 <= value < SMALLEST_CARD and not self._patterns

    def _structure(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping) and depth < MOST_NESTED:
            return self.fields(value, depth + 1)
        if isinstance(value, list | tuple) and depth < MOST_NESTED:
            hidden = self.hidden(value)
            items = enumerate(value)
            return [MASK if i == hidden else self.value(item, depth + 1) for i, item in items]
        text = self.text(written(value))
        return value if isinstance(value, int) and text == str(value) else text

    def is_secret(self, name: str) -> bool:
        """Tell whether what has this name is a secret."""
        return self._name(name)[1]

    def hidden(self, value: Mapping[Any, Any] | Sequence[Any]) -> str | int | None:
        """Return the key or index of a secret that the value itself names; None if there is none.

        That is 1 of ("authorization", ...), "value" of {"name": "authorization", ...}.
        """
        if not isinstance(value, Mapping):
            return 1 if len(value) == PAIR and self._names_secret(value[0]) else None
        names = (value.get("name"), value.get("key")) if "value" in value else ()
        return "value" if any(map(self._names_secret, names)) else None

    def _names_secret(self, name: Any) -> bool:
        return isinstance(name, str | bytes) and self.is_secret(written(name))

    def _name(self, name: str) -> tuple[str, bool]:
        """Return a name as it is shown, and whether it is one of a secret; the same come often."""
        return (self._kept_name if len(name) <= LONGEST_KEPT else self._shown_name)(name)

    def _shown_name(self, name: str) -> tuple[str, bool]:
        is_secret = self._part.search(name.lower()) or self._word.search(name)
        return self.text(name), bool(is_secret)

    def _searches(self, text: str) -> list[Search]:
        """Return what may find something in the text: to look for signs is cheaper than to try."""
        lowered, due = text.lower(), self._patterns
        if _may_hold_a_value(text) and self._likely.search(lowered):
            due = [self._named, *due]
        if len(text) < SHORTEST:
            return due
        if _may_hold_a_token(lowered):
            due = [*due, *(search for sign, search in TOKENS if sign in lowered)]
        return [*due, _cards] if _may_hold_a_card(text) and CARD.search(text) else due

    def _named(self, text: str) -> Iterator[Span]:
        """Yield where the values of secret names are."""
        at = 0
        while match := NAMED.search(text, at):
            at = match.end()
            names = (_name(match), match["name"], match["index"] or "")  # `\\token` may be either
            if any(map(self.is_secret, names)):
                start, at = at, _end_of_value(match, names[0])
                yield start, at


# Cheap signs of what may be there, written out, as each text pays for looking.
def _may_hold_a_value(text: str) -> bool:
    return "=" in text or ":" in text or "," in text or "%" in text or "--" in text


def _may_hold_a_token(lowered: str) -> bool:
    is_encoded = "eyj" in lowered or "-----" in lowered or "%40" in lowered
    return is_encoded or "bearer" in lowered or "basic" in lowered or "@" in lowered


def _may_hold_a_card(text: str) -> bool:
    return LEAST_CARD in text.encode("utf-8", "replace").translate(ONLY_DIGITS, b" -")


@cache
def redactor_of(names: tuple[str, ...], patterns: tuple[str, ...]) -> Redactor:
    """Return a redactor, for the same always the same: to make one takes milliseconds."""
    return Redactor(names, patterns)


def usual() -> Redactor:
    """Return the redactor of the names above, for where no settings are at hand."""
    return redactor_of(NAMES, ())


def visible(text: str) -> str:
    """Return a text on one line, with escapes for what a terminal would obey."""
    return text if text.isprintable() else text.translate(ESCAPES)


def written(value: object) -> str:
    """Return the value as text; never raises."""
    try:
        return str(value)
    except Exception as error:  # whose __str__ is broken still has a line
        return f"<{type(value).__name__}: {type(error).__name__} in __str__>"


def _any_of(patterns: Iterable[str]) -> str:
    return "|".join(patterns) or r"(?!)"


def _stems(names: Iterable[str]) -> set[str]:
    """Return words of which each name holds one, and fewer of them than there are names."""
    stems: set[str] = set()
    split = (re.split("[-_ ]", name) for name in names)
    for words in sorted(split, key=lambda words: (len(words), len(words[0]))):
        if not any(stem in word for stem in stems for word in words):
            stems.add(words[-1] if len(words[-1]) >= SHORTEST_STEM else max(words, key=len))
    return stems


def _by_first_letter(stems: Iterable[str]) -> Iterator[str]:
    """Yield one pattern for all that begin with the same letter: quicker to be refused."""
    for first, group in groupby(sorted(stems), key=itemgetter(0)):
        yield f"{re.escape(first)}(?:{_any_of(re.escape(stem[1:]) for stem in group)})"


def _spelled(name: str) -> str:
    return "[-_ ]?".join(map(re.escape, re.split("[-_ ]", name)))


def _cut(text: str, spans: Iterable[Span]) -> str:
    pieces: list[str] = []
    at = 0
    for start, end in spans:
        if start < end:
            pieces += text[at:start], MASK
            at = end
    return "".join((*pieces, text[at:])) if pieces else text


def _spans_of(pattern: re.Pattern[str], group: int = 0) -> Search:
    return lambda text: (match.span(group) for match in pattern.finditer(text))


# A name and what leads from it to its value. All that repeats is possessive, and begins where
# nothing like it stands before, so no character is looked at again and again.
NAMED = re.compile(
    r"""
    (?: (?P<pair> [(\[] \s*+ (?:[bru]{1,2}(?=\\*+["']))? \\*+ ["'] )  # ("name", value)
      | (?<![\w-]) )
    (?P<name> (?P<flag>--)?+ [\w-]++ )
    (?: \\*+["'] | \[(?P<index>[\w-]*+)\] | [\])] | %(?:25)*+(?:2[27]|5D) ){0,3}+  # an end of it
    (?: \s*+ (?: => | := | =++ | :(?!//) ) \s*+
      | (?P<encoded> %(?:25)*+3[AD] (?:\+|%(?:25)*+20)*+ )
      | (?<=["']) \s*+ , \s*+ \\*+ ["']? value \\*+ ["']? \s*+ [:=] \s*+
      | (?(pair) \s*+ , \s*+ | (?!) )
      | (?(flag) (?: \s*+ , \s*+ | \s++ ) | (?!) )  # --name value
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)
ESCAPED = re.compile(r"\\[nrt]|%(?:25)*+[0-9a-f]{2}", re.IGNORECASE)  # takes letters of its own
HEADER = re.compile("authorization|cookie", re.IGNORECASE)  # has the rest of its line as a value
NOTHING = re.compile(r"(?i:true|false|none|null)(?![^\s,;&\"')}\]])")
QUOTE = r"(?P<escape>\\*+)(?P<quote>[\"'])"
OPENING = re.compile(
    rf"(?i:[bruf]{{0,2}}+){QUOTE}|[\w.]*+(?P<bracket>[(\[{{])|(?P<percent>%(?:25)*+2[27])"
)
CLOSING = re.compile(rf"(?<!\\){QUOTE}")  # from the first of its backslashes on
BRACKET = re.compile(rf"(?<!\\){QUOTE}|(?P<opening>[(\[{{])|[)\]}}]")
# Quotes and brackets are part of a plain value if a letter follows, as in `it's`.
PLAIN_VALUE = re.compile(
    r"""(?i:(?:bearer|basic|digest|token|apikey|negotiate)\s++)?"""
    r"""(?:[^\s,;&"'\\)}\]]|\\++(?!["'])|["')}\]](?=\w))*+"""
)
LINE_VALUE = re.compile(
    r"""(?:=\\*+"[^"\n]*+"?|='[^'\n]*+'?|[^\n"'\\]|["'](?![\s,)\]}:\\"']|\Z)"""
    r"""|\\++(?!["']|r\\++n))*+"""
)
ENCODED_VALUE = re.compile(
    r"""(?i:%(?:25)*+(?:5B|7B|28)[^\s&"']*+"""
    r"""|(?:[^\s,;&"'%]|%(?!(?:25)*+(?:2[0267C]|3B|0[AD]|[57]D)))*+)"""
)
ENCODED_LINE = re.compile(r"""(?i:(?:[^\s&"'%]|%(?!(?:25)*+(?:2[26]|0[AD])))*+)""")

TOKENS: Sequence[tuple[str, Search]] = tuple(  # a sign of it in lower case; where what is masked is
    (sign, _spans_of(re.compile(pattern), 1))
    for sign, pattern in (
        ("bearer", r"(?i:bearer)(?:[\s+]|%20)++([\w.~+/=-]{8,})"),  # RFC 6750
        ("basic", r"\bBasic(?:[\s+]|%20)++([A-Za-z0-9+/]{8,}=*)"),  # RFC 7617
        # In other letters it is a word of English, too: what follows has to look as if encoded.
        (
            "basic",
            r"(?i:basic)(?:[\s+]|%20)++(?=[A-Za-z+/]*+[0-9=]|[A-Z]*+[a-z]++[A-Z])"
            r"([A-Za-z0-9+/]{8,}=*)",
        ),
        ("eyj", r"(?<![\w-])(?>[\w-]*?(?=eyJ))([\w-]{8,}+\.[\w-]+(?:\.[\w-]*)*)"),  # RFC 7519
        ("@", r"://([^/\s?#\"\\<>]+)(?=@)"),  # RFC 3986, userinfo
        # Its signs should have been encoded; a port is no beginning of a password.
        ("@", r"://([^/\s:@?#\"\[]*+:(?!\d{0,5}[/?#])(?:(?!://)[^\s@\"\\<>])*+)(?=@)"),
        ("%40", r"(?i:%3A(?:%2F){2})((?:[^\s/?#\"&%]|%(?!2[Ff]|40|3[Ff]|23))++)(?=%40)"),
        (
            "-----",  # RFC 7468
            r"(?s)(-----BEGIN[A-Z0-9 +%]*PRIVATE(?: |\+|%20)KEY(?: BLOCK)?-----.*?"
            r"(?:-----END[A-Z0-9 +%]*-----|\Z))",
        ),
    )
)
SHORTEST = 8  # characters of the shortest text that one of these is in
CARD = re.compile(  # ISO/IEC 7812; begins as those of banks do, not as times in nanoseconds
    r"[2-6](?<![\w.][2-6])"
    r"(?:\d{12,18}|\d{3}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{3}([ -])\d{6}\2\d{5})(?!\w)"
)
ONLY_DIGITS = bytes(ord("0") if code in b"0123456789" else ord(" ") for code in range(256))
LEAST_CARD = b"0" * 13
SMALLEST_CARD = 10**12


def _name(match: re.Match[str]) -> str:
    """Return the name without the end of an escape before it, such as the n of a line's end."""
    name = match["name"]
    if (before := match.start()) and match.string[before - 1] in "\\%":
        escape = ESCAPED.match(match.string, before - 1)
        return name[escape.end() - before :] if escape else name
    return name


def _end_of_value(match: re.Match[str], name: str) -> int:
    """Return where the value ends that begins where the match ends."""
    text, at = match.string, match.end()
    is_line = bool(HEADER.search(name))
    opening = OPENING.match(text, at)
    if opening and not (is_line and opening["bracket"] and opening.end() > at + 1):
        end = _end_of_opened(text, opening)
        goes_on = is_line and text[end : end + 1] == ";"
        return _matched(LINE_VALUE, text, end) if goes_on else end
    if match["encoded"]:
        return _matched(ENCODED_LINE if is_line else ENCODED_VALUE, text, at)
    if is_line or text[at : at + 1] == "<":  # as a repr begins, which may hold anything
        return _matched(LINE_VALUE, text, at)
    return at if NOTHING.match(text, at) else _matched(PLAIN_VALUE, text, at)


def _matched(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _end_of_opened(text: str, opening: re.Match[str]) -> int:
    if opening["bracket"]:
        return _end_of_brackets(text, opening.end() - 1)
    if opening["percent"]:
        end = text.find(opening["percent"], opening.end())
        return len(text) if end < 0 else end + len(opening["percent"])
    return _end_of_quoted(text, opening)


def _end_of_quoted(text: str, opening: re.Match[str]) -> int:
    """Return where the quoted ends; in texts within texts it may be escaped several times.

    A quote with fewer backslashes ends what is around it, too. Whether one with more ends a text
    with a backslash, or is within one that `repr` has escaped, nobody knows: all is masked then.
    """
    level = len(opening["escape"])
    within = 2 * level + 1  # backslashes of a quote in the text; as many and one for a backslash
    for closing in CLOSING.finditer(text, opening.end()):
        escapes = len(closing["escape"])
        if closing["quote"] != opening["quote"] or escapes % (within + 1) == within:
            continue
        if escapes <= level:
            return closing.end() if escapes == level else closing.start()
        break
    return len(text)


def _end_of_brackets(text: str, at: int) -> int:
    depth = 0
    while part := BRACKET.search(text, at):
        at = part.end()
        if part["quote"]:
            at = _end_of_quoted(text, part)
            continue
        depth += 1 if part["opening"] else -1
        if depth == 0:
            return at
    return len(text)


def _cards(text: str) -> Iterator[Span]:
    for match in CARD.finditer(text):
        if _passes_luhn([int(character) for character in match[0] if character.isdigit()]):
            yield match.span()


def _passes_luhn(digits: Sequence[int]) -> bool:
    """Return whether the last digit fits the others (ISO/IEC 7812-1, annex B)."""
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
