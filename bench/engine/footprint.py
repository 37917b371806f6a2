"""What the process of a VM keeps in memory beside the guest's own memory."""
import pathlib

GUEST_MEMORY = "vireo-guest-memory"


def beyond_guest_memory(pid):
    """Proportional set size in bytes of all mappings except those of the guest's memory; None while there is no guest memory."""
    total, is_guest, found = 0, False, False
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            is_guest = GUEST_MEMORY in line
            found = found or is_guest
        elif words[0] == "Pss:" and not is_guest:
            total += int(words[1]) * 1024
    return total if found else None


class Watch:
    """Called with the pid of `vireo run`, which turns into vireo-vmm; keeps the largest figure."""

    def __init__(self):
        self.largest = 0

    def __call__(self, pid):
        try:
            self.largest = max(self.largest, beyond_guest_memory(pid) or 0)
        except (FileNotFoundError, ProcessLookupError):
            pass
