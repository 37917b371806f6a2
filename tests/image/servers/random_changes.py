"""The random changes of src/image/remote_disk_test.cpp, on a disk that a server has. VIREO_CHANGES: how many."""
import os
import pathlib
import subprocess


def change_at_random(url, image_format):
    """None, or what the test says of its failure."""
    program = pathlib.Path(os.environ["VIREO_BIN"]) / "test_image"
    result = subprocess.run([program, "--gtest_filter=RemoteDisk.*", "--gtest_brief=1"], capture_output=True, text=True, timeout=1200,
                            env={**os.environ, "VIREO_REMOTE_DISK": url, "VIREO_REMOTE_FORMAT": image_format})
    passed = result.returncode == 0 and "PASSED" in result.stdout
    return None if passed else result.stdout + result.stderr
