"""What a compressed image states of its own size: compared with the header before a decoder gets it."""

from __future__ import annotations

_NO_FRAME = (0xC4, 0xC8, 0xCC)
_JPEG_LS_FRAME = 0xF7
_ALONE = (0x01, *range(0xD0, 0xD9))


def stated_size(data: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 stream states; None where it states none.

    Sources: ITU-T T.81 annex B, T.87 annex C, T.800 annex A.
    """
    start = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start >= 0:
        numbers = [int.from_bytes(data[start + at : start + at + 4], "big") for at in (8, 12, 16, 20)]
        return numbers[1] - numbers[3], numbers[0] - numbers[2]
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        mark = data[at + 1]
        if mark == 0xFF:
            at += 1
        elif mark in _ALONE:
            at += 2
        elif (0xC0 <= mark <= 0xCF and mark not in _NO_FRAME) or mark == _JPEG_LS_FRAME:
            return int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
