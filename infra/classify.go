package infra

import (
	"fmt"
	"strings"
	"time"

	"agentmarket/agentruntime"
)

// Verdict is what one look at an attempt says.
type Verdict struct {
	// Ended: the attempt is over and Outcome says how.
	Ended   bool
	Outcome Outcome
	// LookAgain: undecided by this look alone; after this time a later look
	// may decide even if nothing changes. 0: only a change can.
	LookAgain time.Duration
}

// PullGrace is how long an image may fail to be pulled before the attempt is
// given up: registries have hiccups, and the kubelet tries again by itself.
const PullGrace = 30 * time.Second

// Classify decides what is known about an attempt. It is pure. Signals are read
// in the order of their authority: the container's own end, the pod's status,
// the disruption condition, the container's reason to wait, the Job.
func Classify(ref Ref, seen Observed, now time.Time) Verdict {
	switch p := seen.Pod; {
	case p == nil:
		return withoutPod(seen)
	case p.Ended():
		return ended(ofEnded(ref, p))
	default:
		return ofWaiting(p, now)
	}
}

func ended(o Outcome) Verdict {
	o.Message = limit(o.Message)
	return Verdict{Ended: true, Outcome: o}
}

// withoutPod judges an attempt without a pod. A Job that has not failed is about
// to make one; for everything else the pod is gone with whatever it did.
func withoutPod(seen Observed) Verdict {
	switch {
	case seen.JobExists && seen.JobFailed == "":
		return Verdict{}
	case seen.JobExists:
		return ended(Outcome{Reason: ReasonPodGone, Message: "the pod vanished; the job says " + seen.JobFailed})
	default:
		return ended(Outcome{Reason: ReasonPodGone, Message: "the agent's pod vanished before its end was seen"})
	}
}

// ofEnded judges a pod that will never run again.
func ofEnded(ref Ref, p *Pod) Outcome {
	o := Outcome{}
	if p.Terminated != nil {
		o.StartedAt, o.FinishedAt = p.Terminated.StartedAt, p.Terminated.FinishedAt
	}
	if reason, message, ok := ofPodStatus(p); ok {
		o.Reason, o.Message = reason, message
		return o
	}
	if p.Terminated == nil {
		// Ended without a container: rejected by the node, or the node never
		// told. Never success.
		o.Reason, o.Message = disruption(p, ReasonSandboxError), orElse(p.Message, "the node ended the pod without running it")
		return o
	}
	ofContainer(ref, p, &o)
	return o
}

// ofPodStatus reads what the kubelet or a controller says of the pod as a whole.
func ofPodStatus(p *Pod) (Reason, string, bool) {
	switch p.Reason {
	case "DeadlineExceeded":
		// The supervisor ends an agent in time; the kubelet's own deadline
		// fires only when that failed or the agent never started.
		if p.Terminated == nil {
			return ReasonImagePull, "the agent did not start in time", true
		}
		return ReasonDeadline, "the agent ran longer than its run timeout", true
	case "Evicted":
		if diskExceeded(p.Message) {
			return ReasonAgentDisk, p.Message, true
		}
		return ReasonEvicted, p.Message, true
	case "NodeLost", "NodeShutdown", "Terminated":
		return ReasonNodeLost, orElse(p.Message, "the node went away"), true
	case "NodeAffinity", "UnexpectedAdmissionError", "OutOfcpu", "OutOfmemory", "OutOfpods", "OutOfephemeral-storage":
		return ReasonSandboxError, orElse(p.Message, "the node refused the pod"), true
	case "Preempting":
		return ReasonPreempted, p.Message, true
	}
	return "", "", false
}

// diskExceeded tells an agent that wrote too much from a node that ran out of
// disk. The kubelet has no code for it; these are the fixed parts of its
// messages.
func diskExceeded(message string) bool {
	return strings.Contains(message, "ephemeral local storage usage exceeds") ||
		strings.Contains(message, "exceeds the limit") ||
		strings.Contains(message, "exceeded its local ephemeral storage limit")
}

// ofContainer judges the end of the agent's container.
func ofContainer(ref Ref, p *Pod, o *Outcome) {
	t := p.Terminated
	o.ExitCode = AgentExitCode(*t)
	envelope, err := agentruntime.ParseEnvelope([]byte(t.Message))
	mine := err == nil && envelope.Run == ref.Run && envelope.Attempt == ref.Attempt
	if mine {
		o.Message = envelope.Message
	}
	said, known := agentruntime.ExitCode(t.ExitCode).Outcome()
	switch {
	case t.Reason == "OOMKilled" && said != agentruntime.OK:
		o.Reason, o.Message = ReasonAgentOOM, "the agent used more memory than its limit"
	case t.Reason == "ContainerStatusUnknown", t.Reason == "Unknown":
		o.Reason, o.Message = disruption(p, ReasonNodeLost), orElse(t.Message, "the node lost the container")
	case !known || said == agentruntime.Terminated:
		ofKilled(p, said, known, o)
	case said == agentruntime.OK && !mine:
		o.Reason, o.Message = ReasonAgentNoResult, "the agent's container ended without a result envelope of this attempt"
	case mine && envelope.Outcome != said:
		// The file can be written by the agent, the exit code cannot.
		o.Reason, o.Message = Reason(said), "the agent tampered with its result envelope"
	default:
		o.Reason = Reason(said)
	}
	if o.Message == "" && o.Reason != ReasonOK {
		o.Message = describe(o.Reason)
	}
}

// ofKilled judges a container that ended by somebody else's decision: a runtime
// that could not start it (126 to 128), a signal from outside, or a stop.
func ofKilled(p *Pod, said agentruntime.Outcome, known bool, o *Outcome) {
	t := p.Terminated
	switch {
	case p.Disruption != "":
		o.Reason, o.Message = disruption(p, ReasonEvicted), "the cluster took the pod away: "+p.Disruption
	case !known && t.Reason == "StartError":
		o.Reason, o.Message = ReasonSandboxError, orElse(t.Message, "the container could not be started")
	case p.Deleting:
		o.Reason, o.Message = ReasonPodGone, "the pod was deleted while the agent ran"
	case known && said == agentruntime.Terminated:
		// Nobody outside wanted it: the agent signaled its own container.
		o.Reason, o.Message = ReasonAgentError, orElse(o.Message, "the agent stopped its own container")
	default:
		o.Reason, o.Message = ReasonPlatformError, fmt.Sprintf("the supervisor ended with exit code %d (%s)", t.ExitCode, t.Reason)
	}
}

// disruption names the reason of a disrupted pod.
func disruption(p *Pod, otherwise Reason) Reason {
	switch p.Disruption {
	case "PreemptionByScheduler":
		return ReasonPreempted
	case "EvictionByEvictionAPI", "TerminationByKubelet":
		return ReasonEvicted
	case "DeletionByTaintManager", "DeletionByPodGC":
		return ReasonNodeLost
	}
	return otherwise
}

// ofWaiting judges a pod that has not ended: only reasons to wait that no time
// will mend, or that had their time, end the attempt.
func ofWaiting(p *Pod, now time.Time) Verdict {
	if p.Waiting == nil {
		return Verdict{}
	}
	w := *p.Waiting
	switch w.Reason {
	case "InvalidImageName", "ErrImageNeverPull":
		return ended(Outcome{Reason: ReasonImageInvalid, Message: orElse(w.Message, "the image reference is not valid")})
	case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		return afterGrace(p, now, Outcome{Reason: ReasonConfigError, Message: orElse(w.Message, "the container cannot be created")})
	case "ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable":
		return afterGrace(p, now, Outcome{Reason: ReasonImagePull, Message: orElse(w.Message, "the image could not be pulled")})
	}
	return Verdict{}
}

func afterGrace(p *Pod, now time.Time, o Outcome) Verdict {
	since := p.ScheduledAt // waiting for a node is not the image's fault
	if since.IsZero() {
		since = p.CreatedAt
	}
	if left := PullGrace - now.Sub(since); left > 0 {
		return Verdict{LookAgain: left}
	}
	return ended(o)
}

// NotStarted says why an attempt has not started at its start deadline.
func NotStarted(seen Observed) Outcome {
	o := Outcome{Reason: ReasonSandboxError, Message: "the agent did not start in time"}
	switch p := seen.Pod; {
	case p == nil && seen.JobExists:
		o.Reason, o.Message = ReasonUnschedulable, "the cluster made no pod in time"
	case p == nil:
		o.Reason, o.Message = ReasonPodGone, "the agent's pod vanished before it started"
	case p.Unschedulable != "":
		o.Reason, o.Message = ReasonUnschedulable, p.Unschedulable
	case p.Waiting != nil:
		o.Message = "the agent did not start in time: " + p.Waiting.Reason
		switch p.Waiting.Reason {
		case "ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable":
			o.Reason, o.Message = ReasonImagePull, orElse(p.Waiting.Message, o.Message)
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
			o.Reason, o.Message = ReasonConfigError, orElse(p.Waiting.Message, o.Message)
		}
	}
	o.Message = limit(o.Message)
	return o
}

// Started reports whether the attempt's container has started.
func Started(seen Observed) bool {
	return seen.Pod != nil && (seen.Pod.Terminated != nil || seen.Pod.Running != nil)
}

// AgentExitCode returns the exit code of the agent's own process, nil where it
// did not exit by itself.
func AgentExitCode(t Terminated) *int {
	envelope, err := agentruntime.ParseEnvelope([]byte(t.Message))
	if err != nil {
		return nil
	}
	return envelope.ExitCode
}

// describe words a reason for which the supervisor left no message.
func describe(r Reason) string {
	for _, row := range agentruntime.Outcomes() {
		if Reason(row.Outcome) == r {
			return row.Meaning
		}
	}
	return string(r)
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// limit cuts a text to MaxMessage bytes without cutting a character.
func limit(text string) string {
	if len(text) <= MaxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:MaxMessage-len("…")], "") + "…"
}
