import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from biometrics.errors import MalformedInput
from evaluation.protocol import Pair, Presentation, parse_labels, parse_pairs, read_pairs, subjects

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cc", "Cs"]), min_size=1).map(
    lambda name: "i/" + name.strip().replace("..", "_") + "_x"
)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])).map(str.strip)


def written(header, rows):
    file = io.StringIO(newline="")
    csv.writer(file).writerows([header, *rows])
    return file.getvalue()


@given(st.lists(st.tuples(NAMES, NAMES, st.booleans(), WORDS), min_size=1))
def test_pairs_come_back_as_written(rows):
    text = written(("image_a", "image_b", "same", "fold"), [(a, b, int(same), fold) for a, b, same, fold in rows])
    assert parse_pairs(text) == [Pair(*row) for row in rows]


@given(st.lists(st.tuples(NAMES, st.booleans(), WORDS), min_size=1, unique_by=lambda row: row[0]))
def test_labels_come_back_as_written(rows):
    text = written(("subject", "label", "image"), [(s, "bona_fide" if live else "attack", i) for i, live, s in rows])
    assert parse_labels(text) == [Presentation(i, live, "" if live else "unspecified", s) for i, live, s in rows]


@given(st.text())
@example('image_a,image_b,same\n"')
@example("image_a,image_b,same\na,b,1\n\n")
def test_any_text_is_pairs_or_a_clear_error(text):
    for parse in (parse_pairs, parse_labels):
        try:
            assert parse(text)
        except MalformedInput as error:
            assert error.detail.startswith(("Line ", "The CSV file"))


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("a,b,maybe", 3),
        ("a,b", 3),
        ("a,b,1,2", 3),
        (",b,1", 3),
        ("/etc/secret,b,1", 3),
        ("../secret,b,1", 3),
        ('a,"b,1', 3),
    ],
)
def test_a_wrong_line_is_named_and_never_repeated(row, line):
    with pytest.raises(MalformedInput) as caught:
        parse_pairs(f"image_a,image_b,same\nx,y,0\n{row}\n")
    assert f"Line {line}" in caught.value.detail
    assert "secret" not in caught.value.detail
    assert "maybe" not in caught.value.detail


@pytest.mark.parametrize(
    "text",
    [
        "",
        "image_a,same\na,1\n",
        "image_a,image_a,image_b,same\na,a,b,1\n",
        "image_a,image_b,same\n",
        "image_a,image_b,same,subject_a\na,b,1,s\n",
        "image_a,image_b,same,subject_a,subject_b\na,b,1,s,t\n",
        "image_a,image_b,same,subject_a,subject_b\na,b,0,s,s\n",
    ],
)
def test_a_file_that_contradicts_itself_is_refused(text):
    with pytest.raises(MalformedInput):
        parse_pairs(text)


@pytest.mark.parametrize("rows", ["a,live", "a,attack,bona_fide", "a,attack,print\na,attack,print", "a,1"])
def test_wrong_labels_are_refused(rows):
    header = "image,label,species" if rows.count(",") > 1 else "image,label"
    with pytest.raises(MalformedInput):
        parse_labels(f"{header}\n{rows}\n")


def test_false_in_words_is_false():
    pairs = parse_pairs("image_a,image_b,same\na,b,False\na,c,true\n")
    assert [pair.same for pair in pairs] == [False, True]


def test_subjects_are_as_given_else_from_the_name():
    pairs = parse_pairs("image_a,image_b,same\nd/Ada_Lovelace_0001.jpg,d/portrait.jpg,0\n")
    assert subjects(pairs) == {"d/Ada_Lovelace_0001.jpg": "Ada_Lovelace"}
    pairs = parse_pairs("image_a,image_b,same,subject_a,subject_b\nX_1.jpg,b,0,s,t\n")
    assert subjects(pairs) == {"X_1.jpg": "s", "b": "t"}


def test_one_image_of_two_subjects_is_refused():
    pairs = parse_pairs("image_a,image_b,same,subject_a,subject_b\na,b,0,s,t\na,c,0,u,t\n")
    with pytest.raises(MalformedInput, match="two different subjects"):
        subjects(pairs)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "pairs.csv").write_bytes(b"\xff\xfe\x00image")
    with pytest.raises(MalformedInput, match="UTF-8"):
        read_pairs(tmp_path / "pairs.csv")
    with pytest.raises(MalformedInput, match="cannot be read"):
        read_pairs(tmp_path / "absent.csv")


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path):
    (tmp_path / "pairs.csv").write_bytes(b"\xef\xbb\xbfimage_a,image_b,same\r\na,b,1\r\n")
    assert read_pairs(tmp_path / "pairs.csv") == [Pair("a", "b", True)]
