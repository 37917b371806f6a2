#include "image/iscsi/iscsi_connection.h"

#include <fmt/format.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "vocab/numbers.h"

namespace vireo::image::iscsi {
namespace {

constexpr u64 largest_part{1 * MiB};
constexpr u64 largest_range{1 * GiB};
constexpr auto descriptors = 64u;
constexpr auto most_refusals = 40u;  // of one command by a unit that is busy or has news first
constexpr auto between_tries = std::chrono::milliseconds{50};
constexpr int inquiry_bytes{255};
constexpr u8 write_protected{0x80};  // SPC-4 6.11, the device-specific parameter of disks
constexpr int space_allocation_failed{0x2707};

unsigned char* address_of(ConstBytes bytes) {
  // SOUND: libiscsi takes characters; it only reads what a command sends.
  return const_cast<unsigned char*>(reinterpret_cast<unsigned char const*>(bytes.data()));
}
unsigned char* address_of(Bytes bytes) {
  // SOUND: libiscsi takes characters.
  return reinterpret_cast<unsigned char*>(bytes.data());
}

}  // namespace

/// It lies on the stack of a thread that waits for it, which takes what came with it.
struct IscsiConnection::Command {
  polled::Batch* batch{};
  u64 at{};
  u64 length{};
  int status{SCSI_STATUS_ERROR};
  std::unique_ptr<scsi_task, decltype(&::scsi_free_scsi_task)> task{nullptr, ::scsi_free_scsi_task};

  static void done(iscsi_context*, int status, void* task, void* command) {
    auto& self = *static_cast<Command*>(command);
    self.status = status;
    self.task.reset(static_cast<scsi_task*>(task));
    self.batch->done();
  }
  static void logged_in(iscsi_context*, int status, void*, void* command) {
    auto& self = *static_cast<Command*>(command);
    self.status = status;
    self.batch->done();
  }

  bool shall_be_repeated() const {
    if (status == SCSI_STATUS_BUSY || status == SCSI_STATUS_TASK_SET_FULL) return true;
    return status == SCSI_STATUS_CHECK_CONDITION && task && task->sense.key == SCSI_SENSE_UNIT_ATTENTION;
  }
  Result<> outcome(std::string const& reason) const {
    if (status == SCSI_STATUS_GOOD) return {};
    auto const answered = status == SCSI_STATUS_CHECK_CONDITION && task;
    if (status >= SCSI_STATUS_CANCELLED) return fail(Errc::gone, reason);
    if (!answered) return fail(Errc::io, fmt::format("the unit answers with status {}", status));
    auto const key = task->sense.key;
    auto const protection = key == SCSI_SENSE_DATA_PROTECTION;
    auto const code = task->sense.ascq == space_allocation_failed ? Errc::no_space
                      : protection                                ? Errc::denied
                      : key == SCSI_SENSE_ILLEGAL_REQUEST         ? Errc::unsupported
                                                                  : Errc::io;
    return fail(code, fmt::format("the unit answers: {}, {}", ::scsi_sense_key_str(key),
                                  ::scsi_sense_ascq_str(task->sense.ascq)));
  }
  template <typename T>
  Result<T const*> answer() const {
    auto const* const found = task ? static_cast<T const*>(::scsi_datain_unmarshall(task.get())) : nullptr;
    if (found != nullptr) return found;
    return fail(Errc::io, "the unit's answer makes no sense");
  }
};

IscsiConnection::IscsiConnection(Address const& address)
    : PolledConnection{address.timeout_seconds * 1'000'000'000}, number_{address.unit} {}

IscsiConnection::~IscsiConnection() { cut(); }

int IscsiConnection::descriptor() { return ::iscsi_get_fd(iscsi_); }
short IscsiConnection::wanted_events() { return static_cast<short>(::iscsi_which_events(iscsi_)); }
bool IscsiConnection::service(short events) {
  return ::iscsi_service(iscsi_, events) == 0 && (events & (POLLHUP | POLLERR | POLLNVAL)) == 0;
}
std::string IscsiConnection::reason() {
  auto text = std::string{iscsi_ != nullptr ? ::iscsi_get_error(iscsi_) : ""};
  while (text.ends_with('\n')) text.pop_back();
  return text.empty() ? "the connection is lost" : text;
}
void IscsiConnection::cut() {
  if (iscsi_ != nullptr) ::iscsi_destroy_context(iscsi_);
  iscsi_ = nullptr;
}

Result<> IscsiConnection::log_in(Address const& address) {
  iscsi_ = ::iscsi_create_context(address.initiator.c_str());
  if (iscsi_ == nullptr) return fail(Errc::no_space, "libiscsi: out of memory");
  ::iscsi_set_noautoreconnect(iscsi_, 1);
  auto const taken = ::iscsi_set_targetname(iscsi_, address.target.c_str()) == 0 &&
                     ::iscsi_set_session_type(iscsi_, ISCSI_SESSION_NORMAL) == 0 &&
                     ::iscsi_set_header_digest(iscsi_, address.digest ? ISCSI_HEADER_DIGEST_CRC32C
                                                                      : ISCSI_HEADER_DIGEST_NONE_CRC32C) == 0 &&
                     (address.user.empty() || ::iscsi_set_initiator_username_pwd(
                                                  iscsi_, address.user.c_str(), address.password.c_str()) == 0);
  if (!taken) return fail(Errc::invalid, reason());
  auto batch = polled::Batch{};
  auto login = Command{.batch = &batch};
  auto why = std::string{};
  TRY(carry_out(batch, [&]() -> Result<> {
    if (::iscsi_full_connect_async(iscsi_, address.portal.c_str(), number_, Command::logged_in, &login) != 0)
      return fail(Errc::gone, reason());
    batch.add();
    return {};
  }));
  if (login.status == SCSI_STATUS_GOOD) return {};
  why = reason();
  auto const says = [&](std::string_view word) { return why.find(word) != std::string::npos; };
  auto const code = says("uthentication") || says("uthorization") ? Errc::denied
                    : says("not found")                           ? Errc::not_found
                                                                  : Errc::gone;
  return fail(code, why);
}

/// All at a time; those that a unit does not take yet are asked for again.
Result<> IscsiConnection::run(std::vector<Command>& commands, Start const& start) {
  for (auto refusals = 0u;; ++refusals) {
    auto batch = polled::Batch{};
    auto why = std::string{};
    TRY(carry_out(batch, [&]() -> Result<> {
      for (auto& each : commands) {
        if (each.status == SCSI_STATUS_GOOD) continue;
        each.batch = &batch;
        if (start(each) == nullptr) return fail(Errc::gone, reason());
        batch.add();
      }
      return {};
    }));
    auto refused = false;
    for (auto const& each : commands) {
      refused = refused || each.shall_be_repeated();
      if (!each.shall_be_repeated()) TRY(each.outcome("the connection is lost"));
    }
    if (!refused) return {};
    if (refusals == most_refusals) return fail(Errc::io, "the unit stays busy");
    std::this_thread::sleep_for(between_tries);
  }
}

Result<> IscsiConnection::run(Command& command, Start const& start) {
  auto commands = std::vector<Command>{};
  commands.push_back(std::move(command));
  auto const outcome = run(commands, start);
  command = std::move(commands.front());
  return outcome;
}

Result<> IscsiConnection::in_parts(u64 at, u64 length, u64 part, Start const& start) {
  auto commands = std::vector<Command>{};
  for (auto done = u64{0}; done < length; done += part) {
    auto command = Command{};
    command.at = at + done;
    command.length = std::min(part, length - done);
    commands.push_back(std::move(command));
  }
  return run(commands, start);
}

Result<> IscsiConnection::look() {
  auto capacity = Command{};
  TRY(run(capacity, [&](Command& command) {
    return ::iscsi_readcapacity16_task(iscsi_, number_, Command::done, &command);
  }));
  auto const& size = *TRY(capacity.answer<scsi_readcapacity16>());
  auto const known = size.block_length == 512 || size.block_length == 4096;
  if (!known || size.returned_lba >= (u64{1} << 63) / size.block_length) {
    return fail(Errc::unsupported,
                fmt::format("a unit of {} blocks of {} bytes", size.returned_lba, size.block_length));
  }
  unit_.block = size.block_length;
  unit_.bytes = (size.returned_lba + 1) * size.block_length;
  unit_.tells_holes = size.lbpme != 0;
  unit_.unmapped_is_zero = size.lbprz != 0;
  unit_.largest_transfer = largest_part;
  auto modes = Command{};
  auto const told = run(modes, [&](Command& command) {
    return ::iscsi_modesense6_task(iscsi_, number_, 1, SCSI_MODESENSE_PC_CURRENT,
                                   SCSI_MODEPAGE_RETURN_ALL_PAGES, 0, inquiry_bytes, Command::done, &command);
  });
  if (told) {
    auto const mode = modes.answer<scsi_mode_sense>();
    unit_.read_only = mode && ((*mode)->device_specific_parameter & write_protected) != 0;
  }
  return look_at_limits();
}

/// A unit that does not tell has plain reads and writes only.
Result<> IscsiConnection::look_at_limits() {
  auto const page = [&](int code, Command& command) {
    return run(command, [&](Command& each) {
      return ::iscsi_inquiry_task(iscsi_, number_, 1, code, inquiry_bytes, Command::done, &each);
    });
  };
  auto limits = Command{};
  auto provisioning = Command{};
  auto const has_limits = page(SCSI_INQUIRY_PAGECODE_BLOCK_LIMITS, limits);
  if (!has_limits) return has_limits.error().code() == Errc::gone ? has_limits : Result<>{};
  auto const& told = *TRY(limits.answer<scsi_inquiry_block_limits>());
  if (told.max_xfer_len != 0)
    unit_.largest_transfer = std::min<u64>(largest_part, u64{told.max_xfer_len} * unit_.block);
  auto const within = [&](u64 blocks) { return std::min(blocks, largest_range / unit_.block) * unit_.block; };
  auto const has_provisioning = page(SCSI_INQUIRY_PAGECODE_LOGICAL_BLOCK_PROVISIONING, provisioning);
  if (!has_provisioning) return has_provisioning.error().code() == Errc::gone ? has_provisioning : Result<>{};
  auto const& can = *TRY(provisioning.answer<scsi_inquiry_logical_block_provisioning>());
  if (can.lbpu != 0 && told.max_unmap_bdc != 0) unit_.largest_unmap = within(told.max_unmap);
  if (can.lbpws != 0) unit_.largest_zero = within(told.max_ws_len != 0 ? told.max_ws_len : ~u32{0});
  return {};
}

Result<std::shared_ptr<IscsiConnection>> IscsiConnection::connect(Address const& address) {
  auto connection = std::shared_ptr<IscsiConnection>{new IscsiConnection{address}};
  TRY(connection->log_in(address));
  TRY(connection->look());
  return connection;
}

Result<> IscsiConnection::read(u64 at, Bytes into) {
  auto short_of = false;
  TRY(in_parts(at, into.size(), unit_.largest_transfer, [&](Command& command) {
    auto* const task =
        ::iscsi_read16_task(iscsi_, number_, command.at / unit_.block, static_cast<u32>(command.length),
                            static_cast<int>(unit_.block), 0, 0, 0, 0, 0, Command::done, &command);
    auto const part = into.subspan(command.at - at, command.length);
    if (task != nullptr)
      short_of = ::scsi_task_add_data_in_buffer(task, static_cast<int>(part.size()), address_of(part)) != 0 ||
                 short_of;
    return task;
  }));
  return short_of ? fail(Errc::no_space, "libiscsi: out of memory") : Result<>{};
}

Result<> IscsiConnection::write(u64 at, ConstBytes from) {
  return in_parts(at, from.size(), unit_.largest_transfer, [&](Command& command) {
    auto const part = from.subspan(command.at - at, command.length);
    return ::iscsi_write16_task(iscsi_, number_, command.at / unit_.block, address_of(part),
                                static_cast<u32>(part.size()), static_cast<int>(unit_.block), 0, 0, 0, 0, 0,
                                Command::done, &command);
  });
}

Result<> IscsiConnection::write_zeroes(u64 at, u64 length, bool may_unmap) {
  static auto const zeroes = std::vector<std::byte>(largest_part);
  auto const unmap = may_unmap && unit_.unmapped_is_zero ? 1 : 0;
  if (unit_.largest_zero != 0) {
    auto const outcome = in_parts(at, length, unit_.largest_zero, [&](Command& command) {
      return ::iscsi_writesame16_task(iscsi_, number_, command.at / unit_.block, address_of(ConstBytes{zeroes}),
                                      unit_.block, static_cast<u32>(command.length / unit_.block), 0, unmap, 0,
                                      0, Command::done, &command);
    });
    if (outcome || outcome.error().code() != Errc::unsupported) return outcome;
  }
  for (auto done = u64{0}; done < length; done += zeroes.size()) {
    TRY(write(at + done, ConstBytes{zeroes}.first(std::min<u64>(zeroes.size(), length - done))));
  }
  return {};
}

Result<> IscsiConnection::unmap(u64 at, u64 length) {
  if (unit_.largest_unmap == 0) return {};
  return in_parts(at, length, unit_.largest_unmap, [&](Command& command) {
    auto range =
        unmap_list{.lba = command.at / unit_.block, .num = static_cast<u32>(command.length / unit_.block)};
    return ::iscsi_unmap_task(iscsi_, number_, 0, 0, &range, 1, Command::done, &command);
  });
}

Result<> IscsiConnection::synchronize() {
  auto command = Command{};
  auto const outcome = run(command, [&](Command& each) {
    return ::iscsi_synchronizecache16_task(iscsi_, number_, 0, 0, 0, 0, Command::done, &each);
  });
  // A unit without a cache need not know the command.
  return !outcome && outcome.error().code() == Errc::unsupported ? Result<>{} : outcome;
}

Result<host::File::Extent> IscsiConnection::extent_at(u64 at) {
  auto const whole = host::File::Extent{.start = at, .length = unit_.bytes - at, .data = true};
  if (!unit_.tells_holes || !unit_.unmapped_is_zero) return whole;
  auto command = Command{};
  auto const outcome = run(command, [&](Command& each) {
    return ::iscsi_get_lba_status_task(iscsi_, number_, at / unit_.block, 8 + 16 * descriptors, Command::done,
                                       &each);
  });
  if (!outcome && outcome.error().code() == Errc::unsupported) return whole;
  TRY(outcome);
  auto const& told = *TRY(command.answer<scsi_get_lba_status>());
  auto const runs = std::span{told.descriptors, told.num_descriptors};
  if (runs.empty() || runs.front().lba > at / unit_.block) return whole;
  auto const is_data = [](auto const& run) { return run.provisioning != SCSI_PROVISIONING_TYPE_DEALLOCATED; };
  auto end = runs.front().lba * unit_.block;
  for (auto const& run : runs) {
    if (run.lba != end / unit_.block || is_data(run) != is_data(runs.front())) break;
    end += u64{run.num_blocks} * unit_.block;
  }
  end = std::min(end, unit_.bytes);
  if (end <= at) return whole;
  return host::File::Extent{.start = at, .length = end - at, .data = is_data(runs.front())};
}

}  // namespace vireo::image::iscsi
