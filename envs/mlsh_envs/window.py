"""A window for pictures, and the colours of primitives."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

PRIMITIVE_COLOURS = ("#c1442e", "#2c7fb8", "#5a9e3d", "#8e6bb0", "#c78a1e", "#4d4d4d", "#d36ba5", "#17a398")
"""Colours of primitives 0, 1, ...; they repeat cyclically."""


def primitive_colour(primitive: int) -> tuple[int, int, int]:
    """Red, green and blue from 0 to 255."""
    text = PRIMITIVE_COLOURS[primitive % len(PRIMITIVE_COLOURS)]
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


class Window:
    """Shows pictures one after another, at a steady pace.

    Args:
        title: title of the window.
        fps: frames per second.

    Raises:
        gymnasium.error.DependencyNotInstalled: pygame is not installed.
    """

    def __init__(self, title: str, fps: int) -> None:
        try:
            import pygame
        except ModuleNotFoundError:
            raise gym.error.DependencyNotInstalled(
                'a window needs pygame: `pip install pygame-ce`, or use render_mode="rgb_array"'
            ) from None
        self._pygame, self._title, self._fps = pygame, title, fps
        pygame.display.init()
        self._clock = pygame.time.Clock()
        self._screen: Any = None

    def show(self, picture: NDArray[np.uint8]) -> None:
        """Shows a (height, width, 3) picture and waits until the next one is due."""
        pygame = self._pygame
        height, width, _ = picture.shape
        if self._screen is None:
            self._screen = pygame.display.set_mode((width, height))
            pygame.display.set_caption(self._title)
        self._screen.blit(pygame.surfarray.make_surface(picture.swapaxes(0, 1)), (0, 0))
        pygame.event.pump()
        pygame.display.flip()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Closes the window."""
        self._pygame.display.quit()
