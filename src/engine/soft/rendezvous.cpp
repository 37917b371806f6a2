#include "engine/soft/rendezvous.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace vireo::engine::soft {

namespace {
constexpr u32 pauses_before_yield{200};

long membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0); }
}  // namespace

// ---- a vCPU's part ----

Rendezvous::Member::Member(Rendezvous& rendezvous, PageListener& listener)
    : rendezvous_{rendezvous}, listener_{listener} {
  rendezvous_.members_.push_back(this);
}

Rendezvous::Member::~Member() { std::erase(rendezvous_.members_, this); }

void Rendezvous::Member::enter_after_mail() {
  do {
    leave_code();
    while (rendezvous_.closed_.load(std::memory_order_seq_cst)) sched_yield();
    take_mail();
    in_code_.store(true, std::memory_order_relaxed);
    rendezvous_.order_entry();
  } while (pending_.load(std::memory_order_acquire));
}

void Rendezvous::Member::take_mail() {
  auto letters = std::vector<Letter>{};
  auto const posted = mail_.with([&](Mail& mail) {
    letters.swap(mail.letters);
    pending_.store(rendezvous_.closed_.load(std::memory_order_seq_cst), std::memory_order_relaxed);
    return mail.posted;
  });
  for (auto const& letter : letters) carry_out(letter);
  taken_.store(posted, std::memory_order_release);
}

void Rendezvous::Member::carry_out(Letter const& letter) {
  switch (letter.request) {
    case Request::drop_code: return listener_.drop_code(letter.page);
    case Request::drop_write_tags: return listener_.drop_write_tags(letter.page);
    case Request::forget_mappings: return listener_.forget_mappings();
  }
}

/// The ticket to wait for: it is carried out when taken_ has come that far.
u64 Rendezvous::Member::post(std::span<std::byte* const> pages, Request request) {
  return mail_.with([&](Mail& mail) {
    for (auto* const page : pages) mail.letters.push_back({page, request});
    if (mail.letters.size() > most_letters) {  // a sleeping vCPU of a guest that writes much code
      mail.letters.assign({{nullptr, Request::drop_code},
                           {nullptr, Request::drop_write_tags},
                           {nullptr, Request::forget_mappings}});
    }
    mail.posted += pages.size();
    pending_.store(true, std::memory_order_seq_cst);
    return mail.posted;
  });
}

// ---- all of them ----

Rendezvous::Rendezvous() : expedited_{membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0} {}

void Rendezvous::full_fence() {
  // SOUND: a locked access to our own stack, which is a full barrier and changes nothing.
  asm volatile("lock orl $0, (%%rsp)" ::: "memory", "cc");
}

// SOUND: an entering thread stores in_code and then loads pending; we stored pending and will load in_code. The
// kernel runs a full barrier on every thread of the process between our two steps, so one of the two sees the
// other; without that call, both sides have barriers of their own.
void Rendezvous::order_all_entries() const {
  if (expedited_ && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0) return;
  full_fence();
}

void Rendezvous::request(Member* from, std::span<std::byte* const> pages, Request request) {
  if (pages.empty()) return;
  auto const was_in_code = from != nullptr && from->in_code();
  if (from != nullptr) {
    for (auto* const page : pages) from->carry_out({page, request});
  }
  if (members_.size() == (from != nullptr ? 1u : 0u)) return;

  auto tickets = std::vector<u64>(members_.size());
  for (auto i = std::size_t{}; i < members_.size(); ++i) {
    if (members_[i] != from) tickets[i] = members_[i]->post(pages, request);
  }
  if (was_in_code) from->leave_code();  // others may be waiting for us
  order_all_entries();
  for (auto i = std::size_t{}; i < members_.size(); ++i) {
    auto& member = *members_[i];
    if (&member == from) continue;
    auto const done = [&] {
      return !member.in_code_.load(std::memory_order_acquire) ||
             member.taken_.load(std::memory_order_acquire) >= tickets[i];
    };
    wait_for(member, done);
  }
  if (was_in_code) from->enter_code();
}

template <typename Done>
void Rendezvous::wait_for(Member& member, Done&& done) {
  if (done()) return;
  member.listener_.wanted();
  for (auto pauses = u32{}; !done(); ++pauses) {
    if (pauses < pauses_before_yield)
      __builtin_ia32_pause();
    else
      sched_yield();
  }
}

// SOUND: closed_ is set before each member's pending, under its mail's lock. A member that takes its mail after
// that sees closed_ and leaves pending set; one that took it before has pending set again by us. So either its
// next entry finds pending, or it had entered before order_all_entries(), and is waited for.
void Rendezvous::change_mappings(std::function<void()> const& change) {
  closed_.store(true, std::memory_order_seq_cst);
  std::byte* const nothing = nullptr;
  for (auto* const member : members_) member->post({&nothing, 1}, Request::forget_mappings);
  order_all_entries();
  for (auto* const member : members_) {
    wait_for(*member, [&] { return !member->in_code_.load(std::memory_order_acquire); });
  }
  change();
  closed_.store(false, std::memory_order_seq_cst);
}

}  // namespace vireo::engine::soft
