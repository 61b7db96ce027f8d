//! What `--help` prints below the flags: exit codes and examples.

pub const PROCESS_HELP: &str = "\
Environment:
  RUST_LOG  log filter, such as debug (default: info)

Exit codes:
  0  stopped by SIGTERM or Ctrl-C
  2  cannot start, or ended after an error";

pub const UP_HELP: &str = "\
Exit codes:
  0  stopped by SIGTERM or Ctrl-C
  2  cannot start, or ended after an error

Example:
  landfall up examples/three-clusters
  dig @127.0.0.1 -p 5301 service-1.demo.svc.clusterset.local";

pub const PLAN_HELP: &str = "\
Exit codes:
  0  nothing was ignored
  1  part of the input was ignored, or a policy is not in force; standard error says what and why
  2  the folder cannot be read

Example:
  landfall plan examples/three-clusters";

pub const EXPLAIN_HELP: &str = "\
Exit codes:
  0  the service is served as its policy asks for
  1  no cluster can answer, a fallback is in use, DNS serves something else than the plan, or part of the input was ignored
  2  the service or the cluster is not known, or nothing could be read

Examples:
  landfall explain shop/api-mixed --from aws-use1 examples/six-clouds
  landfall explain shop/api-mixed --kubeconfig east.kubeconfig";

pub const SIMULATE_HELP: &str = "\
Exit codes:
  0  done
  1  with --live: a cluster would be overloaded, no cluster would answer, a fallback would be used, a value that is not known
     was to be multiplied, or part of the input was ignored
  2  the input cannot be read, or names something that does not exist

Examples:
  landfall simulate --live examples/six-clouds --outage op-fra
  landfall simulate --live examples/six-clouds --demand aws-use1=x2 --service shop/api-mixed
  landfall simulate --generate 7 --clusters 5 --report report.html";

pub const DRAIN_HELP: &str = "\
Exit codes:
  0  the cluster is being drained, or serves again
  1  not drained because the other clusters lack capacity or it is not known; or drained, but its operator has not published it
  2  the cluster cannot be reached

Examples:
  landfall drain west --over 30m
  landfall drain west --undo";
