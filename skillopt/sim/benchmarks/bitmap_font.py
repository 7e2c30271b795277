"""A bitmap font, as drawn on the pages of test documents and as the simulated model reads it.

Each glyph is five columns and seven rows, and a line of text is a grid of cells: a column and a row
apart.
"""

from __future__ import annotations

from collections.abc import Sequence

GLYPHS = {
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "B": "11110 10001 10001 11110 10001 10001 11110",
    "C": "01110 10001 10000 10000 10000 10001 01110",
    "D": "11110 10001 10001 10001 10001 10001 11110",
    "E": "11111 10000 10000 11110 10000 10000 11111",
    "F": "11111 10000 10000 11110 10000 10000 10000",
    "G": "01110 10001 10000 10111 10001 10001 01110",
    "H": "10001 10001 10001 11111 10001 10001 10001",
    "I": "01110 00100 00100 00100 00100 00100 01110",
    "J": "00111 00010 00010 00010 00010 10010 01100",
    "K": "10001 10010 10100 11000 10100 10010 10001",
    "L": "10000 10000 10000 10000 10000 10000 11111",
    "M": "10001 11011 10101 10101 10001 10001 10001",
    "N": "10001 11001 10101 10011 10001 10001 10001",
    "O": "01110 10001 10001 10001 10001 10001 01110",
    "P": "11110 10001 10001 11110 10000 10000 10000",
    "Q": "01110 10001 10001 10001 10101 10010 01101",
    "R": "11110 10001 10001 11110 10100 10010 10001",
    "S": "01111 10000 10000 01110 00001 00001 11110",
    "T": "11111 00100 00100 00100 00100 00100 00100",
    "U": "10001 10001 10001 10001 10001 10001 01110",
    "V": "10001 10001 10001 10001 10001 01010 00100",
    "W": "10001 10001 10001 10101 10101 11011 10001",
    "X": "10001 10001 01010 00100 01010 10001 10001",
    "Y": "10001 10001 01010 00100 00100 00100 00100",
    "Z": "11111 00001 00010 00100 01000 10000 11111",
    "0": "01110 10011 10101 10101 10101 11001 01110",
    "1": "00100 01100 00100 00100 00100 00100 01110",
    "2": "01110 10001 00001 00110 01000 10000 11111",
    "3": "11110 00001 00001 01110 00001 00001 11110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "01110 10000 10000 11110 10001 10001 01110",
    "7": "11111 00001 00010 00100 01000 01000 01000",
    "8": "01110 10001 10001 01110 10001 10001 01110",
    "9": "01110 10001 10001 01111 00001 00001 01110",
    ":": "00000 00100 00000 00000 00000 00100 00000",
    ".": "00000 00000 00000 00000 00000 00000 00100",
    "-": "00000 00000 00000 01110 00000 00000 00000",
    " ": "00000 00000 00000 00000 00000 00000 00000",
}
WIDTH, HEIGHT = 6, 8
"""The size of a cell, with the blank column and row."""
_KNOWN = {"".join(rows.split()): letter for letter, rows in GLYPHS.items()}
Grid = list[list[bool]]
"""Rows of pixels; true is ink."""


def drawn(lines: Sequence[str]) -> Grid:
    """Lines of text as pixels; letters become capitals.

    Raises:
        KeyError: the font has no such glyph.
    """
    columns = max(map(len, lines)) * WIDTH
    grid = [[False] * columns for _ in range(len(lines) * HEIGHT)]
    for row, line in enumerate(lines):
        for column, letter in enumerate(line.upper()):
            for y, bits in enumerate(GLYPHS[letter].split()):
                for x, bit in enumerate(bits):
                    grid[row * HEIGHT + y][column * WIDTH + x] = bit == "1"
    return grid


def read(grid: Grid) -> list[str]:
    """The lines of text in pixels; a cell that is no glyph is read as ``?``."""
    lines = []
    for top in range(0, len(grid) - HEIGHT + 1, HEIGHT):
        letters = []
        for left in range(0, len(grid[0]) - WIDTH + 1, WIDTH):
            cell = "".join(
                "1" if grid[top + y][left + x] else "0"
                for y in range(HEIGHT - 1)
                for x in range(WIDTH - 1)
            )
            letters.append(_KNOWN.get(cell, "?"))
        lines.append("".join(letters).rstrip())
    return lines
