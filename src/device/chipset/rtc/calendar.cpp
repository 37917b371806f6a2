#include "device/chipset/rtc/calendar.h"

#include <chrono>

namespace vireo::device {

namespace chrono = std::chrono;

Calendar calendar_of(i64 seconds) {
  auto const time = chrono::sys_seconds{chrono::seconds{seconds}};
  auto const day = chrono::floor<chrono::days>(time);
  auto const date = chrono::year_month_day{day};
  auto const clock = chrono::hh_mm_ss{time - day};
  return {.year = static_cast<int>(date.year()),
          .month = static_cast<u8>(static_cast<unsigned>(date.month())),
          .day = static_cast<u8>(static_cast<unsigned>(date.day())),
          .day_of_week = static_cast<u8>(chrono::weekday{day}.c_encoding() + 1),
          .hour = static_cast<u8>(clock.hours().count()),
          .minute = static_cast<u8>(clock.minutes().count()),
          .second = static_cast<u8>(clock.seconds().count())};
}

i64 seconds_of(Calendar const& calendar) {
  auto const first =
      chrono::sys_days{chrono::year{static_cast<int>(calendar.year)} / chrono::month{calendar.month} / 1};
  auto const day = first + chrono::days{calendar.day - 1};
  return chrono::duration_cast<chrono::seconds>(day.time_since_epoch()).count() + calendar.hour * i64{3600} +
         calendar.minute * i64{60} + calendar.second;
}

}  // namespace vireo::device
