"""Words of texts in scripts with and without spaces, and what stands on them: demos, near duplicates, leaks, rivals."""

from __future__ import annotations

import re
import unicodedata
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptstill.prompt.fields import Field
from promptstill.prompt.nearest import NearestIndex, near_duplicate, words
from promptstill.scoring.evaluate import mean_score
from promptstill.scoring.rivals.measure import measure_rivals
from promptstill.task.examples import Example
from promptstill.task.leakage import SIGNS, find_leaks
from promptstill.words import UNSPACED, find_words

SCRIPTS = {"Chinese": "zh", "Japanese": "ja", "Thai": "th", "Korean": "ko"}
# Four rows about a parcel that is late, an invoice, a password and a holiday.
POOL = {
    "zh": [
        "我上周订购的包裹到现在还没有送到,请帮我查一下物流信息。",
        "这个月的发票金额好像算错了,能不能重新开一张给我?",
        "我忘记了登录密码,重置邮件也一直收不到。",
        "我想请下周三到周五的年假,需要填写什么表格?",
    ],
    "ja": [
        "先週注文した荷物がまだ届いていません。配送状況を確認していただけますか。",
        "今月の請求書の金額が間違っているようなので、再発行をお願いします。",
        "ログインのパスワードを忘れてしまい、再設定のメールも届きません。",
        "来週の水曜日から金曜日まで有給休暇を取りたいのですが、どの書類が必要ですか。",
    ],
    "th": [
        "พัสดุที่ฉันสั่งเมื่อสัปดาห์ที่แล้วยังมาไม่ถึง ช่วยตรวจสอบสถานะการจัดส่งให้หน่อย",
        "ยอดเงินในใบแจ้งหนี้เดือนนี้ไม่ถูกต้อง กรุณาออกใบใหม่ให้ด้วย",
        "ฉันลืมรหัสผ่านสำหรับเข้าสู่ระบบ และไม่ได้รับอีเมลตั้งรหัสผ่านใหม่",
        "ฉันอยากลาพักร้อนตั้งแต่วันพุธถึงวันศุกร์หน้า ต้องกรอกแบบฟอร์มอะไรบ้าง",
    ],
    "ko": [
        "지난주에 주문한 택배가 아직 도착하지 않았어요. 배송 상태를 확인해 주세요.",
        "이번 달 청구서 금액이 잘못된 것 같으니 다시 발행해 주세요.",
        "로그인 비밀번호를 잊어버렸는데 재설정 메일도 오지 않습니다.",
        "다음 주 수요일부터 금요일까지 휴가를 쓰고 싶은데 어떤 서류가 필요한가요?",
    ],
}
# On each of them another sentence.
ASKED = {
    "zh": ["包裹的物流三天没有更新了", "发票上的金额不对", "怎么重置密码", "年假还剩几天?"],
    "ja": [
        "荷物の配送状況を教えてください",
        "請求書を再発行してください",
        "パスワードの再設定方法は?",
        "有給休暇は何日残っていますか",
    ],
    "th": ["พัสดุจัดส่งถึงไหนแล้ว", "ขอใบแจ้งหนี้ใหม่", "จะเปลี่ยนรหัสผ่านอย่างไร", "วันลาพักร้อนเหลือกี่วัน"],
    "ko": [
        "택배가 아직 안 왔어요",
        "청구서 금액이 달라요",
        "비밀번호를 바꾸고 싶어요",
        "휴가를 며칠 쓰고 싶은데 되나요",
    ],
}
# Each first text, written again with other punctuation and a small change.
AGAIN = {
    "zh": "我上周订购的包裹到现在还没有送到!请帮我查一下物流信息吧",
    "ja": "先週注文した荷物がまだ届いていません、配送状況を確認していただけますか?",
    "th": "พัสดุที่ฉันสั่งเมื่อสัปดาห์ที่แล้วยังมาไม่ถึง! ช่วยตรวจสอบสถานะการจัดส่งให้หน่อยนะ",
    "ko": "지난주에 주문한 택배가 아직 도착하지 않았어요! 배송 상태를 확인해 주세요",
}
each = pytest.mark.parametrize("language", SCRIPTS.values(), ids=SCRIPTS.keys())


def row(number: int, text: str, topic: str = "t") -> Example:
    return Example(f"id{number}", f"row {number}", {"text": text}, {"topic": topic}, {}, f"g{number}")


@each
def test_the_nearest_demo_is_the_one_on_the_same_thing(language: str) -> None:
    pool = [{"text": text, "number": number} for number, text in enumerate(POOL[language])]
    index = NearestIndex(pool, ["text"], ["text"])
    assert [index.pick({"text": text}, 1)[0]["number"] for text in ASKED[language]] == [0, 1, 2, 3]
    assert all(row["number"] for row in index.pick({"text": AGAIN[language]}, 4)), "it is the first row once more"


@each
def test_a_near_duplicate_is_found_and_other_sentences_are_none(language: str) -> None:
    assert near_duplicate(words(POOL[language][0]), words(AGAIN[language]))
    texts = [*POOL[language], *ASKED[language]]
    assert not [pair for pair in combinations(texts, 2) if near_duplicate(words(pair[0]), words(pair[1]))]


@each
def test_a_leak_is_found_and_other_sentences_are_none(language: str) -> None:
    held_out = [row(number, text) for number, text in enumerate(POOL[language])]
    (leak,) = find_leaks([row(9, AGAIN[language])], held_out)
    assert leak.held_out is held_out[0] and leak.similarity >= 0.8
    assert not find_leaks([row(number, text) for number, text in enumerate(ASKED[language], 10)], held_out)


@each
def test_the_rivals_without_a_model_tell_the_topics_apart(language: str) -> None:
    topics = ["parcel", "invoice", "password", "holiday"]
    train = [row(number, text, topics[number]) for number, text in enumerate(POOL[language])]
    test = [row(number, text, topics[number - 10]) for number, text in enumerate(ASKED[language], 10)]
    outputs = [Field(name="topic", type={"enum": topics})]
    found = measure_rivals(
        train,
        test,
        test,
        [Field(name="text", type={"type": "string"})],
        outputs,
        lambda e, p: float(e.topic == p.topic),
    )
    scores = {name: mean_score(rows) for name, rows in found.items()}
    assert scores == {"majority": 0.25, "nearest": 1.0, "bag_of_words": 1.0}


def test_runs_without_spaces_are_pairs_and_all_else_are_words() -> None:
    assert find_words("GPU的温度是 82 度 and 犬 barks") == [
        "GPU",
        "的温",
        "温度",
        "度是",
        "82",
        "度",
        "and",
        "犬",
        "barks",
    ]
    assert find_words("人々は来た。", 1) == ["人", "々", "は", "来", "た"]
    assert [find_words(text) for text in ("กิน", "น้ำใส", "བོད་སྐད། ၁၂", "ភាសា")] == [
        ["กิน"],  # a vowel above its letter is no character of its own
        ["น้ำ", "ำใ", "ใส"],
        ["བོད", "སྐད", "၁၂"],
        ["ភាសា"],
    ]
    assert find_words("배송 상태를", 1) == ["배송", "상태를"]


def test_only_letters_and_marks_of_those_scripts_are_read_so() -> None:
    listed = [chr(code) for code in range(0x300, 0x33000) if re.match(f"[{UNSPACED}]", chr(code))]
    known = [sign for sign in listed if unicodedata.category(sign) != "Cn"]
    assert {unicodedata.category(sign)[0] for sign in known if sign != "〇"} == {"L", "M"}
    scripts = {unicodedata.name(sign).split()[0] for sign in known}
    assert scripts >= {"CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"}
    assert scripts.isdisjoint({"HANGUL", "LATIN", "CYRILLIC", "ARABIC", "DEVANAGARI", "FULLWIDTH"})


@given(st.text())
def test_texts_in_scripts_with_spaces_are_split_as_at_spaces_alone(text: str) -> None:
    text = re.sub(f"[{UNSPACED}]", " ", text)
    assert find_words(text) == re.findall(r"\w+", text)
    assert find_words(text, 1, SIGNS) == re.findall(rf"\w+|{SIGNS}", text)
    assert find_words(text, 2, r"\S") == re.findall(r"\b\w+\b|\S", text)
