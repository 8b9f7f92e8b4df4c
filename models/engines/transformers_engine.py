"""The default engine: a Hugging Face Qwen3-VL or Qwen2.5-VL model in this process, under our own decoding
loop.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from PIL import Image

from ..answers.grammar import AnswerGrammar, FreeState, GrammarState
from ..device_memory import free_bytes, give_back, is_out_of_memory
from ..errors import OutOfMemoryError
from ..images import MAX_PIXELS, fit, fitted_size
from ..lru_cache import LRUCache
from ..question import Question
from ..rubrics.rubric import Rubric
from .base import Answer, Capabilities, ExpectedScore, Progress, Residency, SamplingParams, Trainable
from .choice import choose
from .decoding import Row, write
from .encoding import encoder_of
from .expectation import expected_score, score_tree
from .session import Mark, Session
from .vision import HOST, ImageFeatures, SeenImages, digest, encode_image

# Answers written side by side: a step costs about the same for 1 and for 8 rows, more gains little.
ROWS = 8
# Host memory for sessions that may be continued.
KEPT_BYTES = 2 * 1024**3
# Sessions that may be continued: those of a batch or two, or of the last rounds of a loop. Of small models
# thousands would fit into the bytes above, for nothing.
KEPT_SESSIONS = 16
NO_ROOM = (
    "There is not enough memory to judge this image: lower max_pixels on Load Critic, choose a smaller "
    "quantization, "
    "or close what else uses the GPU."
)
Result = TypeVar("Result")


class TransformersEngine:
    """`model` and `processor` as transformers loads them, the model on its device or in the care of
    `residency`.

    `capabilities` says what this model cannot do that the engine could. `rows` answers are written side by
    side; `kept_bytes` of host memory hold sessions that may be continued.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        max_pixels: int = MAX_PIXELS,
        rows: int = ROWS,
        kept_bytes: int = KEPT_BYTES,
        *,
        capabilities: Capabilities = Capabilities(),
        residency: Residency | None = None,
    ):
        self.model = model
        self.processor = processor
        self.capabilities = capabilities
        self.residency = residency or Residency()
        # In pixels, of the complete image.
        largest = dict(getattr(processor.image_processor, "size", None) or {}).get("longest_edge")
        self.max_pixels = min(max_pixels, largest or max_pixels)
        self.rows = rows
        self.kept_bytes = kept_bytes
        # Rows with a session, the least recently used first.
        self.kept: OrderedDict[int, Row] = OrderedDict()
        self.encoder = encoder_of(model, processor)
        self.vocabulary = self.encoder.vocabulary
        self.grammars: LRUCache[AnswerGrammar] = LRUCache(16)
        self.seen = SeenImages()
        # Images at the size they are read, by the pixels they come from.
        self.prepared: LRUCache[Image.Image] = LRUCache(16)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.model.get_input_embeddings().weight.device

    def prepare(self, image: Image.Image) -> Image.Image:
        """The image within the pixel budget, sides in multiples of the model's patches."""
        if image.size == fitted_size(*image.size, self.max_pixels, self.encoder.multiple):
            return image
        key = digest(image)
        prepared = self.prepared.get(key)
        if prepared is None:
            prepared = fit(image, self.max_pixels, self.encoder.multiple)
            self.prepared.put(key, prepared)
        return prepared

    def answer(
        self,
        questions: Sequence[Question],
        sampling: SamplingParams,
        progress: Progress,
        earlier: Sequence[Answer | None] = (),
    ) -> list[Answer]:
        """One answer a question, written side by side as far as memory allows. Raises OutOfMemoryError."""
        tokens = max(self.encoder.require_room(q, _longest_answer(q, sampling)) for q in questions)
        rows = [
            self._row(q, sampling, a)
            for q, a in zip(questions, earlier or [None] * len(questions), strict=True)
        ]
        self.ready(tokens, sampling.max_new_tokens, len(rows))
        size, done, retried = self._portion(len(rows), tokens + sampling.max_new_tokens), 0, False
        while done < len(rows):
            portion = rows[done : done + size]
            if self._write(portion, sampling, progress, done, len(rows)):
                done += len(portion)
                continue
            if retried:
                raise OutOfMemoryError(NO_ROOM)
            size, retried = 1, True
            self.residency.evict_others()
        return [self._answer(row, sampling) for row in rows]

    def expected_scores(self, question: Question, progress: Progress) -> dict[str, ExpectedScore]:
        """Every dimension's expected score from one forward behind the prompt (see `expectation`)."""
        progress.check()
        branches, readers = score_tree(question.rubric, self.vocabulary)
        row, new = Row(question, FreeState((), 0)), sum(len(ids) for _, ids in branches)
        self.ready(self.encoder.require_room(question, new), new)

        def read() -> dict[str, ExpectedScore]:
            try:
                logits = self._open(row).probe(branches)
                return {
                    key: expected_score(logits, reader, self.vocabulary) for key, reader in readers.items()
                }
            finally:
                self._park([row])

        return self._with_room(read)

    @torch.inference_mode()
    def choose(self, question: str, choices: Sequence[str]) -> tuple[int, float]:
        """(index, probability 0..1) of the likeliest of `choices` as the answer to a question without images.

        Raises ValueError where one choice is the beginning of another.
        """
        message = {"role": "user", "content": [{"type": "text", "text": question}]}
        ids, _ = self.encoder.prompt_ids([message], {})
        longest = sum(len(encoded) for encoded in self.vocabulary.encode_all(list(choices)))
        self.ready(len(ids), longest)
        return choose(Session.of_text(self.model, ids, self.device), self.vocabulary, choices)

    def trainable(self) -> Trainable:
        """The model, processor and encoder, for training."""
        return Trainable(self.model, self.processor, self.encoder)

    def ready(self, prompt: int, new: int, rows: int = 1) -> None:
        """Have the model where it computes, with room for questions of `prompt` tokens and answers of `new`
        tokens, `rows` of them or as many as are written side by side. Called before every use. Raises
        OutOfMemoryError.
        """
        size = min(rows, self.rows)
        needed = size * self._cache_bytes(prompt + new) + self._activation_bytes(prompt)
        self._with_room(lambda: self.residency.ready(needed))
        self.vocabulary.masks = self.vocabulary.masks.to(self.device)

    def _with_room(self, step: Callable[[], Result]) -> Result:
        """What `step` returns.

        Where memory runs out, it is tried once more with nothing else on the device.
        """
        for attempt in range(2):
            try:
                return step()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            # Out here, where no traceback holds what was half done.
            self.release()
            if not attempt:
                self.residency.evict_others()
        raise OutOfMemoryError(NO_ROOM)

    def release(self) -> None:
        """Drop what is kept for continuing, and give memory back; answers can still be continued, at the
        price of reading again.
        """
        for row in self.kept.values():
            row.session = row.prompt = None
        self.kept.clear()
        give_back()

    def _row(self, question: Question, sampling: SamplingParams, earlier: Answer | None) -> Row:
        if earlier is not None:
            row: Row = earlier.resume
            if row.question.digest != question.digest:
                row = row.behind(question)
            if isinstance(row.state, GrammarState):
                row.state.extend(sampling.until)
            else:
                row.state.limit = row.state.written + sampling.max_new_tokens
            return row
        if sampling.answer == "free":
            state: GrammarState | FreeState = FreeState(self.vocabulary.stop_ids, sampling.max_new_tokens)
        else:
            state = GrammarState(self._grammar(question.rubric, sampling.max_new_tokens), sampling.until)
        generator = torch.Generator().manual_seed(sampling.seed % 2**63) if sampling.temperature > 0 else None
        return Row(question, state, generator)

    def _grammar(self, rubric: Rubric, limit: int) -> AnswerGrammar:
        grammar = self.grammars.get((rubric, limit))
        if grammar is None:
            grammar = AnswerGrammar(rubric, self.vocabulary, limit)
            self.grammars.put((rubric, limit), grammar)
        return grammar

    def _write(
        self, rows: Sequence[Row], sampling: SamplingParams, progress: Progress, done: int, total: int
    ) -> bool:
        """Write some rows side by side; False where memory ran out, and then they can go on from where they
        are.
        """
        failed = False
        try:
            for row in rows:
                if not row.state.done:
                    progress.check()
                    self._open(row)
            write(rows, self.vocabulary, sampling.temperature, progress, done, total)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            failed = True
        finally:
            self._park(rows)
        if failed:
            self.release()
        return not failed

    def _open(self, row: Row) -> Session:
        """Give a row its session on the model's device: its own, one that has read the same prompt, or a new
        one.
        """
        if row.session is None:
            session, row.prompt = self._read(row.question)
            session.feed([row.ids[: len(row.ids) - len(row.pending)]])
            row.session = session
        row.session = row.session.to(self.device)
        return row.session

    def _read(self, question: Question) -> tuple[Session, Mark]:
        """A session that has read the question and nothing else, and the mark of that place."""
        for row in reversed(self.kept.values()):
            if row.session is not None and row.prompt is not None and row.question.digest == question.digest:
                session = row.session.select([0]).to(self.device)
                session.rewind(row.prompt)
                return session, row.prompt
        tensors, images = self.encoder.encode_text(question)
        features = [self.seen.get(image, self._see).to(self.device) for image in images]
        if features:
            tensors["image_grid_thw"] = torch.cat([one.grid for one in features])
        inputs = {key: tensor.to(self.device) for key, tensor in tensors.items()}
        session = Session.prefill(self.model, inputs, features)
        return session, session.mark()

    def _see(self, image: Image.Image) -> ImageFeatures:
        """Encode one prepared image."""
        pixels = self.encoder.pixels([image])
        return encode_image(
            self.model, pixels["pixel_values"].to(self.device), pixels["image_grid_thw"].to(self.device)
        )

    def _park(self, rows: Sequence[Row]) -> None:
        """Keep the sessions of the newest rows in host memory, within the limit: between two nodes the card
        belongs to others.
        """
        for row in rows:
            self.kept.pop(id(row), None)
            if row.session is not None:
                self.kept[id(row)] = row
        held = 0
        for number, (key, row) in enumerate(reversed(list(self.kept.items()))):
            session, held = row.session, held + (row.session.nbytes if row.session else 0)
            if session is None or held > self.kept_bytes or number >= KEPT_SESSIONS:
                row.session = row.prompt = None
                del self.kept[key]
            else:
                row.session, row.prompt = session.to(HOST), row.prompt.to(HOST) if row.prompt else None

    def _portion(self, rows: int, tokens: int) -> int:
        """How many rows of so many tokens to write side by side: as many as the free memory of the card
        allows, at most `self.rows`.
        """
        if self.device.type != "cuda" or rows < 2:
            return self.rows
        return max(1, min(self.rows, int(free_bytes(self.device) * 0.8) // self._cache_bytes(tokens)))

    def _cache_bytes(self, tokens: int) -> int:
        """Keys and values of one row."""
        text = self.model.config.get_text_config()
        head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        token = 2 * text.num_hidden_layers * text.num_key_value_heads * head * self.model.dtype.itemsize
        # Twice: while rows join or leave, their cache exists in two copies.
        return 2 * token * tokens

    def _activation_bytes(self, tokens: int) -> int:
        """What one prefill needs besides the cache: the widest layers of the language model and of the vision
        tower, a few times.
        """
        text, vision = self.model.config.get_text_config(), self.model.config.vision_config
        patches = vision.spatial_merge_size**2 * tokens
        widest = max(tokens * text.intermediate_size, patches * vision.intermediate_size)
        return 4 * widest * self.model.dtype.itemsize

    def _answer(self, row: Row, sampling: SamplingParams) -> Answer:
        locked, unmeant = isinstance(row.state, GrammarState), row.unmeant
        parts = row.state.parts if isinstance(row.state, GrammarState) else None
        expected = {key: one.expected((parts or {}).get(key, "")) for key, one in row.expectations.items()}
        return Answer(
            text=row.text(self.vocabulary),
            until=sampling.until if locked else "refinement",
            parts=parts and {key: text for key, text in parts.items() if key not in unmeant},
            confidence=dict(row.confidence),
            expected={
                key: score for key, score in expected.items() if score is not None and key not in unmeant
            },
            unmeant=unmeant,
            shortened=isinstance(row.state, GrammarState) and row.state.shortened,
            cut_off=isinstance(row.state, FreeState) and not row.state.stopped,
            tokens=len(row.ids),
            resume=row,
        )


def _longest_answer(question: Question, sampling: SamplingParams) -> int:
    """Free-text tokens that an answer may have."""
    return min(sampling.max_new_tokens, sum(item.tokens for item in question.rubric.answer))
