#include "engine/soft/code_memory.h"

#include <sys/mman.h>
#include <unistd.h>

namespace vireo::engine::soft {

CodeMemory::~CodeMemory() {
  for (std::size_t i = 0; i < max_chunks && chunks_[i].load() != nullptr; i++) {
    munmap(chunks_[i].load(), chunk_size);
    munmap(writable_views_[i], chunk_size);
  }
}

Result<u8 const*> CodeMemory::add(ConstBytes code) {
  auto const slot = TRY(reserve(code.size()));
  std::memcpy(slot.writable, code.data(), code.size());
  return slot.executable;
}

Result<CodeMemory::Slot> CodeMemory::reserve(std::size_t length) {
  auto const wanted = (length + 31) & ~std::size_t{31};
  if (wanted > chunk_size) return fail(Errc::invalid, "code longer than a chunk of code memory");
  return newest_.with([&](Newest& newest) -> Result<Slot> {
    if (wanted > chunk_size - newest.used) TRY(grow(newest));
    auto const slot = Slot{newest.writable + newest.used, newest.executable + newest.used};
    newest.used += wanted;
    return slot;
  });
}

bool CodeMemory::contains(void const* address) const {
  auto const* const at = static_cast<u8 const*>(address);
  for (auto const& chunk : chunks_) {
    auto const* const start = chunk.load(std::memory_order_acquire);
    if (start == nullptr) return false;
    if (at >= start && at < start + chunk_size) return true;
  }
  return false;
}

Result<> CodeMemory::grow(Newest& newest) {
  if ((newest.count + 1) * chunk_size > limit_ || newest.count == max_chunks) {
    return fail(Errc::no_space, "code memory is full");
  }
  auto const file = memfd_create("vireo-code", MFD_CLOEXEC);
  if (file < 0) return fail(Errc::no_space, "memfd_create for code memory failed");
  if (ftruncate(file, chunk_size) != 0) {
    close(file);
    return fail(Errc::no_space, "no space for code memory");
  }
  // SOUND: two fresh mappings of one private file, known to nobody else. Code is complete before its address is
  // handed out.
  auto* const writable = mmap(nullptr, chunk_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  auto* const executable = mmap(nullptr, chunk_size, PROT_READ | PROT_EXEC, MAP_SHARED, file, 0);
  close(file);
  if (writable == MAP_FAILED || executable == MAP_FAILED) {
    if (writable != MAP_FAILED) munmap(writable, chunk_size);
    if (executable != MAP_FAILED) munmap(executable, chunk_size);
    return fail(Errc::no_space, "the host refuses executable memory");
  }
  newest.writable = writable_views_[newest.count] = static_cast<u8*>(writable);
  newest.executable = static_cast<u8*>(executable);
  chunks_[newest.count].store(newest.executable, std::memory_order_release);
  newest.count++;
  newest.used = 0;
  return {};
}

}  // namespace vireo::engine::soft
