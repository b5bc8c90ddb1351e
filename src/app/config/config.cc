// SPDX-License-Identifier: Apache-2.0
#include "cloudbus/app/config/config.h"

#include <algorithm>
#include <unordered_map>

#include "cloudbus/app/config/ini.h"
#include "cloudbus/app/config/key_errors.h"
#include "cloudbus/app/config/keys.h"
#include "cloudbus/app/config/slips.h"
#include "cloudbus/app/config/values.h"

namespace cloudbus {
namespace {

constexpr std::string_view kDaemonSection = "cloudbus";

bool is_daemon(const IniSection& section) { return normal_word(section.name) == kDaemonSection; }
// Also where the key is there with a slip, which is an error of its own: one mistake gives one error.
std::size_t count_key(const IniSection& section, std::string_view name) {
  auto count = std::ranges::count_if(section.entries, [&](const IniEntry& entry) {
    return normal_word(entry.key) == name || !meant_word(entry.key, {&name, 1}).empty();
  });
  return static_cast<std::size_t>(count);
}
bool has_key(const IniSection& section, std::string_view name) { return count_key(section, name) > 0; }
std::size_t count_servers(const IniSection& section) {
  return count_key(section, "server") + count_key(section, "backend");
}

bool fans_out(Mode mode) { return mode == Mode::HalfDuplex || mode == Mode::FullDuplex || mode == Mode::Publish; }

std::string up_to(std::uint32_t most) { return most == 1 ? "1" : "1 to " + std::to_string(most); }

// Reads the sections one by one, then looks at what concerns several of them.
class ConfigReader {
 public:
  explicit ConfigReader(Role role) { config_.role = role; }

  ConfigResult read(IniText ini) {
    config_.files = std::move(ini.files);
    errors_ = std::move(ini.errors);
    for (LineError& error : errors_) add_missing_equals(error);
    may_share_bind_ = std::ranges::any_of(ini.sections, [](const IniSection& section) {
      return is_daemon(section) && (section.damaged || has_key(section, "bind"));
    });
    for (const IniSection& section : ini.sections) read_section(section);
    if (drafts_.empty() && errors_.empty()) {
      fail({0, std::max(ini.lines, 1)},
           "there is no service; write a section such as [Orders] with a bind and a server");
    }
    check_binds();
    for (const ServiceDraft& draft : drafts_) check_loop(draft);
    return finish();
  }

 private:
  // "threads 4" was perhaps meant to have a =.
  void add_missing_equals(LineError& error) const {
    constexpr std::string_view kSpaces = " \t";
    std::string_view words = error.words, key = words.substr(0, words.find_first_of(kSpaces));
    if (key.size() == words.size() || !is_key(config_.role, normal_word(key))) return;
    std::string_view value = words.substr(words.find_first_not_of(kSpaces, key.size()));
    error.text += perhaps(key, {{std::string(value)}, {}});
  }

  void read_section(const IniSection& section) {
    bool daemon = is_daemon(section);
    auto [first, is_new] = section_lines_.emplace(daemon ? kDaemonSection : section.name, section.line);
    std::string error = check_service_name(section.name);
    if (!error.empty()) {
      fail(section.line, error);
    } else if (!is_new) {
      fail(section.line, "[" + section.name + "] was begun in " + line_words(first->second, section.line) +
                             " already; a section is allowed once");
    }
    if (daemon) return read_keys(section, SectionKind::Daemon, daemon_keys(), config_);

    ServiceDraft& draft = drafts_.emplace_back();
    draft.service.name = draft.service.service = section.name;
    draft.service.line = section.line;
    read_keys(section, SectionKind::Service, service_keys(), draft);
    if (!is_new || !error.empty() || section.damaged) return;
    check_complete(section);
    bool all_servers_known = draft.service.servers.size() == count_servers(section);
    if (all_servers_known && !draft.service.servers.empty()) settle_mode(draft);
  }

  template <class Target>
  void read_keys(const IniSection& section, SectionKind kind, std::span<const Key<Target>> keys, Target& target) {
    std::unordered_map<std::string_view, SourceLine> seen;
    for (const IniEntry& entry : section.entries) {
      auto key = std::ranges::find(keys, normal_word(entry.key), &Key<Target>::name);
      if (key == keys.end() || !key->fits(config_.role)) {
        fail(entry.line, unknown_key(config_.role, kind, entry.key));
        continue;
      }
      auto [first, is_new] = seen.emplace(key->name, entry.line);
      std::string name(key->name), error;
      if (!is_new && key->times == Times::Once) {
        error = "it is set in " + line_words(first->second, entry.line) + " already; once is allowed";
      } else if (entry.value.empty()) {
        error = "the value is missing; write " + name + " = VALUE";
      } else {
        error = key->set(config_.role, target, entry);
        if (!error.empty()) error += perhaps_meant(*key, entry);
      }
      if (!error.empty()) fail(entry.line, name + ": " + error);
    }
  }

  template <class Target>
  std::string perhaps_meant(const Key<Target>& key, const IniEntry& entry) const {
    auto is_taken = [&](const std::string& value) {
      Target scratch;
      return key.set(config_.role, scratch, {entry.key, value, entry.line}).empty();
    };
    if (is_taken(entry.value)) return {};  // it does not fit what stands before it
    for (const Slip& slip : slips_of(key.name, entry.value)) {
      bool is_list = slip.values.size() > 1;
      if ((!is_list || key.times == Times::Many) && std::ranges::all_of(slip.values, is_taken))
        return perhaps(key.name, slip);
    }
    return {};
  }

  void check_complete(const IniSection& section) {
    std::string name = "[" + section.name + "]";
    if (count_servers(section) == 0) {
      fail(section.line, name + " has no server; write server = ADDRESS, once or more");
    }
    if (has_key(section, "bind")) return;
    if (config_.role == Role::Controller) {
      fail(section.line, name + " has no bind; write bind = ADDRESS, once or more");
    } else if (!may_share_bind_) {
      fail(section.line, name + " has no bind; write bind = ADDRESS here, or in [Cloudbus] for all services");
    }
  }

  // What the mode is depends on how many servers there are.
  void settle_mode(ServiceDraft& draft) {
    ServiceConfig& service = draft.service;
    const bool several = service.servers.size() > 1;
    if (config_.role == Role::Segment) {
      service.mode = several ? Mode::Balance : Mode::OneToOne;
      if (several && draft.mode.value_or(Mode::Balance) != Mode::Balance) {
        fail(draft.mode_line, "mode: " + std::string(word_of(*draft.mode)) +
                                  " with several servers is the controller's work: a segment sends each client to one "
                                  "of its servers; allowed with several is balance");
      }
    } else if (several) {
      service.mode = draft.mode.value_or(Mode::HalfDuplex);
    } else {
      service.mode = draft.mode == Mode::Publish ? Mode::Publish : Mode::OneToOne;
    }
    check_limits(draft);
    service.written = {draft.mode.value_or(config_.role == Role::Segment ? Mode::Balance : Mode::HalfDuplex),
                       service.balance, service.fanout};
    // What means nothing is as if it had not been set.
    if (!several) service.balance = BalancePolicy::RoundRobin;
    if (!fans_out(service.mode)) service.fanout = {};
  }

  void check_limits(const ServiceDraft& draft) {
    const FanoutLimits& limits = draft.service.fanout;
    const auto servers = static_cast<std::uint32_t>(draft.service.servers.size());
    if (draft.service.mode == Mode::Balance) {
      const std::string error = "mode balance sends each client to one server; allowed is 1";
      if (draft.fanout_line.number != 0 && limits.legs != 1) fail(draft.fanout_line, "fanout: " + error);
      if (limits.quorum > 1) fail(draft.quorum_line, "quorum: " + error);
      return;
    }
    const bool too_many = limits.legs > servers;
    if (too_many) {
      fail(draft.fanout_line, "fanout: " + std::to_string(limits.legs) +
                                  " is more than there are servers; allowed is " + up_to(servers) + ", or all");
    }
    const std::uint32_t legs = limits.legs == 0 || too_many ? servers : limits.legs;
    if (limits.quorum > legs) {
      std::string_view most = legs == servers ? "there are servers" : "fanout";
      fail(draft.quorum_line, "quorum: " + std::to_string(limits.quorum) + " is more than " + std::string(most) +
                                  "; allowed is " + up_to(legs));
    }
  }

  void check_binds() {
    std::vector<BindConfig> binds = config_.shared_binds;
    for (const ServiceDraft& draft : drafts_) {
      binds.insert(binds.end(), draft.service.binds.begin(), draft.service.binds.end());
    }
    std::ranges::sort(binds, {}, &BindConfig::line);
    for (const BindConfig& bind : binds) {
      if (bind.endpoint.is_port_zero()) continue;  // another port each time
      auto [first, is_new] = bind_lines_.emplace(bind.endpoint.to_string(), bind.line);
      if (!is_new) {
        fail(bind.line, "bind: " + first->first + " is bound in " + line_words(first->second, bind.line) +
                            " already; an address is allowed once");
      } else if (const BindConfig* other = find_overlap(bind)) {
        fail(bind.line, "bind: " + bind.endpoint.to_string() + " overlaps with " + other->endpoint.to_string() +
                            " in " + line_words(other->line, bind.line) +
                            "; allowed is the port once, or at different addresses");
      }
    }
  }

  // The bind before this one that takes its port at every address, or one address of those that this one takes.
  const BindConfig* find_overlap(const BindConfig& bind) {
    if (bind.endpoint.kind != Endpoint::Kind::Tcp) return nullptr;
    const Address& address = bind.endpoint.address;
    PortBinds& port = ports_[port_name(address)];
    const auto& other = address.is_wildcard() && port.first ? port.first : port.wildcard;
    if (!port.first) port.first = bind;
    if (address.is_wildcard()) port.wildcard = bind;
    return other && overlap(other->endpoint, bind.endpoint) && !(other->endpoint == bind.endpoint) ? &*other : nullptr;
  }

  void check_loop(const ServiceDraft& draft) {
    for (const ServerConfig& server : draft.service.servers) {
      auto bind = bind_lines_.find(server.endpoint.to_string());
      const BindConfig* everywhere = wildcard_over(server.endpoint);
      if (bind == bind_lines_.end() && !everywhere) continue;
      const SourceLine& line = everywhere ? everywhere->line : bind->second;
      fail(server.line, "server: " + server.endpoint.to_string() + " is bound by this process itself in " +
                            line_words(line, server.line) + ", a loop; allowed are addresses of other processes");
    }
  }

  // The bind that takes a port of this host at every address.
  const BindConfig* wildcard_over(const Endpoint& server) const {
    if (server.kind != Endpoint::Kind::Tcp || !server.address.is_loopback()) return nullptr;
    auto port = ports_.find(port_name(server.address));
    return port != ports_.end() && port->second.wildcard ? &*port->second.wildcard : nullptr;
  }

  static std::string port_name(const Address& address) {
    return std::to_string(address.family()) + ":" + std::to_string(address.port());
  }

  ConfigResult finish() {
    ConfigResult result;
    std::ranges::stable_sort(errors_, {}, &LineError::line);
    for (const LineError& error : errors_) {
      result.errors.push_back(config_.at(error.line) + ": " + error.text);
    }
    if (!result.errors.empty()) return result;
    for (ServiceDraft& draft : drafts_) {
      draft.service.socket_mode = draft.socket_mode.value_or(config_.socket_mode);
      draft.service.keepalive = draft.keepalive.value_or(config_.keepalive);
      draft.service.socket_group = draft.socket_group.value_or(config_.socket_group);
      config_.services.push_back(std::make_shared<const ServiceConfig>(std::move(draft.service)));
    }
    result.config = std::move(config_);
    return result;
  }

  void fail(const SourceLine& line, std::string text) { errors_.push_back({line, std::move(text)}); }

  // "line 7", or with the file where that is another one.
  std::string line_words(const SourceLine& line, const SourceLine& here) const {
    return line.file == here.file ? "line " + std::to_string(line.number) : "line " + config_.at(line);
  }

  Config config_;
  std::vector<ServiceDraft> drafts_;
  std::vector<LineError> errors_;
  struct PortBinds {
    std::optional<BindConfig> first, wildcard;
  };
  std::unordered_map<std::string, PortBinds> ports_;  // by family and port
  bool may_share_bind_ = false;                       // a [Cloudbus] has a bind, or a line that we could not read
  std::unordered_map<std::string, SourceLine> section_lines_, bind_lines_;
};

void add_line(std::string& text, std::string_view key, std::string_view value) {
  text.append(key).append("=").append(value).append("\n");
}

std::string format_health(const HealthConfig& health) {
  if (!health.is_active()) return "passive";
  return "tcp " + format_duration(health.every) + " fall " + std::to_string(health.fall) + " rise " +
         std::to_string(health.rise);
}

std::string format_keepalive(const Keepalive& keepalive) {
  if (keepalive.after == Duration::zero()) return "0";
  return format_duration(keepalive.after) + " interval " + format_duration(keepalive.interval) + " count " +
         std::to_string(keepalive.count);
}

void add_service(std::string& text, const ServiceConfig& service, Role role) {
  text += "\n[" + service.name + "]\n";
  for (const BindConfig& bind : service.binds) add_line(text, "bind", bind.endpoint.to_string());
  for (const ServerConfig& server : service.servers) add_line(text, "server", server.endpoint.to_string());
  if (service.service != service.name) add_line(text, "service", service.service);
  if (role == Role::Controller) add_line(text, "links", service.links == 0 ? "auto" : std::to_string(service.links));
  if (role == Role::Controller) add_line(text, "priority", std::to_string(service.priority));
  add_line(text, "refresh", word_of(service.refresh));
  add_line(text, "health", format_health(service.health));
  // As it was written: with another server it has to mean the same as the file would.
  const WrittenMode& written = service.written;
  add_line(text, "mode", word_of(written.mode));
  add_line(text, "balance", word_of(written.balance));
  if (role == Role::Controller && fans_out(written.mode)) {
    const FanoutLimits& limits = written.fanout;
    add_line(text, "fanout", limits.legs == 0 ? "all" : std::to_string(limits.legs));
    add_line(text, "quorum", std::to_string(limits.quorum));
    add_line(text, "lag_limit", format_size(limits.lag));
  }
  add_line(text, "socket_mode", format_file_mode(service.socket_mode));
  if (!service.socket_group.name.empty()) add_line(text, "socket_group", service.socket_group.name);
  add_line(text, "connect_timeout", format_duration(service.connect_timeout));
  add_line(text, "connect_retry", service.connect_retry ? "yes" : "no");
  add_line(text, "keepalive", format_keepalive(service.keepalive));
  add_line(text, "idle_timeout", format_duration(service.idle_timeout));
  add_line(text, "half_close_timeout", format_duration(service.half_close_timeout));
  add_line(text, "resume", format_duration(service.resume));
}

}  // namespace

std::string Config::at(const SourceLine& line) const {
  return files[static_cast<std::size_t>(line.file)] + ":" + std::to_string(line.number);
}

ConfigResult parse_config(Role role, const std::string& name, std::string_view text) {
  auto find = [](const std::string& pattern) { return std::vector<std::string>{pattern}; };
  auto read = [](const std::string&, std::string&) { return std::string("there are no files here"); };
  return ConfigReader(role).read(read_ini(name, text, {find, read}));
}

ConfigResult load_config(Role role, const std::string& path) {
  IniFiles files = system_files();
  std::string text;
  std::string error = files.read(path, text);
  if (!error.empty()) return {std::nullopt, {path + ": cannot read: " + error}};
  return ConfigReader(role).read(read_ini(path, text, files));
}

std::string to_ini(const Config& config) {
  std::string text = "[Cloudbus]\n";
  for (const BindConfig& bind : config.shared_binds) add_line(text, "bind", bind.endpoint.to_string());
  add_line(text, "socket_mode", format_file_mode(config.socket_mode));
  if (!config.socket_group.name.empty()) add_line(text, "socket_group", config.socket_group.name);
  add_line(text, "threads", config.has_auto_threads ? "auto" : std::to_string(config.threads));
  add_line(text, "memory", format_size(config.memory));
  add_line(text, "drain_timeout", format_duration(config.drain_timeout));
  add_line(text, "drain_idle", format_duration(config.drain_idle));
  add_line(text, "keepalive", format_keepalive(config.keepalive));
  if (!config.nameservers.empty()) add_line(text, "nameservers", config.nameservers);
  add_line(text, "urn_zone", config.urn_zone);
  add_line(text, "log_level", name_of(config.log_level));
  add_line(text, "log_format", name_of(config.log_format));
  if (!config.pid_file.empty()) add_line(text, "pid_file", config.pid_file);
  for (const auto& service : config.services) add_service(text, *service, config.role);
  return text;
}

}  // namespace cloudbus
