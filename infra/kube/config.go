package kube

import (
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/infra"
)

// Config is how the platform uses its cluster.
type Config struct {
	// Namespace is where runs execute. It must exist with the labels and the
	// network policy of deploy/kubernetes/runs-namespace.yaml; EnsureNamespace
	// makes it where the platform may.
	Namespace string

	// NamespacePer says what has a namespace of its own: "tier" (Namespace for the
	// standard tier, Namespace-sandboxed for the other one), or "organization"
	// (Namespace-<identifier of the organization>, and the tier). Default: tier.
	NamespacePer string

	// ManageNamespaces: the platform makes the namespaces of runs and keeps them right,
	// see EnsureNamespace; those of organizations before the first Job in them.
	// Default: false, an operator does.
	ManageNamespaces bool

	// NamespaceShards spreads the runs of each namespace over so many, named by a
	// number at the end: the API server and etcd mind ten thousand pods in one.
	// Default: 1, no number.
	NamespaceShards int

	// RuntimeImage holds the supervisor binary at /agent-runtime, pinned by
	// digest: NAME@sha256:….
	RuntimeImage string

	// RuntimeByCopy puts the supervisor into the pod with an init container
	// that copies it, instead of mounting RuntimeImage as an image volume.
	// For nodes older than Kubernetes 1.35 or runtimes without image volumes.
	// It costs about a second a run. Default: false.
	RuntimeByCopy bool

	// SandboxRuntimeClass is the RuntimeClass of attempts that are to be sandboxed
	// (gVisor, Kata Containers). It must exist. Empty: there is none, and such an
	// attempt is not made. Default: empty.
	SandboxRuntimeClass string

	// GatewayURL is how pods reach the gateway: http:// or https://, an address and a
	// port, for pods have no DNS. Empty: there is none, and pods reach nothing.
	GatewayURL string
	// GatewayNamespace is the namespace of the gateway's own pods, where it runs in the
	// cluster: behind a Service, policies see their addresses. Default: empty.
	GatewayNamespace string

	// JobTTL is how long a finished Job stays in the cluster, for people with
	// kubectl. It also is how long a result waits to be collected while the
	// workers or the stores are away, so it is at least MinJobTTL.
	// Default: 2 hours.
	JobTTL time.Duration

	// KeepFinishedJobs leaves the Jobs of ended attempts in the cluster until their
	// JobTTL, for people with kubectl. Default: false, they are deleted when their
	// result and log are collected.
	KeepFinishedJobs bool

	// Warm allows pods that are made ahead, where plans ask for them. It needs a gateway
	// and namespaces without shards. Default: false, every attempt makes its own.
	Warm bool

	// PullNodes is on how many nodes the image of an agent is pulled ahead of whose pods
	// some are made ahead, at most MaxPullNodes. Default: 0, only where its pods are.
	PullNodes int

	// CreatesPerSecond bounds the attempts that this process makes, and a burst of
	// twice as many: the Job controller and the scheduler serve all tenants in turn.
	// Default: 50.
	CreatesPerSecond float64

	// QPS and Burst bound the calls to the API server from this process; the
	// defaults of client-go (5 and 10) are far too low for one run a second.
	// Default: 200 and 400.
	QPS   float32
	Burst int
}

// maxShards bounds the namespaces, each of which has a watch of its own.
const maxShards = 64

// MinJobTTL is a little more than the hour for which workflows try to collect
// what an attempt left.
const MinJobTTL = 65 * time.Minute

// WithDefaults returns the configuration with its defaults filled in.
func (c Config) WithDefaults() Config {
	if c.Namespace == "" {
		c.Namespace = "agentmarket-runs"
	}
	if c.NamespacePer == "" {
		c.NamespacePer = PerTier
	}
	if c.NamespaceShards == 0 {
		c.NamespaceShards = 1
	}
	if c.JobTTL == 0 {
		c.JobTTL = 2 * time.Hour
	}
	if c.CreatesPerSecond == 0 {
		c.CreatesPerSecond = 50
	}
	if c.QPS == 0 {
		c.QPS, c.Burst = 200, 400
	}
	return c
}

// Validate reports what is missing.
func (c Config) Validate() error {
	if c.RuntimeImage == "" {
		return fault.New(fault.Invalid, "", "the runtime image (pinned by digest) is not configured")
	}
	if c.NamespacePer != PerTier && c.NamespacePer != PerOrganization {
		return fault.Newf(fault.Invalid, "", "runs have namespaces per %s or per %s", PerTier, PerOrganization)
	}
	if c.NamespaceShards < 1 || c.NamespaceShards > maxShards {
		return fault.Newf(fault.Invalid, "", "the shards of a namespace are 1 to %d", maxShards)
	}
	longest := c.NamespaceOf(infra.Ref{Org: ids.Org("org_" + strings.Repeat("0", 26)), Sandboxed: true})
	if c.NamespaceShards > 1 {
		longest = strings.TrimRight(longest, "0123456789") + strconv.Itoa(c.NamespaceShards-1)
	}
	if problems := validation.IsDNS1123Label(longest); len(problems) > 0 {
		return fault.Newf(fault.Invalid, "", "namespace %s: %s", longest, problems[0])
	}
	if c.GatewayURL != "" {
		if _, err := gatewayAddress(c.GatewayURL); err != nil {
			return err
		}
	}
	if c.Warm && (c.GatewayURL == "" || c.NamespaceShards > 1) {
		return fault.New(fault.Invalid, "", "warm pods need a gateway, and namespaces without shards")
	}
	if c.PullNodes < 0 || c.PullNodes > MaxPullNodes {
		return fault.Newf(fault.Invalid, "", "images are pulled ahead on 0 to %d nodes", MaxPullNodes)
	}
	if c.JobTTL < MinJobTTL {
		return fault.Newf(fault.Invalid, "", "finished Jobs must stay for at least %d seconds: results are collected from them", int(MinJobTTL.Seconds()))
	}
	return nil
}
