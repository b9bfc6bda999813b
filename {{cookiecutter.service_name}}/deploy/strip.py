"""Cut off what is never loaded of the shared libraries in a folder: a fifth of what is installed.

That is `strip` without a package to install: names and line numbers for debuggers stand behind the
last segment, and the header that leads to them is emptied. The numbers are those of elf(5).
"""

import struct
import sys
from pathlib import Path

ELF64 = b"\x7fELF\x02\x01"  # 64 bits, little endian: amd64 and arm64


def stripped(library: bytes) -> bytes:
    """Return a library without section headers, and without what follows its segments."""
    (segments,) = struct.unpack_from("<Q", library, 32)
    size, count = struct.unpack_from("<HH", library, 54)
    end = segments + size * count
    for header in range(segments, end, size):
        offset, _, _, length = struct.unpack_from("<4Q", library, header + 8)
        end = max(end, offset + length)
    kept = bytearray(library[:end])
    struct.pack_into("<Q", kept, 40, 0)
    struct.pack_into("<HH", kept, 60, 0, 0)
    return bytes(kept)


for path in Path(sys.argv[1]).rglob("*.so*"):
    if (content := path.read_bytes()).startswith(ELF64):
        path.write_bytes(stripped(content))
