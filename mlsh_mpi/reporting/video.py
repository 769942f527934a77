"""Videos of episodes: frames from the environment, with the active primitive as colour and caption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio.v2 as imageio
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mlsh_envs.window import primitive_colour
from mlsh_mpi import files
from mlsh_mpi.errors import UserError

Array = np.ndarray[Any, np.dtype[Any]]
LONGEST = 300
"""Largest number of frames of an episode; a longer one only shows every second, third, ... step."""
STRIP = 46
"""Height of the caption in pixels."""
FORMATS = (".mp4", ".gif", ".png")
STILLS = 5
"""Number of an episode's frames that a PNG shows, evenly spaced."""
WIDEST = 1600
"""Largest width of such a PNG in pixels; wider ones are scaled down."""


@dataclass(frozen=True)
class Episode:
    """What is needed to render an episode again: the same seed, task and actions lead to the same states."""

    title: str
    task: Any
    seed: int
    action: Array
    """(T, ...) as the environment takes them."""
    reward: Array
    """(T,) rewards, to check that the episode repeats itself."""
    primitive: Array | None
    """(T,) active primitives; None if there is only one."""


def frame_steps(length: int) -> range:
    """The steps of an episode that are shown: all, or every second, third, ... of a long one; always with the last."""
    stride = -(-length // LONGEST)
    return range((length - 1) % stride, length, stride)


def render_frames(env: gym.Env[Any, Any], episode: Episode) -> Iterator[Array]:
    """Runs the episode again and yields the frames that are shown, with captions: (height, width, 3).

    Raises:
        UserError: the environment renders nothing, or the episode does not repeat itself.
    """
    env.reset(seed=episode.seed, options={"task": episode.task})
    total, length, chosen = 0.0, len(episode.reward), frame_steps(len(episode.reward))

    for t in range(length):
        primitive = None if episode.primitive is None else int(episode.primitive[t])
        if not env.set_wrapper_attr("active_primitive", primitive, force=False):
            env.unwrapped.active_primitive = primitive  # type: ignore[attr-defined]

        _, reward, *_ = env.step(episode.action[t])
        if not np.isclose(float(reward), episode.reward[t], rtol=1e-4, atol=1e-6):
            raise UserError(
                f"the environment did not repeat itself: step {t + 1} of an episode with the same seed, task and actions gave "
                f"a reward of {float(reward):.6g} instead of {episode.reward[t]:.6g}; draw all randomness from self.np_random"
            )

        total += float(reward)

        if t in chosen:
            drawn = env.render()
            if not isinstance(drawn, np.ndarray) or drawn.ndim != 3:
                raise UserError('the environment draws no pictures: render() must return an array with render_mode="rgb_array"')
            yield _captioned(drawn, episode.title, f"step {t + 1} of {length}, return {total:.4g}", primitive)


def side_by_side(films: Sequence[Iterator[Array]]) -> Iterator[Array]:
    """Several videos side by side; one that is over keeps its last frame."""
    last: list[Array | None] = [None] * len(films)
    while True:
        new_frames = [next(film, None) for film in films]
        if all(picture is None for picture in new_frames):
            return
        last = [old if new is None else new for old, new in zip(last, new_frames, strict=True)]
        shown = [picture for picture in last if picture is not None]
        height = max(picture.shape[0] for picture in shown)
        yield np.concatenate([_even(np.pad(p, ((0, height - p.shape[0]), (4, 4), (0, 0)))) for p in shown], axis=1)


def write(path: Path, frames: Iterator[Array], lengths: Sequence[int], fps: int, advance: Callable[[], None]) -> None:
    """Writes a video as MP4 or GIF, or a few of its frames as PNG, with a row for each episode; the suffix gives the format.

    Args:
        path: file to write.
        frames: frames, all of one size.
        lengths: number of frames of each episode.
        fps: frames per second.
        advance: called after each frame.

    Raises:
        UserError: the file cannot be written, or has another suffix.
    """
    if path.suffix not in FORMATS:
        raise UserError(f"--video {path} must end in {', '.join(FORMATS)}")
    options: dict[str, Any] = (
        {"fps": fps, "macro_block_size": 2} if path.suffix == ".mp4" else {"duration": 1000 / fps, "loop": 0}
    )
    with files.writing(f"--video {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.whole(path) as unfinished:
            if path.suffix == ".png":
                imageio.imwrite(unfinished, _stills(frames, lengths, advance))
                return
            writer: Any
            with imageio.get_writer(unfinished, **options) as writer:
                for frame in frames:
                    writer.append_data(frame)
                    advance()


def _stills(frames: Iterator[Array], lengths: Sequence[int], advance: Callable[[], None]) -> Array:
    rows = []
    for length in lengths:
        shown = set(np.linspace(0, length - 1, STILLS).round().astype(int).tolist())
        row = []
        for number in range(length):
            picture = next(frames)
            row += [picture] if number in shown else []
            advance()
        rows.append(np.concatenate(row, axis=1))
    widest = max(row.shape[1] for row in rows)
    strip = Image.fromarray(np.concatenate([np.pad(row, ((0, 0), (0, widest - row.shape[1]), (0, 0))) for row in rows]))
    strip.thumbnail((WIDEST, strip.height))
    return np.asarray(strip)


def _captioned(picture: Array, title: str, text: str, primitive: int | None) -> Array:
    height, width, _ = picture.shape
    image = Image.new("RGB", (width, height + STRIP), (20, 20, 20))
    image.paste(Image.fromarray(picture.astype(np.uint8)), (0, STRIP))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    draw.text((8, 3), title, (255, 255, 255), font)
    if primitive is not None:
        draw.rectangle((8, 27, 20, 39), primitive_colour(primitive))
        text = f"primitive {primitive}: {text}"
    draw.text((26 if primitive is not None else 8, 24), text, (200, 200, 200), font)
    return np.asarray(image)


def _even(picture: Array) -> Array:
    """Pads a frame to an even number of rows and columns, as video codecs require."""
    return np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)))
