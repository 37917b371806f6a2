#include "image/nbd/handshake.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/nbd/option_data.h"

namespace vireo::image::nbd {
namespace {

enum class Next : u8 { more, transmit, leave };

class Greeter {
 public:
  Greeter(std::unique_ptr<Stream>& stream, Offer const& offer, u64 deadline_ns)
      : stream_{stream}, offer_{offer}, deadline_{deadline_ns} {}

  Result<std::optional<Session>> run() {
    TRY(send(Packet{}
                 .add(init_magic)
                 .add(option_magic)
                 .add(u16{handshake_flag::fixed_newstyle | handshake_flag::no_zeroes})));
    auto const flags = load_be<u32>(TRY(receive(4)).data());
    if ((flags & ~u32{handshake_flag::fixed_newstyle | handshake_flag::no_zeroes}) != 0) {
      return fail(Errc::invalid, fmt::format("nbd: client flags {:#x}", flags));
    }
    no_zeroes_ = (flags & handshake_flag::no_zeroes) != 0;
    while (true) {
      switch (TRY(one_option())) {
        case Next::more: break;
        case Next::transmit: return std::move(session_);
        case Next::leave: return std::nullopt;
      }
    }
  }

 private:
  Result<Next> one_option() {
    auto const head = TRY(receive(16));
    auto reader = PacketReader{head};
    if (TRY(reader.number<u64>()) != option_magic) return fail(Errc::invalid, "nbd: this is no option");
    auto const option = static_cast<Option>(TRY(reader.number<u32>()));
    auto const length = TRY(reader.number<u32>());
    if (length > largest_option) return fail(Errc::invalid, fmt::format("nbd: an option of {} bytes", length));
    auto const data = TRY(receive(length));
    if (offer_.tls != nullptr && !encrypted_ && option != Option::starttls && option != Option::abort) {
      if (option == Option::export_name) return fail(Errc::denied, "nbd: the client does not encrypt");
      return refuse(option, OptionReply::err_tls_reqd, "this server needs TLS");
    }
    switch (option) {
      case Option::export_name: return export_name(data);
      case Option::abort: TRY(reply(option, OptionReply::ack)); return Next::leave;
      case Option::list: return list(data);
      case Option::starttls: return start_tls(data);
      case Option::info:
      case Option::go: return go(option, data);
      case Option::structured_reply: return structured_reply(data);
      case Option::list_meta_context:
      case Option::set_meta_context: return meta_context(option, data);
    }
    return refuse(option, OptionReply::err_unsup, "not known here");
  }

  Export const* find(std::string_view name) const {
    auto const found = std::ranges::find(offer_.exports, name, &Export::name);
    if (found != offer_.exports.end()) return &*found;
    return name.empty() && offer_.exports.size() == 1 ? &offer_.exports.front() : nullptr;
  }

  Result<Next> export_name(ConstBytes data) {
    auto reader = PacketReader{data};
    auto const name = TRY(reader.text(data.size()));
    auto const* const served = find(name);
    if (served == nullptr) return fail(Errc::not_found, fmt::format("nbd: no export '{}'", name));
    auto packet = Packet{}.add(served->bytes()).add(served->transmission_flags());
    if (!no_zeroes_) packet.add(ConstBytes{std::vector<std::byte>(124)});
    TRY(send(packet));
    session_.served = served;
    return choose(served);
  }

  Result<Next> list(ConstBytes data) {
    if (!data.empty()) return refuse(Option::list, OptionReply::err_invalid, "LIST has no data");
    for (auto const& each : offer_.exports) {
      auto const bytes = Packet{}
                             .add(static_cast<u32>(each.name.size()))
                             .add(std::string_view{each.name})
                             .add(std::string_view{each.description});
      TRY(reply(Option::list, OptionReply::server, bytes.bytes()));
    }
    TRY(reply(Option::list, OptionReply::ack));
    return Next::more;
  }

  /// What was agreed in the clear is forgotten: it may have come from someone on the way.
  Result<Next> start_tls(ConstBytes data) {
    if (!data.empty()) return refuse(Option::starttls, OptionReply::err_invalid, "STARTTLS has no data");
    if (offer_.tls == nullptr) return refuse(Option::starttls, OptionReply::err_policy, "no TLS here");
    if (encrypted_) return refuse(Option::starttls, OptionReply::err_invalid, "TLS is on already");
    TRY(reply(Option::starttls, OptionReply::ack));
    stream_ = TRY(offer_.tls->accept(std::move(stream_), deadline_));
    encrypted_ = true;
    session_ = {};
    context_export_ = nullptr;
    return Next::more;
  }

  Result<Next> go(Option option, ConstBytes data) {
    auto const choice = parse_export_choice(data);
    if (!choice) return refuse(option, OptionReply::err_invalid, choice.error().what());
    auto const* const served = find(choice->name);
    if (served == nullptr) return refuse(option, OptionReply::err_unknown, "no export of that name");
    auto const wants = [&](Info info) {
      return std::ranges::count(choice->wanted, static_cast<u16>(info)) != 0;
    };
    auto const tell = [&](Info info, Packet const& more) {
      auto const packet = Packet{}.add(static_cast<u16>(info)).add(more.bytes());
      return reply(option, OptionReply::info, packet.bytes());
    };
    if (wants(Info::name)) TRY(tell(Info::name, Packet{}.add(std::string_view{served->name})));
    if (wants(Info::description) && !served->description.empty()) {
      TRY(tell(Info::description, Packet{}.add(std::string_view{served->description})));
    }
    if (wants(Info::block_size)) {
      auto const preferred = std::clamp<u32>(served->image->geometry().cluster, 4096, 2 * 1024 * 1024);
      TRY(tell(Info::block_size, Packet{}.add(u32{1}).add(preferred).add(largest_payload)));
    }
    TRY(tell(Info::export_, Packet{}.add(served->bytes()).add(served->transmission_flags())));
    TRY(reply(option, OptionReply::ack));
    return option == Option::go ? choose(served) : Next::more;
  }

  Next choose(Export const* served) {
    session_.served = served;
    if (context_export_ != served || !session_.structured) session_.contexts.clear();
    return Next::transmit;
  }

  Result<Next> structured_reply(ConstBytes data) {
    if (!data.empty()) {
      return refuse(Option::structured_reply, OptionReply::err_invalid, "STRUCTURED_REPLY has no data");
    }
    session_.structured = true;
    TRY(reply(Option::structured_reply, OptionReply::ack));
    return Next::more;
  }

  Result<Next> meta_context(Option option, ConstBytes data) {
    auto const setting = option == Option::set_meta_context;
    auto const choice = parse_context_choice(data);
    if (!choice) return refuse(option, OptionReply::err_invalid, choice.error().what());
    if (!session_.structured) return refuse(option, OptionReply::err_invalid, "needs structured replies");
    auto const* const served = find(choice->name);
    if (served == nullptr) return refuse(option, OptionReply::err_unknown, "no export of that name");
    auto chosen = std::vector<u32>{};
    for (auto number = u32{0}; number <= served->contexts.size(); ++number) {
      auto const name = number == 0 ? std::string_view{base_allocation} : served->contexts[number - 1].name;
      auto const asked = std::ranges::any_of(choice->queries, [&](std::string const& query) {
        return query == name || (!setting && covers(query, name));
      });
      if (!asked && (setting || !choice->queries.empty())) continue;
      chosen.push_back(number);
      TRY(reply(option, OptionReply::meta_context, Packet{}.add(setting ? number : u32{0}).add(name).bytes()));
    }
    if (setting) {
      session_.contexts = std::move(chosen);
      context_export_ = served;
    }
    TRY(reply(option, OptionReply::ack));
    return Next::more;
  }

  /// "base:" and "qemu:dirty-bitmap:" ask for all that begins so.
  static bool covers(std::string_view query, std::string_view name) {
    return query.ends_with(':') && name.starts_with(query);
  }

  Result<std::vector<std::byte>> receive(std::size_t count) {
    auto bytes = std::vector<std::byte>(count);
    TRY(read_all(*stream_, bytes, deadline_));
    return bytes;
  }
  Result<> send(Packet const& packet) { return write_all(*stream_, packet.bytes(), deadline_); }
  Result<> reply(Option option, OptionReply type, ConstBytes data = {}) {
    return send(Packet{}
                    .add(option_reply_magic)
                    .add(static_cast<u32>(option))
                    .add(static_cast<u32>(type))
                    .add(static_cast<u32>(data.size()))
                    .add(data));
  }
  Result<Next> refuse(Option option, OptionReply type, std::string_view why) {
    TRY(reply(option, type, std::as_bytes(std::span{why})));
    return Next::more;
  }

  std::unique_ptr<Stream>& stream_;
  Offer const& offer_;
  u64 deadline_;
  Session session_{};
  Export const* context_export_{};  // whose contexts were chosen
  bool no_zeroes_{};
  bool encrypted_{};
};

}  // namespace

Result<std::optional<Session>> greet_client(std::unique_ptr<Stream>& stream, Offer const& offer,
                                            u64 deadline_ns) {
  return Greeter{stream, offer, deadline_ns}.run();
}

}  // namespace vireo::image::nbd
