package kube

import (
	"strconv"

	"agentmarket/agentruntime"
	"agentmarket/ids"
	"agentmarket/infra"
)

// The labels and annotations that the platform puts on its objects. A user's
// labels never reach the cluster.
const (
	labelManagedBy = "app.kubernetes.io/managed-by"
	managedBy      = "agentmarket"
	labelRun       = "agentmarket.dev/run-id"
	labelAttempt   = "agentmarket.dev/attempt"
	labelAgent     = "agentmarket.dev/agent-id"
	labelOrg       = "agentmarket.dev/org-id"
	labelTier      = "agentmarket.dev/tier"
	// labelWarm is on Job and pod that no run has adopted yet: what they are ready for.
	// Such objects have no labels of a run.
	labelWarm = "agentmarket.dev/warm"
	// labelPull is on a Job that pulls an image, and on its pods, which are for no run.
	labelPull = "agentmarket.dev/pull"

	annotationSpecHash = "agentmarket.dev/spec-hash"
	// annotationStart is the start timeout in seconds, from the creation of the object
	// that carries it.
	annotationStart = "agentmarket.dev/start-seconds"
	// annotationAdopted is when a run adopted the pod; on the input of a run it is the
	// name of the pod that it is to adopt.
	annotationAdopted = "agentmarket.dev/adopted"

	containerAgent   = "agent"
	containerInstall = "install-runtime"
	inputKey         = agentruntime.InputName
	volumeToken      = "token"
	volumeSecrets    = "secrets"
	volumeInput      = "input"
)

// labelsOf are the labels of all objects of an attempt.
func labelsOf(s infra.Sandbox) map[string]string {
	return map[string]string{
		labelManagedBy: managedBy,
		labelRun:       string(s.Run),
		labelAttempt:   strconv.Itoa(s.Attempt),
		labelAgent:     string(s.Agent),
		labelOrg:       string(s.Org),
		labelTier:      tierOf(s.Ref),
	}
}

// annotationsOf are those of a Job and of its pod.
func annotationsOf(s infra.Sandbox) map[string]string {
	return map[string]string{annotationStart: strconv.FormatInt(wholeSeconds(s.StartTimeout), 10)}
}

// The values of labelTier.
const (
	tierStandard  = "standard"
	tierSandboxed = "sandboxed"
)

func tierOf(ref infra.Ref) string {
	if ref.Sandboxed {
		return tierSandboxed
	}
	return tierStandard
}

// selectorOf selects the pods of an attempt.
func selectorOf(ref infra.Ref) string {
	return labelRun + "=" + string(ref.Run) + "," + labelAttempt + "=" + strconv.Itoa(ref.Attempt)
}

// refOf reads the attempt back from labels; false for objects that are not the
// platform's.
func refOf(labels map[string]string) (infra.Ref, bool) {
	run := labels[labelRun]
	attempt, err := strconv.Atoi(labels[labelAttempt])
	if err != nil || attempt < 1 || !ids.Valid(ids.PrefixRun, run) {
		return infra.Ref{}, false
	}
	return infra.Ref{
		Run: ids.Run(run), Attempt: attempt, Org: ids.Org(labels[labelOrg]), Sandboxed: labels[labelTier] == tierSandboxed,
	}, true
}
