"""Which font has which character: the fonts in `fonts/`, and those of the operating system for what looks
better there.

A font's character map is read from its `cmap` table (OpenType specification, formats 4 and 12), because
asking FreeType for a missing character gives a box instead of an error. Nothing here needs fontconfig, and
nothing is downloaded.
"""

from __future__ import annotations

import bisect
import functools
import os
import struct
import sys
import zlib
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from PIL import ImageFont, features

SHIPPED = Path(__file__).parent / "fonts"
SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
# Of the operating system's fonts that are looked at.
MOST_FILES = 5000

# Chinese, Japanese and Korean draw the same code point differently, so the language chooses the font. The
# names are those of the usual fonts of Linux, Windows and macOS, best first; a number is the face in a
# collection that holds all three.
CJK: dict[str, tuple[tuple[str, int], ...]] = {
    "ja": (
        ("NotoSansCJK-Regular", 0),
        ("NotoSansCJKjp-Regular", 0),
        ("NotoSansJP-Regular", 0),
        ("NotoSansCJK-VF", 0),
        ("YuGothM", 0),
        ("YuGothR", 0),
        ("meiryo", 0),
        ("ヒラギノ角ゴシック W3", 0),
        ("msgothic", 0),
        ("ipag", 0),
    ),
    "ko": (
        ("NotoSansCJK-Regular", 1),
        ("NotoSansCJKkr-Regular", 0),
        ("NotoSansKR-Regular", 0),
        ("NotoSansCJK-VF", 1),
        ("malgun", 0),
        ("AppleSDGothicNeo", 0),
        ("NanumGothic", 0),
    ),
    "zh": (
        ("NotoSansCJK-Regular", 2),
        ("NotoSansCJKsc-Regular", 0),
        ("NotoSansSC-Regular", 0),
        ("NotoSansCJK-VF", 2),
        ("SourceHanSansSC-Regular", 0),
        ("SourceHanSansCN-Regular", 0),
        ("msyh", 0),
        ("PingFang", 0),
        ("Hiragino Sans GB", 0),
        ("STHeiti Light", 0),
        ("wqy-microhei", 0),
        ("wqy-zenhei", 0),
    ),
}


@dataclass(frozen=True)
class Face:
    """One face of a font file; `index` counts the faces of a collection."""

    path: Path
    index: int = 0


def pick(cluster: str, bold: bool = False, language: str = "zh") -> Face | None:
    """The face that draws these characters, which belong together; None where no font here has the first of
    them.

    `language` is "zh", "ja" or "ko" and matters for characters that these share. Shipped fonts come first, so
    that a card looks the same everywhere; only CJK prefers the fonts of the operating system, which are
    better than a fallback.
    """
    face = _pick(cluster, bold, language)
    return face if face or len(cluster) == 1 else _pick(cluster[0], bold, language)


@functools.lru_cache(maxsize=20000)
def _pick(cluster: str, bold: bool, language: str) -> Face | None:
    ours = shipped_faces()
    if bold and has(ours["NotoSans-Bold"], cluster):
        return ours["NotoSans-Bold"]
    for name, face in ours.items():
        if name == "NotoSans-Bold" or not has(face, cluster):
            continue
        return _cjk_face(cluster, language) or face if name == "DroidSansFallback-Regular" else face
    return next((face for face in system_faces() if has(face, cluster)), None)


@functools.lru_cache(maxsize=1)
def shipped_faces() -> dict[str, Face]:
    """The shipped fonts by name, in the order in which they are asked."""
    last = ("DroidSansFallback-Regular", "NotoEmoji-Regular", "DejaVuSans-Regular")
    names = sorted(path.stem for path in SHIPPED.glob("*.woff"))
    first = ["NotoSans-Regular"]
    between = [name for name in names if name not in first and name not in last]
    names = [name for name in (*first, *between, *last) if name in names]
    return {name: Face(SHIPPED / f"{name}.woff") for name in names}


def font_folders() -> list[Path]:
    """Where the operating system keeps its fonts, those of the user included."""
    home = Path.home()
    if sys.platform == "win32":
        folders = [Path(os.environ.get("WINDIR", r"C:\Windows"), "Fonts")]
        if local := os.environ.get("LOCALAPPDATA"):
            folders.append(Path(local, "Microsoft", "Windows", "Fonts"))
        return folders
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts"]
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    system = [
        Path("/usr/share/fonts"),
        Path("/usr/local/share/fonts"),
        Path("/run/current-system/sw/share/X11/fonts"),
    ]
    return [*system, data / "fonts", home / ".fonts"]


@functools.lru_cache(maxsize=1)
def system_faces() -> tuple[Face, ...]:
    """The operating system's fonts, upright and regular ones first."""
    paths: list[Path] = []
    for folder in font_folders():
        for root, _, names in os.walk(folder):
            paths += [Path(root, name) for name in names if name.lower().endswith(SUFFIXES)]
            if len(paths) >= MOST_FILES:
                break
    heavy = ("bold", "italic", "oblique", "black", "light", "thin", "condensed", "mono", "heavy")
    paths.sort(key=lambda path: (any(word in path.stem.lower() for word in heavy), path.name))
    return tuple(Face(path) for path in paths[:MOST_FILES])


@functools.lru_cache(maxsize=4)
def _cjk_faces(language: str) -> tuple[Face, ...]:
    by_name = {face.path.name.split(".")[0].casefold(): face.path for face in system_faces()}
    named = [(by_name.get(name.casefold()), index) for name, index in CJK[language]]
    return tuple(
        Face(path, index if path.suffix.lower() in (".ttc", ".otc") else 0) for path, index in named if path
    )


def _cjk_face(cluster: str, language: str) -> Face | None:
    return next((face for face in _cjk_faces(language) if has(face, cluster)), None)


@functools.lru_cache(maxsize=1)
def shaping() -> bool:
    """Whether Pillow can shape text (its optional Raqm library), which joined and stacked scripts need to
    look right.
    """
    return bool(features.check("raqm"))


@functools.lru_cache(maxsize=256)
def load(face: Face, size: int) -> ImageFont.FreeTypeFont:
    """The face at that size in pixels. OSError where FreeType cannot read it."""
    engine = ImageFont.Layout.RAQM if shaping() else ImageFont.Layout.BASIC
    font = ImageFont.truetype(str(face.path), size, face.index, layout_engine=engine)
    _set_regular(font)
    return font


def _set_regular(font: ImageFont.FreeTypeFont) -> None:
    # A variable font may start at its thinnest weight.
    try:
        axes: list[Any] = font.get_variation_axes()
        wanted = [400 if axis["name"] in (b"Weight", "Weight") else axis["default"] for axis in axes]
        font.set_variation_by_axes(
            [min(max(w, a["minimum"]), a["maximum"]) for w, a in zip(wanted, axes, strict=True)]
        )
    except (OSError, NotImplementedError, KeyError):
        # Not variable, or a FreeType without variations: the face as it is.
        return


def has(face: Face, cluster: str) -> bool:
    """Whether the face has a glyph for every one of these characters."""
    starts, ends = coverage(face)
    for char in cluster:
        index = bisect.bisect_right(starts, ord(char)) - 1
        if index < 0 or ends[index] < ord(char):
            return False
    return True


@functools.cache
def coverage(face: Face) -> tuple[list[int], list[int]]:
    """First and last code points of the ranges that the face draws, sorted; empty where the file cannot be
    used.
    """
    try:
        with open(face.path, "rb") as file:
            tables = _tables(file, face.index)
            if (
                not ({"glyf", "CFF ", "CFF2"} & tables.keys())
                or {"CBDT", "sbix", "COLR", "SVG "} & tables.keys()
            ):
                # Bitmaps instead of outlines: they cannot be drawn at any size.
                return [], []
            ranges = sorted(_ranges(_read(file, tables["cmap"])))
        if face.path.stem.startswith(("LastResort", "AdobeBlank")):
            # Fonts that claim every character and draw a box, or nothing.
            return [], []
        load(face, 16)
    except (OSError, KeyError, ValueError, IndexError, struct.error, zlib.error):
        return [], []
    return [start for start, _ in ranges], [end for _, end in ranges]


def _tables(file: BinaryIO, index: int) -> dict[str, tuple[int, int, int]]:
    """Table name -> (offset, stored length, length) of an OpenType file, a collection or a WOFF 1.0 file."""
    tag = file.read(4)
    if tag == b"ttcf":
        file.seek(12 + 4 * index)
        file.seek(*struct.unpack(">I", file.read(4)))
        tag = file.read(4)
    if tag == b"wOFF":
        (count,) = struct.unpack(">8xH30x", file.read(40))
        rows = struct.iter_unpack(">4s4I", file.read(20 * count))
        return {name.decode("latin-1"): (offset, stored, length) for name, offset, stored, length, _ in rows}
    (count,) = struct.unpack(">H6x", file.read(8))
    rows = struct.iter_unpack(">4s3I", file.read(16 * count))
    return {name.decode("latin-1"): (offset, length, length) for name, _, offset, length in rows}


def _read(file: BinaryIO, entry: tuple[int, int, int]) -> bytes:
    offset, stored, length = entry
    file.seek(offset)
    data = file.read(stored)
    return zlib.decompress(data) if stored < length else data


def _ranges(cmap: bytes) -> list[tuple[int, int]]:
    """Ranges of code points with a glyph, from the widest Unicode table of a `cmap`."""
    (count,) = struct.unpack_from(">H", cmap, 2)
    kept: dict[int, int] = {}
    for platform, encoding, offset in struct.iter_unpack(">HHI", cmap[4 : 4 + 8 * count]):
        if platform == 0 or (platform, encoding) in ((3, 1), (3, 10)):
            kept.setdefault(struct.unpack_from(">H", cmap, offset)[0], offset)
    if 12 in kept:
        (groups,) = struct.unpack_from(">I", cmap, kept[12] + 12)
        rows = struct.iter_unpack(">3I", cmap[kept[12] + 16 : kept[12] + 16 + 12 * groups])
        # Glyph 0 is the box for what is missing.
        return [(start if glyph else start + 1, end) for start, end, glyph in rows]
    return _format_4(cmap[kept[4] :])


def _format_4(table: bytes) -> list[tuple[int, int]]:
    words = array("H", table[: len(table) // 2 * 2])
    if sys.byteorder == "little":
        words.byteswap()
    n = words[3] // 2
    # A padding word follows the ends.
    ends = words[7 : 7 + n]
    starts, deltas, offsets = (words[8 + i * n : 8 + (i + 1) * n] for i in (1, 2, 3))
    ranges = []
    for i, (start, end, delta, offset) in enumerate(zip(starts, ends, deltas, offsets, strict=True)):
        if start == 0xFFFF:
            continue
        if offset == 0:
            # Modulo 65536, one code of the range may fall on glyph 0, which is the box.
            missing = -delta & 0xFFFF
            parts = [(start, missing - 1), (missing + 1, end)] if start <= missing <= end else [(start, end)]
        else:
            first = 8 + 3 * n + i + offset // 2
            parts = [(c, c) for c in range(start, end + 1) if words[first + c - start]]
        ranges += [(a, b) for a, b in parts if a <= b]
    return ranges
