package infra

import "time"

// Reason is a stable code for what ended an attempt, as far as the cluster can
// tell. package product maps each to a cause, a retry rule and a billing rule.
type Reason string

// The reasons that Classify can find. The text of each is part of the API.
const (
	ReasonOK                 Reason = "ok"                   // exit 0 and a valid result
	ReasonAgentError         Reason = "agent_error"          // the agent's process failed
	ReasonAgentNoResult      Reason = "agent_no_result"      // exit 0 without a result
	ReasonAgentInvalidResult Reason = "agent_invalid_result" // a result that is not JSON or too large
	ReasonAgentOOM           Reason = "agent_oom"            // out of its memory limit
	ReasonAgentDisk          Reason = "agent_disk"           // out of its disk limit
	ReasonDeadline           Reason = "deadline_exceeded"    // out of its run time
	ReasonImageInvalid       Reason = "image_invalid"        // the image reference cannot be used
	ReasonImagePull          Reason = "image_pull"           // the registry does not give out the image
	ReasonImageUnavailable   Reason = "image_unavailable"    // the registry did not answer in time
	ReasonConfigError        Reason = "config_error"         // the command of the image cannot start
	ReasonJobRefused         Reason = "job_refused"          // the cluster will never accept the Job
	ReasonQuotaExceeded      Reason = "quota_exceeded"       // the quota of the namespace had no room in time
	ReasonUnschedulable      Reason = "unschedulable"        // no node had room in time
	ReasonEvicted            Reason = "evicted"              // the node took the pod away
	ReasonPreempted          Reason = "preempted"            // a more important pod took its place
	ReasonNodeLost           Reason = "node_lost"            // the node vanished or was drained
	ReasonPodGone            Reason = "pod_gone"             // the pod vanished before its end was seen
	ReasonSandboxError       Reason = "sandbox_error"        // the node could not make the pod
	ReasonPlatformError      Reason = "platform_error"       // a fault of the platform itself
)

// Reasons returns all of them, for the tests of the tables built on them.
func Reasons() []Reason {
	return []Reason{ReasonOK, ReasonAgentError, ReasonAgentNoResult, ReasonAgentInvalidResult,
		ReasonAgentOOM, ReasonAgentDisk, ReasonDeadline, ReasonImageInvalid, ReasonImagePull,
		ReasonImageUnavailable, ReasonConfigError, ReasonJobRefused, ReasonQuotaExceeded, ReasonUnschedulable, ReasonEvicted, ReasonPreempted, ReasonNodeLost,
		ReasonPodGone, ReasonSandboxError, ReasonPlatformError}
}

// Outcome is what became of an attempt. It says nothing about what follows from
// it: retries, money and the state of the run are decided in layer 2.
type Outcome struct {
	Reason     Reason
	Message    string    // for people, at most MaxMessage bytes
	ExitCode   *int      // of the agent's own process, where it ended by itself
	StartedAt  time.Time // of the container; zero: never started
	FinishedAt time.Time // of the container; zero: never seen to end
	Node       string    // where it was to run; empty: nowhere yet
	// Reported: by the gateway, which has the supervisor's report. The cluster may not
	// have seen the end yet.
	Reported bool
}

// MaxMessage bounds the text of an outcome: it travels through workflow
// histories.
const MaxMessage = 512

// Observed is the state of an attempt's objects at one moment, in the words of
// Kubernetes but without its types.
type Observed struct {
	JobExists bool
	// StartBy is when the agent's container must have started; zero: not known.
	StartBy time.Time
	// JobFailed is "reason: message" of the Job's Failed condition, empty
	// while there is none.
	JobFailed string
	// Refused is why the cluster made no pod of the Job, as far as it was said; empty:
	// nothing was, or there is a pod.
	Refused string
	Pod     *Pod // nil: there is no pod (yet, or any more)
}

// Pod is what is read of a pod.
type Pod struct {
	Name        string
	CreatedAt   time.Time
	ScheduledAt time.Time // zero: no node was found (yet)
	Node        string    // empty: none yet
	Deleting    bool
	GoneBy      time.Time // when its deletion should be through; zero: it is not deleted

	Phase   string // Pending, Running, Succeeded, Failed, Unknown
	Reason  string // pod.status.reason: Evicted, DeadlineExceeded, NodeLost, …
	Message string

	// Disruption is the reason of the condition DisruptionTarget, empty where
	// it is absent. It is an intent, not an end: only a pod that has also
	// ended was disrupted.
	Disruption string
	// Unschedulable is the message of PodScheduled=False/Unschedulable.
	Unschedulable string

	// Sandboxed: its sandbox is made. Where no container was, its images are pulled.
	Sandboxed bool

	// The agent's container, one of the three or none of them.
	Waiting    *Waiting
	Running    *Running
	Terminated *Terminated
}

// Waiting is a container that has not started.
type Waiting struct {
	Reason, Message string
	// Runtime: for the platform's own image, with the supervisor in it, and not for
	// the agent's.
	Runtime bool
}

// Running is a container that runs.
type Running struct{ StartedAt time.Time }

// Terminated is a container that ended.
type Terminated struct {
	Reason     string // Completed, Error, OOMKilled, ContainerStatusUnknown, …
	Message    string // the termination message: the result envelope
	ExitCode   int
	StartedAt  time.Time
	FinishedAt time.Time
}

// Ended reports whether the pod will never run again.
func (p *Pod) Ended() bool {
	return p.Phase == "Succeeded" || p.Phase == "Failed" || p.Terminated != nil
}
