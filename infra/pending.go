package infra

import (
	"strings"
	"time"
)

// Kubernetes waits for ever: for an image, for a node with room, for a quota. The
// watchdogs here do not.

// PullGrace is how long an image may fail to be pulled before the attempt is
// given up: registries have hiccups, and the kubelet tries again by itself.
const PullGrace = 30 * time.Second

// goneGrace is how long a pod may outlive the end of its deletion until its node
// counts as lost: the kubelet removes a pod within a second or two.
const goneGrace = 30 * time.Second

// withoutPod judges an attempt without a pod. A Job that has not failed is about
// to make one, until it should have; for everything else the pod is gone with
// whatever it did.
func withoutPod(seen Observed, now time.Time) Verdict {
	switch {
	case seen.JobExists && seen.JobFailed == "":
		return untilStarted(seen, now)
	case seen.JobExists:
		return ended(Outcome{Reason: ReasonPodGone, Message: "the pod vanished; the job says " + seen.JobFailed})
	default:
		return ended(Outcome{Reason: ReasonPodGone, Message: "the agent's pod vanished before its end was seen"})
	}
}

// untilStarted gives up an attempt that has not started by its deadline.
func untilStarted(seen Observed, now time.Time) Verdict {
	if seen.StartBy.IsZero() {
		return Verdict{}
	}
	if left := seen.StartBy.Sub(now); left > 0 {
		return Verdict{LookAgain: left}
	}
	return ended(NotStarted(seen))
}

// ofLiving judges a pod that has not ended: only reasons to wait that no time
// will mend, or that had their time, end the attempt.
func ofLiving(seen Observed, now time.Time) Verdict {
	p := seen.Pod
	if !p.GoneBy.IsZero() {
		left := p.GoneBy.Add(goneGrace).Sub(now)
		if left > 0 {
			return Verdict{LookAgain: left}
		}
		return ended(Outcome{Reason: disruption(p, ReasonNodeLost), Message: "the node of the agent does not answer"})
	}
	if p.Running != nil {
		return Verdict{}
	}
	if p.Waiting != nil {
		if o, grace := ofWaiting(p); o.Reason != "" {
			left := grace - now.Sub(waitsSince(p))
			if left > 0 {
				return Verdict{LookAgain: left}
			}
			return ended(o)
		}
	}
	return untilStarted(seen, now)
}

// waitsSince is when a pod began to wait for its node to run it: waiting for the
// node itself is not the image's fault.
func waitsSince(p *Pod) time.Time {
	if p.ScheduledAt.IsZero() {
		return p.CreatedAt
	}
	return p.ScheduledAt
}

// ofWaiting judges a container that waits, and says how long it may: the zero
// Outcome for a reason that time may mend. No publisher can mend what is wrong with
// the image of the platform.
func ofWaiting(p *Pod) (o Outcome, grace time.Duration) {
	o, grace = ofWaitingFor(*p.Waiting)
	if p.Waiting.Runtime && o.Reason != "" {
		o.Message = "the supervisor cannot be started: " + o.Message
		switch o.Reason {
		case ReasonImageInvalid, ReasonImagePull, ReasonImageUnavailable:
			o.Reason = ReasonImageUnavailable
		default:
			o.Reason = ReasonSandboxError
		}
	}
	return o, grace
}

func ofWaitingFor(w Waiting) (o Outcome, grace time.Duration) {
	switch w.Reason {
	case "InvalidImageName", "ErrImageNeverPull":
		return Outcome{Reason: ReasonImageInvalid, Message: orElse(w.Message, "the image reference is not valid")}, 0
	case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		return Outcome{Reason: ReasonConfigError, Message: orElse(w.Message, "the container cannot be created")}, PullGrace
	case "ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed":
		return Outcome{Reason: pullFailure(w), Message: orElse(w.Message, "the image could not be pulled")}, PullGrace
	}
	return Outcome{}, 0
}

// refusals are the parts of a runtime's message by which a registry says no. They
// are all that tells a publisher's mistake from a registry that is away: the kubelet
// has no codes for them. In lower case.
var refusals = []string{
	"not found", "manifest unknown", "name unknown", "repository does not exist",
	"unauthorized", "authentication required", "authorization failed", "insufficient_scope", "403 forbidden", "pull access denied", "denied:",
	"no match for platform", "invalid reference format",
}

// pullFailure tells what the publisher must mend from what time may.
func pullFailure(w Waiting) Reason {
	if w.Reason == "SignatureValidationFailed" {
		return ReasonImagePull
	}
	said := strings.ToLower(w.Message)
	for _, refusal := range refusals {
		if strings.Contains(said, refusal) {
			return ReasonImagePull
		}
	}
	return ReasonImageUnavailable
}

// NotStarted says why an attempt has not started at its start deadline.
func NotStarted(seen Observed) Outcome {
	o := ofNotStarted(seen)
	o.Message = limit(o.Message)
	if seen.Pod != nil {
		o.Node = seen.Pod.Node
	}
	return o
}

func ofNotStarted(seen Observed) Outcome {
	p := seen.Pod
	switch {
	case p == nil && !seen.JobExists:
		return Outcome{Reason: ReasonPodGone, Message: "the agent's pod vanished before it started"}
	case p == nil:
		return ofRefused(seen.Refused)
	case p.Unschedulable != "":
		return Outcome{Reason: ReasonUnschedulable, Message: p.Unschedulable}
	case p.Waiting == nil && p.ScheduledAt.IsZero():
		return Outcome{Reason: ReasonUnschedulable, Message: "the cluster found no node in time"}
	case p.Waiting == nil:
		return Outcome{Reason: ReasonSandboxError, Message: "the node did not start the agent in time"}
	}
	if o, _ := ofWaiting(p); o.Reason != "" {
		return o
	}
	if p.Sandboxed {
		return Outcome{Reason: ReasonImageUnavailable, Message: "the image was not pulled in time"}
	}
	return Outcome{Reason: ReasonSandboxError, Message: "the agent did not start in time: " + orElse(p.Waiting.Message, p.Waiting.Reason)}
}

// ofRefused judges a Job that has made no pod, by what its controller was told.
func ofRefused(refused string) Outcome {
	switch {
	case refused == "":
		return Outcome{Reason: ReasonUnschedulable, Message: "the cluster made no pod in time"}
	// The signs that there are; the second one: nobody has counted yet what is used.
	case strings.Contains(refused, "exceeded quota"), strings.Contains(refused, "status unknown for quota"):
		return Outcome{Reason: ReasonQuotaExceeded, Message: "the quota of the cluster had no room in time: " + refused}
	case strings.Contains(refused, "is forbidden"), strings.Contains(refused, "denied request"):
		return Outcome{Reason: ReasonJobRefused, Message: "the cluster refuses the pod: " + refused}
	}
	return Outcome{Reason: ReasonSandboxError, Message: "the cluster could not make the pod: " + refused}
}
