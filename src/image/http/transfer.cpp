#include "image/http/transfer.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <mutex>
#include <span>
#include <vector>

namespace vireo::image::http {
namespace {

constexpr long connect_seconds{15};
constexpr long stall_seconds{30};
constexpr long most_redirects{5};

/// What comes in: the body into a buffer of known length, and three headers.
struct Answer {
  Bytes into{};
  std::size_t received{};
  std::string etag{};
  std::string changed{};
  std::string range{};
  bool accepts_ranges{};
};

std::size_t take_body(char* data, std::size_t, std::size_t count, void* to) {
  auto& answer = *static_cast<Answer*>(to);
  if (count > answer.into.size() - answer.received) return 0;  // more than asked for: curl gives up
  std::ranges::copy(std::as_bytes(std::span{data, count}), answer.into.subspan(answer.received).begin());
  answer.received += count;
  return count;
}

bool begins(std::string_view line, std::string_view name) {
  auto const lower = [](char each) { return each >= 'A' && each <= 'Z' ? static_cast<char>(each + 32) : each; };
  return line.size() > name.size() && std::ranges::equal(line.substr(0, name.size()), name, {}, lower);
}

std::size_t take_header(char* data, std::size_t, std::size_t count, void* to) {
  auto& answer = *static_cast<Answer*>(to);
  auto const line = std::string_view{data, count};
  auto const value = [&] {
    auto text = line.substr(std::min(line.find(':') + 1, line.size()));
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.remove_suffix(1);
    return std::string{text};
  };
  if (line.starts_with("HTTP/")) answer = Answer{.into = answer.into};  // after a redirect
  if (begins(line, "etag:")) answer.etag = value();
  if (begins(line, "last-modified:")) answer.changed = value();
  if (begins(line, "content-range:")) answer.range = value();
  if (begins(line, "accept-ranges:")) answer.accepts_ranges = value() == "bytes";
  return count;
}

/// Of "bytes 0-0/LENGTH".
u64 whole_length(std::string_view range) {
  auto length = u64{0};
  auto const text = range.substr(std::min(range.find('/') + 1, range.size()));
  auto const [end, failure] = std::from_chars(text.data(), text.data() + text.size(), length);
  return failure == std::errc{} ? length : 0;
}

void start_curl() {
  static auto once = std::once_flag{};
  std::call_once(once, [] { ::curl_global_init(CURL_GLOBAL_DEFAULT); });
}

}  // namespace

struct Transfer::Handle {
  std::unique_ptr<CURL, decltype(&::curl_easy_cleanup)> curl{::curl_easy_init(), ::curl_easy_cleanup};
  char error[CURL_ERROR_SIZE]{};

  template <typename T>
  void set(CURLoption option, T value) {
    ::curl_easy_setopt(curl.get(), option, value);
  }
  Result<long> get(Answer& answer, std::string const& range, std::string const& version) {
    auto const condition = "If-Range: " + version;
    auto* const list = version.empty() ? nullptr : ::curl_slist_append(nullptr, condition.c_str());
    auto const held =
        std::unique_ptr<curl_slist, decltype(&::curl_slist_free_all)>{list, ::curl_slist_free_all};
    set(CURLOPT_HTTPHEADER, list);
    set(CURLOPT_RANGE, range.c_str());
    set(CURLOPT_WRITEDATA, static_cast<void*>(&answer));
    set(CURLOPT_HEADERDATA, static_cast<void*>(&answer));
    error[0] = '\0';
    auto const outcome = ::curl_easy_perform(curl.get());
    set(CURLOPT_HTTPHEADER, static_cast<curl_slist*>(nullptr));
    auto status = long{0};
    ::curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
    if (status >= 400) return status;
    if (outcome != CURLE_OK && outcome != CURLE_WRITE_ERROR) {
      return fail(Errc::io, error[0] != '\0' ? error : ::curl_easy_strerror(outcome));
    }
    return status;
  }
};

Transfer::Transfer(std::string url, std::unique_ptr<Handle> handle)
    : url_{std::move(url)}, handle_{std::move(handle)} {}
Transfer::~Transfer() = default;

Result<std::unique_ptr<Transfer>> Transfer::create(std::string url) {
  start_curl();
  auto handle = std::make_unique<Handle>();
  if (!handle->curl) return fail(Errc::no_space, "libcurl: out of memory");
  handle->set(CURLOPT_URL, url.c_str());
  handle->set(CURLOPT_PROTOCOLS_STR, "http,https");
  handle->set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  handle->set(CURLOPT_FOLLOWLOCATION, 1L);
  handle->set(CURLOPT_MAXREDIRS, most_redirects);
  handle->set(CURLOPT_CONNECTTIMEOUT, connect_seconds);
  handle->set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  handle->set(CURLOPT_LOW_SPEED_TIME, stall_seconds);
  handle->set(CURLOPT_NOSIGNAL, 1L);
  handle->set(CURLOPT_ERRORBUFFER, handle->error);
  handle->set(CURLOPT_WRITEFUNCTION, take_body);
  handle->set(CURLOPT_HEADERFUNCTION, take_header);
  return std::unique_ptr<Transfer>{new Transfer{std::move(url), std::move(handle)}};
}

std::unexpected<Error> Transfer::failed(int status) const {
  auto const code = status == 404 || status == 410   ? Errc::not_found
                    : status == 401 || status == 403 ? Errc::denied
                                                     : Errc::io;
  return fail(code, fmt::format("{}: the server answers with status {}", url_, status));
}

/// By asking for one byte: some servers answer HEAD otherwise than GET.
Result<Found> Transfer::look() {
  auto byte = std::vector<std::byte>(1);
  auto answer = Answer{.into = byte};
  auto const status = TRY_IN(url_, handle_->get(answer, "0-0", {}));
  auto const weak = answer.etag.starts_with("W/");
  auto found = Found{.version = answer.etag.empty() || weak ? answer.changed : answer.etag};
  if (status == 206) {
    found.bytes = whole_length(answer.range);
    found.gives_ranges = true;
    return found;
  }
  if (status == 200) return found;
  return failed(static_cast<int>(status));
}

Result<> Transfer::read(u64 at, Bytes into, std::string const& version) {
  auto answer = Answer{.into = into};
  auto const range = fmt::format("{}-{}", at, at + into.size() - 1);
  auto const status = TRY_IN(url_, handle_->get(answer, range, version));
  if (status == 200) return fail(Errc::corrupt, fmt::format("{}: it is another file now", url_));
  if (status != 206) return failed(static_cast<int>(status));
  auto const wanted = fmt::format("bytes {}/", range);
  if (!answer.range.starts_with(wanted) || answer.received != into.size()) {
    return fail(Errc::io, fmt::format("{}: the server gave {} bytes of \"{}\" for {}", url_, answer.received,
                                      answer.range, range));
  }
  return {};
}

}  // namespace vireo::image::http
