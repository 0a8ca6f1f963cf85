package agentruntime

import (
	"time"

	"agentmarket/ids"
)

// PathAdoption is the gateway's call by which a supervisor in a warm pod waits for its
// run. 204 is the answer of a gateway where none has come yet: it is asked again.
const PathAdoption = "/v1/adoption"

// MaxAdoptionBytes bounds the body of an adoption.
const MaxAdoptionBytes = 2 << 20

// Adoption is the run that adopted a warm pod: all that its supervisor was not told when
// the pod was made.
type Adoption struct {
	Run     ids.Run `json:"run"`
	Attempt int     `json:"attempt"`
	// RunTimeout bounds the agent's process, from now on.
	RunTimeout time.Duration `json:"run_timeout_ns"`
	Input      []byte        `json:"input"`
}

// Adopted is the launch of the run that adopted the pod.
func (l Launch) Adopted(a Adoption) (Launch, error) {
	l.Warm, l.Run, l.Attempt, l.RunTimeout = 0, a.Run, a.Attempt, a.RunTimeout
	return l, l.Validate()
}
