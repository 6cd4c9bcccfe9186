from __future__ import annotations

import itertools
from collections import Counter

import pytest

from umlite.class_table import ClassTable, normalise
from umlite.classes import GROUPS, PUBLISHED, AnatomyClass
from umlite.errors import RequestError

TABLE = ClassTable(c.published for c in PUBLISHED)
PUBLISHED_NAMES = [
    *("Spleen", "Right Kidney", "Left Kidney", "Gall Bladder", "Esophagus", "Liver", "Stomach", "Aorta", "Postcava"),
    *("Portal Vein and Splenic Vein", "Pancreas", "Right Adrenal Gland", "Left Adrenal Gland", "Duodenum"),
    *("Hepatic Vessel", "Right Lung", "Left Lung", "Colon", "Intestine", "Rectum", "Bladder", "Prostate"),
    *("Left Head of Femur", "Right Head of Femur", "Celiac Trunk", "Kidney Tumor", "Liver Tumor", "Pancreas Tumor"),
    *("Hepatic Vessel Tumor", "Lung Tumor", "Colon Tumor", "Kidney Cyst"),
]


def names(request: object, table: ClassTable = TABLE) -> list[str]:
    return [c.name for c in table.resolve(request)]  # type: ignore[arg-type]


def test_the_published_table_in_order() -> None:
    assert [c.published for c in PUBLISHED] == PUBLISHED_NAMES
    assert [c.index for c in PUBLISHED] == list(range(1, 33))


def test_every_spelling_means_one_class_or_group() -> None:
    of_classes = [{c.name, normalise(c.published), *c.aliases} for c in PUBLISHED]
    spellings = Counter(itertools.chain(GROUPS, *of_classes))
    assert [s for s, times in spellings.items() if times > 1] == []
    assert [s for s in spellings if s != normalise(s)] == []


def test_colors_tell_classes_apart() -> None:
    assert len({c.color for c in PUBLISHED}) == 32
    assert all(len(c.color) == 3 and 0 <= channel <= 255 for c in PUBLISHED for channel in c.color)


def test_lesions_and_only_lesions_have_hosts_among_the_organs() -> None:
    organs = {c.name for c in PUBLISHED if c.kind != "tumor"}
    assert {c.kind for c in PUBLISHED} == {"organ", "vessel", "tumor"}
    for c in PUBLISHED:
        assert bool(c.hosts) == (c.kind == "tumor"), c.name
        assert set(c.hosts) <= organs


def test_groups() -> None:
    assert len(GROUPS["all"]) == 32
    assert len(GROUPS["organs"]) == 25
    assert len(GROUPS["tumors"]) == 7
    assert set(GROUPS["vessels"]) < set(GROUPS["organs"])
    assert names("kidneys") == ["right_kidney", "left_kidney"]
    assert names("lungs,adrenal_glands") == ["right_lung", "left_lung", "right_adrenal_gland", "left_adrenal_gland"]
    assert names("heads of femur") == ["left_head_of_femur", "right_head_of_femur"]
    assert names("all") == names(None) == list(GROUPS["all"])


@pytest.mark.parametrize("c", PUBLISHED, ids=lambda c: c.name)
def test_every_name_alias_and_number_is_accepted(c: AnatomyClass) -> None:
    for word in (c.name, c.published, c.published.upper(), c.name.replace("_", "-"), str(c.index), *c.aliases):
        assert names(word) == [c.name], word


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("kidney_right", "right_kidney"),
        ("inferior_vena_cava", "postcava"),
        ("small_bowel", "intestine"),
        ("urinary_bladder", "bladder"),
        ("liver tumour", "liver_tumor"),
        ("Kidney  Tumour ", "kidney_tumor"),
        ("gallbladder", "gallbladder"),
        ("celiac_truck", "celiac_trunk"),
        ("22", "prostate"),
    ],
)
def test_other_spellings(word: str, name: str) -> None:
    assert names(word) == [name]


def test_tumours_is_a_group_in_both_spellings() -> None:
    assert names("tumours") == names("tumors") == list(GROUPS["tumors"])


def test_requests_keep_their_order_each_class_once() -> None:
    assert names("liver, spleen,,Liver,6") == ["liver", "spleen"]
    assert names(["pancreas_tumor", "left_kidney", "kidneys", 2]) == ["pancreas_tumor", "left_kidney", "right_kidney"]


@pytest.mark.parametrize(("word", "near"), [("livr", "liver"), ("kidny_right", "right_kidney"), ("tumrs", "tumors")])
def test_a_misspelling_is_answered_with_the_nearest_name(word: str, near: str) -> None:
    with pytest.raises(RequestError, match=rf"unknown class '{word}': did you mean .*\b{near}\b.*\?.*umlite classes"):
        names(word)


def test_every_unknown_word_is_named() -> None:
    with pytest.raises(RequestError, match=r"'qqqq'.*'33'.*'livr'.*did you mean liver"):
        names("qqqq,spleen,33,livr")


@pytest.mark.parametrize("request_", ["", " , ", [], [""]])
def test_an_empty_request_is_refused(request_: object) -> None:
    with pytest.raises(RequestError, match="No class was asked for"):
        names(request_)


def test_a_model_with_fewer_classes() -> None:
    table = ClassTable(["Liver", "Left Kidney", "Kidney Tumor"])
    assert table.names == ("liver", "left_kidney", "kidney_tumor")
    assert [c.index for c in table] == [6, 3, 26]
    assert [table.head_of(name) for name in table.names] == [0, 1, 2]
    assert names("26,liver", table) == ["kidney_tumor", "liver"]
    assert names("kidneys", table) == ["left_kidney"]
    assert table.groups["all"] == table.names
    assert "lungs" not in table.groups
    assert "liver" in table
    assert "spleen" not in table
    for absent in ("spleen", "lungs", "1"):
        with pytest.raises(RequestError, match=f"'{absent}'"):
            names(absent, table)
    with pytest.raises(RequestError, match="'spleen' is not among the 3 classes of these weights"):
        names("spleen", table)


def test_a_model_with_classes_of_its_own() -> None:
    table = ClassTable([*PUBLISHED_NAMES, "Thyroid Gland", "vertebra-L1"])
    assert len(table) == 34
    assert table.names[32:] == ("thyroid_gland", "vertebra_l1")
    assert [c.index for c in table[32:]] == [33, 34]
    assert names("Vertebra L1,33", table) == ["vertebra_l1", "thyroid_gland"]
    assert set(table.groups["all"]) == set(table.names)
    assert all(0 <= channel <= 255 for c in table[32:] for channel in c.color)
    assert len({c.color for c in table}) == 34


def test_own_classes_never_take_a_published_number() -> None:
    table = ClassTable(["My Organ", "Liver", "Other"])
    assert [c.index for c in table] == [33, 6, 34]


@pytest.mark.parametrize("twice", [["liver", "Liver"], ["ivc", "inferior_vena_cava"], ["mine", "Mine"]])
def test_a_class_named_twice_is_refused(twice: list[str]) -> None:
    with pytest.raises(RequestError, match="found more than once"):
        ClassTable(twice)


def test_an_alias_beside_its_class_is_a_class_of_its_own() -> None:
    table = ClassTable(["prostate", "uterus"])
    assert [c.index for c in table] == [22, 33]
    assert [c.name for c in table.resolve("uterus")] == ["uterus"]


@pytest.mark.parametrize("name", ["", "../evil", "a/b", "a,b", "1", "kidneys", "all", "x" * 65, ".hidden", "_"])
def test_own_names_are_plain_words(name: str) -> None:
    with pytest.raises(RequestError, match="cannot name a class"):
        ClassTable(["liver", name])


def test_own_lesions_are_lesions() -> None:
    table = ClassTable(["liver", "spleen_tumor", "my_organ"])
    assert [c.kind for c in table] == ["organ", "tumor", "organ"]
    assert table.groups["tumors"] == ("spleen_tumor",)
    assert table.groups["organs"] == ("liver", "my_organ")


@pytest.mark.parametrize(
    "text",
    ["liver,spleen,right_kidney", "liver;spleen;Right Kidney", "liver\r\nspleen\r\nRight Kidney\r\n",
     "\ufeffliver,spleen, right kidney", "liver spleen right kidney", "liver\tspleen,\nkidney right", "liver spleen;2"],
)  # fmt: skip
def test_separators_of_lists(text: str) -> None:
    names = [c.name for c in ClassTable(c.name for c in PUBLISHED).resolve(text)]
    assert names[:2] == ["liver", "spleen"]
    assert set(names) <= {"liver", "spleen", "right_kidney"}


def test_blanks_join_nothing_that_is_unknown() -> None:
    with pytest.raises(RequestError, match="unknown class 'liver sploon'"):
        ClassTable(c.name for c in PUBLISHED).resolve("liver sploon")
