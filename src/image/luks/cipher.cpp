#include "image/luks/cipher.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <array>
#include <memory>

#include "image/luks/spec.h"

namespace vireo::image::luks {
namespace {

using Context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&::EVP_CIPHER_CTX_free)>;

// SOUND: OpenSSL takes bytes as unsigned characters.
unsigned char const* raw(ConstBytes bytes) { return reinterpret_cast<unsigned char const*>(bytes.data()); }
unsigned char* raw(Bytes bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

std::unexpected<Error> failed(std::string_view what) {
  return fail(Errc::unsupported, fmt::format("LUKS: {} is not supported", what));
}

EVP_MD const* hash_named(std::string const& name) {
  auto const known =
      name == "sha1" || name == "sha224" || name == "sha256" || name == "sha384" || name == "sha512";
  return known ? ::EVP_get_digestbyname(name.c_str()) : nullptr;
}

Result<Context> context_for(std::string const& algorithm, ConstBytes key, bool encrypt) {
  auto context = Context{::EVP_CIPHER_CTX_new(), ::EVP_CIPHER_CTX_free};
  auto const* const cipher = ::EVP_get_cipherbyname(algorithm.c_str());
  if (!context || cipher == nullptr ||
      ::EVP_CipherInit_ex(context.get(), cipher, nullptr, raw(key), nullptr, encrypt ? 1 : 0) != 1) {
    return failed(algorithm);
  }
  ::EVP_CIPHER_CTX_set_padding(context.get(), 0);
  return context;
}

}  // namespace

Key::~Key() { ::OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

Result<Cipher> Cipher::create(std::string const& name, std::string const& mode, Key key,
                              SectorNumbering sectors) {
  auto const bits = key.bytes().size() * 8;
  auto const dash = mode.find('-');
  auto const chaining = mode.substr(0, dash);
  auto const numbers = dash == std::string::npos ? std::string{} : mode.substr(dash + 1);
  auto const full_name = fmt::format("cipher {}-{} with a key of {} bits", name, mode, bits);
  auto const key_fits =
      chaining == "xts" ? bits == 256 || bits == 512 : bits == 128 || bits == 192 || bits == 256;
  if (name != "aes" || (chaining != "xts" && chaining != "cbc") || !key_fits) return failed(full_name);
  auto cipher = Cipher{std::move(key), sectors};
  cipher.algorithm_ = fmt::format("aes-{}-{}", chaining == "xts" ? bits / 2 : bits, chaining);
  cipher.wide_numbers_ = numbers != "plain";
  if (numbers.starts_with("essiv:")) {
    auto const hashed = TRY(digest(numbers.substr(6), cipher.key_.bytes()));
    if (hashed.size() != 16 && hashed.size() != 32) return failed(full_name);
    cipher.iv_key_ = Key{hashed.size()};
    std::ranges::copy(hashed, cipher.iv_key_.writable().begin());
  } else if (numbers != "plain64" && numbers != "plain") {
    return failed(full_name);
  }
  auto try_out = std::vector<std::byte>(sectors.bytes);
  TRY(cipher.encrypt(0, try_out));
  return cipher;
}

Result<> Cipher::run(u64 first_sector, Bytes bytes, bool encrypt) const {
  auto const context = TRY(context_for(algorithm_, key_.bytes(), encrypt));
  auto numbering = Context{nullptr, ::EVP_CIPHER_CTX_free};
  if (!iv_key_.bytes().empty()) {
    numbering =
        TRY(context_for(iv_key_.bytes().size() == 16 ? "aes-128-ecb" : "aes-256-ecb", iv_key_.bytes(), true));
  }
  for (auto at = u64{0}; at < bytes.size(); at += sectors_.bytes) {
    auto const number = sectors_.first + first_sector + at / sector;
    auto vector = std::array<std::byte, 16>{};
    store_le<u64>(vector.data(), wide_numbers_ ? number : number & 0xffffffff);
    auto const part = bytes.subspan(at, sectors_.bytes);
    auto written = 0;
    auto good = true;
    if (numbering) {
      good = ::EVP_CipherUpdate(numbering.get(), raw(Bytes{vector}), &written, raw(ConstBytes{vector}),
                                static_cast<int>(vector.size())) == 1;
    }
    good = good &&
           ::EVP_CipherInit_ex(context.get(), nullptr, nullptr, nullptr, raw(ConstBytes{vector}), -1) == 1 &&
           ::EVP_CipherUpdate(context.get(), raw(part), &written, raw(ConstBytes{part}),
                              static_cast<int>(sectors_.bytes)) == 1;
    if (!good) return fail(Errc::io, "LUKS: the cipher failed");
  }
  return {};
}

Result<std::size_t> digest_size(std::string const& hash) {
  auto const* const known = hash_named(hash);
  if (known == nullptr) return failed(fmt::format("hash '{}'", hash));
  return static_cast<std::size_t>(::EVP_MD_get_size(known));
}

Result<std::vector<std::byte>> digest(std::string const& hash, ConstBytes first, ConstBytes second) {
  auto result = std::vector<std::byte>(TRY(digest_size(hash)));
  auto const context =
      std::unique_ptr<EVP_MD_CTX, decltype(&::EVP_MD_CTX_free)>{::EVP_MD_CTX_new(), ::EVP_MD_CTX_free};
  auto const good = context && ::EVP_DigestInit_ex(context.get(), hash_named(hash), nullptr) == 1 &&
                    ::EVP_DigestUpdate(context.get(), first.data(), first.size()) == 1 &&
                    ::EVP_DigestUpdate(context.get(), second.data(), second.size()) == 1 &&
                    ::EVP_DigestFinal_ex(context.get(), raw(Bytes{result}), nullptr) == 1;
  if (!good) return fail(Errc::io, "LUKS: the hash failed");
  return result;
}

Result<Key> derive_key(std::string const& hash, ConstBytes passphrase, ConstBytes salt, u32 iterations,
                       std::size_t bytes) {
  static_cast<void>(TRY(digest_size(hash)));
  auto key = Key{bytes};
  // SOUND: bytes seen as characters.
  auto const* const text = reinterpret_cast<char const*>(passphrase.data());
  auto const good = ::PKCS5_PBKDF2_HMAC(text, static_cast<int>(passphrase.size()), raw(salt),
                                        static_cast<int>(salt.size()), static_cast<int>(iterations),
                                        hash_named(hash), static_cast<int>(bytes), raw(key.writable())) == 1;
  if (!good) return fail(Errc::io, "LUKS: the key derivation failed");
  return key;
}

Result<> fill_random(Bytes into) {
  if (::RAND_bytes(raw(into), static_cast<int>(into.size())) == 1) return {};
  return fail(Errc::io, "LUKS: no random numbers");
}

}  // namespace vireo::image::luks
