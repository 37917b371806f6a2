#include <gmock/gmock.h>

#include "image/key_ring.h"
#include "image/luks/spec.h"
#include "image/operations/check.h"
#include "image/operations/convert.h"
#include "image/operations/create.h"
#include "image/operations/resize.h"
#include "image/operations/snapshot.h"
#include "image/testing/random_disk.h"

// QEMU is the witness: what one side encrypts, the other decrypts.
namespace vireo::image {
namespace {

using namespace image::testing;  // NOLINT: the tests' own vocabulary
using ::testing::HasSubstr;

struct Kind {
  std::string name;
  std::string format;
  std::string options;  // as qemu-img takes them
};
void PrintTo(Kind const& kind, std::ostream* stream) { *stream << kind.name; }

class Luks : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override { offer_passphrase("correct horse"); }
  void TearDown() override { forget_passphrases(); }
  bool is_qcow2() const { return GetParam().format == "qcow2"; }
  std::string path() const { return folder_ / "disk"; }
  std::string prefix() const { return is_qcow2() ? "encrypt." : ""; }
  static std::vector<std::string> with_secret(std::vector<std::string> words) {
    words.insert(words.begin() + (words[0] == "qemu-io" ? 1 : 2),
                 {"--object", "secret,id=key,data=correct horse"});
    return words;
  }
  std::string as_qemu_opens() const {
    return "driver=" + GetParam().format + "," + prefix() + "key-secret=key,file.filename=" + path();
  }
  void create_by_qemu(std::string const& size) const {
    auto options = prefix() + "key-secret=key," + prefix() + "iter-time=10" + GetParam().options;
    if (is_qcow2()) options += ",encrypt.format=luks";
    // QEMU measures how quick it is, and at times finds no answer in so short a time.
    tool({"sh", "-c",
          "for try in 1 2 3 4 5 6; do qemu-img create -q --object 'secret,id=key,data=correct horse' -f " +
              GetParam().format + " -o " + options + " " + path() + " " + size +
              " 2>/dev/null && exit 0; done; exit 1"});
  }
  void create(u64 bytes) const {
    auto request = CreateRequest{.path = path(), .format = GetParam().format, .bytes = bytes};
    request.options[prefix() + "iter-time"] = "10";
    if (is_qcow2()) request.options["encrypt.format"] = "luks";
    auto rest = GetParam().options.empty() ? "" : GetParam().options.substr(1) + ",";
    for (auto comma = rest.find(','); comma != std::string::npos; comma = rest.find(',')) {
      auto const word = rest.substr(0, comma);
      request.options[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
      rest.erase(0, comma + 1);
    }
    auto const made = create_image(request);
    ASSERT_TRUE(made) << made.error().what();
  }
  OpenOptions options() const { return {.format = GetParam().format}; }
  void expect_qemu_reads(Shadow const& shadow) const {
    tool(with_secret({"qemu-img", "convert", "--image-opts", as_qemu_opens(), "-O", "raw", folder_ / "flat"}));
    EXPECT_TRUE(file_bytes(folder_ / "flat") == shadow);
    if (is_qcow2()) tool(with_secret({"qemu-img", "check", "-q", "--image-opts", as_qemu_opens()}));
  }
  TestFolder folder_;
};
INSTANTIATE_TEST_SUITE_P(
    All, Luks,
    ::testing::Values(Kind{"qcow2", "qcow2", ""}, Kind{"qcow2 of subclusters", "qcow2", ",extended_l2=on"},
                      Kind{"qcow2 of small clusters", "qcow2", ",cluster_size=4096"},
                      Kind{"qcow2, cbc", "qcow2",
                           ",encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,"
                           "encrypt.ivgen-hash-alg=sha256,encrypt.hash-alg=sha1"},
                      Kind{"luks", "luks", ""},
                      Kind{"luks, cbc", "luks",
                           ",cipher-alg=aes-256,cipher-mode=cbc,ivgen-alg=plain,hash-alg=sha512"}));

TEST_P(Luks, ImagesThatQemuMadeAreReadAndWritten) {
  create_by_qemu("6M");
  tool(with_secret({"qemu-io", "-c", "write -P 7 0 6M", "--image-opts", as_qemu_opens()}));
  auto shadow = Shadow(6 * MiB, std::byte{7});
  expect_same(*opened(path(), options()), shadow);
  change_in_batches(path(), options(), shadow, 1, 4, 60);
  expect_qemu_reads(shadow);
}

TEST_P(Luks, ImagesThatWeMadeAreReadByQemu) {
  create(6 * MiB);
  auto shadow = Shadow(6 * MiB);
  ASSERT_TRUE(opened(path(), options())->write_zeroes(0, shadow.size(), true));
  {
    auto const image = opened(path(), options());
    change_from_threads(*image, shadow, 60);
  }
  change_in_batches(path(), options(), shadow, 2, 3, 60);
  expect_qemu_reads(shadow);
}

TEST_P(Luks, ImagesAreResizedConvertedAndKeepSnapshots) {
  auto random = std::mt19937_64{3};
  auto shadow = noise(3 * MiB, random);
  write_flat(folder_ / "source", shadow);
  create(shadow.size());
  auto target = CreateRequest{.path = path(), .format = GetParam().format};
  auto converted = convert_image(
      {.source = folder_ / "source", .source_format = "raw", .target = target, .target_exists = true});
  ASSERT_TRUE(converted) << converted.error().what();
  auto const snapshots = SnapshotTarget{.path = path(), .format = GetParam().format};
  EXPECT_EQ(create_snapshot(snapshots, "before").has_value(), is_qcow2());  // else it would lie in the clear
  auto const resized = resize_image({.path = path(), .format = GetParam().format, .bytes = 5 * MiB});
  ASSERT_TRUE(resized) << resized.error().what();
  auto longer = shadow;
  longer.resize(5 * MiB);
  expect_same(*opened(path(), options()), longer);
  expect_qemu_reads(longer);
  EXPECT_EQ(apply_snapshot(snapshots, "before").has_value(), is_qcow2());
  expect_same(*opened(path(), options()), is_qcow2() ? shadow : longer);
}

TEST_P(Luks, ImagesAreNotOpenedWithoutTheirPassphraseOrWithAnother) {
  create(MiB);
  forget_passphrases();
  auto refused = open_image(path(), options());
  EXPECT_EQ(refused.error().code(), Errc::denied);
  EXPECT_THAT(refused.error().what(), HasSubstr("--key-file"));
  offer_passphrase("wrong");
  refused = open_image(path(), options());
  EXPECT_EQ(refused.error().code(), Errc::denied);
  EXPECT_THAT(refused.error().what(), HasSubstr("passphrase is wrong"));
  EXPECT_TRUE(describe_image(path(), GetParam().format)->encrypted);
}

TEST_P(Luks, ImagesHoldNothingInTheClear) {
  create(MiB);
  ASSERT_TRUE(opened(path(), options())->write(0, Shadow(MiB, std::byte{0x41})));
  auto const bytes = file_bytes(path());
  auto const run = std::ranges::search_n(bytes, 16, std::byte{0x41});
  EXPECT_TRUE(run.empty());
}

class LuksHeader : public ::testing::Test {
 protected:
  void SetUp() override {
    offer_passphrase("correct horse");
    ASSERT_TRUE(
        create_image({.path = path(), .format = "luks", .bytes = MiB, .options = {{"iter-time", "10"}}}));
  }
  void TearDown() override { forget_passphrases(); }
  std::string path() const { return folder_ / "disk"; }
  Errc after_writing(u64 at, std::vector<std::byte> const& bytes) const {
    EXPECT_TRUE(host::File::open(path(), {.write = true})->write(at, bytes));
    auto const opened = open_image(path(), {.format = "luks"});
    EXPECT_FALSE(opened);
    return opened ? Errc{} : opened.error().code();
  }
  static std::vector<std::byte> number(u32 value) {
    auto bytes = std::vector<std::byte>(4);
    store_be<u32>(bytes.data(), value);
    return bytes;
  }
  TestFolder folder_;
};

TEST_F(LuksHeader, ThatAsksForTooMuchIsRefused) {
  using namespace luks;  // NOLINT: one test
  EXPECT_EQ(after_writing(header_at::slots + slot_at::iterations, number(~u32{0})), Errc::corrupt);
}
TEST_F(LuksHeader, WithALongKeyIsRefused) {
  EXPECT_EQ(after_writing(luks::header_at::key_bytes, number(1 << 30)), Errc::corrupt);
}
TEST_F(LuksHeader, WithItsDiskOutsideTheFileIsRefused) {
  EXPECT_EQ(after_writing(luks::header_at::payload_offset, number(~u32{0})), Errc::corrupt);
}
TEST_F(LuksHeader, OfVersion3IsNamed) {
  EXPECT_EQ(after_writing(luks::header_at::version, {std::byte{0}, std::byte{3}}), Errc::unsupported);
}
TEST_F(LuksHeader, WithAnUnknownCipherIsNamed) {
  auto const name = std::string{"serpent"};
  auto const bytes = std::as_bytes(std::span{name});
  EXPECT_EQ(after_writing(luks::header_at::cipher_name, {bytes.begin(), bytes.end()}), Errc::unsupported);
}

}  // namespace
}  // namespace vireo::image
