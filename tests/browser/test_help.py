"""Help pages and locales: in every language the same, nothing missing, and nothing that the nodes no longer
have.
"""

from __future__ import annotations

import re

import comfyui_checkouts
import comfyui_page
import pytest
import requests
from comfyui_server import NAME, PACK
from make_locales import (
    ENGLISH,
    FILES,
    FOLDER,
    TRANSLATIONS,
    categories,
    differences,
    node_definitions,
    panel_strings,
    read,
    settings,
    settings_categories,
    strings,
)

LANGUAGES = (ENGLISH, *TRANSLATIONS)
DOCS = PACK / "web" / "docs"
IDS = sorted(
    {
        id
        for file in (PACK / "nodes").glob("*.py")
        for id in re.findall(r'"(RationalRewards[A-Z]\w+)"', file.read_text("utf-8"))
    }
)
# Vue-i18n reads these as its own syntax, and older frontends fail on them.
SPECIAL = re.compile(r"[{}@|$]")
SLOT = re.compile(r"\{\w+\}")
CODE = re.compile(r"`([^`]+)`")
# *Settings > RationalRewards > Model folder*, in any language.
MENU = re.compile(r"(?<!\*)\*[^*\n]+ > [^*\n]+\*(?!\*)")
LINK = re.compile(r"- \*\*(.+?)\*\*(?: \(.+?\))? `(.+?)` → \*\*(.+?)\*\*(?: \(.+?\))? `(.+?)`")

each_language = pytest.mark.parametrize("language", LANGUAGES)
each_translation = pytest.mark.parametrize("language", TRANSLATIONS)
with_comfyui = pytest.mark.skipif(not comfyui_checkouts.checkouts(), reason=comfyui_checkouts.HINT)
with_browser = pytest.mark.skipif(not comfyui_page.AVAILABLE, reason=comfyui_page.HINT)


def page(id, language):
    """A help page's file; the one without a language is the fallback for all that have none of their own."""
    return DOCS / f"{id}.md" if language == ENGLISH else DOCS / id / f"{language}.md"


def sections(id, language):
    """The texts of a page: the introduction, inputs, outputs, example, common mistakes."""
    return re.split(r"^## .+\n", page(id, language).read_text(encoding="utf-8"), flags=re.MULTILINE)


def rows(section):
    """First cells of a section's table, without the head."""
    return re.findall(r"^\| (.+?) \|", section, re.MULTILINE)[1:]


def slots(id, kind, language):
    """(id, name in that language) of a node's inputs or outputs, in order."""
    english, local = read(ENGLISH, "nodeDefs")[id][kind], read(language, "nodeDefs")[id][kind]
    ids = {key: slot["name"] if kind == "outputs" else key for key, slot in english.items()}
    return [(ids[key], local[key]["name"]) for key in ids]


def first_cells(id, kind, language):
    """What a help page's table has to name: the label on the canvas and, where that is another, the id."""
    return [f"`{slot}`" if slot == name else f"{name} `{slot}`" for slot, name in slots(id, kind, language)]


# ---------------------------------------------------------------- help pages


@each_language
def test_every_node_has_a_help_page_and_every_page_a_node(language):
    found = DOCS.glob("*.md") if language == ENGLISH else DOCS.glob(f"*/{language}.md")
    assert sorted(path.stem if language == ENGLISH else path.parent.name for path in found) == IDS


@each_language
@pytest.mark.parametrize("id", IDS)
def test_a_page_explains_every_input_and_output_in_order(id, language):
    introduction, inputs, outputs, *_ = sections(id, language)
    assert introduction.strip()
    assert rows(inputs) == first_cells(id, "inputs", language)
    assert rows(outputs) == first_cells(id, "outputs", language)


@each_language
@pytest.mark.parametrize("id", IDS)
def test_an_example_connects_what_is_there(id, language):
    nodes = {node["display_name"]: key for key, node in read(language, "nodeDefs").items()}
    links = LINK.findall(sections(id, language)[3])
    assert links
    for source, output, target, input in links:
        for title, slot, kind in ((source, output, "outputs"), (target, input, "inputs")):
            if title in nodes:
                assert slot in {word for pair in slots(nodes[title], kind, language) for word in pair}, (
                    f"{title}: {slot}"
                )
    assert id in {nodes.get(title) for link in links for title in (link[0], link[2])}


@each_translation
@pytest.mark.parametrize("id", IDS)
def test_a_translated_page_says_as_much_as_the_english_one(id, language):
    english, local = sections(id, ENGLISH), sections(id, language)
    for mark in ("\n| ", "\n- "):
        assert [section.count(mark) for section in local] == [section.count(mark) for section in english]
    # The example: all that stands there are names, and most of them are translated.
    del english[3], local[3]
    names = {
        word
        for key in IDS
        for kind in ("inputs", "outputs")
        for pair in slots(key, kind, language)
        for word in pair
    }
    # Values, files and commands are the same in every language.
    for one, other in zip(english, local, strict=True):
        assert set(CODE.findall(one)) - names == set(CODE.findall(other)) - names


@each_translation
def test_a_translated_page_names_as_many_settings_as_the_english_one(language):
    english, local = (
        {id: len(MENU.findall(CODE.sub("", page(id, which).read_text("utf-8")))) for id in IDS}
        for which in (ENGLISH, language)
    )
    assert any(english.values())
    assert local == english


# ---------------------------------------------------------------- locales


@each_translation
@pytest.mark.parametrize("file", FILES)
def test_a_translation_has_the_keys_of_the_english_table(file, language):
    assert read(ENGLISH, file)
    assert differences(read(ENGLISH, file), read(language, file)) == []


@each_language
def test_there_are_no_other_locale_files(language):
    assert sorted(path.stem for path in (FOLDER / language).iterdir()) == sorted(FILES)


@each_language
def test_no_string_has_a_character_that_the_frontend_takes_for_syntax(language):
    shown = {file: dict(strings(read(language, file))) for file in FILES}
    # These the panel reads itself.
    own = {key for key in shown["main"] if key.startswith("rationalRewards.")}
    for file, table in shown.items():
        found = [f"{file}: {key}" for key, text in table.items() if key not in own and SPECIAL.search(text)]
        assert found == []


@each_translation
def test_nothing_is_left_in_english(language):
    """Sentences only: a name such as "Checkpoint" may be the same word."""
    english, local = (dict(strings(read(which, "nodeDefs"))) for which in (ENGLISH, language))
    assert [key for key, text in local.items() if " " in text and text == english[key]] == []


@each_translation
def test_panel_strings_keep_their_slots(language):
    english, local = (read(which, "main")["rationalRewards"] for which in (ENGLISH, language))
    assert {key: sorted(SLOT.findall(text)) for key, text in local.items()} == {
        key: sorted(SLOT.findall(text)) for key, text in english.items()
    }


def test_the_english_tables_are_those_of_the_page():
    assert read(ENGLISH, "main")["rationalRewards"] == panel_strings()
    assert read(ENGLISH, "main")["settingsCategories"] == settings_categories()
    assert read(ENGLISH, "settings") == settings()


# ---------------------------------------------------------------- in ComfyUI


@with_comfyui
@pytest.mark.comfyui
def test_the_english_tables_are_the_schemas(server):
    info = server.get("/object_info")
    found = node_definitions(info)
    assert sorted(found) == IDS
    again = "the schemas have changed: run `python scripts/make_locales.py`, then translate what it names"
    assert list(strings(read(ENGLISH, "nodeDefs"))) == list(strings(found)), again
    assert read(ENGLISH, "nodeDefs") == found, again
    assert read(ENGLISH, "main")["nodeCategories"] == categories(info), again


@with_comfyui
@pytest.mark.comfyui
def test_the_server_hands_out_pages_and_translations(server):
    translations = server.get("/api/i18n")
    for language in LANGUAGES:
        for id in IDS:
            answer = requests.get(
                f"{server.url}/extensions/{NAME}/{page(id, language).relative_to(PACK / 'web').as_posix()}",
                timeout=60,
            )
            assert answer.content.decode() == page(id, language).read_text(encoding="utf-8")
            assert translations[language]["nodeDefs"][id] == read(language, "nodeDefs")[id]
        assert translations[language]["rationalRewards"] == read(language, "main")["rationalRewards"]


SHOW = """async ([type, x, y]) => {
    app.graph.clear()
    const node = LiteGraph.createNode(type)
    app.graph.add(node)
    node.pos = [x, y]
    app.canvas.selectNode(node)
    app.canvas.setDirty(true, true)
    const named = slot => slot.label ?? slot.localized_name ?? slot.name
    return { title: node.title, inputs: node.inputs.map(named), outputs: node.outputs.map(named) }
}"""


@with_browser
@with_comfyui
@pytest.mark.comfyui
def test_the_page_speaks_the_language_that_is_set(server):
    id = "RationalRewardsCompare"
    words = read("ja", "nodeDefs")[id]
    server.post("/api/settings/Comfy.Locale", "ja").raise_for_status()
    with comfyui_page.canvas(server) as opened:
        opened.open()
        # ComfyUI's own first workflow, which would replace ours.
        opened.page.wait_for_function("() => app.graph.nodes.length > 0")
        shown = opened.page.evaluate(SHOW, [id, 600, 300])
        assert shown["title"] == words["display_name"]
        assert sorted(shown["inputs"]) == sorted(slot["name"] for slot in words["inputs"].values())
        assert shown["outputs"] == [slot["name"] for slot in words["outputs"].values()]
        opened.page.get_by_test_id("info-button").click()
        text = opened.page.locator(".markdown-content").first
        text.wait_for(timeout=20_000)
        assert sections(id, "ja")[0].split("。")[0] in text.inner_text()
        assert "**" not in text.inner_text(), "markdown that is not rendered"
        assert opened.errors == []
