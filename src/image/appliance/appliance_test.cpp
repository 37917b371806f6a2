#include <gmock/gmock.h>

#include "image/appliance/allocation_units.h"
#include "image/appliance/package.h"
#include "image/testing/random_disk.h"

namespace vireo::image::appliance {
namespace {

using image::testing::TestFolder;
using image::testing::tool;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Result<std::vector<TarMember>> members_of(std::string const& path) {
  auto const file = host::File::open(path, {});
  return read_tar([&](u64 at, Bytes into) { return file->read(at, into); }, *file->size());
}
std::vector<std::string> names_in(std::string const& path) {
  auto names = std::vector<std::string>{};
  auto const members = members_of(path);
  EXPECT_TRUE(members) << members.error().what();
  for (auto const& each : members.value_or(std::vector<TarMember>{})) names.push_back(each.name);
  return names;
}

TEST(Tar, OfEveryDialectOfGnuTarIsRead) {
  auto const folder = TestFolder{};
  auto const long_name = std::string(150, 'n') + ".vmdk";
  ASSERT_TRUE(host::write_text(folder / "vm.ovf", "descriptor"));
  ASSERT_TRUE(host::write_text(folder / long_name, "disk"));
  for (auto const* dialect : {"gnu", "pax", "oldgnu"}) {
    tool({"tar", "-C", folder / "", std::string{"--format="} + dialect, "-cf", folder / "out.tar", "vm.ovf",
          "./" + long_name});
    EXPECT_THAT(names_in(folder / "out.tar"), ElementsAre("vm.ovf", long_name)) << dialect;
  }
}

TEST(Tar, ThatWeWroteIsReadByGnuTar) {
  auto const folder = TestFolder{};
  auto const text = std::string(1000, 'x');
  {
    auto writer = TarWriter::create(folder / "out.tar");
    ASSERT_TRUE(writer);
    for (auto const* name : {"one", "two"}) {
      ASSERT_TRUE(writer->begin(name, text.size()));
      ASSERT_TRUE(writer->add(std::as_bytes(std::span{text})));
    }
    ASSERT_TRUE(writer->finish());
  }
  EXPECT_EQ(tool({"tar", "-tf", folder / "out.tar"}), "one\ntwo\n");
  EXPECT_EQ(tool({"tar", "-xOf", folder / "out.tar", "two"}), text);
  EXPECT_THAT(names_in(folder / "out.tar"), ElementsAre("one", "two"));
}

TEST(Tar, WithSizesAbove8GiBIsReadBothWays) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(host::write_text(folder / "big", ""));
  ASSERT_EQ(::truncate((folder / "big").c_str(), 9 * GiB), 0);
  tool({"tar", "-C", folder / "", "--format=gnu", "-cf", folder / "out.tar", "--sparse", "big"});
  EXPECT_FALSE(members_of(folder / "out.tar"));  // GNU's sparse files are no plain ones
  auto writer = TarWriter::create(folder / "ours.tar");
  ASSERT_TRUE(writer->begin("big", 9 * GiB));
  ASSERT_EQ(::truncate((folder / "ours.tar").c_str(), 9 * GiB + 2048), 0);
  EXPECT_THAT(tool({"tar", "-tvf", folder / "ours.tar"}), HasSubstr("9663676416"));
  EXPECT_EQ(members_of(folder / "ours.tar")->front().bytes, 9 * GiB);
}

TEST(Tar, ThatLeadsElsewhereIsRefused) {
  auto const folder = TestFolder{};
  ASSERT_TRUE(host::make_folders(folder / "sub"));
  ASSERT_TRUE(host::write_text(folder / "sub/file", "x"));
  tool({"ln", "-s", "/etc/passwd", folder / "link"});
  tool({"tar", "-C", folder / "", "-cf", folder / "folder.tar", "sub/file"});
  tool({"tar", "-C", folder / "sub", "-P", "-cf", folder / "up.tar", "../sub/file"});
  tool({"tar", "-P", "-cf", folder / "root.tar", folder / "sub/file"});
  tool({"tar", "-C", folder / "", "-cf", folder / "link.tar", "link"});
  tool({"tar", "-C", folder / "sub", "-cf", folder / "twice.tar", "file", "file", "--hard-dereference"});
  for (auto const* name : {"folder.tar", "up.tar", "root.tar", "link.tar", "twice.tar"})
    EXPECT_EQ(members_of(folder / name).error().code(), Errc::corrupt) << name;
}

TEST(AllocationUnit, IsAPowerOfTwoOrAWord) {
  EXPECT_EQ(allocation_unit("byte * 2^30", 1), GiB);
  EXPECT_EQ(allocation_unit("byte*2^20", 1), MiB);
  EXPECT_EQ(allocation_unit("MegaBytes", 1), MiB);
  EXPECT_EQ(allocation_unit("", MiB), MiB);
  EXPECT_EQ(allocation_unit("byte * 2^64", 1), std::nullopt);
  EXPECT_EQ(allocation_unit("bit", 1), std::nullopt);
}

TEST(Manifest, IsReadAndWritten) {
  auto const lines = parse_manifest("SHA256(a.vmdk)= ABcd\r\nSHA1 (b)=12\n\n");
  ASSERT_TRUE(lines);
  EXPECT_EQ((*lines)[0].sum, "abcd");
  EXPECT_EQ((*lines)[1].kind, "SHA1");
  EXPECT_EQ(manifest_text({{"SHA256", "x", "00"}}), "SHA256(x)= 00\n");
  EXPECT_EQ(parse_manifest("nonsense").error().code(), Errc::corrupt);
}

Appliance example() {
  return {.name = "two disks & more",
          .cpus = 3,
          .memory = 768 * MiB,
          .efi = true,
          .disks = {{"a.vmdk", "vmdk", 5 * GiB, "scsi"}, {"b.vmdk", "vmdk", 7 * MiB, "scsi"}},
          .nics = {{"E1000", "NAT", "52:54:00:01:02:03"}, {"E1000", "NAT", ""}},
          .kernel = "k",
          .initrd = "i",
          .command_line = "root=/dev/vda \"quoted\" <&>",
          .files = {{"a.vmdk", 10}, {"b.vmdk", 20}, {"k", 1}, {"i", 2}}};
}

TEST(Ovf, ComesBackAsItWasWritten) {
  auto const read = parse_ovf(write_ovf(example()));
  ASSERT_TRUE(read) << read.error().what();
  EXPECT_EQ(read->name, "two disks & more");
  EXPECT_EQ(read->cpus, 3u);
  EXPECT_EQ(read->memory, 768 * MiB);
  EXPECT_TRUE(read->efi);
  ASSERT_EQ(read->disks.size(), 2u);
  EXPECT_EQ(read->disks[1].file, "b.vmdk");
  EXPECT_EQ(read->disks[1].bytes, 7 * MiB);
  EXPECT_EQ(read->disks[1].controller, "scsi");
  ASSERT_EQ(read->nics.size(), 2u);
  EXPECT_EQ(read->nics[0].mac, "52:54:00:01:02:03");
  EXPECT_EQ(read->command_line, example().command_line);
  EXPECT_EQ(read->initrd, "i");
  EXPECT_TRUE(read->warnings.empty()) << read->warnings.front();
}

class HostileOvf : public ::testing::Test {
 protected:
  static Error after_replacing(std::string const& from, std::string const& to) {
    auto text = write_ovf(example());
    auto const found = text.find(from);
    EXPECT_NE(found, std::string::npos) << text;
    text.replace(found, from.size(), to);
    auto const read = parse_ovf(text);
    EXPECT_FALSE(read);
    return read ? Error{Errc::invalid, ""} : read.error();
  }
};
TEST_F(HostileOvf, ThatNamesAFileElsewhereIsRefused) {
  EXPECT_EQ(after_replacing("\"a.vmdk\"", "\"../a.vmdk\"").code(), Errc::corrupt);
  EXPECT_EQ(after_replacing("\"a.vmdk\"", "\"/etc/passwd\"").code(), Errc::corrupt);
  EXPECT_EQ(after_replacing("\"a.vmdk\"", "\"http://host/a.vmdk\"").code(), Errc::corrupt);
}
TEST_F(HostileOvf, WhoseCapacityOverflowsIsRefused) {
  EXPECT_EQ(after_replacing("\"byte\"", "\"byte * 2^62\"").code(), Errc::corrupt);
}
TEST_F(HostileOvf, OfADiskWithoutAFileIsRefused) {
  EXPECT_EQ(after_replacing("fileRef=\"file1\"", "fileRef=\"file9\"").code(), Errc::corrupt);
}
TEST_F(HostileOvf, WithPackedFilesOrSeveralMachinesIsNamed) {
  EXPECT_EQ(after_replacing("ovf:id=\"file1\"", "ovf:id=\"file1\" ovf:compression=\"gzip\"").code(),
            Errc::unsupported);
  EXPECT_EQ(
      parse_ovf("<Envelope><VirtualSystemCollection><VirtualSystem/><VirtualSystem/></VirtualSystemCollection>"
                "</Envelope>")
          .error()
          .code(),
      Errc::unsupported);
}
TEST_F(HostileOvf, ThatIsNoXmlIsRefused) {
  EXPECT_EQ(parse_ovf("<Envelope><unclosed>").error().code(), Errc::corrupt);
  EXPECT_EQ(parse_ovf("").error().code(), Errc::corrupt);
}

class PackageFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(host::write_text(folder_ / "vm.ovf", write_ovf(example())));
    for (auto const* name : {"a.vmdk", "b.vmdk", "k", "i"}) ASSERT_TRUE(host::write_text(folder_ / name, name));
    ASSERT_TRUE(host::write_text(folder_ / "vm.mf", sums({"vm.ovf", "a.vmdk", "b.vmdk", "k"})));
  }
  std::string sums(std::vector<std::string> const& names) const {
    auto text = std::string{};
    for (auto const& name : names)
      text += "SHA256(" + name + ")= " + tool({"sha256sum", folder_ / name}).substr(0, 64) + "\n";
    return text;
  }
  void pack() const {
    tool({"tar", "-C", folder_ / "", "-cf", folder_ / "vm.ova", "vm.ovf", "vm.mf", "a.vmdk", "b.vmdk", "k",
          "i"});
  }
  TestFolder folder_;
};

TEST_F(PackageFolder, AndTarGiveTheSameFiles) {
  pack();
  auto const folder = Package::open(folder_ / "vm.ovf");
  auto const tar = Package::open(folder_ / "vm.ova");
  ASSERT_TRUE(folder && tar);
  EXPECT_EQ(folder->appliance().disks.size(), tar->appliance().disks.size());
  EXPECT_TRUE(folder->find_checked("a.vmdk")->has_value());
  EXPECT_FALSE(tar->find_checked("a.vmdk")->has_value());
  ASSERT_TRUE(tar->copy_checked("a.vmdk", folder_ / "copy"));
  EXPECT_EQ(*host::read_text(folder_ / "copy"), "a.vmdk");
  EXPECT_THAT(tar->warnings(), Contains(HasSubstr("no sum of i")));
}

TEST_F(PackageFolder, WithAChangedFileIsNotTaken) {
  ASSERT_TRUE(host::write_text(folder_ / "a.vmdk", "changed"));
  pack();
  auto const tar = Package::open(folder_ / "vm.ova");
  ASSERT_TRUE(tar);
  EXPECT_EQ(tar->copy_checked("a.vmdk", folder_ / "copy").error().code(), Errc::corrupt);
  EXPECT_FALSE(host::File::open(folder_ / "copy", {}));
  EXPECT_EQ(Package::open(folder_ / "vm.ovf")->find_checked("a.vmdk").error().code(), Errc::corrupt);
  ASSERT_TRUE(host::write_text(folder_ / "vm.ovf", write_ovf(example()) + " "));
  EXPECT_EQ(Package::open(folder_ / "vm.ovf").error().code(), Errc::corrupt);
}

TEST_F(PackageFolder, WithALinkInPlaceOfADiskIsNotTaken) {
  tool({"ln", "-sf", "/etc/passwd", folder_ / "b.vmdk"});
  ASSERT_TRUE(host::write_text(folder_ / "vm.mf", sums({"vm.ovf"})));
  EXPECT_EQ(Package::open(folder_ / "vm.ovf")->find_checked("b.vmdk").error().code(), Errc::denied);
}

TEST_F(PackageFolder, ThatIsSignedOrHasNoManifestSaysSo) {
  ASSERT_TRUE(host::write_text(folder_ / "vm.cert", "x"));
  EXPECT_THAT(Package::open(folder_ / "vm.ovf")->warnings(), Contains(HasSubstr("signature is not verified")));
  tool({"rm", folder_ / "vm.mf"});
  EXPECT_THAT(Package::open(folder_ / "vm.ovf")->warnings(), Contains(HasSubstr("no manifest")));
}

}  // namespace
}  // namespace vireo::image::appliance
