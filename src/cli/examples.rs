//! What stands below the options in the help of a command.

pub(super) const PROGRAM: &str = "\
Every setting can also be given as an environment variable or in a file; what is later in this list wins:
  defaults, TOML file, environment file, environment, command line
Exit codes: 0 done, 1 failed, 2 arguments not understood, 69 this machine does not give what the server needs,
  70 a core hung, 78 configuration refused (one line for each problem), 101 a core panicked.

Examples:
  cache-service                                      serve this machine on port 8080 under a token that is printed once
  API_TOKEN=$(openssl rand -hex 32) cache-service    serve every address under this token
  cache-service --memory-budget-bytes 2GiB --shards 4
  cache-service check-config --config /etc/cache-service/config.toml
  cache-service print-config                         every setting and where it comes from, tokens masked
  cache-service healthcheck                          ask a running server whether it is well
  API_TOKEN=... cache-service load-smoke             try out everything that it does
  API_TOKEN=... cache-service stress --fill          see how much it bears";

pub(super) const SERVE: &str = "\
Ends with 0 after SIGTERM or SIGINT, once requests in progress are finished; SIGHUP reads the configuration again.

Examples:
  API_TOKEN=$(openssl rand -hex 32) cache-service serve
  cache-service serve --config /etc/cache-service/config.toml --log-format text
  taskset -c 2-5 cache-service serve                 four shards on CPUs 2 to 5";

pub(super) const CHECK_CONFIG: &str = "\
One line to standard error for each problem, and exit code 78 if there is one.

Examples:
  cache-service check-config --config /etc/cache-service/config.toml
  cache-service check-config --env-file new.env && systemctl reload cache-service";

pub(super) const PRINT_CONFIG: &str = "\
Tokens are masked.

Examples:
  cache-service print-config
  MAX_INFLIGHT=2000 cache-service print-config --config cache.toml | grep MAX_INFLIGHT";

pub(super) const HEALTHCHECK: &str = "\
Asks for /healthz, which needs no token, for at most two seconds.

Examples:
  cache-service healthcheck                          the server of this machine on port 8080
  cache-service healthcheck --host 10.0.0.7 --port 9090";
