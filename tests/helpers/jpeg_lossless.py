"""A small encoder of lossless JPEG (ITU-T T.81, annex H), which no package of the tests has."""

import struct

import numpy as np

CODE_BITS = 5  # of each of the 17 sizes that a difference may have: codes 0 to 16


def encode(values: np.ndarray, precision: int, predictor: int = 1) -> bytes:
    """Encode pixels ``(H, W)``, unsigned, with one of the predictors 1 to 7."""
    wide = values.astype(int)
    left, above, corner = (np.zeros_like(wide) for _ in range(3))
    left[:, 1:], above[1:], corner[1:, 1:] = wide[:, :-1], wide[:-1], wide[:-1, :-1]
    predicted = {
        1: left,
        2: above,
        3: corner,
        4: left + above - corner,
        5: left + ((above - corner) >> 1),
        6: above + ((left - corner) >> 1),
        7: (left + above) >> 1,
    }[predictor]
    predicted[0], predicted[1:, 0] = left[0], above[1:, 0]
    predicted[0, 0] = 1 << (precision - 1)
    bits = []
    for difference in ((wide - predicted + 2**15) % 2**16 - 2**15).ravel().tolist():
        size = 16 if difference == -(2**15) else abs(difference).bit_length()
        bits.append(f"{size:0{CODE_BITS}b}")
        if 0 < size < 16:
            bits.append(f"{difference if difference > 0 else difference + 2**size - 1:0{size}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    coded = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
    height, width = values.shape
    counts = bytes(17 if length == CODE_BITS else 0 for length in range(1, 17))
    segments = [
        (0xC3, struct.pack(">BHHB3B", precision, height, width, 1, 1, 0x11, 0)),
        (0xC4, b"\x00" + counts + bytes(range(17))),
        (0xDA, bytes([1, 1, 0, predictor, 0, 0])),
    ]
    head = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
    return b"\xff\xd8" + head + coded + b"\xff\xd9"
