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

// Classify decides what is known about an attempt. It is pure. Signals are read
// in the order of their authority: the container's own end, the pod's status,
// the disruption condition, the container's reason to wait, the Job.
func Classify(ref Ref, seen Observed, now time.Time) Verdict {
	p := seen.Pod
	if p == nil {
		return withoutPod(seen, now)
	}
	v := ofLiving(seen, now)
	if p.Ended() {
		v = ended(ofEnded(ref, seen))
	}
	if v.Ended {
		v.Outcome.Node = p.Node
	}
	return v
}

func ended(o Outcome) Verdict {
	o.Message = limit(o.Message)
	return Verdict{Ended: true, Outcome: o}
}

// ofEnded judges a pod that will never run again.
func ofEnded(ref Ref, seen Observed) Outcome {
	p, o := seen.Pod, Outcome{}
	if p.Terminated != nil {
		o.StartedAt, o.FinishedAt = p.Terminated.StartedAt, p.Terminated.FinishedAt
	}
	if p.Reason == "DeadlineExceeded" && (p.Terminated == nil || p.Terminated.StartedAt.IsZero()) {
		return NotStarted(seen) // the kubelet's own deadline, behind ours
	}
	// An agent that was through in time is through, whatever was done to its pod then.
	if reason, message, ok := ofPodStatus(p); ok && !delivered(ref, p) {
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
		// The supervisor ends an agent in time; this fires only when that failed.
		return ReasonDeadline, "the agent ran longer than its run timeout", true
	case "Evicted":
		if diskExceeded(p.Message) {
			return ReasonAgentDisk, p.Message, true
		}
		return ReasonEvicted, orElse(p.Message, "the node took the pod away"), true
	case "NodeLost", "NodeShutdown", "Terminated":
		return ReasonNodeLost, orElse(p.Message, "the node went away"), true
	case "NodeAffinity", "UnexpectedAdmissionError", "OutOfcpu", "OutOfmemory", "OutOfpods", "OutOfephemeral-storage":
		return ReasonSandboxError, orElse(p.Message, "the node refused the pod"), true
	case "Preempting":
		return ReasonPreempted, orElse(p.Message, "the node took the pod away for a more important one"), true
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

// delivered reports whether the supervisor said that the agent ended well.
func delivered(ref Ref, p *Pod) bool {
	if p.Terminated == nil || agentruntime.ExitCode(p.Terminated.ExitCode) != agentruntime.ExitOK || p.Terminated.StartedAt.IsZero() {
		return false
	}
	envelope, err := agentruntime.ParseEnvelope([]byte(p.Terminated.Message))
	return err == nil && envelope.Run == ref.Run && envelope.Attempt == ref.Attempt && envelope.Outcome == agentruntime.OK
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
	case t.Reason == "ContainerStatusUnknown" && p.Deleting && p.Disruption == "":
		// What the kubelet says of a container that it had not started, too.
		o.Reason, o.Message = ReasonPodGone, "the pod was deleted before its end was seen"
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
