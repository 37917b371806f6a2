"""Assembles a boot sector of guest/boot_sector into a raw disk."""
import pathlib
import subprocess
import tempfile

SOURCES = pathlib.Path(__file__).resolve().parents[2] / "guest" / "boot_sector"


def write_disk(name, path, size=1 << 20):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["gcc", "-m32", "-c", "-o", f"{folder}/sector.o", str(SOURCES / f"{name}.S")], check=True)
        subprocess.run(["ld", "-m", "elf_i386", "-Ttext=0x7c00", "--oformat", "binary", "-o", f"{folder}/sector",
                        f"{folder}/sector.o"], check=True)
        code = pathlib.Path(f"{folder}/sector").read_bytes()
    with open(path, "wb") as disk:
        disk.write(code)
        disk.truncate(size)
