package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/sdk/contrib/envconfig"

	"agentmarket/cmd/internal/wire"
	"agentmarket/infra/kube"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
	"agentmarket/secrets"
)

const usage = `agentmarket: a marketplace for AI agents on Kubernetes

commands
  migrate            bring the database and Temporal's search attributes to this version
  api                serve the REST API
  worker             run workflows and activities, watch the cluster
  gateway            serve the pods of runs
  secrets create     write a keyset for secrets to AGENTMARKET_SECRETS_KEYSET_FILE
  secrets rotate     add a key to it, which seals from then on
  secrets reencrypt  seal with that key what older ones have sealed
  secrets prune      remove the older keys, if nothing needs them any more
  org create NAME    make an organization, print its first API key
  org key NAME       print a new API key of an owner, for an organization without one
  operator key NAME  print a new API key of an operator of the platform; NAME is for people
  version, help

environment
  AGENTMARKET_DATABASE_URL         postgres://… or sqlite:///path            required
  AGENTMARKET_BLOB_URL             file:///path or s3://bucket?region=…      required
  AGENTMARKET_LISTEN               address of the API                        127.0.0.1:3000
  AGENTMARKET_RUNTIME_IMAGE        image of the supervisor, NAME@sha256:…    required by worker
  AGENTMARKET_RUNTIME_BY_COPY      true: for nodes without image volumes     false
  AGENTMARKET_SANDBOX_RUNTIME_CLASS RuntimeClass of the sandboxed tier; unset: there is no such tier
  AGENTMARKET_RUNS_NAMESPACE       namespace of runs                         agentmarket-runs
  AGENTMARKET_RUNS_NAMESPACE_PER   one for each tier or organization         tier
  AGENTMARKET_RUNS_NAMESPACE_SHARDS  namespaces that share the runs, 1 to 64  1
  AGENTMARKET_MANAGE_NAMESPACE     true: the worker makes that namespace     false
  AGENTMARKET_JOB_TTL_SECONDS      how long Jobs stay at most, at least 3900 7200
  AGENTMARKET_KEEP_FINISHED_JOBS   true: as long as that, for kubectl         false
  AGENTMARKET_CREATES_PER_SECOND   Jobs that each worker makes at most       50
  AGENTMARKET_GATEWAY_URL          how pods reach the gateway, http(s)://ADDRESS:PORT; unset: they reach nothing
  AGENTMARKET_GATEWAY_NAMESPACE    namespace of the gateway's pods, where it runs in the cluster
  AGENTMARKET_GATEWAY_LISTEN       address of the gateway                    0.0.0.0:3100
  AGENTMARKET_GATEWAY_CONNECTIONS_PER_ADDRESS  that it takes from a pod, 1 to 10000  128
  AGENTMARKET_WARM_PODS            pods that policies may keep ready for a kind of run, 0 to 20; needs a gateway  0
  AGENTMARKET_WARM_PULL_NODES      nodes on which the images of such runs are pulled ahead, 0 to 100  0
  AGENTMARKET_RECONCILE_SECONDS    how often record, engine and cluster are compared  60
  AGENTMARKET_DOCTOR               when the cluster is examined: request, start, require  start
  AGENTMARKET_METRICS_LISTEN       address of a worker's metrics; unset: none
  AGENTMARKET_QUOTA_RUNS           runs at once of an organization; 0: no bound  0
  AGENTMARKET_QUOTA_CPU_MILLIS     cpu in flight of an organization          0
  AGENTMARKET_QUOTA_MEMORY_MIB     memory in flight of an organization       0
  AGENTMARKET_CURRENCY             of all prices and wallets, set once        USD
  AGENTMARKET_PLATFORM_FEE_PERCENT the platform's share, up to two decimals  20
  AGENTMARKET_PRICE_NOTICE_DAYS    how long before a raise it is announced   14
  AGENTMARKET_LISTING_REVIEW       false: publishers publish by themselves   true
  AGENTMARKET_PRELOADED_IMAGES     beginnings of names of images that no registry is asked for, with commas
  AGENTMARKET_WEBHOOK_INSECURE     true: http and private addresses, NEVER in production false
  AGENTMARKET_PRIVATE_NETWORKS     networks that strangers' addresses may not lead to, with commas
  AGENTMARKET_EGRESS_RESOLVER      DNS server for the hosts of agents, IP:PORT  the system's
  AGENTMARKET_EGRESS_NETWORKS      private networks that hosts of agents may lead to, with commas
  AGENTMARKET_EGRESS_RUN_MIB       what the connections of a run carry       1024
  AGENTMARKET_SECRETS_KEYSET_FILE  keys that secrets are sealed with; unset: there are no secrets
  AGENTMARKET_SECRETS_KEEPER_URL   key of a KMS that wraps the keyset, awskms://…; unset: it is in the clear
  AGENTMARKET_MODELS_FILE          models of the gateway and who has them, YAML; unset: there are none
  AGENTMARKET_MODEL_BUDGET_MICROS  held for a run that asks models, if nobody names a maximum; 0: models cost nothing
  AGENTMARKET_TOOL_SECRETS         directory with credentials of the operators' servers of tools
  AGENTMARKET_PAYMENT_INSTRUCTIONS how buyers pay into their wallet          to ask the operator
  AGENTMARKET_SMOKE_AGENT          publisher/name that POST /schedule-job starts; unset: it answers 404
  AGENTMARKET_TEMPORAL_WEB_URL     where people open the Temporal Web UI
  AGENTMARKET_KUBE_CONTEXT         context in KUBECONFIG                     its current one
  KUBECONFIG                       one file; unset: the pod's account
  TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS_…     as for the temporal CLI
`

// configFromEnvironment reads the environment, and reports every value that
// cannot be read at once.
func configFromEnvironment() (cfg wire.Config, listen string, err error) {
	var env environment
	temporal, err := envconfig.LoadDefaultClientOptions()
	if err != nil {
		env.errs = append(env.errs, fmt.Errorf("read Temporal configuration: %w", err))
	}
	if temporal.HostPort == "" {
		temporal.HostPort = "127.0.0.1:7233"
	}
	if temporal.Namespace == "" {
		temporal.Namespace = "default"
	}
	cfg = wire.Config{
		DatabaseURL:    os.Getenv("AGENTMARKET_DATABASE_URL"),
		BlobURL:        os.Getenv("AGENTMARKET_BLOB_URL"),
		Temporal:       temporal,
		TemporalWebURL: os.Getenv("AGENTMARKET_TEMPORAL_WEB_URL"),
		Kubeconfig:     os.Getenv("KUBECONFIG"),
		KubeContext:    os.Getenv("AGENTMARKET_KUBE_CONTEXT"),
		Kube: kube.Config{
			Namespace:       os.Getenv("AGENTMARKET_RUNS_NAMESPACE"),
			NamespacePer:    os.Getenv("AGENTMARKET_RUNS_NAMESPACE_PER"),
			NamespaceShards: env.count("AGENTMARKET_RUNS_NAMESPACE_SHARDS", "1", 1, 64),
			RuntimeImage:    os.Getenv("AGENTMARKET_RUNTIME_IMAGE"),
			RuntimeByCopy:   env.flag("AGENTMARKET_RUNTIME_BY_COPY", "false"),
			// One name for both: what a policy may ask for, and how it is given.
			SandboxRuntimeClass: os.Getenv("AGENTMARKET_SANDBOX_RUNTIME_CLASS"),
			GatewayURL:          strings.TrimSuffix(os.Getenv("AGENTMARKET_GATEWAY_URL"), "/"),
			GatewayNamespace:    os.Getenv("AGENTMARKET_GATEWAY_NAMESPACE"),
			CreatesPerSecond:    env.number("AGENTMARKET_CREATES_PER_SECOND", "50", 1e6),
			KeepFinishedJobs:    env.flag("AGENTMARKET_KEEP_FINISHED_JOBS", "false"),
			JobTTL:              time.Duration(env.number("AGENTMARKET_JOB_TTL_SECONDS", "7200", 1e6)) * time.Second,
		},
		Reconcile: time.Duration(env.number("AGENTMARKET_RECONCILE_SECONDS", "60", 86400) * float64(time.Second)),
		Secrets: secrets.Config{
			File:      os.Getenv("AGENTMARKET_SECRETS_KEYSET_FILE"),
			KeeperURL: os.Getenv("AGENTMARKET_SECRETS_KEEPER_URL"),
		},
		ModelsFile:        os.Getenv("AGENTMARKET_MODELS_FILE"),
		GatewayListen:     orDefault("AGENTMARKET_GATEWAY_LISTEN", "0.0.0.0:3100"),
		GatewayPerAddress: env.count("AGENTMARKET_GATEWAY_CONNECTIONS_PER_ADDRESS", "128", 1, 10_000),
		Doctor:            orDefault("AGENTMARKET_DOCTOR", wire.DoctorStart),
		MetricsListen:     os.Getenv("AGENTMARKET_METRICS_LISTEN"),
		ManageNamespace:   env.flag("AGENTMARKET_MANAGE_NAMESPACE", "false"),
		Limits:            product.DefaultLimits(),
		Policy: marketplace.Policy{
			Currency:       orDefault("AGENTMARKET_CURRENCY", "USD"),
			FeeBasisPoints: env.percent("AGENTMARKET_PLATFORM_FEE_PERCENT", "20"),
			PriceNotice:    time.Duration(env.number("AGENTMARKET_PRICE_NOTICE_DAYS", "14", 365)*24) * time.Hour,
			ReviewListings: env.flag("AGENTMARKET_LISTING_REVIEW", "true"),
		},
		PreloadedImages: list("AGENTMARKET_PRELOADED_IMAGES"),
		WebhookInsecure: env.flag("AGENTMARKET_WEBHOOK_INSECURE", "false"),
		PrivateNetworks: env.networks("AGENTMARKET_PRIVATE_NETWORKS"),
		ToolSecrets:     os.Getenv("AGENTMARKET_TOOL_SECRETS"),
		Egress: wire.Egress{
			Resolver: env.server("AGENTMARKET_EGRESS_RESOLVER"),
			Networks: env.networks("AGENTMARKET_EGRESS_NETWORKS"),
			RunBytes: int64(env.count("AGENTMARKET_EGRESS_RUN_MIB", "1024", 1, 1<<20)) << 20,
		},
		PaymentInstructions: os.Getenv("AGENTMARKET_PAYMENT_INSTRUCTIONS"),
		SmokeAgent:          os.Getenv("AGENTMARKET_SMOKE_AGENT"),
	}
	if budget := env.count("AGENTMARKET_MODEL_BUDGET_MICROS", "0", 0, 1_000_000_000_000); budget > 0 {
		cfg.Policy.ModelBudget = money.Of(int64(budget), cfg.Policy.Currency)
	}
	// One number for both: what policies may ask for, and whether workers make it.
	cfg.Limits.MaxWarm = env.count("AGENTMARKET_WARM_PODS", "0", 0, product.MaxPolicyWarm)
	cfg.Kube.Warm = cfg.Limits.MaxWarm > 0
	cfg.Kube.PullNodes = env.count("AGENTMARKET_WARM_PULL_NODES", "0", 0, kube.MaxPullNodes)
	cfg.Kube = cfg.Kube.WithDefaults()
	cfg.Limits.Quota = product.Quota{
		ConcurrentRuns: int64(env.number("AGENTMARKET_QUOTA_RUNS", "0", 1e9)),
		CPUMillis:      int64(env.number("AGENTMARKET_QUOTA_CPU_MILLIS", "0", 1e12)),
		MemoryMiB:      int64(env.number("AGENTMARKET_QUOTA_MEMORY_MIB", "0", 1e12)),
	}
	cfg.Limits.Sandboxed = cfg.Kube.SandboxRuntimeClass != ""
	return cfg, orDefault("AGENTMARKET_LISTEN", "127.0.0.1:3000"), errors.Join(env.errs...)
}

// environment reads values, and keeps the errors of those that cannot be read.
type environment struct{ errs []error }

func (e *environment) refuse(name, message string) {
	e.errs = append(e.errs, errors.New(name+" "+message))
}

func (e *environment) flag(name, otherwise string) bool {
	value, err := strconv.ParseBool(orDefault(name, otherwise))
	if err != nil {
		e.refuse(name, "is neither true nor false")
	}
	return value
}

func (e *environment) networks(name string) (networks []netip.Prefix) {
	for _, text := range list(name) {
		network, err := netip.ParsePrefix(text)
		if err != nil || network.Addr().Is4In6() { // which no address is compared with
			e.refuse(name, "names no network such as 10.0.0.0/8: "+text)
		}
		networks = append(networks, network)
	}
	return networks
}

// server reads the address of a server; unset: not valid.
func (e *environment) server(name string) (at netip.AddrPort) {
	text := os.Getenv(name)
	if text == "" {
		return at
	}
	at, err := netip.ParseAddrPort(text)
	if err != nil || at.Port() == 0 {
		e.refuse(name, "is no IP:PORT")
	}
	return at
}

func (e *environment) number(name, otherwise string, most float64) float64 {
	value, err := strconv.ParseFloat(orDefault(name, otherwise), 64)
	if err != nil || !(value >= 0 && value <= most) { // NaN is neither
		e.refuse(name, fmt.Sprintf("is not a number from 0 to %.0f", most))
	}
	return value
}

// count reads a whole number.
func (e *environment) count(name, otherwise string, least, most int) int {
	value, err := strconv.Atoi(orDefault(name, otherwise))
	if err != nil || value < least || value > most {
		e.refuse(name, fmt.Sprintf("is not a whole number from %d to %d", least, most))
	}
	return value
}

// percent reads a percentage, in basis points. It is a share of money, and money
// is never a float.
func (e *environment) percent(name, otherwise string) int64 {
	parts := percentage.FindStringSubmatch(orDefault(name, otherwise))
	if parts == nil {
		e.refuse(name, "is not a number from 0 to 100 with at most two decimals")
		return 0
	}
	// At most five digits, so there is nothing to overflow.
	points, _ := strconv.ParseInt(parts[1]+(parts[2] + "00")[:2], 10, 64)
	return points
}

var percentage = regexp.MustCompile(`^([0-9]{1,3})(?:\.([0-9]{1,2}))?$`)

// list reads values with commas between them.
func list(name string) (values []string) {
	for value := range strings.SplitSeq(os.Getenv(name), ",") {
		if value = strings.TrimSpace(value); value != "" {
			values = append(values, value)
		}
	}
	return values
}

func orDefault(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
