"""An NFS server in this process's own network: nfs-ganesha with rpcbind beside it, versions 3 and 4."""
import pathlib
import socket
import subprocess
import time

PORT = 2049
CONFIGURATION = """
NFS_CORE_PARAM {{ Protocols = 3,4; NFS_Port = 2049; Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false;
  Plugins_Dir = "/usr/lib/x86_64-linux-gnu/ganesha"; }}
NFSV4 {{ Graceless = true; RecoveryBackend = fs; RecoveryRoot = {folder}/recovery; Lease_Lifetime = 4; }}
EXPORT {{ Export_Id = 1; Path = {folder}/export; Pseudo = /disks; Access_Type = RW; Squash = No_Root_Squash;
  SecType = sys; Protocols = 3,4; Transports = TCP; FSAL {{ Name = VFS; }} }}
LOG {{ Default_Log_Level = EVENT; }}
"""


def enter_private_network():
    """The tests run in a network of their own (unshare --net): rpcbind's port is a fixed one."""
    lines = pathlib.Path("/proc/net/dev").read_text().splitlines()[2:]
    names = {line.split(":")[0].strip() for line in lines}
    if not names <= {"lo", "sit0", "tunl0", "ip6tnl0"}:
        raise RuntimeError("run this test as: unshare --net python3 -m unittest ...")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def wait_for(port, seconds=30):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing listens at port {port}")


class Portmapper:
    def __init__(self):
        self.process = subprocess.Popen(["rpcbind", "-f", "-w"], stderr=subprocess.DEVNULL)
        wait_for(111)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Ganesha:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.export = self.folder / "export"
        for name in ("export", "recovery"):
            (self.folder / name).mkdir()
        (self.folder / "ganesha.conf").write_text(CONFIGURATION.format(folder=folder))
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["ganesha.nfsd", "-F", "-f", self.folder / "ganesha.conf", "-L", self.folder / "ganesha.log",
             "-p", self.folder / "ganesha.pid"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(PORT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    stop = kill

    def url(self, name, version=3, **options):
        place = self.export if version == 3 else "/disks"
        words = "".join(f"&{key}={value}" for key, value in options.items())
        return f"nfs://127.0.0.1{place}/{name}?version={version}{words}"
