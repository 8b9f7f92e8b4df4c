"""Phase 3, projection: judgements of one image, and words in them about what the critic will not see."""

from __future__ import annotations

import re

import pytest
from parrot_phases import lines, phase1
from scripted_teacher import ScriptedTeacher, some_pairs

from rational_rewards.models.errors import ParrotError
from rational_rewards.models.judgement import Judgement
from rational_rewards.parrot.consistency import LEAKS, filter_consistent
from rational_rewards.parrot.critic_teacher import wording
from rational_rewards.parrot.leaks import find_label, find_mention
from rational_rewards.parrot.pipeline import rationalize_pairs
from rational_rewards.parrot.projection import project


def test_judgements_of_one_image_are_kept_or_dropped_with_their_reason(tmp_path):
    flaws = {"p0A": "mention", "p1B": "unreadable", "p2A": "turned", "p2B": "turned", "p4A": "turned"}
    teacher = ScriptedTeacher(flaws)
    rationales = phase1(tmp_path, some_pairs(6), teacher)
    report = project(rationales, tmp_path / "alone", teacher, base=tmp_path)
    dropped = {
        record["id"] + record["letter"]: record["reason"]
        for record in lines(tmp_path / "alone/dropped.jsonl")
    }
    order = "contradicts the pair's order"
    assert dropped == {
        "p0A": "mentions the reference",
        "p1B": "unreadable",
        "p2A": order,
        "p2B": order,
        "p4A": order,
        "p4B": order,
    }
    kept = lines(tmp_path / "alone/pointwise.jsonl")
    assert [record["id"] + record["letter"] for record in kept] == ["p0B", "p1A", "p3A", "p3B", "p5A", "p5B"]
    assert set(kept[-1]["images"]) == {"image", "source"}
    assert all(Judgement.parse(record["judgement"]).refined_request for record in kept)
    assert (report.total, report.kept, report.order_checked, report.order_contradicted) == (12, 6, 5, 2)
    assert report.to_markdown().count("dropped") == 3


def test_calibration_drift_is_measured_against_the_scores_in_the_pair(tmp_path):
    pairs = [pair for pair in some_pairs(8) if pair.preferred != "tie"]
    report = project(
        phase1(tmp_path, pairs, ScriptedTeacher()), tmp_path / "alone", ScriptedTeacher(), base=tmp_path
    )
    assert report.drift == pytest.approx(0.2)
    assert report.shift == pytest.approx(-0.2)


def test_plain_distillation_shows_no_reference_and_ignores_the_order(tmp_path):
    class Curious(ScriptedTeacher):
        seen = []

        def project(self, pairs, references, seeds, progress):
            self.seen += [reference.rationale for reference in references]
            return super().project(pairs, references, seeds, progress)

    teacher = Curious({"p0A": "turned", "p0B": "turned"})
    file = phase1(tmp_path, some_pairs(3), teacher)
    report = project(file, tmp_path / "alone", teacher, base=tmp_path, referenced=False, check_order=False)
    assert set(teacher.seen) == {""}
    assert report.kept == 6


@pytest.mark.parametrize(
    "text",
    [
        "Image A is sharper.",
        "This picture is better than Image B's.",
        "It beats B clearly.",
        "The other image has no hat.",
        "Compared with the other picture, the light is flat.",
        "The second image is worse.",
        "Of the two images this is the better.",
        "It is the better of the two.",
        "As noted in the reference, the hat is gone.",
        "The reference says that the hat is gone.",
        "The provided reference comment is right.",
        "According to the comment the hat is gone.",
        "The comment correctly points out the seam.",
        "An earlier assessment found a seam.",
        "The pairwise rationale overstates it.",
        "It fits the human preference.",
        "The preferred image keeps the hat.",
        "Both images are sharp.",
        "Image 2 is darker.",
        "Candidate B wins.",
        "As the remarks say, it is blurred.",
        "The remarks are right that it is dark.",
        "Contrary to the remarks, it is sharp.",
        "Compared to the other one, it is soft.",
        "It is sharper than its counterpart.",
        "This one was preferred.",
    ],
)
def test_words_about_the_reference_or_the_other_image_are_found(text):
    assert find_mention(f"The hat is red. {text} It is well lit.", "a cat with a hat")


@pytest.mark.parametrize(
    "text",
    [
        "The sign says Banana Bread A4 in white.",
        "The image a viewer sees first is calm.",
        "In the image two cats sit on a wall.",
        "A cat sits there. A second cat sleeps. Another one eats.",
        "The cat is large compared to the sofa, and one ear is longer than the other.",
        "It is a clever reference to Van Gogh.",
        "The cultural reference is clear.",
        "The comment bubble is empty.",
        "The first letter and the second word are wrong.",
        "The cup leans against the other cup.",
        'The poster says "Image A is better than Image B" in red.',
        "Vitamin B is written on the box.",
        "The image as a whole is good; the result is sharp.",
        "The picture on the left wall is crooked.",
        "One star is larger than the other one.",
        "It was chosen to be dark.",
        "Compared with what was asked, the hat is too small.",
        "The hat is removed as instructed.",
        "The label on the bottle is blurred, and the label says nothing.",
        "There is the hint of a smile.",
        "The given choice of colours is calm.",
        "Half of the text is hidden by the label, and the colour comes from the label.",
    ],
)
def test_words_about_the_picture_itself_are_not_mistaken(text):
    assert find_mention(text, "a cat with a hat") == ""


def test_what_the_prompt_asks_for_may_be_spoken_of():
    assert (
        find_mention(
            "The reference is well drawn: the reference image stands left.", "a reference image of a knight"
        )
        == ""
    )
    assert find_mention("Image A stands on the billboard.", "a billboard that says Image A") == ""
    assert find_mention("Both images hang straight.", "two images on a wall, both framed") == ""
    assert find_mention("Image B is better.", "an image of a banana, b-side") == "Image B"


def test_with_a_source_both_images_may_be_spoken_of():
    text = (
        "Both images show the dog at the same place; the two images differ in the hat only, compared "
        "with the source image."
    )
    assert find_mention(text, "remove the hat", "edit") == ""
    assert find_mention(text, "a dog", "t2i")
    assert find_mention("Edited Image A lost the dog.", "remove the hat", "edit")


def test_a_source_may_be_called_the_reference_image():
    text = "The dog stands as in the reference image, and the reference picture's light is kept."
    assert find_mention(text, "remove the hat", "edit") == ""
    assert find_mention(text, "a dog", "t2i")
    assert find_mention("As the reference says, the hat is gone.", "remove the hat", "edit")


def test_what_the_teacher_calls_its_reference_is_found_where_it_leaks():
    told = wording()["reference"]
    noun = re.findall(r"<(\w+)>", told)[0]
    assert f"here are {noun}" in told
    assert find_mention(f"As the {noun} say, the hat is gone.", "a cat with a hat")


@pytest.mark.parametrize(
    "text",
    [
        "Known beforehand, Image A was chosen, so I follow that choice.",
        "Whoever looked at these two liked Image A.",
        "It agrees with the stated preference.",
        "I was told that Image A is better.",
        "People who saw them preferred Image A.",
    ],
)
def test_a_rationale_that_cites_the_preference_is_dropped(tmp_path, text):
    class Citing(ScriptedTeacher):
        def rationalize(self, pairs, seeds, anchored, progress):
            written = super().rationalize(pairs, seeds, anchored, progress)
            return [said.replace("Summary:", f"Summary: {text}", 1) for said in written]

    assert find_label(text)
    records = phase1(tmp_path, some_pairs(4), Citing())
    assert all(text in record["rationale"] for record in lines(records))
    survival = filter_consistent(records, tmp_path / "consistency", Citing())
    assert survival.kept == 0
    assert survival.dropped == {LEAKS: 4}


def test_a_rationale_may_come_to_a_preference_of_its_own():
    assert find_label("Image A is preferred overall, because its hat is red.") == ""
    assert find_label("The sign says people chose red.", "a sign that says people chose red") == ""


def test_two_programs_cannot_rationalize_one_dataset_at_once(tmp_path):
    class Second(ScriptedTeacher):
        def rationalize(self, pairs, seeds, anchored, progress):
            with pytest.raises(
                ParrotError, match=r'Another program is rationalizing the dataset "mine" already'
            ):
                rationalize_pairs(some_pairs(4), tmp_path / "mine", ScriptedTeacher())
            return super().rationalize(pairs, seeds, anchored, progress)

    rationalize_pairs(some_pairs(4), tmp_path / "mine", Second())
