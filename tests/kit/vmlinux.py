"""Takes the ELF kernel out of a bzImage (boot protocol: payload_offset and payload_length)."""
import pathlib
import struct
import subprocess

TOOLS = {b"\xfd7zXZ": ["xz", "-dc", "--single-stream"], b"\x28\xb5\x2f\xfd": ["zstd", "-dcq"], b"\x1f\x8b": ["gzip", "-dc"],
         b"\x02\x21\x4c\x18": ["lz4", "-dc"]}


def extract(bzimage, to):
    image = pathlib.Path(bzimage).read_bytes()
    start = (image[0x1f1] + 1) * 512
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[start + offset:start + offset + length]
    tool = next(tool for magic, tool in TOOLS.items() if payload.startswith(magic))
    elf = subprocess.run(tool, input=payload[:-4], capture_output=True).stdout  # the last four bytes are the size
    if not elf.startswith(b"\x7fELF"):
        raise ValueError(f"{bzimage}: no ELF kernel inside")
    pathlib.Path(to).write_bytes(elf)
