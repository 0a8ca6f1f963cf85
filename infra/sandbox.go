package infra

import (
	"fmt"
	"time"

	"agentmarket/ids"
)

// Ref names one attempt of a run, and with it everything that exists for it in the
// cluster.
type Ref struct {
	Run     ids.Run
	Attempt int // from 1

	// Org and Sandboxed say where the attempt runs: namespaces may belong to one
	// organization or one tier. Sandboxed asks for a runtime that keeps the attempt
	// apart with a kernel of its own.
	Org       ids.Org
	Sandboxed bool
}

// Name is the deterministic name of the attempt's objects: run-<ulid>-a<n>. A
// second create of the same attempt meets the first one under this name.
func (r Ref) Name() string { return fmt.Sprintf("run-%s-a%d", ids.Body(r.Run), r.Attempt) }

// Sandbox is what one attempt needs from the cluster: the desired state.
type Sandbox struct {
	Ref
	Agent ids.Agent

	Image   string            // pinned: NAME@sha256:…
	Command []string          // the agent's own command
	Env     map[string]string // constants of the manifest, no secrets
	Input   []byte            // one JSON value, at most product.MaxInputBytes

	CPUMillis int64
	MemoryMiB int64
	DiskMiB   int64

	// Egress says that the agent may connect to hosts, through the gateway.
	Egress bool
	// SecretFiles says that the agent reads secrets itself, which the supervisor fetches.
	SecretFiles bool

	// UserNamespace gives the pod users of its own, which are nobody on the node. It is for
	// clusters in which the doctor saw that they have them.
	UserNamespace bool

	// Warm is how many pods are kept ready for later attempts that differ from this one
	// by run and input only. 0: none, and this attempt has a pod of its own making.
	Warm int

	// StartTimeout bounds the time from creation to the start of the agent's
	// process, RunTimeout the process itself, Grace the time between SIGTERM
	// and SIGKILL.
	StartTimeout time.Duration
	RunTimeout   time.Duration
	Grace        time.Duration

	// AvoidNodes are nodes at which earlier attempts of the run failed by the node's
	// fault. The attempt runs there only if there is no other one.
	AvoidNodes []string
}
