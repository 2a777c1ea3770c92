"""
A request as client code: ``snippets/<language>.jinja`` says how a language sends it, a writer how it spells JSON.

The template holds the words of the language; a value gets into it through the writer alone, so whatever stands in a
body, a URL or a credential arrives at the server as it was given.  Where the literals of a language cannot say a body
exactly (JavaScript has no 2**53 + 1, PHP sends 1.0 as 1), the snippet sends its JSON text.  No Flask here: the console
and the command line print the same text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal, get_args

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from connectome import extjson, relaxed
from connectome.errors import InvalidJSON

Auth = Literal["url", "header"]
AUTHS: Final[tuple[Auth, ...]] = get_args(Auth)

# What a line of a body may be long, as it stands in the code column of the console without scrolling.
_WIDTH: Final = 72


@dataclass(frozen=True)
class Request:
    """
    What a snippet sends.

    body: plain JSON, an object or an array; None where nothing is sent.
    token: sent as ``Authorization: Bearer``; empty where the credential stands in the URL.
    documents: whether the answer is an array of documents.
    """

    method: str
    url: str
    body: Any = None
    token: str = ""
    documents: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """The headers that have to be sent."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return headers if self.body is None else {**headers, "Content-Type": "application/json"}


def to_operation(
    base: str, collection: str, method: str, operation: str, credential: str, *, auth: Auth, body: Any = None
) -> Request:
    """
    The request for an operation of a collection.

    Args:
        base: Where the server is reached, such as ``http://127.0.0.1:8000``.
        auth: Where the credential goes: into the URL, or into a header, with ``-`` in its place.
    """
    in_path, token = (credential, "") if auth == "url" else ("-", credential)
    url = f"{base}/collection/{operation}/{in_path}/{collection}"
    return Request(method, url, body, token, documents=operation.startswith("read"))


def typed(text: str) -> Any:
    """
    A body as a person typed it: JSON as it stands; what is in the shell's syntax as the Extended JSON that it means.

    Raises:
        InvalidJSON: With the place in the text; also where it is JSON that the API does not take.
    """
    value = relaxed.loads(text)
    try:
        return extjson.loads(text, extended=False)
    except InvalidJSON:
        return extjson.to_json(value, mode="stored")


def render(language: str, request: Request) -> str:
    """
    The snippet: code that sends the request, checks the status and prints the answer.

    Args:
        language: A key of ``LANGUAGES``.
    """
    spoken = LANGUAGES[language]
    body = request.body
    return _TEMPLATES.get_template(f"{language}.jinja").render(
        method=request.method,
        url=request.url,
        headers=request.headers,
        token=request.token,
        documents=request.documents,
        has_body=body is not None,
        exact=spoken.exact(body),
        json=write(body, JSON),
        body=lambda indentation=0: _indented(spoken.literal(body), indentation),
        quote=spoken.quote,
    )


def _indented(text: str, columns: int) -> str:
    return text.replace("\n", "\n" + " " * columns)


_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(Path(__file__).with_suffix("")),
    autoescape=False,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


# Strings.  What does not print (control characters, U+2028, bidi marks, unusual spaces) is always escaped, so that what
# is seen is what is sent.


def _escaped(text: str, special: Mapping[str, str], number: Callable[[int], str]) -> str:
    return "".join(special.get(each) or (each if each.isprintable() else number(ord(each))) for each in text)


def _utf16(code: int) -> str:
    r"""``\uXXXX``, twice beyond the first plane."""
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\u{0xD7C0 + (code >> 10):04x}\\u{0xDC00 | code & 0x3FF:04x}"


def _utf32(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _braced(code: int) -> str:
    return f"\\u{{{code:x}}}"


def _java_escape(code: int) -> str:
    # javac reads \uXXXX before it reads anything else: \u000a would be a line break in the source.
    return f"\\{code:03o}" if code < 0x80 else _utf16(code)


_CONTROLS: Final = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_IN_DOUBLE: Final[Mapping[str, str]] = {**_CONTROLS, "\\": r"\\", '"': r"\""}
_IN_TEMPLATE: Final = {**_IN_DOUBLE, "$": r"\$"}
_IN_SINGLE: Final = {**_CONTROLS, "\\": r"\\", "'": r"\'"}


def _double(text: str, number: Callable[[int], str] = _utf16, special: Mapping[str, str] = _IN_DOUBLE) -> str:
    return f'"{_escaped(text, special, number)}"'


_utf32_string: Final = partial(_double, number=_utf32)
_braced_string: Final = partial(_double, number=_braced)
_java_string: Final = partial(_double, number=_java_escape)


def _kotlin_string(text: str) -> str:
    return _double(text, special=_IN_TEMPLATE)


def _javascript_string(text: str) -> str:
    quoted = f"'{_escaped(text, _IN_SINGLE, _utf16)}'" if '"' in text and "'" not in text else _double(text)
    # In a page, these would end or begin what is none of the script.
    return quoted.replace("</", r"<\/").replace("<!--", r"\u003c!--")


def _php_string(text: str) -> str:
    if text.isprintable():
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return _double(text, _braced, _IN_TEMPLATE)


def _ruby_string(text: str) -> str:
    return re.sub(r"#(?=[{$@])", r"\\#", _double(text, _braced))


def _dart_string(text: str) -> str:
    return "'" + _escaped(text, {**_IN_SINGLE, "$": r"\$"}, _braced) + "'"


def _shell_word(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _powershell_string(text: str) -> str:
    # To PowerShell, typographic apostrophes are apostrophes.
    return "'" + re.sub("(['‘’‚‛])", r"\1\1", text) + "'"


# JSON text as a literal that spans lines.  In JSON text no line starts with what ends these literals, three quotes
# never stand together, and any character of a string may be written as \uXXXX.


def _go_raw(text: str) -> str:
    return "`" + text.replace("`", r"\u0060") + "`"


def _java_block(text: str) -> str:
    return '"""\n' + text.replace("\\", "\\\\") + '\n"""'


def _kotlin_raw(text: str) -> str:
    dollars = re.sub(r"\$(?=[A-Za-z_{`]|[^\x00-\x7f])", "${'$'}", text)
    return f'"""\n{dollars}\n""".trimIndent()'


def _csharp_verbatim(text: str) -> str:
    return '@"' + text.replace('"', '""') + '"'


def _r_raw(text: str) -> str:
    return _fenced(text, lambda dashes: f'r"{dashes}(', lambda dashes: f'){dashes}"', "-")


def _rust_raw(text: str) -> str:
    return _fenced(text, lambda hashes: f'r{hashes}"', lambda hashes: f'"{hashes}', "#")


def _swift_raw(text: str) -> str:
    return _fenced(f"\n{text}\n", lambda hashes: f'{hashes}"""', lambda hashes: f'"""{hashes}', "#", also="\\")


def _fenced(
    text: str, opening: Callable[[str], str], closing: Callable[[str], str], mark: str, *, also: str | None = None
) -> str:
    """The text between fences of so many marks that it holds no closing fence, nor ``also`` with marks."""
    for marks in (mark * number for number in count(0 if mark == "-" else 1)):
        if closing(marks) not in text and (also is None or also + marks not in text):
            return opening(marks) + text + closing(marks)
    raise AssertionError("unreachable: a text is finite")


def _powershell_here(text: str) -> str:
    return f"@'\n{text}\n'@"


@dataclass(frozen=True)
class Notation:
    """
    How a language writes what JSON has.

    words: for true, false and null.
    object: what opens one, what stands between key and value, what closes it.
    key: writes the key of an object; as any string where it is None.
    cast: what goes in front of an object, where it takes more than its entries.
    padded: whether an object on one line has a space inside its braces.
    trailing: whether the last of several lines ends with a comma.
    """

    string: Callable[[str], str]
    words: tuple[str, str, str] = ("true", "false", "null")
    object: tuple[str, str, str] = ("{", ": ", "}")
    key: Callable[[str], str] | None = None
    cast: Callable[[Mapping[str, Any]], str] = lambda _: ""
    integer: Callable[[int], str] = str
    indent: int = 4
    padded: bool = False
    trailing: bool = True


def write(value: Any, notation: Notation, *, width: int = _WIDTH, depth: int = 0, taken: int = 0) -> str:
    """
    A value as a literal: what fits on a line stands on one, what does not has a line for each entry.

    Args:
        width: How many columns a line has.
        depth: How often the line is indented on which the literal begins.
        taken: How many columns of it are taken.
    """
    line = _on_one_line(value, notation)
    if len(line) + taken <= width or not isinstance(value, dict | list) or not value:
        return line
    margin = " " * (notation.indent * (depth + 1))
    names, opening, closing = _parts(value, notation)
    lines = []
    for name, each in zip(names, _values(value), strict=True):
        head = margin + name
        lines.append(head + write(each, notation, width=width, depth=depth + 1, taken=len(head) + 1))
    end = "," if notation.trailing else ""
    return "\n".join(
        [opening, *(line + "," for line in lines[:-1]), lines[-1] + end, margin[notation.indent :] + closing]
    )


def _on_one_line(value: Any, notation: Notation) -> str:
    if isinstance(value, dict | list):
        names, opening, closing = _parts(value, notation)
        inside = ", ".join(
            name + _on_one_line(each, notation) for name, each in zip(names, _values(value), strict=True)
        )
        padding = " " if notation.padded and inside and isinstance(value, dict) else ""
        return f"{opening}{padding}{inside}{padding}{closing}"
    if isinstance(value, str):
        return notation.string(value)
    if value is None or isinstance(value, bool):
        return notation.words[2 if value is None else int(not value)]
    return notation.integer(value) if isinstance(value, int) else repr(value)


def _parts(value: dict[str, Any] | list[Any], notation: Notation) -> tuple[list[str], str, str]:
    """What stands in front of each entry, and what opens and closes the whole."""
    if isinstance(value, list):
        return [""] * len(value), "[", "]"
    opening, between, closing = notation.object
    key = notation.key or notation.string
    return [key(name) + between for name in value], notation.cast(value) + opening, closing


def _values(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


_NAME: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
# What JavaScript moves to the front of an object, and PHP takes for a number.
_INDEX: Final = re.compile(r"0|[1-9][0-9]*")


def _javascript_key(name: str) -> str:
    if name == "__proto__":
        return '["__proto__"]'
    return name if _NAME.fullmatch(name) else _javascript_string(name)


def _exact_in_javascript(value: Any) -> bool:
    if isinstance(value, dict):
        in_order = len(value) < 2 or not any(_INDEX.fullmatch(name) for name in value)
        return in_order and all(map(_exact_in_javascript, value.values()))
    if isinstance(value, list):
        return all(map(_exact_in_javascript, value))
    if isinstance(value, int):
        return abs(value) < 2**53
    # 1.0 would be sent as 1, and -0.0 as 0.
    return not isinstance(value, float) or not value.is_integer()


def _exact_in_axios(value: Any) -> bool:
    """axios copies an object before it sends it, and drops what could reach a prototype."""
    return _exact_in_javascript(value) and not _has_key(value, {"__proto__", "constructor", "prototype"})


def _has_key(value: Any, names: set[str]) -> bool:
    if isinstance(value, dict):
        return not names.isdisjoint(value) or any(_has_key(each, names) for each in value.values())
    return isinstance(value, list) and any(_has_key(each, names) for each in value)


def _exact_in_php(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(_exact_in_php, _values(value)))
    return not isinstance(value, float) or not value.is_integer()


def _php_cast(value: Mapping[str, Any]) -> str:
    """PHP's arrays are both: one without keys, or with the keys 0, 1, 2 …, would be sent as a list."""
    return "(object) " if all(name == str(place) for place, name in enumerate(value)) else ""


def _php_integer(value: int) -> str:
    # To PHP, a minus stands in front of a number that it has read already.
    return "PHP_INT_MIN" if value == -(2**63) else str(value)


JSON: Final = Notation(_double, indent=2, trailing=False)
_JAVASCRIPT: Final = Notation(_javascript_string, key=_javascript_key, indent=2, padded=True)
_PYTHON: Final = Notation(_utf32_string, words=("True", "False", "None"))
_PHP: Final = Notation(_php_string, object=("[", " => ", "]"), cast=_php_cast, integer=_php_integer)
_RUBY: Final = Notation(_ruby_string, words=("true", "false", "nil"), object=("{", " => ", "}"), indent=2, padded=True)
_DART: Final = Notation(_dart_string, indent=2)


def _always(_: Any) -> bool:
    return True


@dataclass(frozen=True)
class Language:
    """
    A language that snippets are written in, or a client of one.

    family, title: what people call it; languages of a family are offered together.
    lexer: the name by which Pygments knows how to colour it.
    file: what the snippet is called as a file, where it is more than pasted.
    needs: what has to be installed beside the language itself; empty where nothing has.
    quote: a string as a literal.
    literal: a body as a literal; its lines after the first begin at column 0.
    exact: whether that literal says the body exactly; the template sends the JSON text where it does not.
    executed: whether the project's tests run these snippets against a server.
    """

    family: str
    title: str
    lexer: str
    file: str
    quote: Callable[[str], str]
    literal: Callable[[Any], str]
    needs: str = ""
    exact: Callable[[Any], bool] = _always
    executed: bool = True


def _native(notation: Notation) -> Callable[[Any], str]:
    return partial(write, notation=notation)


def _text(embed: Callable[[str], str]) -> Callable[[Any], str]:
    """A body as its JSON text, in a literal."""
    return lambda body: embed(write(body, JSON))


_python: Final = partial(Language, "Python", lexer="python", quote=_PYTHON.string, literal=_native(_PYTHON))
_javascript: Final = partial(
    Language, "JavaScript", quote=_javascript_string, literal=_native(_JAVASCRIPT), exact=_exact_in_javascript
)
_shell: Final = partial(Language, "Shell", lexer="bash", file="", quote=_shell_word, literal=_text(_shell_word))

LANGUAGES: Final[dict[str, Language]] = {
    "curl": _shell("curl"),
    "httpie": _shell("HTTPie", needs="pip install httpie"),
    "wget": _shell("wget"),
    "python-requests": _python("requests", file="example.py", needs="pip install requests"),
    "python-httpx": _python("httpx", file="example.py", needs="pip install httpx"),
    "python-urllib": _python("urllib", file="example.py"),
    "python-pandas": _python("pandas", file="example.py", needs="pip install pandas requests"),
    "javascript": _javascript("fetch in the browser", lexer="javascript", file=""),
    "node": _javascript("Node.js", lexer="javascript", file="example.mjs"),
    "axios": _javascript(
        "axios", lexer="javascript", file="example.mjs", needs="npm install axios", exact=_exact_in_axios
    ),
    "typescript": _javascript("TypeScript", lexer="typescript", file="example.mts"),
    "go": Language("Go", "net/http", "go", "main.go", _utf32_string, _text(_go_raw)),
    "java": Language("Java", "java.net.http", "java", "Main.java", _java_string, _text(_java_block)),
    "kotlin": Language("Kotlin", "java.net.http", "kotlin", "Main.kt", _kotlin_string, _text(_kotlin_raw)),
    "csharp": Language("C#", "HttpClient", "csharp", "Program.cs", _utf32_string, _text(_csharp_verbatim)),
    "php": Language("PHP", "curl", "php", "example.php", _php_string, _native(_PHP), exact=_exact_in_php),
    "ruby": Language("Ruby", "net/http", "ruby", "example.rb", _ruby_string, _native(_RUBY)),
    "r": Language("R", "httr2", "r", "example.R", _utf32_string, _text(_r_raw), 'install.packages("httr2")'),
    "rust": Language("Rust", "ureq", "rust", "src/main.rs", _braced_string, _text(_rust_raw), "cargo add ureq@2"),
    "powershell": Language(
        "PowerShell",
        "Invoke-RestMethod",
        "powershell",
        "",
        _powershell_string,
        _text(_powershell_here),
        executed=False,
    ),
    "swift": Language("Swift", "URLSession", "swift", "main.swift", _braced_string, _text(_swift_raw), executed=False),
    "dart": Language(
        "Dart", "http", "dart", "bin/main.dart", _dart_string, _native(_DART), "dart pub add http", executed=False
    ),
}
