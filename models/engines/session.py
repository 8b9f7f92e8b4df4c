"""A session: images and prompt are read once (prefill), then tokens are fed, rows are forked, rewound,
selected and joined.

The session owns everything that decoding needs: the key-value cache, the attention mask and the next M-RoPE
position of every row. Nothing rests on the model's own state (`rope_deltas`), so that sessions can be
interleaved at will. Rows are padded on the left; there are no holes behind the padding.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

from .vision import ImageFeatures, embed, encode_images

# Tokens by which a full cache grows at once.
ROOM = 256


class GrowingLayer(DynamicLayer):
    """A cache layer that writes into spare room and grows in steps, where DynamicLayer copies all it holds at
    every token.
    """

    keys: torch.Tensor
    values: torch.Tensor
    room: tuple[torch.Tensor, torch.Tensor]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append `[B, heads, K, width]` and return all keys and values."""
        length, new = self.get_seq_length(), key_states.shape[-2]
        if not length:
            self.hold(key_states, value_states)
            return self.keys, self.values
        if length + new > self.room[0].shape[-2]:
            self.hold(self.keys, self.values, length + new + ROOM)
        for room, states in zip(self.room, (key_states, value_states), strict=True):
            room[:, :, length : length + new] = states
        self.keys, self.values = (room[:, :, : length + new] for room in self.room)
        return self.keys, self.values

    def hold(
        self, keys: torch.Tensor, values: torch.Tensor, size: int = 0, device: torch.device | None = None
    ) -> None:
        """Take over these states `[B, heads, P, width]`, in a room for at least `size` tokens, on another
        device if one is given.
        """
        self.dtype, self.device, self.is_initialized = keys.dtype, device or keys.device, True
        length = keys.shape[-2]
        rooms = []
        for states in (keys, values):
            room = states.new_empty(
                (*states.shape[:2], max(size, length + ROOM), states.shape[3]), device=self.device
            )
            room[:, :, :length] = states
            rooms.append(room)
        self.room = (rooms[0], rooms[1])
        self.keys, self.values = (room[:, :, :length] for room in self.room)

    def cut(self, length: int) -> None:
        """Forget all behind the first `length` columns."""
        self.keys, self.values = (room[:, :, :length] for room in self.room)


@dataclass
class Mark:
    """A position to rewind to: the number of tokens of each row, and the logits there."""

    lengths: torch.Tensor
    positions: torch.Tensor
    logits: torch.Tensor

    def to(self, device: torch.device) -> Mark:
        """The same position for a session on another device."""
        return Mark(self.lengths.to(device), self.positions.to(device), self.logits.to(device))


class Session:
    """B rows of tokens that the model has read. Build one with `prefill` or `join`.

    `mask` [B, P] is 1 where the cache holds a token of that row; `positions` [B] is the next M-RoPE position;
    `logits` [B, V], float32, belong to each row's next token.
    """

    def __init__(
        self,
        model: Any,
        layers: list[GrowingLayer],
        mask: torch.Tensor,
        positions: torch.Tensor,
        logits: torch.Tensor,
    ):
        self.model = model
        self.layers = layers
        self.mask = mask
        self.positions = positions
        self.logits = logits

    @classmethod
    @torch.inference_mode()
    def prefill(
        cls, model: Any, inputs: dict[str, torch.Tensor], images: Sequence[ImageFeatures] | None = None
    ) -> Session:
        """One row from a processor's tensors: `input_ids` [1, N], `image_grid_thw` and, if it has them, token
        types. Its images are those in `pixel_values`, or `images` that are encoded already.
        """
        ids = inputs["input_ids"]
        mask = torch.ones_like(ids)
        positions = rope_positions(model, inputs)
        cache, layers = _new_cache(model)
        given = embed(model, ids, encode_images(model, inputs) if images is None else images)
        reader = model.model.language_model
        hidden = _hidden(reader, cache, **given, attention_mask=mask, position_ids=positions)
        return cls(model, layers, mask, positions.amax(dim=(0, 2)) + 1, _logits(model, hidden[:, -1]))

    @classmethod
    @torch.inference_mode()
    def of_text(cls, model: Any, ids: Sequence[int], device: torch.device) -> Session:
        """One row that has read tokens without images, whose M-RoPE positions simply count."""
        mask = torch.ones(1, 0, dtype=torch.long, device=device)
        positions = torch.zeros(1, dtype=torch.long, device=device)
        session = cls(model, _new_cache(model)[1], mask, positions, torch.empty(1, 0, device=device))
        session.feed([ids])
        return session

    @classmethod
    @torch.inference_mode()
    def join(cls, sessions: Sequence[Session]) -> Session:
        """The rows of several sessions as one, padded on the left.

        The sessions given are used up, layer by layer.
        """
        if len(sessions) == 1:
            return sessions[0]
        width = max(session.mask.shape[1] for session in sessions)
        first = sessions[0]
        layers = []
        for index in range(len(first.layers)):
            joined = GrowingLayer()
            parts = [session.layers[index] for session in sessions]
            rows = sum(part.keys.shape[0] for part in parts)
            shape = (rows, parts[0].keys.shape[1], width, parts[0].keys.shape[3])
            keys, values = parts[0].keys.new_zeros(shape), parts[0].values.new_zeros(shape)
            row = 0
            for session, part in zip(sessions, parts, strict=True):
                count, length = part.keys.shape[0], part.keys.shape[2]
                keys[row : row + count, :, width - length :] = part.keys
                values[row : row + count, :, width - length :] = part.values
                row += count
                session.layers[index] = GrowingLayer()
            joined.hold(keys, values)
            layers.append(joined)
        mask = torch.cat(
            [
                torch.nn.functional.pad(session.mask, (width - session.mask.shape[1], 0))
                for session in sessions
            ]
        )
        positions = torch.cat([session.positions for session in sessions])
        return cls(first.model, layers, mask, positions, torch.cat([session.logits for session in sessions]))

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.mask.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the cache, spare room included."""
        return sum(room.numel() * room.element_size() for layer in self.layers for room in layer.room)

    @torch.inference_mode()
    def feed(self, tokens: Sequence[Sequence[int]]) -> None:
        """Append tokens to every row: `tokens[row]` may differ in length, and may be empty (that row keeps
        its logits).
        """
        lengths = torch.tensor([len(row) for row in tokens])
        new = int(lengths.max())
        if not new:
            return
        ids = torch.zeros(self.rows, new, dtype=torch.long)
        for row, row_ids in enumerate(tokens):
            if row_ids:
                ids[row, new - len(row_ids) :] = torch.tensor(row_ids)
        device = self.mask.device
        ragged = bool((lengths != new).any())
        ids, lengths = ids.to(device), lengths.to(device)
        valid = (torch.arange(new, device=device) >= (new - lengths)[:, None]).to(self.mask.dtype)
        offsets = (valid.cumsum(1) - 1).clamp_min(0)
        positions = (self.positions[:, None] + offsets)[None].expand(3, -1, -1)
        mask = torch.cat([self.mask, valid], dim=1)
        hidden = _hidden(
            self.model.model,
            _cache_of(self.layers),
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
        )
        logits = _logits(self.model, hidden[:, -1])
        self.logits = torch.where((lengths == 0)[:, None], self.logits, logits) if ragged else logits
        self.mask = mask
        self.positions = self.positions + lengths
        if ragged:
            self._close_holes()

    def mark(self) -> Mark:
        """Remember this position."""
        return Mark(self.mask.sum(1), self.positions.clone(), self.logits.clone())

    @torch.inference_mode()
    def rewind(self, mark: Mark) -> None:
        """Go back to a position that this session has passed."""
        mark = mark.to(self.mask.device)
        extra = self.mask.sum(1) - mark.lengths
        if bool((extra == extra[0]).all()):
            length = self.mask.shape[1] - int(extra[0])
            self._cut(length)
        else:
            # Rows went on by different lengths: blank what they added, then close up.
            # 1 at each row's last token, 2 before it, ...
            behind = self.mask.flip(1).cumsum(1).flip(1)
            self.mask = self.mask * (behind > extra[:, None])
            self._close_holes()
        self.positions, self.logits = mark.positions.clone(), mark.logits.clone()

    @torch.inference_mode()
    def select(self, rows: Sequence[int]) -> Session:
        """A copy of some rows, without padding that none of them needs."""
        index = torch.tensor(rows, device=self.mask.device)
        mask = self.mask[index]
        # Columns that are padding in every row.
        start = int((mask.cumsum(1) == 0).sum(1).min())
        layers = []
        for layer in self.layers:
            copy = GrowingLayer()
            copy.hold(layer.keys[index, :, start:], layer.values[index, :, start:])
            layers.append(copy)
        return Session(
            self.model,
            layers,
            mask[:, start:].clone(),
            self.positions[index].clone(),
            self.logits[index].clone(),
        )

    def to(self, device: torch.device) -> Session:
        """This session with its tensors on another device; a no-op where they are there already.

        The model stays where it is.
        """
        if self.mask.device == device:
            return self
        layers = []
        for layer in self.layers:
            moved = GrowingLayer()
            moved.hold(layer.keys, layer.values, device=device)
            layers.append(moved)
        return Session(
            self.model, layers, self.mask.to(device), self.positions.to(device), self.logits.to(device)
        )

    def fork(self, count: int) -> Session:
        """`count` independent copies of every row, next to each other."""
        return self.select([row for row in range(self.rows) for _ in range(count)])

    @torch.inference_mode()
    def probe(self, branches: Sequence[tuple[int, Sequence[int]]]) -> list[torch.Tensor]:
        """Logits along the branches of a tree of tokens behind the tokens of a single row, in one forward.

        A branch is (index of its parent branch or -1, token ids); the result has one float32 tensor [len, V]
        a branch: the logits after each of its tokens. The session stays where it is.
        """
        if self.rows != 1:
            raise ValueError("probe works on a session of one row")
        width = self.mask.shape[1]
        start = int(self.positions[0])
        total = sum(len(ids) for _, ids in branches)
        allowed = torch.zeros(total, width + total, dtype=torch.bool)
        positions = torch.zeros(total, dtype=torch.long)
        # Columns of each branch and its ancestors.
        chains: list[list[int]] = []
        flat: list[int] = []
        for parent, ids in branches:
            ancestors = chains[parent] if parent >= 0 else []
            for depth in range(len(ids)):
                at = len(flat) + depth
                allowed[at, :width] = True
                allowed[at, [width + column for column in (*ancestors, *range(len(flat), at + 1))]] = True
                positions[at] = start + len(ancestors) + depth
            chains.append([*ancestors, *range(len(flat), len(flat) + len(ids))])
            flat += ids
        device, dtype = self.mask.device, self.layers[0].keys.dtype
        mask = torch.zeros(1, 1, total, width + total, dtype=dtype).masked_fill(
            ~allowed, torch.finfo(dtype).min
        )
        hidden = _hidden(
            self.model.model,
            _cache_of(self.layers),
            input_ids=torch.tensor([flat], device=device),
            attention_mask=mask.to(device),
            position_ids=positions.to(device).expand(3, 1, total),
        )
        for layer in self.layers:
            layer.cut(width)
        logits, ends = _logits(self.model, hidden[0]), []
        at = 0
        for _, ids in branches:
            ends.append(logits[at : at + len(ids)])
            at += len(ids)
        return ends

    def _cut(self, length: int) -> None:
        for layer in self.layers:
            layer.cut(length)
        self.mask = self.mask[:, :length]

    def _close_holes(self) -> None:
        """Move every row's tokens together at the right end, so that only left padding is left."""
        # Holes first, tokens behind, each in their order.
        order = self.mask.argsort(dim=1, stable=True)
        width = int(self.mask.sum(1).max())
        order = order[:, -width:]
        for layer in self.layers:
            index = order[:, None, :, None].expand(-1, layer.keys.shape[1], -1, layer.keys.shape[3])
            layer.hold(
                layer.keys.gather(2, index), layer.values.gather(2, index[..., : layer.values.shape[3]])
            )
        self.mask = self.mask.gather(1, order)


def _hidden(reader: Any, cache: Cache, **inputs: Any) -> torch.Tensor:
    """The last hidden states [B, K, width] of a model or its language model; the cache holds the tokens
    afterwards, too.
    """
    name = _cache_argument(type(reader))
    return reader(**inputs, **{name: cache}, use_cache=True).last_hidden_state


@functools.cache
def _cache_argument(kind: type) -> str:
    """What a model class calls the cache; asked once, because looking at a signature costs at every token."""
    # Renamed in transformers 5.24.
    return "cache" if "cache" in inspect.signature(kind.forward).parameters else "past_key_values"


def _logits(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Logits [rows, V], float32, of hidden states [rows, width].

    `generate`'s own way, a slice of [B, K, width] through the output layer, copies that layer's whole weight
    on CPUs whenever K > 1, because the slice is not contiguous: 1.9 s instead of 10 ms for a vocabulary of
    151,936.
    """
    return model.get_output_embeddings()(hidden.contiguous()).float()


def rope_positions(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """M-RoPE positions [3, 1, N] of a prompt with images, by the model's own rule."""
    rule = model.model.get_rope_index
    known = inspect.signature(rule).parameters
    given = {key: value for key, value in inputs.items() if key in known}
    return rule(**given, attention_mask=torch.ones_like(inputs["input_ids"]))[0]


def _new_cache(model: Any) -> tuple[Cache, list[GrowingLayer]]:
    layers = [GrowingLayer() for _ in range(model.config.get_text_config().num_hidden_layers)]
    return _cache_of(layers), layers


def _cache_of(layers: list[GrowingLayer]) -> Cache:
    return Cache(layers=list(layers))
