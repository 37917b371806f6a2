"""Whole machines in and out: descriptors in VMware's and VirtualBox's style, written by hand; tar, sha256sum and qemu-img look on."""
import hashlib
import os
import pathlib
import random
import re
import subprocess
import tempfile
import unittest

VIREO = pathlib.Path(os.environ["VIREO_BIN"]) / "vireo"

ENVELOPE = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope {own} xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
"""
VMWARE = ENVELOPE.replace("{own}", 'vmw:buildId="build-3018522" xmlns:vmw="http://www.vmware.com/schema/ovf"') + """
  <References>
    <File ovf:href="web-disk1.vmdk" ovf:id="file1" ovf:size="1"/>
    <File ovf:href="web-disk2.vmdk" ovf:id="file2" ovf:size="1"/>
  </References>
  <DiskSection>
    <Info>Virtual disk information</Info>
    <Disk ovf:capacity="8" ovf:capacityAllocationUnits="byte * 2^20" ovf:diskId="vmdisk1" ovf:fileRef="file1"
      ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized" ovf:populatedSize="1"/>
    <Disk ovf:capacity="4" ovf:capacityAllocationUnits="byte * 2^20" ovf:diskId="vmdisk2" ovf:fileRef="file2"
      ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
    <Disk ovf:capacity="3" ovf:capacityAllocationUnits="byte * 2^30" ovf:diskId="vmdisk3"/>
  </DiskSection>
  <NetworkSection><Info>The list of logical networks</Info>
    <Network ovf:name="VM Network"><Description>The VM Network network</Description></Network></NetworkSection>
  <VirtualSystem ovf:id="web server">
    <Info>A virtual machine</Info>
    <Name>web server</Name>
    <OperatingSystemSection ovf:id="96" vmw:osType="debian10_64Guest"><Info>The kind</Info></OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Virtual hardware requirements</Info>
      <System><vssd:ElementName>Virtual Hardware Family</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemType>vmx-14</vssd:VirtualSystemType></System>
      <Item><rasd:AllocationUnits>hertz * 10^6</rasd:AllocationUnits><rasd:ElementName>2 virtual CPU(s)</rasd:ElementName>
        <rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
      <Item><rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:ElementName>2048MB of memory</rasd:ElementName>
        <rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>2048</rasd:VirtualQuantity></Item>
      <Item><rasd:Address>0</rasd:Address><rasd:ElementName>SCSI Controller 0</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID>
        <rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>10</rasd:AddressOnParent><rasd:ElementName>Hard Disk 3</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/vmdisk3</rasd:HostResource><rasd:InstanceID>8</rasd:InstanceID><rasd:Parent>3</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>2</rasd:AddressOnParent><rasd:ElementName>Hard Disk 2</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/vmdisk2</rasd:HostResource><rasd:InstanceID>5</rasd:InstanceID><rasd:Parent>3</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>Hard Disk 1</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID><rasd:Parent>3</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>7</rasd:AddressOnParent><rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>
        <rasd:Connection>VM Network</rasd:Connection><rasd:ElementName>Ethernet 1</rasd:ElementName><rasd:InstanceID>6</rasd:InstanceID>
        <rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
      <Item ovf:required="false"><rasd:AutomaticAllocation>false</rasd:AutomaticAllocation><rasd:ElementName>Video card</rasd:ElementName>
        <rasd:InstanceID>7</rasd:InstanceID><rasd:ResourceType>24</rasd:ResourceType></Item>
      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
    </VirtualHardwareSection>
    <AnnotationSection><Info>A note</Info><Annotation>Hello</Annotation></AnnotationSection>
  </VirtualSystem>
</Envelope>
"""
VIRTUALBOX = ENVELOPE.replace("{own}", 'ovf:version="1.0" xml:lang="en-US" xmlns:vbox="http://www.virtualbox.org/ovf/machine"') + """
  <References><File ovf:id="file1" ovf:href="box-disk001.vmdk"/></References>
  <DiskSection><Info>List of the virtual disks used in the package</Info>
    <Disk ovf:capacity="8388608" ovf:diskId="vmdisk1" ovf:fileRef="file1"
      ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized" vbox:uuid="d5a1a6d2"/></DiskSection>
  <NetworkSection><Info>Logical networks</Info><Network ovf:name="NAT"/></NetworkSection>
  <VirtualSystem ovf:id="box">
    <Info>A virtual machine</Info>
    <OperatingSystemSection ovf:id="96"><Info>The kind</Info><Description>Debian_64</Description></OperatingSystemSection>
    <VirtualHardwareSection><Info>Virtual hardware requirements</Info>
      <Item><rasd:Caption>1 virtual CPU</rasd:Caption><rasd:ElementName>1 virtual CPU</rasd:ElementName><rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>1</rasd:VirtualQuantity></Item>
      <Item><rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits><rasd:ElementName>1023 MB of memory</rasd:ElementName>
        <rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>1023</rasd:VirtualQuantity></Item>
      <Item><rasd:ElementName>sataController0</rasd:ElementName><rasd:InstanceID>5</rasd:InstanceID>
        <rasd:ResourceSubType>AHCI</rasd:ResourceSubType><rasd:ResourceType>20</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>3</rasd:AddressOnParent><rasd:ElementName>sound</rasd:ElementName><rasd:InstanceID>7</rasd:InstanceID>
        <rasd:ResourceSubType>ensoniq1371</rasd:ResourceSubType><rasd:ResourceType>35</rasd:ResourceType></Item>
      <Item><rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>disk1</rasd:ElementName>
        <rasd:HostResource>/disk/vmdisk1</rasd:HostResource><rasd:InstanceID>8</rasd:InstanceID><rasd:Parent>5</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType></Item>
      <Item><rasd:AutomaticAllocation>true</rasd:AutomaticAllocation><rasd:Connection>NAT</rasd:Connection><rasd:Address>080027ABCDEF</rasd:Address>
        <rasd:ElementName>Ethernet adapter on 'NAT'</rasd:ElementName><rasd:InstanceID>10</rasd:InstanceID>
        <rasd:ResourceSubType>E1000</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>
    </VirtualHardwareSection>
    <vbox:Machine ovf:required="false" version="1.19-linux" name="box"><ovf:Info>VirtualBox machine</ovf:Info>
      <Hardware><Firmware type="EFI"/></Hardware></vbox:Machine>
  </VirtualSystem>
</Envelope>
"""


class ApplianceTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        self.random = random.Random(7)

    def ask(self, *command, status=0):
        result = subprocess.run([str(each) for each in command], cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(result.returncode, status, f"{command}: {result.stdout}{result.stderr}")
        self.said = result.stderr
        return result.stdout

    def disk(self, name, size):
        content = bytearray(size)
        for _ in range(5):
            at = self.random.randrange(size - 70000) & ~511
            content[at:at + 65536] = self.random.randbytes(65536)
        (self.folder / f"{name}.raw").write_bytes(content)
        self.ask("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", f"{name}.raw", f"{name}.vmdk")

    def manifest(self, name, files, kind="sha256"):
        sums = {file: hashlib.new(kind, (self.folder / file).read_bytes()).hexdigest() for file in files}
        (self.folder / name).write_text("".join(f"{kind.upper()}({file})= {each}\n" for file, each in sums.items()))

    def spec(self, path):
        return pathlib.Path(path.strip()).read_text()

    def vmware(self):
        self.disk("web-disk1", 8 << 20)
        self.disk("web-disk2", 4 << 20)
        (self.folder / "web.ovf").write_text(VMWARE)
        self.manifest("web.mf", ["web.ovf", "web-disk1.vmdk", "web-disk2.vmdk"])

    def test_vmware_style_tar_becomes_a_spec_and_disks(self):
        self.vmware()
        self.ask("tar", "--format=ustar", "-cf", "web.ova", "web.ovf", "web.mf", "web-disk1.vmdk", "web-disk2.vmdk")
        spec = self.spec(self.ask(VIREO, "import", "web.ova", "--to", "out"))
        for word in ("UEFI", "VM Network", "Video card", "scsi"):
            self.assertIn(word, self.said)
        self.assertRegex(spec, r"(?m)^name: web-server$")
        self.assertRegex(spec, r"(?m)^  cpus: 2$")
        self.assertRegex(spec, r"(?m)^  memory: 2GiB$")
        disks = re.findall(r"path: (\S+)", spec)
        self.assertEqual([pathlib.Path(each).name for each in disks], [f"web-server-disk{n}.qcow2" for n in (1, 2, 3)])
        self.ask("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "web-disk1.raw", disks[0])
        self.ask("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "web-disk2.raw", disks[1])
        self.assertIn('"virtual-size": 3221225472', self.ask("qemu-img", "info", "--output=json", disks[2]))
        self.assertEqual(sorted(each.name for each in (self.folder / "out").iterdir()),
                         ["web-server-disk1.qcow2", "web-server-disk2.qcow2", "web-server-disk3.qcow2", "web-server.yaml"])
        self.assertRegex(spec, r"(?m)^  firmware: bios$")
        self.ask(VIREO, "run", "--spec", "out/web-server.yaml", "--dry-run")

    def test_virtualbox_style_folder_becomes_a_spec_and_disks_of_any_format(self):
        self.disk("box-disk001", 8 << 20)
        (self.folder / "box.ovf").write_text(VIRTUALBOX)
        self.manifest("box.mf", ["box.ovf", "box-disk001.vmdk"], "sha1")
        for form in ("raw", "vmdk", "vhd", "vhdx", "vdi"):
            spec = self.spec(self.ask(VIREO, "import", "box.ovf", "--name", f"b-{form}", "--disk-format", form))
            for word in ("sound", "sata", "UEFI", "1073741824 bytes of memory instead of 1072693248"):
                self.assertIn(word, self.said)
            disk = re.search(r"path: (\S+)", spec)[1]
            self.ask(VIREO, "image", "compare", "-f", "raw", "box-disk001.raw", disk)
        self.assertIn("08:00:27:AB:CD:EF", spec)
        self.assertRegex(spec, r"(?m)^  memory: 1GiB$")

    def test_what_the_manifest_does_not_say_is_not_taken(self):
        self.vmware()
        with open(self.folder / "web-disk2.vmdk", "ab") as file:
            file.write(b"more")
        self.ask("tar", "-cf", "web.ova", "web.ovf", "web.mf", "web-disk1.vmdk", "web-disk2.vmdk")
        for name in ("web.ova", "web.ovf"):
            self.ask(VIREO, "import", name, "--to", "out", status=1)
            self.assertIn("web-disk2.vmdk is not what its manifest says", self.said)
            self.assertEqual(list((self.folder / "out").iterdir()), [])

    def test_a_disk_that_leads_to_a_file_of_the_host_is_not_followed(self):
        (self.folder / "secret.raw").write_bytes(b"secret" * 200000)
        text = (f'# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
                f'RW 2048 FLAT "{self.folder}/secret.raw" 0\n')
        (self.folder / "box-disk001.vmdk").write_text(text)
        (self.folder / "box.ovf").write_text(VIRTUALBOX)
        self.ask(VIREO, "import", "box.ovf", "--to", "out", status=1)
        self.assertIn("secret.raw", self.said)
        self.assertEqual(list((self.folder / "out").iterdir()), [])

    def test_what_is_exported_is_what_comes_back(self):
        self.disk("one", 8 << 20)
        self.disk("two", 4 << 20)
        self.ask("qemu-img", "convert", "-f", "raw", "-O", "vhdx", "two.raw", "two.vhdx")
        (self.folder / "kernel").write_bytes(self.random.randbytes(100000))
        (self.folder / "vm.yaml").write_text(
            "apiVersion: vireo/v1\nkind: Instance\nname: pair\nspec:\n  cpus: 3\n  memory: 512MiB\n  kernel: kernel\n"
            "  append: console=ttyS0 \"a b\"\n  disks: [{path: one.raw, format: raw}, {path: two.vhdx, iops: 5}]\n"
            "  networks: [{kind: user, mac: '52:54:00:00:00:09', forward: ['2222:22']}]\n")
        self.ask(VIREO, "vm-export", "vm.yaml", "pair.ova")
        self.assertIn("forwarded ports", self.said)
        self.assertIn("limits", self.said)
        self.assertEqual(self.ask("tar", "-tf", "pair.ova").split(),
                         ["pair.ovf", "pair-disk1.vmdk", "pair-disk2.vmdk", "pair-kernel", "pair.mf"])
        (self.folder / "unpacked").mkdir()
        self.ask("tar", "-C", "unpacked", "-xf", "pair.ova")
        lines = re.sub(r"SHA256\((.*)\)= (.*)", r"\2  unpacked/\1", (self.folder / "unpacked/pair.mf").read_text())
        (self.folder / "sums").write_text(lines)
        self.assertEqual(self.ask("sha256sum", "-c", "sums").count("OK"), 4)
        self.ask("qemu-img", "compare", "-f", "raw", "-F", "vmdk", "one.raw", "unpacked/pair-disk1.vmdk")
        self.ask("qemu-img", "compare", "-f", "raw", "-F", "vmdk", "two.raw", "unpacked/pair-disk2.vmdk")
        self.ask(VIREO, "vm-export", "vm.yaml", "beside.ovf")
        self.assertFalse((self.folder / "pair.ova.parts").exists())
        for name in ("pair.ova", "beside.ovf"):
            out = f"from-{name}"
            spec = self.spec(self.ask(VIREO, "import", name, "--to", out))
            for word in ("cpus: 3", "memory: 512MiB", 'append: console=ttyS0 "a b"', "mac: 52:54:00:00:00:09"):
                self.assertIn(word, spec)
            self.assertEqual((self.folder / out / "pair-kernel").read_bytes(), (self.folder / "kernel").read_bytes())
            self.ask("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "two.raw", f"{out}/pair-disk2.qcow2")
        self.ask(VIREO, "vm-export", "vm.yaml", "pair.ova", status=1)


if __name__ == "__main__":
    unittest.main()
