"""How the pictures look: colours, sizes, and the marks of verdicts.

The colours are those of Okabe and Ito, told apart by colour-blind readers too.
"""

BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, YELLOW, BLACK = COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#F0E442", "#000000",
)  # fmt: skip
GREY, PALE_GREY, WHITE = "#999999", "#CCCCCC", "#FFFFFF"
DARK_COLOURS = (SKY, ORANGE, GREEN, YELLOW, PURPLE, BLUE, VERMILLION, WHITE)
DARK_BACKGROUND, DARK_INK = "#15181E", "#D8DCE3"

VERDICT_STYLES = {  # colour and marker
    "ok": (BLUE, "o"), "noise": (GREY, "o"), "kink": (ORANGE, "^"), "jump": (PURPLE, "v"),
    "nonfinite": (PURPLE, "s"), "mismatch": (VERMILLION, "x"),
}  # fmt: skip

# Widths and heights in inches, of a figure or of each of its parts.
AXES = (6.4, 4.8)
CURVES = (5.0, 3.8)
MESSAGE = (5.0, 1.5)
TILE = 0.8  # an image of weights
MISTAKE = (1.3, 1.55)
VALUES = (5.4, 4.6)
ERRORS = (2.6, 2.3)
