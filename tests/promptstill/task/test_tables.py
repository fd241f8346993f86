"""CSV files as people have them: read by the header, and refused by line where they are no table."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptstill import UserError, read_csv, read_jsonl
from promptstill.task.open import open_task
from promptstill.task.rows import MAX_BYTES
from tests.support.recipe_file import HEAD, make_rows, write_recipe

BAD_FILES = [
    (b"", "{path} has no rows."),
    (b"text,label\n\n , \n", "{path} has no rows."),
    (b"text,label\na,b\nc\n", "{path}, line 3: 1 cell, where the header has 2.\nThe columns are text, label."),
    (b"text,label\na,b\nc,d,e\n", "{path}, line 3: 3 cells, where the header has 2."),
    (b"text,label,text\na,b,c\n", "{path} has two columns named text.\nThe columns are text, label, text."),
    (b"text,,label\na,b,c\n", "{path}: column 2 has no name."),
    (b'text,label\na,b\n"open,b\nc,d\n', "{path}, line 3: the row that begins here is not CSV."),
    (b'text,label\n"a"b,c\n', "{path}, line 2: the row that begins here is not CSV."),
    ("text,label\na,b\nél,b\n".encode("cp1252"), "{path} is not UTF-8 text.\nLine 3 has the byte 0xe9, at offset 15."),
    (b"text,label\na\0b,c\n", "{path}, line 2: it has a NUL character."),
    ("text,label\na,b\n".encode("utf-16"), "{path} is not UTF-8 text.\nLine 1 has the byte 0xff, at offset 0."),
]
TABLE = """{names}
class Row(dspy.Signature):
    "Answer."
{fields}

@recipe
def ask(data: str = "rows.csv") -> Recipe:
    return Recipe(signature=Row, examples=read_csv(data), metric=exact_match("out"), group={group})
"""


def write(folder: Path, data: bytes, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def write_table(folder: Path, data: str, group: str = "None", **fields: str) -> str:
    """A recipe with these fields (`out` is the output) that reads the CSV text."""
    write(folder, data.encode())
    kinds = {name: "OutputField" if name == "out" else "InputField" for name in fields}
    lines = "\n".join(f"    {name}: {kind} = dspy.{kinds[name]}()" for name, kind in fields.items())
    names = HEAD.partition("class")[0].replace("read_jsonl", "read_csv") + (
        "from datetime import date\nfrom typing import Literal\n"
    )
    return write_recipe(folder, TABLE.format(names=names, fields=lines, group=group))


def refusal(folder: Path, data: str, **fields: str) -> str:
    with pytest.raises(UserError) as caught:
        open_task(write_table(folder, data, **fields))
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_is_read_by_its_header(delimiter: str, end: str, tmp_path: Path) -> None:
    lines = ["text,label,note", '"one, ""two""', 'three",b,', "", "x,c,n"]
    data = end.join(lines).replace(",", delimiter)
    rows = read_csv(write(tmp_path, b"\xef\xbb\xbf" + data.encode()))
    assert rows[0] == {"text": f'one{delimiter} "two"{end}three', "label": "b", "note": None}
    assert rows[1] == {"text": "x", "label": "c", "note": "n"} and len(rows) == 2
    assert [row.location for row in rows] == [f"{tmp_path}/rows.csv, line {n}" for n in (2, 5)]  # type: ignore[attr-defined]  # a TableRow


def test_keywords_overrule_delimiter_encoding_and_names(tmp_path: Path) -> None:
    path = write(tmp_path, "Mail text;b,c\nél;d\n".encode("cp1252"))
    [row] = read_csv(path, delimiter=";", encoding="cp1252", rename={"Mail text": "mail_text"})
    assert row == {"mail_text": "él", "b,c": "d"}
    with pytest.raises(UserError, match=r"has no column Mail\.\nIt has Mail text, b,c\."):
        read_csv(path, encoding="cp1252", delimiter=";", rename={"Mail": "mail"})
    path.write_text("a;b\nc;d\n")
    for wrong in ({"delimiter": "::"}, {"encoding": "utf-99"}):
        with pytest.raises(UserError, match=r"is no (delimiter|encoding)"):
            read_csv(path, **wrong)  # type: ignore[arg-type]  # one keyword each


@pytest.mark.parametrize(("data", "message"), BAD_FILES)
def test_what_is_no_table_is_refused_by_line(data: bytes, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, data)
    with pytest.raises(UserError) as caught:
        read_csv(path)
    assert message.replace("{path}", str(path)) in str(caught.value)


@pytest.mark.parametrize("read", [read_csv, read_jsonl])
def test_a_file_of_10_gb_is_refused_before_it_is_read(read: object, tmp_path: Path) -> None:
    path = write(tmp_path, b"text,label\n")
    with path.open("r+b") as file:
        file.truncate(10 * 10**9)  # sparse: it takes no disk, and to read it would take minutes
    with pytest.raises(UserError) as caught:
        read(path)  # type: ignore[operator]  # a function of either kind
    assert caught.value.what == f"The data file {path} has 9.3 GiB." and MAX_BYTES < 10 * 10**9


def test_jsonl_may_begin_with_a_byte_order_mark_and_be_renamed(tmp_path: Path) -> None:
    path = write(tmp_path, b'\xef\xbb\xbf{"My text": "a"}\n', "rows.jsonl")
    assert read_jsonl(path, rename={"My text": "text"}) == [{"text": "a"}]
    write(tmp_path, b'{"a": 1}\n{"a": "\xe9"}\n', "rows.jsonl")
    with pytest.raises(UserError, match="Line 2 has the byte 0xe9, at offset 16"):
        read_jsonl(path)


def test_cells_are_read_as_the_types_of_the_signature(tmp_path: Path) -> None:
    data = "text,day,count,share,flag,kind,note,out\n" + "".join(
        f"t{n},2026-04-{n + 10},{n},0.{n},TRUE,b,,\n"
        if n == 3
        else f't{n},2026-04-{n + 10},"1,{n:03}",{n},false,A,x,{n}\n'
        for n in range(15)
    )
    kinds = {"day": "date", "count": "int", "share": "float", "flag": "bool", "kind": "Literal['A', 'B']"}
    opened = open_task(write_table(tmp_path, data, text="str", **kinds, note="str | None", out="int"))
    [unlabelled] = opened.splits.unlabelled
    assert unlabelled.inputs == {
        "text": "t3",
        "day": "2026-04-13",
        "count": 3,
        "share": 0.3,
        "flag": True,
        "kind": "B",
        "note": None,
    }
    assert unlabelled.location.endswith("rows.csv, line 5")
    assert {example.outputs["out"] for example in opened.splits.train} <= set(range(15))
    assert all(example.inputs["count"] >= 1000 for example in opened.splits.train)


ROWS = "text,out\n" + "".join(f"t{n},{n % 2}\n" for n in range(20))
REFUSED = [
    ("text\n" + "a\nb\n", "str", "No row has the output out.\nThe first row, rows.csv, line 2, has text."),
    ("body,out\na,b\nc,d\n", "str", "rows.csv, line 2: no field text.\nThe row has body, out."),
    (ROWS + "  ,1\n", "str", "rows.csv, line 22: text is empty."),
    (ROWS + "t,3.5\n", "int", "rows.csv, line 22: out: '3.5' is not an integer."),
    (ROWS + 't,"3,5"\n', "float", "rows.csv, line 22: out is '3,5'.\nA comma may only stand between thousands."),
    (ROWS + 't,"1.234,5"\n', "float", "rows.csv, line 22: out is '1.234,5'."),
    ("text,out\na,refund\nb,Refnd\n", "Literal['Refund', 'other']", "Did you mean Refund?"),
    ("text,out\na,17.04.2026\nb,x\n", "date", "Write the day in ISO form: 2026-04-17."),
    ("text,out\na,04/05/2026\nb,x\n", "date", "Write the day in ISO form: 2026-04-05 or 2026-05-04."),
    ("text,out\na,04/17/2026\nb,x\n", "date | None", "Write the day in ISO form: 2026-04-17."),
    ("text,out\na,2026-04-17 09:30\nb,x\n", "date", "Write the day in ISO form: 2026-04-17."),
]


@pytest.mark.parametrize(("data", "kind", "message"), REFUSED)
def test_a_cell_that_does_not_fit_is_refused_by_line_with_what_was_meant(
    data: str, kind: str, message: str, tmp_path: Path
) -> None:
    assert message in refusal(tmp_path, data, text="str", out=kind)


def test_a_row_of_two_outputs_needs_both_or_none(tmp_path: Path) -> None:
    path = write_table(tmp_path, ROWS.replace("out", "out,more").replace("\n", ",m\n").replace("more,m", "more"))
    text = Path(path).read_text().replace('"Answer."', '"Answer."\n    text: str = dspy.InputField()')
    text = text.replace(
        "InputField()", "InputField()\n    out: str = dspy.OutputField()\n    more: str = dspy.OutputField()"
    )
    Path(path).write_text(text)
    table = tmp_path / "rows.csv"
    table.write_text(table.read_text() + "u,,\n")
    assert len(open_task(path).splits.unlabelled) == 1
    table.write_text(table.read_text() + "v,1,\n")
    with pytest.raises(UserError, match="line 23: more is empty"):
        open_task(path)


def test_rows_with_an_empty_group_cell_are_no_group(tmp_path: Path) -> None:
    data = "text,who,out\n" + "".join(f"t{n},,{n % 2}\n" for n in range(30))
    splits = open_task(write_table(tmp_path, data, "'who'", text="str", out="str")).splits
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (15, 6, 9)


def test_an_output_that_is_null_in_every_field_is_no_label(tmp_path: Path) -> None:
    opened = open_task(write_recipe(tmp_path, rows=[*make_rows(), {"question": "q", "answer": None}]))
    assert [row.inputs["question"] for row in opened.splits.unlabelled] == ["q"]
