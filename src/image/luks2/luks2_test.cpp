#include <gmock/gmock.h>

#include "image/key_ring.h"
#include "image/luks2/header.h"
#include "image/operations/amend.h"
#include "image/operations/check.h"
#include "image/operations/convert.h"
#include "image/operations/create.h"
#include "image/operations/resize.h"
#include "image/testing/random_disk.h"

// cryptsetup is the witness: it opens what we make, and its offline reencryption encrypts and decrypts files.
namespace vireo::image {
namespace {

using namespace image::testing;  // NOLINT: the tests' own vocabulary
using ::testing::HasSubstr;
using ::testing::Not;

struct Kind {
  std::string name;
  std::map<std::string, std::string> options;
};
void PrintTo(Kind const& kind, std::ostream* stream) { *stream << kind.name; }

class Folder {
 public:
  Folder() {
    EXPECT_TRUE(host::write_text(key(), "correct horse"));
    EXPECT_TRUE(host::write_text(new_key(), "battery staple"));
    offer_passphrase("correct horse");
  }
  ~Folder() { forget_passphrases(); }
  std::string path() const { return folder_ / "disk"; }
  std::string key() const { return folder_ / "key"; }
  std::string new_key() const { return folder_ / "new"; }
  std::string beside(std::string const& name) const { return folder_ / name; }
  void create(u64 bytes, std::map<std::string, std::string> options) const {
    options["version"] = "2";
    auto const made = create_image({.path = path(), .format = "luks", .bytes = bytes, .options = options});
    ASSERT_TRUE(made) << made.error().what();
  }
  void create_quickly(u64 bytes) const { create(bytes, quick()); }
  static std::map<std::string, std::string> quick() {
    return {{"pbkdf-memory", "64K"}, {"pbkdf-force-iterations", "4"}, {"pbkdf-parallel", "2"}};
  }
  Result<> amend(std::map<std::string, std::string> options, bool force = false) const {
    if (options["state"] != "inactive") options.merge(quick());
    return amend_image({.path = path(), .format = "luks", .options = std::move(options), .force = force});
  }
  bool opens_for_cryptsetup(std::string const& key_file) const {
    return host::run_process(
               {.arguments = {"cryptsetup", "open", "--test-passphrase", "--key-file", key_file, path()},
                .output = host::Process::Stream::capture,
                .error = host::Process::Stream::capture})
        ->status.success();
  }
  std::string dump() const { return tool({"cryptsetup", "luksDump", path()}); }

 private:
  TestFolder folder_;
};
OpenOptions const as_luks{.format = "luks"};

class Luks2 : public ::testing::TestWithParam<Kind>, public Folder {};
INSTANTIATE_TEST_SUITE_P(
    All, Luks2,
    ::testing::Values(Kind{"argon2id", {{"pbkdf-memory", "1M"}, {"pbkdf-force-iterations", "4"}}},
                      Kind{"argon2i of 4096",
                           {{"pbkdf", "argon2i"}, {"iter-time", "20"}, {"sector-size", "4096"}}},
                      Kind{"pbkdf2 of 2048",
                           {{"pbkdf", "pbkdf2"},
                            {"pbkdf-force-iterations", "1000"},
                            {"hash-alg", "sha512"},
                            {"sector-size", "2048"}}},
                      Kind{"cbc of 1024",
                           {{"pbkdf", "pbkdf2"},
                            {"iter-time", "10"},
                            {"cipher-alg", "aes-256"},
                            {"cipher-mode", "cbc"},
                            {"ivgen-alg", "essiv"},
                            {"sector-size", "1024"}}}));

TEST_P(Luks2, ImagesThatWeMadeAreOpenedAndDecryptedByCryptsetup) {
  create(4 * MiB, GetParam().options);
  auto shadow = Shadow(4 * MiB);
  ASSERT_TRUE(opened(path(), as_luks)->write_zeroes(0, shadow.size(), true));
  change_in_batches(path(), as_luks, shadow, 1, 3, 60);
  {
    auto const image = opened(path(), as_luks);
    change_from_threads(*image, shadow, 40);
  }
  EXPECT_TRUE(opens_for_cryptsetup(key()));
  EXPECT_THAT(dump(), HasSubstr("Version:       \t2"));
  tool({"cryptsetup", "reencrypt", "--decrypt", "--force-offline-reencrypt", "--header", beside("header"), "-q",
        "--key-file", key(), path()});
  auto flat = file_bytes(path());
  flat.resize(shadow.size());
  EXPECT_TRUE(flat == shadow);
}

class Luks2File : public ::testing::Test, public Folder {};

TEST_F(Luks2File, EncryptedByCryptsetupIsReadAndWritten) {
  auto random = std::mt19937_64{5};
  auto shadow = noise(4 * MiB, random);
  auto padded = shadow;
  padded.resize(36 * MiB);
  write_flat(path(), padded);
  tool({"cryptsetup", "reencrypt", "--encrypt", "--type", "luks2", "--reduce-device-size", "32M", "--pbkdf",
        "argon2id", "--pbkdf-memory", "8192", "--pbkdf-force-iterations", "4", "--force-offline-reencrypt",
        "-q", "--key-file", key(), path()});
  auto image = opened(path(), as_luks);
  auto start = Shadow(shadow.size());
  ASSERT_TRUE(image->read(0, start));
  EXPECT_TRUE(start == shadow);
  ASSERT_TRUE(image->write(MiB + 100, Shadow(300, std::byte{9})));
  image.reset();
  std::fill_n(shadow.begin() + MiB + 100, 300, std::byte{9});
  tool({"cryptsetup", "reencrypt", "--decrypt", "--force-offline-reencrypt", "--header", beside("header"), "-q",
        "--key-file", key(), path()});
  auto flat = file_bytes(path());
  flat.resize(shadow.size());
  EXPECT_TRUE(flat == shadow);
}

TEST_F(Luks2File, WithKeysThatCryptsetupAddedOpensByEach) {
  ASSERT_TRUE(host::write_text(path(), ""));
  ASSERT_EQ(::truncate(path().c_str(), 20 * MiB), 0);
  tool({"cryptsetup", "luksFormat", "-q", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations",
        "1000", "--sector-size", "4096", "--label", "store", path(), key()});
  tool({"cryptsetup", "luksAddKey", "-q", "--pbkdf", "argon2i", "--pbkdf-memory", "64",
        "--pbkdf-force-iterations", "4", "--key-file", key(), path(), new_key()});
  EXPECT_EQ(opened(path(), as_luks)->geometry().bytes, 4 * MiB);
  forget_passphrases();
  offer_passphrase("battery staple");
  EXPECT_TRUE(open_image(path(), as_luks));
}

TEST_F(Luks2File, GetsAndLosesKeysAsCryptsetupSees) {
  create_quickly(MiB);
  offer_passphrase("battery staple", "new");
  auto outcome = amend({{"state", "active"}});
  ASSERT_TRUE(outcome) << outcome.error().what();
  EXPECT_TRUE(opens_for_cryptsetup(key()));
  EXPECT_TRUE(opens_for_cryptsetup(new_key()));
  ASSERT_TRUE(amend({{"state", "inactive"}, {"keyslot", "0"}}));
  EXPECT_FALSE(opens_for_cryptsetup(key()));
  EXPECT_TRUE(opens_for_cryptsetup(new_key()));
  EXPECT_EQ(amend({{"state", "inactive"}, {"keyslot", "1"}}).error().code(), Errc::denied);
  EXPECT_TRUE(amend({{"state", "inactive"}, {"keyslot", "1"}}, true));
  EXPECT_FALSE(opens_for_cryptsetup(new_key()));
}

TEST_F(Luks2File, GetsAnotherPassphraseInPlaceOfItsOwn) {
  create_quickly(MiB);
  ASSERT_TRUE(opened(path(), as_luks)->write(0, Shadow(MiB, std::byte{3})));
  offer_passphrase("battery staple", "new");
  auto const outcome = amend({{"state", "changed"}, {"keyslot", "7"}});
  ASSERT_TRUE(outcome) << outcome.error().what();
  EXPECT_FALSE(opens_for_cryptsetup(key()));
  EXPECT_TRUE(opens_for_cryptsetup(new_key()));
  forget_passphrases();
  EXPECT_EQ(open_image(path(), as_luks).error().code(), Errc::denied);
  offer_passphrase("battery staple");
  expect_same(*opened(path(), as_luks), Shadow(MiB, std::byte{3}));
}

TEST_F(Luks2File, TakesAsManyKeysAsItHasSlots) {
  create_quickly(MiB);
  offer_passphrase("battery staple", "new");
  for (auto slot = 1; slot < 32; ++slot) {
    auto const added = amend({{"state", "active"}});
    ASSERT_TRUE(added) << slot << ": " << added.error().what();
  }
  EXPECT_EQ(amend({{"state", "active"}}).error().code(), Errc::no_space);
  EXPECT_TRUE(opens_for_cryptsetup(new_key()));
}

TEST_F(Luks2File, IsResizedAndConverted) {
  create_quickly(2 * MiB);
  auto random = std::mt19937_64{3};
  auto shadow = noise(2 * MiB, random);
  write_flat(beside("flat"), shadow);
  auto const target = CreateRequest{.path = path(), .format = "luks"};
  ASSERT_TRUE(convert_image(
      {.source = beside("flat"), .source_format = "raw", .target = target, .target_exists = true}));
  auto const resized = resize_image({.path = path(), .format = "luks", .bytes = 3 * MiB});
  ASSERT_TRUE(resized) << resized.error().what();
  shadow.resize(3 * MiB);
  expect_same(*opened(path(), as_luks), shadow);
}

TEST_F(Luks2File, OpensByItsSecondHeaderAndIsMended) {
  create_quickly(MiB);
  ASSERT_TRUE(host::File::open(path(), {.write = true})->write(0, Shadow(4096)));
  EXPECT_TRUE(open_image(path(), as_luks));
  EXPECT_EQ(check_image(path(), "luks", Repair::none)->leaks, 1u);
  EXPECT_TRUE(check_image(path(), "luks", Repair::leaks)->clean());
  EXPECT_TRUE(opens_for_cryptsetup(key()));
  EXPECT_EQ(check_image(path(), "luks", Repair::none)->leaks, 0u);
}

TEST_F(Luks2File, TakesTheNewerHeaderOfTwo) {
  create_quickly(MiB);
  auto const old_first = [&] {
    auto bytes = Shadow(16 * KiB);
    EXPECT_TRUE(host::File::open(path(), {})->read(0, bytes));
    return bytes;
  }();
  offer_passphrase("battery staple", "new");
  ASSERT_TRUE(amend({{"state", "active"}}));
  ASSERT_TRUE(host::File::open(path(), {.write = true})->write(0, old_first));
  forget_passphrases();
  offer_passphrase("battery staple");  // is in the second copy alone
  EXPECT_TRUE(open_image(path(), as_luks));
  EXPECT_EQ(check_image(path(), "luks", Repair::none)->leaks, 1u);
}

TEST_F(Luks2File, IsNotOpenedWithoutItsPassphrase) {
  create_quickly(MiB);
  forget_passphrases();
  EXPECT_THAT(open_image(path(), as_luks).error().what(), HasSubstr("--key-file"));
  offer_passphrase("wrong");
  EXPECT_THAT(open_image(path(), as_luks).error().what(), HasSubstr("passphrase is wrong"));
  EXPECT_TRUE(describe_image(path(), "luks")->encrypted);
}

/// The header as it was, with other words in its JSON, and checksums that are right.
class Luks2Header : public ::testing::Test, public Folder {
 protected:
  void SetUp() override { create_quickly(MiB); }
  Error after_replacing(std::string const& from, std::string const& to) const {
    auto const storage = Storage::open(path(), true, CacheMode::writeback);
    auto const read = [&](u64 at, Bytes into) { return storage->read(at, into); };
    auto header = luks2::read_header(read, *storage->size());
    EXPECT_TRUE(header);
    auto const found = header->json.find(from);
    EXPECT_NE(found, std::string::npos) << header->json;
    header->json.replace(found, from.size(), to);
    EXPECT_TRUE(luks2::write_header(*storage, *header));
    auto const result = luks2::read_header(read, *storage->size());
    EXPECT_FALSE(result);
    return result ? Error{Errc::invalid, ""} : result.error();
  }
};
TEST_F(Luks2Header, ThatAsksForTooMuchMemoryIsRefused) {
  auto const error = after_replacing("\"memory\":64", "\"memory\":4000000");
  EXPECT_EQ(error.code(), Errc::corrupt);
  EXPECT_THAT(error.what(), HasSubstr("4000000 KiB"));
}
TEST_F(Luks2Header, ThatAsksForTooManyPassesIsRefused) {
  EXPECT_EQ(after_replacing("\"time\":4", "\"time\":4000000000").code(), Errc::corrupt);
}
TEST_F(Luks2Header, WithTwoSegmentsIsNamed) {
  auto const error = after_replacing("\"segments\":{", "\"segments\":{\"1\":{\"type\":\"crypt\"},");
  EXPECT_EQ(error.code(), Errc::unsupported);
  EXPECT_THAT(error.what(), HasSubstr("2 segments"));
}
TEST_F(Luks2Header, InReencryptionIsNamed) {
  auto const error =
      after_replacing("\"config\":{", R"("config":{"requirements":{"mandatory":["online-reencrypt-v2"]},)");
  EXPECT_EQ(error.code(), Errc::unsupported);
  EXPECT_THAT(error.what(), HasSubstr("reencryption is under way"));
}
TEST_F(Luks2Header, WithItsDiskOnItsKeysIsRefused) {
  EXPECT_EQ(after_replacing("\"offset\":\"16777216\"", "\"offset\":\"1048576\"").code(), Errc::corrupt);
}
TEST_F(Luks2Header, WithAKeySlotOutsideOfTheirAreaIsRefused) {
  EXPECT_EQ(after_replacing("\"offset\":\"32768\"", "\"offset\":\"16777216\"").code(), Errc::corrupt);
}
TEST_F(Luks2Header, WhoseJsonIsBrokenIsRefused) {
  EXPECT_EQ(after_replacing("\"keyslots\"", "\"keyslots").code(), Errc::corrupt);
}
TEST_F(Luks2Header, WithIntegrityIsNamed) {
  EXPECT_EQ(after_replacing("\"iv_tweak\"", R"("integrity":{"type":"aead"},"iv_tweak")").code(),
            Errc::unsupported);
}

class Luks1Keys : public ::testing::TestWithParam<std::string>, public Folder {
 protected:
  std::string prefix() const { return GetParam() == "qcow2" ? "encrypt." : ""; }
  void create_old() const {
    auto request = CreateRequest{.path = path(), .format = GetParam(), .bytes = MiB};
    request.options[prefix() + "iter-time"] = "10";
    if (GetParam() == "qcow2") request.options["encrypt.format"] = "luks";
    ASSERT_TRUE(create_image(request));
    offer_passphrase("battery staple", "new");
  }
  Result<> amend_old(std::map<std::string, std::string> const& options) const {
    auto request = AmendRequest{.path = path(), .format = GetParam()};
    for (auto const& [name, value] : options) request.options[prefix() + name] = value;
    if (!options.contains("keyslot")) request.options[prefix() + "iter-time"] = "10";
    return amend_image(request);
  }
  bool opens_for_qemu(std::string const& passphrase) const {
    return host::run_process(
               {.arguments = {"qemu-io", "--object", "secret,id=key,data=" + passphrase, "--image-opts",
                              "driver=" + GetParam() + "," + prefix() +
                                  "key-secret=key,file.filename=" + path(),
                              "-c", "read 0 512"},
                .output = host::Process::Stream::capture,
                .error = host::Process::Stream::capture})
        ->status.success();
  }
};
INSTANTIATE_TEST_SUITE_P(All, Luks1Keys, ::testing::Values("luks", "qcow2"));

TEST_P(Luks1Keys, ComeAndGoAsQemuSees) {
  create_old();
  auto const added = amend_old({{"state", "active"}});
  ASSERT_TRUE(added) << added.error().what();
  EXPECT_TRUE(opens_for_qemu("correct horse"));
  EXPECT_TRUE(opens_for_qemu("battery staple"));
  ASSERT_TRUE(amend_old({{"state", "inactive"}, {"keyslot", "0"}}));
  EXPECT_FALSE(opens_for_qemu("correct horse"));
  EXPECT_TRUE(opens_for_qemu("battery staple"));
  EXPECT_EQ(amend_old({{"state", "inactive"}, {"keyslot", "1"}}).error().code(), Errc::denied);
}

TEST_P(Luks1Keys, AreChanged) {
  create_old();
  ASSERT_TRUE(amend_old({{"state", "changed"}}));
  EXPECT_FALSE(opens_for_qemu("correct horse"));
  EXPECT_TRUE(opens_for_qemu("battery staple"));
}

}  // namespace
}  // namespace vireo::image
