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

	annotationSpecHash = "agentmarket.dev/spec-hash"

	containerAgent   = "agent"
	containerInstall = "install-runtime"
	inputKey         = agentruntime.InputName
)

// labelsOf are the labels of all objects of an attempt.
func labelsOf(s infra.Sandbox) map[string]string {
	return map[string]string{
		labelManagedBy: managedBy,
		labelRun:       string(s.Run),
		labelAttempt:   strconv.Itoa(s.Attempt),
		labelAgent:     string(s.Agent),
		labelOrg:       string(s.Org),
	}
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
	return infra.Ref{Run: ids.Run(run), Attempt: attempt}, true
}
