"""Judgements and blank images for the tests of the Critique Card, and a text in every script."""

from __future__ import annotations

import numpy as np
from PIL import Image

from rational_rewards.models.judgement import Dimension, Judgement

# A colour that is on no bar.
GREY = (128, 128, 128)

SCRIPTS = {
    "Latin": "Zażółć gęślą jaźń, một bức tranh, naïve café “quoted” – it’s €5 …",
    "Cyrillic": "Женщина в длинном красном шарфе, съёмка на закате; їжак і ґрунт.",
    "Greek": "Μια γυναίκα με κόκκινο κασκόλ, ἀρχὴ τῆς ὁδοῦ.",
    "Chinese": "一位戴着红色长围巾的女子站在雪地里，身边有三只棕色的狗，門右邊掛著一盞燈籠。",
    "Japanese": "赤い長いマフラーを巻いた女性が雪の庭に立っている。「写真のように」リアル。",
    "Korean": "빨간 목도리를 두른 여자가 눈 덮인 마당에 서 있고 강아지 세 마리가 있다.",
    "Arabic": "امرأة ترتدي وشاحًا أحمر (مع ثلاثة كلاب) بجانب باب خشبي، الإضاءة 3.5 من 4.",
    "Persian": "زنی با شال‌گردن قرمز کنار در چوبی ایستاده است، چراغ پرنور.",
    "Hebrew": "אישה עם צעיף אדום ארוך (עם 3 כלבים) ליד דלת עץ.",
    "Devanagari": "लाल दुपट्टा पहने एक स्त्री बर्फ़ से ढके आँगन में खड़ी है।",
    "Thai": "ผู้หญิงสวมผ้าพันคอสีแดงยาวยืนอยู่ในสนามหิมะข้างๆมีสุนัขสามตัว",
    "Indian": "বাংলা ভাষা, தமிழ் மொழி, తెలుగు, ગુજરાતી, ਪੰਜਾਬੀ, ಕನ್ನಡ, മലയാളം, සිංහල, ଓଡ଼ିଆ",
    "others": "ខ្មែរ, ລາວ, မြန်မာ, አማርኛ, ქართული, հայերեն",
    "emoji": "A cat 🐈 under a rainbow 🌈 with ❤️ and 👩‍👩‍👧 and 👍🏽 and 🇫🇷, ✨🔥⭐ 🫠",
    "symbols": "→ ∞ ≤ ★ ✔ ♫ ① ½ ☀ ─ █ ⌘ ⠿ ™ № ℃",
}


def blank(width: int = 64, height: int = 64) -> Image.Image:
    return Image.new("RGB", (width, height), GREY)


def judged(*scores: float | None, applicable: bool = True, why: str = "Because.", **texts: str) -> Judgement:
    dimensions = {
        f"d{i}": Dimension(f"Dimension {i}", score, applicable, why) for i, score in enumerate(scores)
    }
    return Judgement(dimensions, **texts)


def pixels(image: Image.Image, color: tuple[int, int, int]) -> int:
    return int((np.asarray(image) == color).all(axis=-1).sum())


def ink(image: Image.Image) -> int:
    return int((np.asarray(image.convert("L")) < 120).sum())
