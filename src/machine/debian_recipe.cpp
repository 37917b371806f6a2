#include "machine/debian_recipe.h"

#include <fmt/format.h>

namespace vireo::machine {
namespace {

// The units that are switched off only slow a boot down; apt itself stays complete.
constexpr std::string_view setup_script{R"(set -eu
echo debian > /etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 debian\n::1 localhost ip6-localhost ip6-loopback\n' > /etc/hosts
echo 'LABEL=vireo-root / ext4 defaults,errors=remount-ro,x-systemd.growfs 0 1' > /etc/fstab
: > /etc/machine-id
rm -f /var/lib/dbus/machine-id /etc/ssh/ssh_host_*
cat > /etc/systemd/network/80-vireo.network <<'END'
[Match]
Name=en* eth*
[Network]
DHCP=yes
END
cat > /etc/ssh/sshd_config.d/vireo.conf <<'END'
PermitRootLogin yes
HostKey /etc/ssh/ssh_host_ed25519_key
END
cat > /etc/systemd/system/vireo-host-key.service <<'END'
[Unit]
Description=SSH host key of this machine
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
[Install]
WantedBy=ssh.service
END
systemctl -q enable vireo-host-key.service systemd-networkd.service systemd-resolved.service ssh.service
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    systemd-networkd-wait-online.service; do
  systemctl -q disable $unit 2>/dev/null || true
done
printf 'root:%s\n' "$root_password" | chpasswd -c SHA512
if [ -n "$ssh_key" ]; then
  mkdir -p -m 700 /root/.ssh
  printf '%s\n' "$ssh_key" > /root/.ssh/authorized_keys
  chmod 600 /root/.ssh/authorized_keys
fi
printf 'MODULES=list\nCOMPRESS=lz4\n' > /etc/initramfs-tools/conf.d/vireo
printf '%s\n' virtio_pci virtio_mmio virtio_blk virtio_scsi virtio_console ahci ata_piix sd_mod nvme ext4 \
  >> /etc/initramfs-tools/modules
update-initramfs -u -k all
# What only the build wanted.
rm -f /etc/apt/apt.conf.d/99mmdebstrap
sed -i /force-unsafe-io/d /etc/dpkg/dpkg.cfg.d/99mmdebstrap
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
)"};

constexpr std::string_view assemble_script{R"(set -eu
source=$1 folder=$2 bytes=$3
tree=$source
if [ -f "$source" ]; then
  tree=$folder/tree
  mkdir "$tree"
  tar -x -p --numeric-owner -C "$tree" -f "$source"
  rm "$source"
fi
cp "$tree"/boot/vmlinuz-* "$folder/vmlinuz"
cp "$tree"/boot/initrd.img-* "$folder/initrd.img"
truncate -s "$bytes" "$folder/disk.raw"
PATH=$PATH:/usr/sbin:/sbin
mke2fs -q -F -t ext4 -L vireo-root -m 1 -E assume_storage_prezeroed=1 -d "$tree" "$folder/disk.raw"
rm -rf "$tree"
chmod 644 "$folder/disk.raw" "$folder/vmlinuz" "$folder/initrd.img"
)"};

}  // namespace

std::string_view debian_packages() {
  return "linux-image-cloud-amd64,systemd-sysv,systemd-resolved,udev,dbus,kmod,lz4,openssh-server,iproute2,"
         "iputils-ping,ca-certificates,procps,less,python3,e2fsprogs";
}

std::string shell_quoted(std::string_view text) {
  auto result = std::string{"'"};
  for (auto const letter : text) {
    if (letter == '\'')
      result += "'\\''";
    else
      result += letter;
  }
  return result + "'";
}

std::string debian_setup_script(std::string_view root_password, std::string_view ssh_key) {
  return fmt::format("root_password={}\nssh_key={}\n{}", shell_quoted(root_password), shell_quoted(ssh_key),
                     setup_script);
}

std::string_view debian_assemble_script() { return assemble_script; }

}  // namespace vireo::machine
