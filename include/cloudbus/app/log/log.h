// SPDX-License-Identifier: Apache-2.0
#pragma once

// The log: one line for each event, on standard error, as text or as JSON. controller(8), LOGGING, has the format.
//
// Values may come from a peer. They are escaped, so that nobody can forge a line or a field.

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "cloudbus/app/config/config.h"
#include "cloudbus/core/base/time.h"
#include "cloudbus/core/base/uuid.h"

namespace cloudbus {

// A duration is shown as milliseconds: "1.2ms" in text, the number in JSON.
struct Field {
  std::string_view key;
  std::variant<std::string, std::string_view, std::uint64_t, Duration, Uuid> value;
};

// Again when one of them is another one; other threads may be writing lines.
void log_start(LogLevel level, LogFormat format);
bool log_enabled(LogLevel level);

// `subject` is a service's name, `link`, or the role; `message` may be empty.
void log_line(LogLevel level, std::string_view subject, std::string_view message, std::span<const Field> fields);
inline void log_line(LogLevel level, std::string_view subject, std::string_view message,
                     std::initializer_list<Field> fields) {
  log_line(level, subject, message, std::span<const Field>(fields.begin(), fields.size()));
}

// Writes what was logged since the last time, without waiting for whoever reads it. Called at the end of each turn of a
// loop. False when something is left: call it again soon.
bool log_flush();
// At the end of the process: has a little patience.
void log_finish();

// A value as it stands in a text line: quoted and escaped where that is needed.
std::string escape_value(std::string_view value);

}  // namespace cloudbus
