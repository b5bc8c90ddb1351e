// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/config/slips.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "cloudbus/app/config/values.h"

namespace cloudbus {
namespace {

constexpr std::string_view kSpaces = " \t";
constexpr std::string_view kSeparators = ", \t";
constexpr std::size_t kLongest = 512;  // bytes; a longer value is no slip of the pen

struct Unit {
  std::string_view written, meant;
};
constexpr std::array<Unit, 17> kUnits = {{{"seconds", "s"},
                                          {"second", "s"},
                                          {"secs", "s"},
                                          {"sec", "s"},
                                          {"minutes", "min"},
                                          {"minute", "min"},
                                          {"mins", "min"},
                                          {"m", "min"},
                                          {"hours", "h"},
                                          {"hour", "h"},
                                          {"hrs", "h"},
                                          {"msecs", "ms"},
                                          {"msec", "ms"},
                                          {"kib", "K"},
                                          {"kb", "K"},
                                          {"mb", "M"},
                                          {"gb", "G"}}};
constexpr std::array<Unit, 2> kSchemes = {{{"http", "80"}, {"https", "443"}}};

std::string_view without_spaces(std::string_view text) {
  std::size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

std::string joined(std::string_view one, std::string_view two) { return std::string(one).append(two); }

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// "5 seconds", "64KB".
void add_units(std::vector<Slip>& slips, std::string_view value) {
  std::size_t digits = std::min(value.find_first_not_of("0123456789"), value.size());
  std::string unit(without_spaces(value.substr(digits)));
  for (char& c : unit) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (digits == 0) return;
  for (const Unit& known : kUnits)
    if (unit == known.written)
      slips.push_back({{std::string(value.substr(0, digits)) + " " + std::string(known.meant)}, {}});
}

// Where a client would connect to, or a server listen, when only the port is said.
std::string at_port(std::string_view key, std::string_view port) {
  return joined(key == "bind" ? "tcp://0.0.0.0:" : "tcp://127.0.0.1:", port);
}

// What stands behind a scheme other than ours: HOST:PORT/PATH, or HOST.
void add_other_scheme(std::vector<Slip>& slips, std::string_view scheme, std::string_view rest) {
  std::string_view host = rest.substr(0, rest.find('/'));
  slips.push_back({{joined("tcp://", host)}, {}});
  for (const Unit& known : kSchemes)
    if (scheme == known.written) slips.push_back({{joined("tcp://", host) + ":" + std::string(known.meant)}, {}});
}

// HOST:PORT that was refused behind tcp://.
void add_tcp(std::vector<Slip>& slips, std::string_view key, std::string_view rest) {
  constexpr std::string_view kMapped = "[::ffff:";
  std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) return;
  std::string_view host = rest.substr(0, colon), port = rest.substr(colon + 1);
  if (host.empty() || host == "*") slips.push_back({{at_port(key, port)}, {}});
  if (host == "localhost") slips.push_back({{joined("tcp://127.0.0.1:", port)}, {}});
  if (host.starts_with(kMapped) && host.ends_with(']'))
    slips.push_back({{"tcp://" + std::string(host.substr(kMapped.size(), host.size() - kMapped.size() - 1)) + ":" +
                      std::string(port)},
                     {}});
  if (host.find(':') != std::string_view::npos && !host.starts_with('['))
    slips.push_back({{"tcp://[" + std::string(host) + "]:" + std::string(port)}, {}});
}

void add_addresses(std::vector<Slip>& slips, std::string_view key, std::string_view value) {
  std::size_t colon = value.find(':'), behind = value.find("://");
  if (behind != std::string_view::npos && value.substr(0, behind) != "tcp" && value.substr(0, behind) != "udp")
    add_other_scheme(slips, value.substr(0, behind), value.substr(behind + 3));
  if (value.starts_with("tcp:")) {
    std::string_view rest = value.substr(std::min(value.find_first_not_of('/', 4), value.size()));
    slips.push_back({{joined("tcp://", rest)}, {}});
    return add_tcp(slips, key, rest);
  }
  if (value.starts_with('/')) slips.push_back({{joined("unix://", value)}, {}});
  if (value.starts_with('@')) slips.push_back({{joined("unix:", value)}, {}});
  if (is_number(value)) slips.push_back({{at_port(key, value)}, {}});
  if (colon == std::string_view::npos || behind != std::string_view::npos) return;
  add_tcp(slips, key, value);
  slips.push_back({{joined("tcp://", value)}, {}});
}

std::vector<std::string> parts_of(std::string_view list) {
  std::vector<std::string> parts;
  while (true) {
    list.remove_prefix(std::min(list.find_first_not_of(kSeparators), list.size()));
    if (list.empty()) return parts;
    parts.emplace_back(list.substr(0, list.find_first_of(kSeparators)));
    list.remove_prefix(parts.back().size());
  }
}

}  // namespace

std::vector<Slip> slips_of(std::string_view key, std::string_view value) {
  std::vector<Slip> slips;
  if (value.size() > kLongest) return slips;
  if (value.size() > 2 && (value.front() == '"' || value.front() == '\'') && value.back() == value.front())
    slips.push_back({{std::string(value.substr(1, value.size() - 2))}, "a value has no quotes"});
  if (std::size_t hash = value.find('#'); hash != std::string_view::npos && hash > 0)
    slips.push_back({{std::string(without_spaces(value.substr(0, hash)))}, "a comment behind a value begins with a ;"});
  add_units(slips, value);
  if (key != "bind" && key != "server" && key != "backend") return slips;
  add_addresses(slips, key, value);
  if (auto parts = parts_of(value); parts.size() > 1) slips.push_back({std::move(parts), "a line has one address"});
  return slips;
}

std::string perhaps(std::string_view key, const Slip& slip) {
  auto line = [key](const std::string& value) { return std::string(key) + " = " + value; };
  std::string text = "; perhaps " + quoted(line(slip.values.front()));
  if (slip.values.size() > 1) text += " and " + quoted(line(slip.values[1]));
  if (slip.values.size() > 2) text += " and so on";
  text += slip.values.size() > 1 ? " are meant" : " is meant";
  return slip.rule.empty() ? text : text + ": " + std::string(slip.rule);
}

}  // namespace cloudbus
